"""Variables for R and Scala, and results of theirs."""

from __future__ import annotations

import datetime as dt
import io
import json
import pickle
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jupyter_trainjob.client import InputError, ResultError, frames, results, variables


@pytest.mark.parametrize(
    "value", [None, True, 3, 0.5, float("inf"), "grüße", dt.date(2026, 11, 22), [1, [2.5, None]], {"a": {"$type": 1}}]
)
def test_plain_values_go_and_come_as_typed_json(value: Any) -> None:
    form, content = variables.foreign("x", value, "r")
    assert form == "json"
    assert results.opened("x", io.BytesIO(content), {"name": "x", "format": "json"}) == value


def test_frames_go_and_come_as_frames() -> None:
    form, content = variables.foreign("df", pd.DataFrame({"a": [1, 2]}), "scala")
    assert form == "frame" and content == frames.dump(pd.DataFrame({"a": [1, 2]}), "df")
    got = results.opened("df", io.BytesIO(content), {"name": "df", "format": "frame"})
    assert got["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            np.arange(3),
            r"--in x: x is of the type numpy\.ndarray, which R can't get\. Send x\.tolist\(\), or a DataFrame",
        ),
        (pd.Series([1]), r"type pandas\.[\w.]*Series, which R can't get\. Send x\.to_frame\(\), or x\.tolist\(\)"),
        ({"a": [1, {2}]}, r"x\['a'\]\[1\] is of the type set, which R can't get\. Send what it is made of"),
        ({2}, r"x is of the type set, which R can't get\. Send sorted\(x\)"),
        ({1: 2}, r"x is a dict with the key 1; keys are text"),
        ([1, 2**53 + 1], r"--in x: x\[1\] is 9007199254740993, which R can't hold exactly; send it as text"),
        ({"a": "b\0"}, r"--in x: x\['a'\] holds a NUL character, which no string of R can"),
        (
            pd.DataFrame({"n": [1, -(2**53) - 1]}),
            r"--in x: the column 'n' holds -9007199254740993, which R can't hold exactly\. Send it as text",
        ),
        (print, r"type builtin_function_or_method, which R can't get\. Send what it is made of"),
        (1j, r"type complex.* To R go DataFrames, and None, numbers, text, dates and times"),
    ],
)
def test_what_another_language_cannot_get(value: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        variables.foreign("x", value, "r")


def test_what_only_r_can_not_hold_goes_to_scala() -> None:
    for value in (2**53 + 1, "a\0", pd.DataFrame({"n": [2**53 + 1]})):
        assert variables.foreign("x", value, "scala")
    assert variables.foreign("x", pd.DataFrame({"n": [2**53, -(2**53)]}), "r")


def test_too_much_is_told_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variables, "MAX_VARIABLE_BYTES", 10)
    with pytest.raises(
        InputError, match=r"--in x: 102 B are more than the 10 B that a variable may have\. Write it to"
    ):
        variables.foreign("x", "y" * 100, "r")


class Bomb:
    def __reduce__(self) -> Any:
        return print, ("opened",)


@pytest.mark.parametrize("form", ["frame", "json"])
def test_what_is_called_data_is_never_unpickled(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ResultError, match=f"The result 'x' is no {form}, though the job says so: "):
        results.opened("x", io.BytesIO(pickle.dumps(Bomb())), {"name": "x", "format": form})
    assert "opened" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("the code did not set a variable 'x'", r"Check the name in --out\."),
        ("the code did not finish", r"The job's error and its log say why"),
        ("'x' can't be pickled: it is a lock", r"Bring back what it is made of"),
    ],
)
def test_a_result_that_did_not_come_is_told_with_what_helps(error: str, remedy: str) -> None:
    with pytest.raises(ResultError, match=f"could not bring back 'x': {re.escape(error)}\\. {remedy}"):
        results.listed("x", {"results": [{"name": "x", "error": error}]}, "Failed")


def test_a_format_that_is_not_known() -> None:
    with pytest.raises(
        ResultError, match=r"'x' was written as 'arrow', which this client does not know\. Install the v"
    ):
        results.opened("x", io.BytesIO(b""), {"name": "x", "format": "arrow"})


def test_json_that_is_nested_too_deeply() -> None:
    with pytest.raises(ResultError, match="is no json"):
        results.opened("x", io.BytesIO(b"[" * 100_000), {"name": "x", "format": "json"})


def test_no_pandas_is_told() -> None:
    content = frames.dump(pd.DataFrame({"a": [1]}), "df")
    code = (
        "import io, sys; sys.modules['pandas'] = None\n"
        "from jupyter_trainjob.client import results\n"
        f"results.opened('df', io.BytesIO({content!r}), {json.dumps({'name': 'df', 'format': 'frame'})})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "The result 'df' is a data frame, and there is no pandas here" in done.stderr
    assert "Install pandas and ask again." in done.stderr
