"""What people type is read by the table that the browser is held to, too: labextension/src/submit/cases.spec.ts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.client import InputError, references, spec, typed
from jupyter_trainjob.client.inputs import expand
from jupyter_trainjob.magics.cell import _HELP, parse
from jupyter_trainjob.magics.errors import UsageError
from jupyter_trainjob.verbs.options import CELL_OPTIONS, job_options
from jupyter_trainjob.verbs.parser import UsageProblem

CASES: dict[str, Any] = json.loads(Path(__file__).parents[1].joinpath("cases", "options.json").read_text("utf-8"))


def cases(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("text", "expected"), CASES[name])


def kind(settings: dict[str, Any]) -> str:
    return {"append": "many", "store_true": "switch", None: "one"}[settings.get("action")]


def same(one: Any, other: Any) -> bool:
    """Equal, and a float where the other is a float."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def test_the_options_are_those_of_the_table() -> None:
    assert {item.flags[-1].removeprefix("--"): kind(item.settings) for item in CELL_OPTIONS} == CASES["options"]


@cases("values")
def test_a_parameter(text: str, expected: str) -> None:
    assert same(typed.encode(spec.value(text), "p"), json.loads(expected))


@pytest.mark.parametrize("text", CASES["notCarried"])
def test_a_number_that_no_float_holds(text: str) -> None:
    with pytest.raises(InputError, match="can't be carried"):
        spec.value(text)


@cases("durations")
def test_a_duration(text: str, expected: int | None) -> None:
    if expected is None:
        with pytest.raises(InputError):
            spec.seconds(text)
    else:
        assert math.isclose(spec.seconds(text), expected)


@cases("names")
def test_a_name_made_of_a_files(text: str, expected: str) -> None:
    assert spec.readable_name(text) == expected


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        *((spec.volume, *case) for case in CASES["volumes"]),
        *((references.output, *case) for case in CASES["inputs"]),
        *((references.uri, *case) for case in CASES["uris"]),
    ],
)
def test_what_names_something(read: Any, text: str, expected: dict[str, Any] | None) -> None:
    if expected is None:
        with pytest.raises(InputError):
            read(text)
    else:
        assert read(text) == expected


@cases("globs")
def test_a_pattern_of_files(text: str, expected: list[str], tmp_path: Path) -> None:
    for name in CASES["tree"]:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    if expected:
        assert [name for name, _ in expand(tmp_path, [text])] == expected
    else:
        with pytest.raises(InputError):
            expand(tmp_path, [text])


@cases("lines")
def test_a_line(text: str, expected: dict[str, Any]) -> None:
    found = parse(_HELP, text)
    assert found is not None
    resource = spec.job({"type": "cell"}, job_options(found), inputs=[], gates=[], default_name="cell")
    assert {key: item for key, item in resource["spec"].items() if key != "source"} == expected


@pytest.mark.parametrize("text", CASES["wrong"])
def test_what_is_wrong_with_a_line(text: str) -> None:
    with pytest.raises((UsageError, UsageProblem, InputError)):
        found = parse(_HELP, text)
        assert found is not None
        job_options(found)
