"""Options as people write them."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest

from jupyter_trainjob.client import InputError, spec


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        (90, 90),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1.5h", 5400),
        (" 1H 5M ", 3900),
    ],
)
def test_durations(text: str | float, seconds: int) -> None:
    assert spec.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "5 parsecs", "m"])
def test_what_is_no_duration_says_what_to_write(text: str) -> None:
    with pytest.raises(InputError, match=r"is no duration\. Write for example 90 \(seconds\), 5m, 1h30m or 2d\."):
        spec.seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("3", 3),
        ("true", True),
        ("True", True),
        ("null", None),
        ("'x'", "x"),
        ('{"a": [1]}', {"a": [1]}),
        ("(1, 2)", (1, 2)),
        ("adam", "adam"),
        ("a b", "a b"),
        ("__import__('os')", "__import__('os')"),
        ("{1, 2}", "{1, 2}"),
    ],
)
def test_parameters_are_json_else_literals_else_text(text: str, value: object) -> None:
    assert spec.value(text) == value


def test_names_are_split_and_said_once() -> None:
    assert spec.split_names(["a,b", " c ", "a,"]) == ["a", "b", "c"]


def test_what_is_not_given_is_left_out() -> None:
    made = spec.job({"type": "cell", "code": "1"}, {"cpu": "2"}, inputs=[], gates=[], default_name="cell")
    assert made == {
        "apiVersion": "jupyter-trainjob/v1",
        "kind": "TrainJob",
        "metadata": {"generateName": "cell"},
        "spec": {"source": {"type": "cell", "code": "1"}, "resources": {"cpu": "2"}},
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1e999", "no float holds 1e999"),
        ("[-1e400]", "no float holds -1e400"),
        ("[" * 100_000 + "]" * 100_000, "it is nested too deeply"),
    ],
    ids=["huge", "inner", "deep"],
)
def test_values_that_can_not_be_carried_are_told_in_words(text: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        spec.value(text)
    assert f"can't be carried: {why}. Quote it to send text" in str(caught.value)
    assert "--files" in str(caught.value)


def test_not_a_number_and_dates_are_read_from_unquoted_text_only() -> None:
    assert math.isnan(spec.value("NaN")) and spec.value("[Infinity, -Infinity]") == [math.inf, -math.inf]
    assert spec.value("2026-11-22") == datetime.date(2026, 11, 22)
    for quoted in ('"2026-11-22"', "'2026-11-22'"):
        assert spec.value(quoted) == "2026-11-22"
    assert spec.value('"NaN"') == "NaN"
    for text in ("2026-13-45", "2026-11-22T10:00", " 2026-11-22", "2026-11-2", "٢٠٢٦-11-22"):
        assert spec.value(text) == text


def test_parameters_are_typed_in_the_job() -> None:
    parameters = {"lr": math.nan, "day": datetime.date(2026, 11, 22), "odd": {"$type": "x"}, "n": 10**30}
    made = spec.job({"type": "cell"}, {"parameters": parameters}, inputs=[], gates=[], default_name="cell")
    assert made["spec"]["parameters"] == {
        "lr": {"$type": "float", "value": "NaN"},
        "day": {"$type": "date", "value": "2026-11-22"},
        "odd": {"$type": "map", "value": {"$type": "x"}},
        "n": 10**30,
    }


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("data", {"name": "data", "readOnly": True}),
        ("data:ro", {"name": "data", "readOnly": True}),
        ("home:rw", {"name": "home", "readOnly": False}),
        ("data:/mnt/sets", {"name": "data", "readOnly": True, "mountPath": "/mnt/sets"}),
        ("home:/mnt/me:rw", {"name": "home", "readOnly": False, "mountPath": "/mnt/me"}),
    ],
)
def test_volumes_are_read_as_container_engines_read_them(text: str, wire: dict[str, Any]) -> None:
    options: spec.JobOptions = {"volumes": [text], "image": "registry.example.org/course/lab"}
    made = spec.job({"type": "cell"}, options, inputs=[], gates=[], default_name="cell")
    assert made["spec"]["volumes"] == [wire]
    assert made["spec"]["environment"]["image"] == "registry.example.org/course/lab"


@pytest.mark.parametrize("text", ["", ":rw", "data:write", "data:rw:ro", "home/notes", "data:/a:/b", "data:mnt"])
def test_a_volume_that_can_not_be_read_is_told_how_to_write_it(text: str) -> None:
    with pytest.raises(InputError) as caught:
        spec.volume(text)
    assert str(caught.value) == (
        f"--volume {text}: this can't be read. Write NAME, NAME:rw to write into it, and NAME:/mnt/place or "
        "NAME:/mnt/place:rw for another place."
    )


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"labels": {"who": "a\udcff"}}, r"metadata\.labels\.who"),
        ({"env": {"A": "a\udcff"}}, r"spec\.environment\.env\[0\]\.value"),
        ({"kernel": "a\udcff"}, r"spec\.environment\.kernel"),
    ],
)
def test_half_a_character_is_refused_by_its_place(options: Any, where: str) -> None:
    with pytest.raises(InputError, match=where + r" holds '\\udcff', which is no character and can't be sent"):
        spec.job({"type": "cell", "code": "1"}, options, inputs=[], gates=[], default_name="cell")


def test_a_cell_with_half_a_character_is_refused() -> None:
    with pytest.raises(InputError, match=r"The cell holds '\\ud800', which is no character"):
        spec.check_code("x = '\ud800'")
