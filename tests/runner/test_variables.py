"""Variables between languages: data frames and plain values, there and back. Scala's turn: test_scala_data."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from jupyter_trainjob.client import frames, typed
from jupyter_trainjob.runner import inframe

from .harness import Ended, notebook, run
from .kernels import needs_r

FRAME = pd.DataFrame(
    {
        "int": [1, -(2**31) + 1, 2**31 - 1],
        "long": pd.array([2**53, None, -(2**40)], dtype="Int64"),
        "float": [0.1 + 0.2, math.nan, math.inf],
        "tiny": [5e-324, -1.7976931348623157e308, 1 / 3],
        "bool": pd.array([True, None, False], dtype="boolean"),
        "text": ['a "quoted", ü\n𝄞', None, ""],
        "date": [datetime.date(2026, 11, 22), None, datetime.date(1600, 2, 29)],
        "time": pd.to_datetime(["2026-11-22T10:00:00.123456Z", None, "1969-12-31T23:59:59.999999Z"]),
        "kind": pd.Categorical(["b", None, "a"], categories=["b", "a", "c,\n"], ordered=True),
    }
)
VALUE = {
    "none": None,
    "flags": [True, False],
    "numbers": [1, 2**31 - 1, 2**53],
    "floats": [0.1, 1e300, math.inf],
    "odd": [1, "two", None, [3.5], {"k": "v"}],
    "text": 'ü 𝄞 "\n\\\t\u0001',
    "day": datetime.date(2026, 11, 22),
    "moment": datetime.datetime(2026, 11, 22, 10, 0, 0, 250000, tzinfo=datetime.timezone.utc),
    "empty": [],
    "$type": "map",
}


def put(folder: Path, name: str, value: Any) -> dict[str, Any]:
    """A variable as the supervisor lays it out."""
    (folder / "in").mkdir(exist_ok=True)
    path = folder / "in" / name
    form = "frame" if isinstance(value, pd.DataFrame) else "json"
    if form == "frame":
        path.write_bytes(frames.dump(value, name))
    else:
        path.write_text(json.dumps(typed.encode(value, name)))
    return {"file": str(path), "names": [name], "format": form}


def got(ended: Ended, name: str) -> Any:
    told = next(one for one in ended.end["results"] if one["name"] == name)
    assert not told["error"], told
    data = (ended.folder / "out" / "results" / name).read_bytes()
    assert told["size"] == len(data)
    return frames.load(data) if told["format"] == "frame" else typed.decode(json.loads(data))


def errors(ended: Ended) -> dict[str, str]:
    return {one["name"]: one["error"] for one in ended.end["results"] if one["error"]}


R_TELL = """
cat(vapply(df, function(one) class(one)[[1]], ""), "\\n")
cat(is.na(df$long), is.na(df$float), df$text == "", levels(df$kind), is.ordered(df$kind), "\\n")
cat(sprintf("%a", df$float[[1]]), attr(df$time, "tzone"), nrow(df), "\\n")
cat(class(value$flags), class(value$numbers), is.null(value$none), length(value$odd), class(value$moment)[[1]], "\\n")
same <- df
back <- value
"""


@needs_r
def test_frames_and_values_go_to_r_and_back(tmp_path: Path) -> None:
    empty = pd.DataFrame({"a": pd.Series([], dtype="int64"), "b": pd.Series([], dtype="str")})
    last = pd.DataFrame({"only": ["x", "", None]})
    variables = [put(tmp_path, *one) for one in (("df", FRAME), ("value", VALUE), ("none", empty), ("last", last))]
    results = ["same", "back", "none", "last"]
    ended = run(tmp_path, notebook(R_TELL), language="R", variables=variables, results=results)
    assert ended.outcome == "ok", ended.end["error"]
    assert [line.strip() for line in ended.log.decode().splitlines() if line != "a c,"] == [
        "integer numeric numeric numeric logical character Date POSIXct ordered",
        "FALSE TRUE FALSE FALSE TRUE FALSE FALSE NA TRUE b a c,",
        "TRUE",
        "0x1.3333333333334p-2 UTC 3",
        "logical numeric TRUE 5 POSIXct",
    ]
    wanted = FRAME.copy()
    wanted["long"] = wanted["long"].astype("float64")  # beyond 2^31 R has doubles
    pd.testing.assert_frame_equal(got(ended, "same"), wanted, check_dtype=False)
    assert got(ended, "same")["int"].dtype == "int64" and got(ended, "same")["kind"].dtype == FRAME["kind"].dtype
    assert list(got(ended, "none").columns) == ["a", "b"] and len(got(ended, "none")) == 0
    pd.testing.assert_frame_equal(got(ended, "last"), last)
    back = got(ended, "back")
    assert back == {**VALUE, "odd": [1, "two", None, 3.5, {"k": "v"}]}  # a vector of one is a number there


R_GIVES = """
a <- 5; b <- 5L; c <- c(x = 1.5, y = NaN); d <- list(1, "two", NULL, TRUE); e <- NULL; f <- c(TRUE, NA)
g <- as.Date("2026-11-22"); h <- matrix(1:4, 2, byrow = TRUE); i <- list(p = list(q = 1:3), r = "s"); j <- I(7L)
k <- factor(c("u", "v")); l <- character(); m <- as.POSIXct(0.1 + 1e9, origin = "1970-01-01", tz = "Europe/Berlin")
n <- list(`$type` = "x"); o <- c(NA_character_, "\\u00fc"); p <- table(c("a", "b", "a")); q <- 1e15; r <- list()
no1 <- function(x) x; no2 <- new.env(); no3 <- list(a = list(1, textConnection("x"))); no4 <- 1i; no5 <- quote(x + y)
no6 <- list(x = 1, x = 2); no7 <- list(deep = list(sum)); no8 <- lm(dist ~ speed, cars)
no9 <- as.difftime(3, units = "mins")
no10 <- data.frame(n = 1:2); no10$l <- list(1, 2); no11 <- mtcars; no12 <- data.frame(z = 1i)
half <- data.frame(v = c(2, 4))[2, , drop = FALSE]
cars2 <- data.frame(v = cars$speed)
"""


@needs_r
def test_what_r_gives_back_and_what_it_can_not(tmp_path: Path) -> None:
    fine = [*"abcdefghijklmnopqr", "half", "cars2"]
    results = [*fine, *(f"no{number}" for number in range(1, 13)), "unset"]
    ended = run(tmp_path, notebook(R_GIVES), language="R", results=results)
    assert ended.outcome == "ok", ended.end["error"]
    found = {name: got(ended, name) for name in "abdefghijklmnopqr"}
    assert found == {
        "a": 5.0,
        "b": 5,
        "d": [1.0, "two", None, True],
        "e": None,
        "f": [True, None],
        "g": datetime.date(2026, 11, 22),
        "h": [[1, 2], [3, 4]],
        "i": {"p": {"q": [1, 2, 3]}, "r": "s"},
        "j": [7],
        "k": ["u", "v"],
        "l": [],
        "m": datetime.datetime(2001, 9, 9, 1, 46, 40, 100000, tzinfo=datetime.timezone.utc),
        "n": {"$type": "x"},
        "o": [None, "ü"],
        "p": {"a": 2, "b": 1},
        "q": 1e15,
        "r": [],
    }
    assert isinstance(found["a"], float) and isinstance(found["b"], int)
    assert got(ended, "c")["x"] == 1.5 and math.isnan(got(ended, "c")["y"])
    assert got(ended, "half")["v"].tolist() == [4.0]
    assert len(got(ended, "cars2")) == 50
    told = errors(ended)
    lead = "'{0}' can't be brought back: {0}"
    assert told.pop("no1") == lead.format("no1") + " is a function, which no other language gets"
    assert told.pop("no2") == lead.format("no2") + " is an environment, which no other language gets"
    assert told.pop("no7") == lead.format("no7") + '[["deep"]][[1]] is a function, which no other language gets'
    assert told.pop("no5") == lead.format("no5") + " is R code, which no other language gets"
    assert "row names would be lost" in told.pop("no11")
    assert "the column 'l' is a list" in told.pop("no10")
    assert "the column 'z' holds values of the type complex" in told.pop("no12")
    assert "two elements of no6 have the same name" in told.pop("no6")
    assert "as.numeric(x, units" in told.pop("no9")
    assert told.pop("unset") == "the code did not set a variable 'unset'"
    assert sorted(told) == ["no3", "no4", "no8"], told


@needs_r
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (pd.DataFrame({"id": [1, 2**53 + 1]}), "the column 'id' holds 9007199254740993, which R can't hold exactly"),
        (2**60, "R can't hold 1152921504606846976 exactly; send it as a string"),
    ],
)
def test_what_r_can_not_hold_fails_before_the_code_runs(tmp_path: Path, value: Any, text: str) -> None:
    ended = run(tmp_path, notebook("cat('ran')"), language="R", variables=[put(tmp_path, "x", value)])
    assert (ended.outcome, ended.end["error"]["ename"], ended.log) == ("error", "VariablesError", b"")
    assert text in ended.end["error"]["evalue"]


@needs_r
def test_pickles_do_not_go_to_r(tmp_path: Path) -> None:
    ended = run(tmp_path, notebook("1"), language="R", variables=[{"file": "/nothing", "names": ["x", "y"]}])
    assert ended.end["error"]["evalue"] == (
        "The variables x, y can't be brought in: they are pickled, and only Python reads pickles; this is 'r'"
    )


def test_python_takes_frames_and_values_too(tmp_path: Path) -> None:
    code = "import pandas\nassert isinstance(df, pandas.DataFrame)"
    variables = [put(tmp_path, "df", FRAME), put(tmp_path, "value", VALUE)]
    ended = run(tmp_path, notebook(code), variables=variables, results=["df", "value"])
    assert ended.outcome == "ok", ended.end["error"]
    results = tmp_path / "out" / "results"
    pd.testing.assert_frame_equal(pd.read_pickle(results / "df"), frames.load(frames.dump(FRAME, "df")))
    assert pd.read_pickle(results / "value") == VALUE


def test_a_frame_without_pandas_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "pandas.py").write_text("raise ImportError('No module named pandas')")
    ended = run(tmp_path, notebook("1"), variables=[put(tmp_path, "df", FRAME)])
    assert ended.end["error"]["evalue"].startswith("The variable df is a data frame, and there is no pandas here")


def test_a_damaged_frame_is_refused_by_name(tmp_path: Path) -> None:
    one = put(tmp_path, "df", FRAME)
    Path(one["file"]).write_text("a,b\n1,2\n")
    ended = run(tmp_path, notebook("1"), variables=[one])
    assert ended.end["error"]["evalue"] == "The variable df can't be read: it is no frame file."


def framed(columns: list[dict[str, Any]], rows: int, body: str) -> bytes:
    return (frames.MAGIC + json.dumps({"columns": columns, "rows": rows}) + "\n" + body).encode()


INTS = [{"name": "a", "type": "int64"}, {"name": "b", "type": "int64"}]
ONE_FLAG = [{"name": "a", "type": "bool"}]
ZONED = [{"name": "a", "type": "datetime", "timezone": "Nowhere/Town"}]


@pytest.mark.parametrize(
    "data",
    [
        frames.dump(FRAME, "df"),
        frames.dump(FRAME[:0], "df"),
        framed(ONE_FLAG, 3, "true\n\nfalse"),
        framed(ZONED, 2, "2026-11-22T10:00:00Z\n\n"),  # known elsewhere: the instants are the same
        framed([], 2, ""),
    ],
    ids=["all", "no-rows", "no-last-newline", "unknown-zone", "no-columns"],
)
def test_the_kernels_reader_takes_what_the_clients_takes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "df").write_bytes(data)
    pd.testing.assert_frame_equal(inframe.read(str(tmp_path / "df")), frames.load(data), check_dtype=False)


@pytest.mark.parametrize(
    ("columns", "rows", "body"),
    [
        (INTS, 2, "1,2,3\n4\n"),
        (INTS, 2, "1\n2,3,4\n"),
        (INTS, 1, "1,2\n3,4\n"),
        (INTS, 2, "1,2\n"),
        (INTS, 1, "1,two\n"),
        (ONE_FLAG, 1, "wrong\n"),
        ([{"name": "a", "type": "category", "levels": ["x"]}], 1, "y\n"),
        ([{"name": "a", "type": "complex"}], 1, "1\n"),
    ],
)
def test_the_kernels_reader_refuses_what_the_clients_refuses(
    tmp_path: Path, columns: list[dict[str, Any]], rows: int, body: str
) -> None:
    data = framed(columns, rows, body)
    (tmp_path / "df").write_bytes(data)
    with pytest.raises(frames.FrameError):
        frames.load(data)
    with pytest.raises(ValueError, match=r"row|'two'|'wrong'|'y' is none of the levels|unknown here"):
        inframe.read(str(tmp_path / "df"))


R_EDGES = r"""
frame <- data.frame(day = as.Date(c("0500-01-01", NA, "0012-12-31")), n = 1:3)
named <- setNames(list(), character(0))
within <- list(a = named, b = setNames(integer(0), character(0)), c = list())
days <- c(as.Date("0500-01-01"), first, as.Date("9999-12-31"))
moment <- as.POSIXct("0012-03-04 05:06:07", tz = "UTC")
levels <- data.frame(kind = factor(c(NA, NA)))
byte <- rawToChar(as.raw(c(0x41, 0xff)))
bytes <- data.frame(text = c("a", byte))
latin <- "\xe4"
Encoding(latin) <- "latin1"
plain <- "\u00e4"
"""


@needs_r
def test_rs_edges_come_back_as_they_are_or_are_refused(tmp_path: Path) -> None:
    names = [
        "frame",
        "named",
        "nothing",
        "within",
        "first",
        "days",
        "moment",
        "levels",
        "byte",
        "bytes",
        "latin",
        "plain",
    ]
    first = datetime.date(1, 1, 1)
    ended = run(tmp_path, notebook(R_EDGES), language="R", results=names, parameters=_encoded(nothing={}, first=first))
    assert ended.outcome == "ok", ended.log
    assert got(ended, "frame")["day"].tolist() == [datetime.date(500, 1, 1), None, datetime.date(12, 12, 31)]
    assert (got(ended, "named"), got(ended, "nothing")) == ({}, {})
    assert got(ended, "within") == {"a": {}, "b": {}, "c": []}
    assert got(ended, "first") == first
    assert got(ended, "days") == [datetime.date(500, 1, 1), first, datetime.date(9999, 12, 31)]
    assert got(ended, "moment") == datetime.datetime(12, 3, 4, 5, 6, 7, tzinfo=datetime.timezone.utc)
    assert got(ended, "levels")["kind"].isna().all()
    assert (got(ended, "latin"), got(ended, "plain")) == ("ä", "ä")
    said = errors(ended)
    assert set(said) == {"byte", "bytes"}
    assert "byte holds text that is not valid in its encoding; see iconv()" in said["byte"]
    assert "the column 'text' holds text that is not valid in its encoding" in said["bytes"]


def _encoded(**values: Any) -> dict[str, Any]:
    return {name: typed.encode(value, name) for name, value in values.items()}
