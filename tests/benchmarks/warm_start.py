"""Submit → first log line readable, where a kernel waits for the job: Python, R, Scala, and Python with its imports.

Beside it in the same run: the same job cold; ``jupyter execute``, papermill and jupyter-scheduler on the same notebook.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

from jupyter_trainjob.backends.local.warm import slot

from . import others
from .languages import kernels
from .server import RunningServer, running_server
from .stats import median, percentile
from .submit_latency import CODE, execute_once, submit_once

ROUNDS = 50
SCALA_ROUNDS = 10
"""Each takes half a minute of processor time to get ready."""
OTHER_ROUNDS = 5
IMPORTS = ["numpy", "pandas", "sklearn.linear_model"]
USES = """
import numpy, pandas
from sklearn.linear_model import LinearRegression
frame = pandas.DataFrame({"x": numpy.arange(50.0)})
fitted = LinearRegression().fit(frame[["x"]], 2 * frame["x"])
print(round(float(fitted.coef_[0])) - 1)
"""
R_CODE = "cat(1, '\\n')"
SCALA_CODE = "println(1)"
PYTHON_MS, R_MS, TOREE_MS, ALMOND_MS, IMPORTS_MS = 120, 120, 1000, 400, 200
WAIT_SECONDS = 600.0
STILL_SECONDS = 1.0
"""Longer than the pool leaves a job alone that has just begun."""


def await_warm(server: RunningServer) -> None:
    """Until a kernel waits, and nothing else is being started, nor was for a while: the pool follows its uses later."""
    until = time.monotonic() + WAIT_SECONDS
    still = time.monotonic()
    while True:
        there = list(slot.there(str(server.data_dir / "run")))
        if not there or not all(one.warm for one in there):
            still = time.monotonic()
        elif time.monotonic() - still > STILL_SECONDS:
            return
        if time.monotonic() > until:
            raise RuntimeError(f"no kernel waits: {there}\n{server.log_text()[-2000:]}")
        time.sleep(0.02)


def warm(code: str, rounds: int, *, imports: list[str] | None = None, **options: Any) -> tuple[list[float], str]:
    """Seconds to the first line, one job after the other, each after one that was cold; and the isolation."""
    told = ["--LocalBackendSettings.warm_memory=4Gi"]
    if imports:
        told.append(f"--LocalBackendSettings.warm_imports={{'default': {json.dumps(imports)}}}")
    taken = []
    with running_server(*told) as server:
        submit_once(server, code, **options)
        if options.get("language") == "scala":
            _until_compiled(server)
            submit_once(server, code, **options)
        for _ in range(rounds):
            await_warm(server)
            seconds, _, isolation = submit_once(server, code, **options)
            taken.append(seconds)
    return taken, isolation


def _until_compiled(server: RunningServer) -> None:
    until = time.monotonic() + 2 * WAIT_SECONDS
    while not list((server.data_dir / "compiled").glob("*/ready.json")):
        if time.monotonic() > until:
            raise RuntimeError("nothing was compiled for Scala")
        time.sleep(0.5)
    await_warm(server)
    for one in slot.there(str(server.data_dir / "run")):  # that started before
        slot.drop(str(server.data_dir / "run"), one.name)


def cold(rounds: int) -> list[float]:
    """The same without a pool."""
    with running_server() as server:
        submit_once(server)
        return [submit_once(server)[0] for _ in range(rounds)]


def beside(rounds: int) -> dict[str, float]:
    """Medians of what others take for the notebook of one cell."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        notebook = folder / "one.ipynb"
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(made, notebook)
        with others.scheduler(folder) as scheduler:
            ways: dict[str, Callable[[], float]] = {
                "jupyter_execute_median_s": lambda: execute_once(notebook),
                "papermill_median_s": lambda: others.papermill_once(folder, notebook),
                "jupyter_scheduler_median_s": lambda: scheduler.once("one.ipynb"),
            }
            taken: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(rounds + 1):
                for way, once in ways.items():
                    seconds = once()
                    if number:
                        taken[way].append(seconds)
    return {way: median(seconds, 3) for way, seconds in taken.items()}


def _told(name: str, found: tuple[list[float], str]) -> tuple[list[float], str]:
    """On stderr as it comes: the whole takes long, and should not be lost to its last part."""
    print(f"{name}: {[round(seconds * 1000) for seconds in found[0]]} ms, {found[1]}", file=sys.stderr, flush=True)
    return found


def run(*, quick: bool = False) -> dict[str, Any]:
    """Medians, and whether each figure is reached."""
    names = kernels()
    rounds = 5 if quick else ROUNDS
    python, isolation = _told("python", warm(CODE, rounds))
    heavy, _ = _told("imports", warm(USES, rounds, imports=IMPORTS, memory="2Gi"))
    r, _ = _told("r", warm(R_CODE, rounds, language="r"))
    cpus = str(os.cpu_count())
    scala_rounds = 2 if quick else SCALA_ROUNDS
    scala, _ = _told("scala", warm(SCALA_CODE, scala_rounds, language="scala", memory="2Gi", cpu=cpus))
    scala_ms = ALMOND_MS if "almond" in names["scala"] else TOREE_MS
    figures = {
        "benchmark": "warm_start",
        "rounds": rounds,
        "scala_rounds": scala_rounds,
        "isolation": isolation,
        "python_median_ms": round(median(python) * 1000),
        "python_p95_ms": round(percentile(python, 95) * 1000),
        "imports_median_ms": round(median(heavy) * 1000),
        "r_median_ms": round(median(r) * 1000),
        "scala_median_ms": round(median(scala) * 1000),
        "cold_python_median_ms": round(median(cold(OTHER_ROUNDS)) * 1000),
        **beside(2 if quick else OTHER_ROUNDS),
    }
    reached = (
        figures["python_median_ms"] <= PYTHON_MS
        and figures["imports_median_ms"] <= IMPORTS_MS
        and figures["r_median_ms"] <= R_MS
        and figures["scala_median_ms"] <= scala_ms
        and isolation != "process"
    )
    return {**figures, "pass": reached}
