"""Data frames as typed CSV: there and back, and what can't go is named with its column."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import re
import subprocess
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_trainjob.client import InputError, frames

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | st.sampled_from(
    ["", '"', '""', ",", "\n", "\r\n", "\r", " a ", "NA", "NaN", "null", "#trainjob-frame {}", "grüße", "🎉", "\ufeff"]
)
INT64 = st.integers(-(2**63), 2**63 - 1)
NAIVE = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31))
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata"])


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | values, max_size=8)


def back(series: pd.Series) -> pd.Series:
    frame = frames.load(frames.dump(pd.DataFrame({"a": series, "behind": range(len(series))}), "df"))
    assert list(frame.columns) == ["a", "behind"] and frame["behind"].tolist() == list(range(len(series)))
    assert isinstance(frame.index, pd.RangeIndex)
    return frame["a"]


def plain(series: pd.Series) -> list[Any]:
    """Values with None for what is missing."""
    missing = series.isna().tolist()
    return [None if gone else value for value, gone in zip(series.astype(object).tolist(), missing, strict=True)]


@settings(deadline=None, max_examples=60)
@given(st.lists(INT64))
def test_whole_numbers(values: list[int]) -> None:
    series = pd.Series(values, dtype="int64")
    pd.testing.assert_series_equal(back(series), series, check_names=False)


@settings(deadline=None, max_examples=60)
@given(optional(INT64))
def test_whole_numbers_with_missing_ones(values: list[int | None]) -> None:
    series = pd.Series(values, dtype="Int64")
    got = back(series)
    assert plain(got) == values and str(got.dtype) == ("Int64" if None in values else "int64")


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "UInt8", "float16", "float32", "Float64"])
def test_narrow_numbers_are_widened(dtype: str) -> None:
    got = back(pd.Series([1, 2], dtype=dtype))
    assert got.tolist() == [1, 2] and str(got.dtype) == ("float64" if "loat" in dtype else "int64")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats()))
def test_floats_to_the_last_bit(values: list[float]) -> None:
    got = back(pd.Series(values, dtype="float64"))
    assert got.dtype == "float64"
    for was, now in zip(values, got.tolist(), strict=True):
        assert was.hex() == now.hex() or (math.isnan(was) and math.isnan(now))


@settings(deadline=None, max_examples=60)
@given(optional(st.booleans()), st.sampled_from(["boolean", "object"]))
def test_truth_values(values: list[bool | None], dtype: str) -> None:
    got = back(pd.Series(values, dtype=dtype))
    assert plain(got) == values
    if any(value is not None for value in values):
        assert str(got.dtype) == ("boolean" if None in values else "bool")


@settings(deadline=None, max_examples=60)
@given(optional(TEXT), st.sampled_from(["string", "object", "str"]))
def test_texts(values: list[str | None], dtype: str) -> None:
    if dtype == "str" and int(pd.__version__.split(".")[0]) < 3:
        dtype = "object"
    assert plain(back(pd.Series(values, dtype=dtype))) == values


@settings(deadline=None, max_examples=60)
@given(optional(TEXT))
def test_a_single_column_keeps_its_missing_values(values: list[str | None]) -> None:
    frame = frames.load(frames.dump(pd.DataFrame({"only": pd.Series(values, dtype=object)}), "df"))
    assert plain(frame["only"]) == values


@settings(deadline=None, max_examples=60)
@given(optional(st.dates()))
def test_dates(values: list[dt.date | None]) -> None:
    assert plain(back(pd.Series(values, dtype=object))) == values


@settings(deadline=None, max_examples=60)
@given(optional(NAIVE), st.sampled_from(["us", "object"]))
def test_times_without_a_zone(values: list[dt.datetime | None], how: str) -> None:
    series = pd.Series(values, dtype=object if how == "object" else "datetime64[us]")
    assert plain(back(series)) == values


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-(2**62), 2**62)))
def test_nanoseconds(values: list[int]) -> None:
    series = pd.Series(np.array(values, dtype="M8[ns]"))
    assert (back(series) == series).all()


@settings(deadline=None, max_examples=60)
@given(optional(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))), ZONES)
def test_instants_and_their_zone(values: list[dt.datetime | None], zone: str) -> None:
    series = pd.Series(values, dtype="datetime64[us]").dt.tz_localize("UTC").dt.tz_convert(zone)
    got = back(series)
    pd.testing.assert_series_equal(got, series, check_names=False, check_dtype=False)
    assert str(got.dt.tz) == zone


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXT, min_size=1, max_size=5, unique=True), st.data(), st.booleans())
def test_categories(levels: list[str], data: st.DataObject, ordered: bool) -> None:
    values = data.draw(optional(st.sampled_from(levels)))
    series = pd.Series(pd.Categorical(values, categories=levels, ordered=ordered))
    pd.testing.assert_series_equal(back(series), series, check_names=False)


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXT, unique=True, max_size=4), st.integers(0, 3))
def test_names_of_columns_and_frames_without_any(names: list[str], rows: int) -> None:
    frame = pd.DataFrame({name: [1] * rows for name in names}, index=range(rows))
    got = frames.load(frames.dump(frame, "df"))
    assert list(got.columns) == names and len(got) == rows


def test_the_text_is_what_the_other_languages_read() -> None:
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None], dtype="Int64"),
            "x": [0.1, -math.inf],
            "ok": pd.array([True, None], dtype="boolean"),
            "s": ['a "b",\nc', ""],
            "day": [dt.date(2026, 11, 22), None],
            "at": pd.to_datetime(["2026-11-22T10:00:00.5Z", None]),
            "c": pd.Categorical(["lo", None], categories=["lo", "hi"]),
        }
    )
    head, _, body = frames.dump(frame, "df").decode().partition("\n")
    assert head == (
        '#trainjob-frame {"columns": [{"name": "n", "type": "int64"}, {"name": "x", "type": "float64"}, '
        '{"name": "ok", "type": "bool"}, {"name": "s", "type": "string"}, {"name": "day", "type": "date"}, '
        '{"name": "at", "type": "datetime", "timezone": "UTC"}, '
        '{"name": "c", "type": "category", "levels": ["lo", "hi"]}], "rows": 2}'
    )
    assert body == '1,0.1,true,"a ""b"",\nc",2026-11-22,2026-11-22T10:00:00.5Z,"lo"\n,-Inf,,"",,,\n'


def test_what_others_write_is_read_too() -> None:
    head = '#trainjob-frame {"columns":[{"name":"s","type":"string"},{"name":"x","type":"float64"}],"rows":3}\n'
    got = frames.load((head + 'bare,NaN\r\n,\r\n"",-Inf').encode())
    assert plain(got["s"]) == ["bare", None, ""] and plain(got["x"]) == [None, None, -math.inf]


def framed(values: Any) -> pd.DataFrame:
    return pd.DataFrame({"fine": range(len(values)), "bad": values})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([{"a": 1}], r"the column 'bad' holds a value of the type dict \(\{'a': 1\}\), which no other language gets"),
        ([[1, 2]], r"type list"),
        ([1 + 2j], r"type complex .*\.real and \.imag"),
        ([pd.Timedelta("1s")], r"Timedelta.*Send its seconds"),
        ([Decimal("1.1")], r"type decimal\.Decimal"),
        ([b"x"], r"type bytes"),
        ([pd.Period("2026-11")], r"Period"),
        (["a", 1], r"mixes values of the types int, str\. A column has one type"),
        ([2**64], r"holds 18446744073709551616, which is no 64-bit number"),
        (pd.Categorical([1, 2]), r"has the category 1 of the type int; .*rename_categories\(str\)"),
        (["a\0b"], r"the column 'bad' holds a NUL character, in 'a\\x00b'"),
        (["\ud800"], r"half of a character"),
    ],
)  # fmt: skip
def test_what_cannot_travel_is_named(values: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as told:
        frames.dump(framed(values), "df")
    assert str(told.value).startswith("--in df: ")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"a": [1]}, index=["x"]), r"its index .* would be lost.*Send df\.reset_index\(\)"),
        (pd.DataFrame({"a": [1]}, index=pd.Index([1], name="key")), r"its index .* would be lost"),
        (pd.DataFrame([[1]]), r"the column 0 is not named by text\. Name the columns: df\.columns = "),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), r"there are two columns 'a'"),
        (pd.DataFrame({("a", "b"): [1]}), r"the column \('a', 'b'\) is not named by text"),
    ],
)  # fmt: skip
def test_labels_that_would_be_lost(frame: pd.DataFrame, said: str) -> None:
    with pytest.raises(InputError, match=said):
        frames.dump(frame, "df")


def test_row_numbers_of_a_part_are_no_labels() -> None:
    assert frames.load(frames.dump(pd.DataFrame({"a": [1, 2, 3]}).query("a > 1"), "df"))["a"].tolist() == [2, 3]


def one(kind: str, body: str, rows: int = 1, **more: Any) -> bytes:
    import json

    head = {"columns": [{"name": "c", "type": kind, **more}], "rows": rows}
    return f"#trainjob-frame {json.dumps(head)}\n{body}".encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a,b\n1,2\n", "does not begin with a line '#trainjob-frame"),
        (b"\xff", "it is not UTF-8 at byte 0"),
        (b'#trainjob-frame {"rows": 1}\n', "does not begin with a line"),
        (b'#trainjob-frame {"columns": [{"name": 1, "type": "int64"}], "rows": 1}\n', "does not begin"),
        (one("matrix", "1\n"), "the column 'c' has the type 'matrix', unknown here"),
        (one("int64", "1\n", rows=2), "it ends or breaks in row 2 of 2, field 1 of 1"),
        (one("int64", "1\n2\n"), "it has more than the 1 rows"),
        (one("int64", "1,2\n"), "row 1 of 1 has not the 1 fields"),
        (one("int64", "one\n"), "the column 'c' is no int64: "),
        (one("int64", "9223372036854775808\n"), "the column 'c' is no int64: "),
        (one("bool", "yes\n"), "the column 'c' is no bool: 'yes'"),
        (one("datetime", "2026-11-22\n"), "'2026-11-22' is no time as in"),
        (one("date", "22.11.2026\n"), "is no date"),
        (one("string", '"open\n'), "it ends or breaks in row 1"),
        (one("category", "x\n", levels=["a"]), "'x' is none of its levels"),
        (one("category", "x\n"), "is no category"),
    ],
)
def test_files_that_are_no_frames(data: bytes, said: str) -> None:
    with pytest.raises(frames.FrameError, match=re.escape(said)):
        frames.load(data)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: one("string", text)))
def test_nothing_but_a_frame_error_comes_of_any_bytes(data: bytes) -> None:
    with contextlib.suppress(frames.FrameError):
        frames.load(data)


def test_a_quoted_field_that_never_ends_is_found_at_once() -> None:
    with pytest.raises(frames.FrameError):
        frames.load(one("string", '"' + '""' * 500_000 + "x"))


def test_pandas_is_not_imported_to_look_at_a_value() -> None:
    code = (
        "import sys; from jupyter_trainjob.client import frames\n"
        "assert not frames.is_frame([1]) and 'pandas' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
