"""What code in a job has of us: log_metric and progress; the same names do nothing outside one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jupyter_trainjob
from jupyter_trainjob.runner.injob import jupyter_trainjob as injob

INJOB = Path(injob.__file__).parent.parent


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRAINJOB_METRICS", str(tmp_path / "metrics.tsv"))
    monkeypatch.setattr(injob, "_opened", None)
    return tmp_path / "metrics.tsv"


def rows(file: Path) -> list[list[str]]:
    return [line.split("\t") for line in file.read_text().splitlines()]


def test_the_package_has_the_same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRAINJOB_METRICS", raising=False)
    monkeypatch.setattr(injob, "_opened", None)
    assert jupyter_trainjob.log_metric is injob.log_metric and jupyter_trainjob.progress is injob.progress
    jupyter_trainjob.log_metric("loss", 0.5)  # outside a job: nothing happens, and nothing fails


@given(st.lists(st.tuples(st.floats(), st.none() | st.integers(-(2**40), 2**40)), min_size=1, max_size=20))
def test_every_number_is_written_so_that_it_reads_as_itself(points: list[tuple[float, int | None]]) -> None:
    for value, step in points:
        name, at, text, _ = injob.point("loss", value, step).decode().rstrip("\n").split("\t")
        assert name == "loss" and at == ("" if step is None else str(step))
        assert float(text) == value or (math.isnan(value) and math.isnan(float(text)))


def test_points_are_appended_one_line_each(file: Path) -> None:
    injob.log_metric("loss", 0.5, step=1)
    injob.log_metrics({"loss": 0.25, "accuracy": 1}, step=2)
    injob.log_metric("loss", True)
    assert [row[:3] for row in rows(file)] == [
        ["loss", "1", "0.5"],
        ["loss", "2", "0.25"],
        ["accuracy", "2", "1.0"],
        ["loss", "", "1.0"],
    ]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: injob.log_metric("", 1),
            ValueError,
            "a metric's name is a short text on one line, such as 'loss', not ''",
        ),
        (lambda: injob.log_metric("a\tb", 1), ValueError, "a short text on one line"),
        (lambda: injob.log_metric("x" * 201, 1), ValueError, "a short text on one line"),
        (lambda: injob.log_metric("loss", [1, 2]), TypeError, "takes one number, not a list"),
        (lambda: injob.log_metric("loss", 1, math.inf), ValueError, "takes a finite step, not inf"),
        (lambda: injob.log_metric("loss", 10**400), ValueError, "takes a number of up to 1.8e308, not a larger one"),
        (lambda: injob.log_metric("loss", 1, "x"), ValueError, "takes a finite step, not 'x'"),
        (lambda: injob.log_metric("loss", 1, 10**400), ValueError, "takes a finite step, not 1000"),
        (lambda: injob.progress("x"), ValueError, "a fraction from 0 to 1, not 'x'"),
        (lambda: injob.progress(None), ValueError, "a fraction from 0 to 1, not None"),
        (lambda: injob.progress(1.5), ValueError, "a fraction from 0 to 1, not 1.5"),
        (lambda: injob.progress(math.nan), ValueError, "a fraction from 0 to 1, not nan"),
        (lambda: injob.Client, AttributeError, "In a job, jupyter_trainjob has log_metric, log_metrics, progress only"),
    ],
)
def test_what_is_no_point_is_told(file: Path, call: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match="^.*" + text.replace("(", r"\(")) as told:
        call()  # type: ignore[operator]
    assert text in str(told.value) and not file.exists()


SCRIPT = """
import os
from jupyter_trainjob import log_metric, progress
if os.fork() == 0:
    for step in range(20_000):
        log_metric("child", step, step)
    os._exit(0)
for step in range(20_000):
    log_metric("parent", step, step)
os.wait()
progress(0.25, "a  quarter\\nof it")
progress(1, None)
"""


def test_any_python_of_the_job_may_log_and_two_at_once_mix_no_lines(tmp_path: Path) -> None:
    file = tmp_path / "metrics.tsv"
    environment = {**os.environ, "PYTHONPATH": str(INJOB), "TRAINJOB_METRICS": str(file)}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "::trainjob progress 0.25 a quarter of it\n::trainjob progress 1.0\n"
    found = rows(file)
    assert len(found) == 40_000
    for name in ("parent", "child"):
        assert [row[1] for row in found if row[0] == name] == [str(step) for step in range(20_000)]


OFTEN = """
from jupyter_trainjob import progress
for step in range(1000):
    progress(step / 1000, "training")
progress(0.5, "saving")
progress(0.5, "saving")
progress(1, "saving")
"""


def test_progress_is_held_back_while_its_words_stay_the_same_and_other_words_are_told_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(INJOB), "TRAINJOB_METRICS": str(tmp_path / "metrics.tsv")}
    done = subprocess.run(
        [sys.executable, "-c", OFTEN], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    *training, saving, last = done.stdout.splitlines()
    assert training[0] == "::trainjob progress 0.0 training" and len(training) < 100
    assert (saving, last) == ("::trainjob progress 0.5 saving", "::trainjob progress 1.0 saving")


def test_it_needs_the_standard_library_only(tmp_path: Path) -> None:
    code = "import sys, json, jupyter_trainjob as ours; print(json.dumps([ours.__file__, sorted(sys.modules)]))"
    command, environment = [sys.executable, "-S", "-c", code], {"PYTHONPATH": str(INJOB)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True, timeout=60)
    where, modules = json.loads(done.stdout)
    assert Path(where) == Path(injob.__file__) and "IPython" not in modules and "typing" in modules
