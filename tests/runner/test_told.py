"""Lines for us in what is printed: points and progress in any language, and nothing else is touched."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.runner import languages
from jupyter_trainjob.runner.told import Lines, Point, Points, Progress, parse

from .harness import Ended, notebook, run
from .kernels import needs_r

SAID = [b"::trainjob metric name=loss value=0.5 step=3\n", b"::trainjob progress 0.25 a quarter\n"]
TEXT = [b"a", b"\n", b":", b"::train", b"::trainjob ", b"::trainjob metric name=\n", b"x" * 5000, b"\xff", b"\r\n"]


def through(pieces: list[bytes]) -> tuple[bytes, list[Any]]:
    lines, text, said = Lines(), b"", []
    for piece in pieces:
        for part in lines.feed(piece):
            if isinstance(part, (Point, Progress)):
                said.append(part)
            else:
                text += part
    return text + lines.release(), said


def without_times(said: list[Any]) -> list[Any]:
    return [one.rpartition(b"\t")[0] if isinstance(one, Point) else one for one in said]


@given(st.lists(st.sampled_from(SAID + TEXT), max_size=30), st.lists(st.integers(0, 3000)))
def test_they_are_found_wherever_reads_cut_them(pieces: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(pieces)
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    text, said = through([whole[begin:end] for begin, end in itertools.pairwise(edges)])
    lines = whole.split(b"\n")
    ours = [line for line in lines[:-1] if line + b"\n" in SAID]
    assert (
        text
        == b"\n".join(line for line in lines[:-1] if line + b"\n" not in SAID)
        + (b"\n" if len(lines) - 1 > len(ours) else b"")
        + lines[-1]
    )
    assert without_times(said) == without_times(through(ours and [b"\n".join(ours) + b"\n"])[1])
    assert len(said) == len(ours)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"metric name=loss value=0.31 step=10", b"loss\t10\t0.31"),
        (b"metric value=1e-3 name=loss", b"loss\t\t0.001"),
        (b'metric name="train loss" value=-inf step=0.5 \r', b"train loss\t0.5\t-inf"),
        (b"metric name=loss value=NaN", b"loss\t\tnan"),
        ("metric name=größe value=3".encode(), "größe\t\t3.0".encode()),
        (b"progress 0.4 message  of\twords", {"fraction": 0.4, "message": "message of words"}),
        (b"progress 1", {"fraction": 1.0, "message": ""}),
    ],
)
def test_what_a_line_says(line: bytes, said: Any) -> None:
    found = parse(line)
    assert (found.rpartition(b"\t")[0] if isinstance(found, Point) else found) == said


@pytest.mark.parametrize(
    "line",
    [
        *(b"metric name=loss", b"metric value=1", b"metric name=loss value=x", b"metric name=loss value=1_0"),
        *(b"metric name=loss value=1 step=inf", b"metric name=loss value=1 value=2", b"metric name=a b value=1"),
        *(b"metric name= value=1", b"metric name=" + b"x" * 201 + b" value=1", b"metric name=\xff value=1", b"metric"),
        *(b"progress", b"progress 1.5", b"progress nan", b"progress -0.1", b"progress half", b"other 1", b""),
    ],
)
def test_a_malformed_line_is_text(line: bytes) -> None:
    assert parse(line) is None
    assert through([b"::trainjob " + line + b"\n"]) == (b"::trainjob " + line + b"\n", [])


def test_only_a_line_of_its_own_counts() -> None:
    line = SAID[0]
    assert through([b"x" + line])[1] == []
    assert through([b"x", line])[1] == []
    assert len(through([b"x\n", line])[1]) == 1
    assert through([b"\r" + line])[1] == []


def test_a_gigabyte_without_them_costs_next_to_nothing() -> None:
    block = (b"step 100 loss 0.31 :: and more words of an ordinary line\n" * 5000)[: 256 * 1024]
    lines, begin = Lines(), time.process_time()
    for _ in range(1024):
        for _ in lines.feed(block):
            pass
    assert time.process_time() - begin < 2.0  # 256 MiB; some 0.1 s where the machine is idle


def test_the_file_of_points_is_never_anything_else(tmp_path: Path) -> None:
    os.symlink("/dev/null", tmp_path / "link")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo"):
        with pytest.raises(OSError):
            Points(tmp_path / name).write(b"a\t\t1\t2\n")
    points = Points(tmp_path / "fine")
    points.write(b"a\t\t1\t2\n")
    points.write(b"b\t\t1\t2\n")
    assert (tmp_path / "fine").read_bytes() == b"a\t\t1\t2\nb\t\t1\t2\n"


def rows(ended: Ended) -> list[list[str]]:
    return [line.split("\t")[:3] for line in (ended.folder / "out" / "metrics.tsv").read_text().splitlines()]


def told(ended: Ended) -> list[tuple[Any, str]]:
    return [(one["fraction"], one["message"]) for one in ended.of("progress")]


def test_a_job_prints_points_and_progress(tmp_path: Path) -> None:
    code = """
