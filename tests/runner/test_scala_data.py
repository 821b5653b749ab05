"""What Scala has of us, in one kernel: points, progress, seed, jars, variables in and out."""

from __future__ import annotations

import datetime
import math
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from .harness import Ended, notebook, run
from .kernels import needs_scala
from .test_kernelspecs import put as put_kernel
from .test_told import rows, told
from .test_variables import FRAME, VALUE, errors, got, put

POINTS = r"""
val drawn = scala.util.Random.nextInt()
println(drawn == new scala.util.Random(7L).nextInt(), sys.env("TRAINJOB_SEED"))
log_metric("loss", 0.1 + 0.2, 1)
log_metric("loss", Double.NaN, step = 2.5)
log_metrics(Map("größe" -> 3))
progress(0.25, null)
print("unfinished ")
for (i <- 1 to 1000) progress(i / 1000.0, "some\n words")
println("line\n::trainjob metric name=printed value=7")
def say(code: => Unit) = try code catch { case e: IllegalArgumentException => println(e.getMessage) }
say(log_metric("", 1)); say(log_metric("loss", 1, Double.PositiveInfinity)); say(progress(1.5))
say(log_metrics(Map("loss" -> "x")))
println(demo.Tiny.answer())
"""
VALUES = r"""
println(df.dtypes.map(_._2.stripSuffix("Type")).mkString(" "))
val first: Double = df.head.getDouble(2)
println(first == 0.1 + 0.2, df.head.isNullAt(1), df.collect()(2).getString(5).isEmpty, df.collect()(1).isNullAt(5))
val flags: List[Boolean] = value("flags").asInstanceOf[List[Boolean]]
val total: Int = numbers.sum
println(flags, total, value("numbers"), value("none"), value("moment"))
val same = df
val back = value
case class Person(name: String, age: Option[Int])
val people = Seq(Person("ü \"q\"\n", Some(3)), Person("b", None))
val pair = (1, 2.5, Array(1L, 2L), BigInt(2).pow(70), Double.NaN, java.time.LocalDate.of(2026, 11, 22), 'c', null)
val typed = Map("$type" -> 1)
val function = (x: Int) => x + 1
val stream = Iterator(1, 2)
val keyed = Map(1 -> "x")
val thread = Thread.currentThread
val nested = spark.range(1).selectExpr("array(id) as a")
val times = spark.sql("select timestamp'2026-11-22 10:00:00.25Z' as t, date'2026-11-22' as d, 'a,b' as s, null as n")
"""


CELLS = [
    "println(Runtime.getRuntime.availableProcessors)\nprintln(Runtime.getRuntime.maxMemory >> 20)",
    "if (false) println(1)\nelse println(2)",
    "scala.io.StdIn.readLine()",
    "val x = 1\nval y = = 2",
    'val a = 1\nval z: Int = "text"',
    "val y = 1\n\nval z = undefinedName + 1",
]
FINE = ["same", "back", "people", "pair", "typed", "numbers", "drawn"]
REFUSED = ["function", "stream", "keyed", "thread", "nested", "times", "unset"]


