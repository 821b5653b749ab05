"""R and Scala in the sandbox, with the real runner: a job sees their kernels and what these need."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.paths import jupyter_path

from .conftest import MakePlace

LANGUAGES = {spec["spec"]["language"].lower() for spec in KernelSpecManager().get_all_specs().values()}
needs_r = pytest.mark.skipif("r" not in LANGUAGES, reason="no R kernel is installed (r-cran-irkernel)")
needs_scala = pytest.mark.skipif("scala" not in LANGUAGES, reason="no Scala kernel is installed; see scripts/kernels")
FILES = {"openFiles": 1024}
"""R refuses to start with fewer than 256."""
OPTIONS: dict[str, Any] = {"runner": (), "kernelspec_dirs": tuple(jupyter_path("kernels"))}


@needs_r
@pytest.mark.asyncio
async def test_an_r_cell_runs_in_the_sandbox_and_its_plot_is_kept(make_place: MakePlace) -> None:
    place = await make_place(**OPTIONS)
    code = "cat('sum', sum(1:lr), Sys.getenv('HOME'), '\\n')\nplot(1:3)\nwriteLines('kept', 'kept.txt')"
    ref = await place.begin(code, environment={"language": "r"}, parameters={"lr": 4}, resources=FILES)
    seen = await place.until(ref, "ended", seconds=120)
    log = (await place.log(ref)).decode()
    assert log.startswith("sum 10 /tmp/home"), (log, seen.evidence, seen.claims)
    notebook = nbformat.reads(place.store.get(f"jobs/{ref.uid}/1/notebook.ipynb").decode(), as_version=4)
    assert any("image/png" in one.get("data", {}) for cell in notebook.cells for one in cell.get("outputs", []))


@needs_scala
@pytest.mark.slow
@pytest.mark.asyncio
async def test_scala_runs_in_the_sandbox_and_is_compiled_for_the_next_job_which_can_not_change_it(
    make_place: MakePlace,
) -> None:
    place = await make_place(**OPTIONS)
    limits = {"memory": "2Gi", "processes": 256, "openFiles": 1024, "disk": "1Gi"}
    asked: dict[str, Any] = {"environment": {"language": "scala"}, "resources": limits, "timeLimitSeconds": 300}
    code = 'println("sum " + (1 to n).sum)\nprintln(Runtime.getRuntime.availableProcessors)\n'
    code += "val kept = spark.range(5).count()"
    first = await place.begin(code, **asked, parameters={"n": 4}, outputs={"names": ["kept"]})
    orders = json.loads(Path(place.folder(first).file("in", "job.json")).read_text())
    compiled = Path(orders["compiled"])
    ended = await place.until(first, "ended", seconds=330)
    log = (await place.log(first)).decode()
    assert log.startswith("sum 10\n1\n"), (log[-3000:], ended)
    assert "trainjob" not in log, "what we bring into the kernel is not the job's to see"
    (kept,) = ended.claims["end"]["results"]
    assert (kept["format"], kept["error"]) == ("json", ""), ended
    assert place.store.get(f"jobs/{first.uid}/1/results/kept").strip() == b"5"

    deadline = time.monotonic() + 300
    while not list(compiled.glob("*/classes.jsa")):
        assert time.monotonic() < deadline, list(compiled.glob("*"))
        time.sleep(0.2)
    code = f"""
println(kernel.interpreter("Scala").get.getClass.getName)
val made = new java.io.File("{compiled}").listFiles.filter(_.isDirectory).toList
println(made.nonEmpty, made.flatMap(_.listFiles).forall(_.canRead), made.exists(_.canWrite))
"""
    second = await place.begin(code, **asked)
    await place.until(second, "ended", seconds=330)
    assert (await place.log(second)).decode().splitlines() == ["jupyter_trainjob.Interpreter", "(true,true,false)"]
    assert not any(os.stat(path).st_mode & 0o022 for path in compiled.rglob("*"))