import subprocess, sys
from jupyter_trainjob import log_metric
print("before")
print("::trainjob metric name=loss value=0.5 step=1")
log_metric("loss", 0.25, 2)
print(":", end=""); print(":trainjob metric name=loss value=0.125 step=3")
subprocess.run(["sh", "-c", "echo '::trainjob metric name=acc value=1'; echo '::trainjob progress 0.5 half'"])
print("::trainjob metric name=loss value=high")
print("in ::trainjob progress 0.1")
print("::trainjob progress 0.1", file=sys.stderr)
print("after")
print("::trainjob progress", end="")
"""
    ended = run(tmp_path, notebook(code, "print(':', end='', flush=True)"))
    kept = (
        "before\n::trainjob metric name=loss value=high\nin ::trainjob progress 0.1\n::trainjob progress 0.1\nafter\n"
    )
    assert ended.log.decode() == kept + "::trainjob progress:"
    wanted = [["acc", "", "1.0"], ["loss", "1", "0.5"], ["loss", "2", "0.25"], ["loss", "3", "0.125"]]
    assert sorted(rows(ended)) == wanted  # what is printed takes the longer way
    assert (0.5, "half") in told(ended)
    assert 0.1 not in [fraction for fraction, _ in told(ended)]
    assert ended.notebook.cells[0].outputs[0].text.startswith("before\n::trainjob metric name=loss value=high\n")


def test_progress_is_told_ten_times_a_second_and_the_last_one_always(tmp_path: Path) -> None:
    code = "import time\nfor i in range(2000):\n    print(f'::trainjob progress {i / 2000} at {i}')\ntime.sleep(0.3)"
    ended = run(tmp_path, notebook(code))
    assert ended.log == b""
    found = told(ended)
    assert len(found) < 20 + 10 * ended.seconds
    assert found[-1] == (1999 / 2000, "at 1999")


def test_a_beginning_that_stays_one_is_shown_while_the_cell_runs(tmp_path: Path) -> None:
    code = "import time\nprint('::', end='')\ntime.sleep(2)\nprint(time.time())"
    ended = run(tmp_path, notebook(code))
    assert ended.log.startswith(b"::1")


def test_points_that_can_not_be_written_are_told_once_and_fail_nothing(tmp_path: Path) -> None:
    code = "import os\nos.mkdir(os.environ['TRAINJOB_METRICS'])\n" + "print('::trainjob metric name=a value=1')\n" * 3
    ended = run(tmp_path, notebook(code))
    assert ended.outcome == "ok"
    assert ended.log == b"[metrics are lost: their file can't be written: Is a directory]\n"


R_CODE = r"""
log_metric("loss", 0.1 + 0.2, step = 1)
log_metric("loss", 1/3, step = 2L)
log_metric("loss", NaN); log_metric("loss", -Inf); log_metric("größe", TRUE, 0.5)
log_metrics(c(a = 1, b = 2), step = 3)
closeAllConnections()
log_metrics(list(a = 1L, b = 1e300))
child <- function(i) { for (s in 1:500) log_metric(paste0("child", i), s, s); i }
invisible(parallel::mclapply(1:2, child, mc.cores = 2))
cat("unfinished ")
for (i in 1:1000) progress(i / 1000, "some\n words")
cat("line\n::trainjob metric name=printed value=7\n")
say <- function(code) tryCatch(code, error = function(e) cat(conditionMessage(e), "\n", sep = ""))
say(log_metric("", 1)); say(log_metric("a\tb", 1)); say(log_metric("loss", c(1, 2))); say(log_metric("loss", "x"))
say(log_metric("loss", 1, Inf)); say(progress(1.5)); say(progress(NA))
say(log_metrics(1:2))
cat(exists("log_metric", globalenv(), inherits = FALSE), "\n")
Sys.sleep(0.3)
progress(0.5, NA)
"""


@needs_r
def test_r_logs_points_and_tells_progress(tmp_path: Path) -> None:
    ended = run(tmp_path, notebook(R_CODE), language="R")
    assert ended.outcome == "ok", ended.end
    assert ended.log.decode().splitlines() == [
        "unfinished line",
        "a metric's name is a short text on one line, such as 'loss', not \"\"",
        "a metric's name is a short text on one line, such as 'loss', not \"a\\tb\"",
        "log_metric('loss', ...) takes one number, not a vector of 2; of a vector log its mean, say, or each element "
        "under a name of its own",
        "log_metric('loss', ...) takes one number, not a character; of a vector log its mean, say, or each element "
        "under a name of its own",
        "log_metric('loss', ...) takes a finite step, not Inf",
        "progress takes a fraction from 0 to 1, not 1.5: done / all, for example",
        "progress takes a fraction from 0 to 1, not NA: done / all, for example",
        "log_metrics() takes named values, such as c(loss = 0.5, accuracy = 0.9)",
        "FALSE ",
    ]
    found = rows(ended)
    assert [row[:2] for row in found[:2]] == [["loss", "1"], ["loss", "2"]]
    assert [float(row[2]) for row in found[:2]] == [0.1 + 0.2, 1 / 3]
    assert found[2:5] == [["loss", "", "nan"], ["loss", "", "-inf"], ["größe", "0.5", "1"]]
    assert found[5:8] == [["a", "3", "1"], ["b", "3", "2"], ["a", "", "1"]]
    assert float(found[8][2]) == 1e300
    for child in ("child1", "child2"):
        assert [row[1] for row in found if row[0] == child] == [str(step) for step in range(1, 501)]
    assert found[-1] == ["printed", "", "7.0"]
    assert (1.0, "some words") in told(ended)
    assert told(ended)[-1] == (0.5, "")


R_AT_ONCE = r"""
made <- new.env(parent = baseenv())
sys.source(commandArgs(TRUE)[[1]], made, keep.source = FALSE)
made$log_metric("50%s größe", 1/3, 2L)
closeAllConnections()
mine <- file("mine.txt", open = "w") # has now the number among R's connections that the file of points had
made$log_metric("loss", 1/3, 1e20)
cat("mine\n", file = mine)
values <- stats::setNames(1:200 / 3, paste0("a metric whose name fills the buffer soon: ", 1:200))
child <- function(i) for (s in 1:20) made$log_metrics(values, i)
invisible(parallel::mclapply(1:3, child, mc.cores = 3))
made$log_metric("loss", 7)
tools::pskill(Sys.getpid(), tools::SIGKILL)
"""


@needs_r
def test_each_point_of_r_is_in_the_file_at_once_and_whole(tmp_path: Path) -> None:
    script, points = tmp_path / "log.R", tmp_path / "metrics.tsv"
    script.write_text(R_AT_ONCE, encoding="utf-8")
    agent = Path(languages.__file__).with_name("inkernel.R")
    environment = {**os.environ, "TRAINJOB_METRICS": str(points), "LC_ALL": "C.UTF-8"}
    ended = subprocess.run(["Rscript", str(script), str(agent)], cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    found = [line.split("\t") for line in points.read_text(encoding="utf-8").splitlines()]
    assert {len(row) for row in found} == {4}
    assert [(row[0], float(row[1]), float(row[2])) for row in found[:2]] == [
        ("50%s größe", 2, 1 / 3),
        ("loss", 1e20, 1 / 3),
    ]
    assert found[-1][:3] == ["loss", "", "7"]
    expected = {f"a metric whose name fills the buffer soon: {n}": 60 for n in range(1, 201)}
    assert Counter(row[0] for row in found[2:-1]) == expected
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") in ("", "mine\n")
