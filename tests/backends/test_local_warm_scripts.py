"""A script, a folder's script and a notebook find the same in a kernel that waited as in one started for them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.storage.filesystem import FilesystemStore
from tests.scala import share_compiled

from .conftest import LEVELS, MakePlace
from .place import Place
from .test_local_inputs import packed, upload
from .test_local_languages import needs_r, needs_scala
from .test_local_warm import ENOUGH, GIB, ready, run, warm_place

SCRIPT = """
import asyncio, json, multiprocessing, os, sys
from pathlib import Path
def square(x):
    return x * x
async def double(x):
    await asyncio.sleep(0)
    return 2 * x
if __name__ == "__main__":
    import beside
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        squares = pool.map(square, [3])
    print(json.dumps({
        "argv": sys.argv, "file": __file__, "path": sys.path, "main": sys.modules["__main__"].__file__,
        "double": asyncio.run(double(2)), "squares": squares, "beside": beside.__file__, "cwd": os.getcwd(),
        "names": sorted(globals()), "given": sorted(os.environ),
        "there": sorted(str(path) for path in Path().rglob("*")),
    }))
    1 / 0
"""
NOTEBOOK = """
import asyncio, json, os, sys
print(json.dumps({
    "argv": len(sys.argv), "file": "__file__" in globals(), "path": sys.path, "cwd": os.getcwd(),
    "names": sorted(globals()), "given": sorted(os.environ), "double": await asyncio.sleep(0, 4),
}))
1 / 0
"""
# The kernel's own folder lies in the job's /tmp or, where the path of that is too long for a socket, in the machine's:
# under a long path of the tests one of two jobs may be here and the other there.
R_SCRIPT = """
source("beside.R", local = TRUE)
cat(sub("^.*/tj-[^/]*/", "TJ/", commandArgs()), sys.nframe(), interactive(), here, getwd(), sep = "\\n")
cat(search(), .libPaths(), sort(ls(globalenv(), all.names = TRUE)), sort(names(Sys.getenv())), sep = "\\n")
cat(unlist(parallel::mclapply(1:2, sqrt)), "\\n")
stop("enough")
"""
SCALA_SCRIPT = """
println(System.getProperty("user.dir") + " " + new java.io.File(".").getCanonicalPath)
println(scala.io.Source.fromFile("beside.txt").mkString)
println(System.getenv.keySet.toArray.map(_.toString).sorted.mkString(","))
println(Thread.currentThread.getName.filterNot(_.isDigit) + " " + Thread.currentThread.isDaemon)
sys.error("enough")
"""


def notebook(code: str) -> bytes:
    cell = {"cell_type": "code", "id": "one", "metadata": {}, "source": code, "outputs": [], "execution_count": None}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}).encode()


def sources(store: FilesystemStore) -> list[tuple[dict[str, Any], dict[str, bytes]]]:
    """Sources, and the inputs that each has beside it."""
    folder = packed({"src/train.py": SCRIPT.encode(), "src/beside.py": b"", "top.py": b""})
    return [
        ({"type": "script", "digest": upload(store, SCRIPT.encode()), "path": "train.py"}, {"beside.py": b""}),
        ({"type": "folder", "digest": upload(store, folder), "entry": "src/train.py"}, {}),
        ({"type": "notebook", "digest": upload(store, notebook(NOTEBOOK)), "path": "one.ipynb"}, {}),
    ]


async def seen_by(place: Place, source: dict[str, Any], beside: dict[str, bytes], **spec: Any) -> list[str]:
    """What the code printed, and its error; the names of this attempt are left out."""
    store: Any = place.store
    inputs = [{"type": "upload", "digest": upload(store, data), "path": path} for path, data in beside.items()]
    seen, log = await run(place, "", source=source, inputs=inputs, **spec)
    error = seen.claims["end"]["error"]
    told = json.dumps([error[name] for name in ("ename", "evalue", "line", "traceback")])
    return re.sub(r"/[^\s\"]*/run/[^/\"\s]+/", "/ATTEMPT/", f"{log}\n{told}").splitlines()


async def check(cold: Place, warm: Place, source: dict[str, Any], beside: dict[str, bytes], **spec: Any) -> str:
    first = await seen_by(cold, source, beside, **spec)
    await ready(warm)
    claimed = warm.backend.describe()["warm"]["profiles"].get("default", {"claimed": 0})["claimed"]
    second = await seen_by(warm, source, beside, **spec)
    assert warm.backend.describe()["warm"]["profiles"]["default"]["claimed"] == claimed + 1
    assert second == first
    return "\n".join(first)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "level", ["", *(pytest.param(level, marks=pytest.mark.slow) for level in LEVELS if level != "namespaces+cgroups")]
)
async def test_python(make_place: MakePlace, store: FilesystemStore, tmp_path: Path, level: str) -> None:
    warm = await warm_place(make_place, level)
    cold = await make_place(data_dir=str(tmp_path / "cold"), runner=(), **(LEVELS[level] if level else {}))
    for source, beside in sources(store):
        told = json.loads((await check(cold, warm, source, beside, resources=ENOUGH)).partition("}")[0] + "}")
        assert told["double"] == 4
        if "squares" in told:
            entry = source.get("path") or source["entry"]
            assert told["argv"] == [entry] and told["squares"] == [9]
            assert told["file"] == told["main"] == f"{told['cwd']}/{entry}"
            assert told["path"][0] == str(Path(told["file"]).parent)


@needs_r
@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("level", ["", "process"])
async def test_r(make_place: MakePlace, store: FilesystemStore, tmp_path: Path, level: str) -> None:
    warm = await warm_place(make_place, level, least={})
    options = {"runner": (), "kernelspec_dirs": warm.options["kernelspec_dirs"], **(LEVELS[level] if level else {})}
    cold = await make_place(data_dir=str(tmp_path / "cold"), **options)
    spec: dict[str, Any] = {"environment": {"language": "r"}, "resources": ENOUGH}
    await run(warm, "cat(1)", **spec)
    code, beside = R_SCRIPT.encode(), {"beside.R": b"here <- 'beside'\n"}
    source = {"type": "script", "digest": upload(store, code), "path": "train.R"}
    assert "beside" in await check(cold, warm, source, beside, **spec)
    folder = upload(store, packed({"train.R": code, **beside}))
    assert "beside" in await check(cold, warm, {"type": "folder", "digest": folder, "entry": "train.R"}, {}, **spec)


@needs_scala
@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.timeout(1500)
async def test_scala(make_place: MakePlace, store: FilesystemStore, tmp_path: Path, scala_compiled: Path) -> None:
    share_compiled(scala_compiled, tmp_path / "data", tmp_path / "cold")
    warm = await warm_place(make_place, least={}, budget_bytes=4 * GIB)
    options = {"runner": (), "kernelspec_dirs": warm.options["kernelspec_dirs"], "startup_seconds": 300.0}
    cold = await make_place(data_dir=str(tmp_path / "cold"), **options)
    spec: dict[str, Any] = {"environment": {"language": "scala"}, "resources": {**ENOUGH, "memory": "2Gi"}}
    await run(warm, "println(1)", **spec)
    source = {"type": "script", "digest": upload(store, SCALA_SCRIPT.encode()), "path": "train.scala"}
    assert "beside" in await check(cold, warm, source, {"beside.txt": b"beside"}, **spec)