@pytest.fixture(scope="module", params=[True, False], ids=["compiled beforehand", "compiled in the kernel"])
def ended(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Ended:
    """What became of it all, in one kernel. The last cell fails: what was set before comes back all the same."""
    if shutil.which("javac") is None:
        pytest.skip("no javac to make a jar with")
    compiled = str(request.getfixturevalue("scala_compiled")) if request.param else ""
    folder = tmp_path_factory.mktemp("scala")
    (folder / "demo").mkdir()
    (folder / "demo" / "Tiny.java").write_text(
        "package demo;\npublic class Tiny { public static int answer() { return 42; } }\n"
    )
    subprocess.run(["javac", "demo/Tiny.java"], cwd=folder, check=True)
    jar = folder / "a blank" / "tiny.jar"
    jar.parent.mkdir()
    subprocess.run(["jar", "cf", str(jar), "demo/Tiny.class"], cwd=folder, check=True)
    made = notebook(POINTS, VALUES, *[(cell, ["raises-exception"]) for cell in CELLS], CELLS[-1])
    made.cells[-1].metadata["trainjob"] = {"firstLine": 2}
    return run(
        folder,
        made,
        language="scala",
        compiled=compiled,
        seed=7,
        jars=[str(jar)],
        variables=[put(folder, *one) for one in (("df", FRAME), ("value", VALUE), ("numbers", [1, 2, 3]))],
        results=[*FINE, *REFUSED],
        threads=1,
        memoryBytes=2**30,
        seconds=240,
    )


@needs_scala
@pytest.mark.slow
def test_scala_has_points_progress_seed_jars_and_variables(ended: Ended) -> None:
    assert ended.log.decode().splitlines()[:10] == [
        "(true,7)",
        "unfinished line",
        "a metric's name is a short text on one line, such as 'loss', not ''",
        "log_metric('loss', ...) takes a finite step, not Infinity",
        "progress takes a fraction from 0 to 1, not 1.5: done / all, for example",
        "log_metric('loss', ...) takes one number, not a String",
        "42",
        "Long Long Double Double Boolean String Date Timestamp String",
        "(true,false,true,true)",
        "(List(true, false),6,List(1, 2147483647, 9007199254740992),None,2026-11-22T10:00:00.250Z)",
    ]
    assert rows(ended) == [
        ["loss", "1", "0.30000000000000004"],
        ["loss", "2.5", "nan"],
        ["größe", "", "3.0"],
        ["printed", "", "7.0"],
    ]
    assert (1.0, "some words") in told(ended)
    same = got(ended, "same")
    assert isinstance(same, pd.DataFrame)
    assert same["long"].tolist()[0] == 2**53 and same["text"].tolist() == FRAME["text"].tolist()
    assert same["tiny"].tolist() == FRAME["tiny"].tolist() and same["date"].tolist() == FRAME["date"].tolist()
    assert (same["time"].dropna() == FRAME["time"].dropna()).all()
    assert same["kind"].tolist()[0] == "b"
    assert got(ended, "back") == VALUE
    assert got(ended, "people") == [{"name": 'ü "q"\n', "age": 3}, {"name": "b", "age": None}]
    pair = got(ended, "pair")
    assert math.isnan(pair.pop(4))
    assert pair == [1, 2.5, [1, 2], 2**70, datetime.date(2026, 11, 22), "c", None]
    assert got(ended, "typed") == {"$type": 1} and got(ended, "numbers") == [1, 2, 3]


@needs_scala
@pytest.mark.slow
def test_what_scala_can_not_give_is_named(ended: Ended) -> None:
    found = errors(ended)
    lead = "'{0}' can't be brought back: {0} is "
    assert found["function"] == lead.format("function") + "a function, which no other language gets"
    assert "which has no known end" in found["stream"] and "keys are text" in found["keyed"]
    assert "is of the class java.lang.Thread" in found["thread"]
    assert "the column 'a' is of the type array<bigint>" in found["nested"]
    assert "the column 'n' is of the type void" in found["times"]
    assert found["unset"] == "the code did not set a variable 'unset'"
    assert sorted(found) == sorted(REFUSED)


@needs_scala
@pytest.mark.slow
def test_scala_errors_tell_the_users_line_and_the_jvm_keeps_to_its_limits(ended: Ended) -> None:
    processors, heap, two = ended.log.decode().splitlines()[10:13]
    assert (processors, two) == ("1", "2")
    assert 600 < int(heap) < 750
    asked, unread, mistyped = (ended.notebook.cells[number].outputs[-1] for number in (4, 5, 6))
    assert "has nobody to answer it in a job. Pass the value as a parameter" in asked.evalue
    assert unread.evalue == "illegal start of simple expression"
    assert unread.traceback[0] == "line 2: error: illegal start of simple expression"
    assert (mistyped.evalue, mistyped.traceback[0]) == ("type mismatch", "line 2: error: type mismatch;")
    error = ended.end["error"]
    assert (ended.outcome, error["ename"], error["line"]) == ("error", "CompileError", 4)
    assert error["evalue"] == "not found: value undefinedName"
    assert error["traceback"].startswith("line 4: error: not found: value undefinedName\n")


def test_a_jar_whose_path_scala_can_not_take_is_refused_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_kernel(tmp_path, "some", {"argv": ["false"], "language": "scala"})
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    ended = run(tmp_path, notebook("1"), language="scala", kernel="some", jars=["/fine/a.jar", "/50%:/b#.jar"])
    assert ended.of("failed")[0]["message"] == (
        "Scala can't use the jar '/50%:/b#.jar': its path has '#', '%', ':' in it. "
        "Rename the file, or the folder that it lies in."
    )
