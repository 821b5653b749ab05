"""The same training inside the sandbox and bare, on the same file system, in turn: the ratio of the quickest of each.

Each run times its own epochs, so that starting is not counted, and tells the quickest: what others write to the same
disk meanwhile falls on some epochs and not on all. What was written before is on the disk when a run begins. What
starting costs is told apart.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest
from jupyter_trainjob.backends.local.attacks.rows import place
from jupyter_trainjob.backends.local.backend import LocalBackend
from jupyter_trainjob.resources.profile import Profile, completed
from jupyter_trainjob.resources.trainjob import TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.storage.logs import LogReader

from .stats import median

PAIRS = 15
CPU_RATIO, IO_RATIO = 1.05, 1.10
_CPU = """
import time, numpy
rng = numpy.random.default_rng(1)
x, y = rng.normal(size=(4000, 60)), rng.normal(size=4000)
weights, taken = numpy.zeros(60), []
for epoch in range(6):
    began = time.perf_counter()
    for start in range(0, 4000, 20):
        batch = x[start:start + 20]
        weights -= 0.001 * batch.T @ (batch @ weights - y[start:start + 20])
    total = 0
    for number in range(700_000):
        total += number * number % 7
    taken.append(time.perf_counter() - began)
print("SECONDS", min(taken))
"""
_IO = """
import os, time, numpy
rng = numpy.random.default_rng(1)
for number in range(1500):  # a data set of small files, and one of large ones
    rng.integers(0, 255, 8192, dtype="uint8").tofile(f"image-{number}.bin")
for number in range(32):
    numpy.save(f"batch-{number}.npy", rng.normal(size=2 ** 17))
weights, taken = numpy.zeros(2 ** 20), []
for epoch in range(8):
    began = time.perf_counter()
    total = 0.0
    with open("metrics.csv", "a") as metrics:
        for step, number in enumerate(rng.permutation(1500)):
            total += float(numpy.fromfile(f"image-{number}.bin", dtype="uint8").mean())
            if step % 50 == 0:
                metrics.write(f"{epoch},{step},{total}\\n")
                metrics.flush()
    for number in rng.permutation(32):
        total += float(numpy.load(f"batch-{number}.npy").sum())
    weights += total
    with open("checkpoint.new", "wb") as file:
        numpy.save(file, weights)
        file.flush()
        os.fsync(file.fileno())
    os.replace("checkpoint.new", "checkpoint.npy")
    taken.append(time.perf_counter() - began)
print("SECONDS", min(taken))
"""
_FRESH = """
import os, time, numpy
block = numpy.arange(2 ** 17, dtype="float64")
taken = []
for epoch in range(6):
    began = time.perf_counter()
    for number in range(60):
        numpy.save(f"batch-{number}.npy", block)
        with open(f"meta-{number}.txt", "w") as file:
            file.write(str(number))
    for number in range(60):
        total = float(numpy.load(f"batch-{number}.npy").sum())
        os.stat(f"meta-{number}.txt")
    for name in os.listdir("."):
        if name.startswith(("batch-", "meta-")):
            os.unlink(name)
    taken.append(time.perf_counter() - began)
print("SECONDS", min(taken))
"""
_TRAININGS = {"cpu": _CPU, "io": _IO, "io_fresh": _FRESH}
"""``io_fresh`` makes, reads and removes all its files in each epoch: told, and bound to nothing."""
_CELL = """
import subprocess, sys
print(subprocess.run([sys.executable, "-I", "-c", {code!r}], capture_output=True, text=True, check=True).stdout)
"""


def _bare(code: str, folder: Path) -> float:
    command = [sys.executable, "-I", "-c", code]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=folder, env=threads, capture_output=True, text=True, check=True)
    return float(done.stdout.split("SECONDS")[1])


async def _job(
    backend: LocalBackend, store: FilesystemStore, code: str, number: int, look_seconds: float = 0.25
) -> tuple[str, float]:
    """The log, and seconds from create to the code's beginning."""
    job = TrainJob.model_validate(
        {
            "kind": "TrainJob",
            "metadata": {"name": "cost", "uid": f"cost-{number}"},
            "spec": {"source": {"type": "cell", "code": code}, "timeLimitSeconds": 300, "seed": 2**31 + 1},
        }
    )
    profile = Profile.model_validate({"kind": "Profile", "metadata": {"name": "default"}})
    job.spec.resources = completed(job.spec.resources, profile.spec.defaults)
    ref = AttemptRef(job.metadata.uid, 1)
    began = time.time()
    await backend.create(AttemptRequest(ref, job, profile, "blobs/cost/"))
    while (seen := await backend.observe(ref)).state != "ended":
        await asyncio.sleep(look_seconds)  # whoever looks often takes from the two processors that there may be
    if seen.evidence.get("limit") or seen.started is None:
        raise RuntimeError(f"the job ended so: {seen}")
    log = LogReader(store, f"jobs/{ref.uid}/1/").read(0, 2**20).data.decode()
    await backend.delete(ref)
    return log, seen.started.timestamp() - began


async def _measure(pairs: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"benchmark": "sandbox_cost", "pairs": pairs}
    number = 0
    async with (
        place("namespaces+cgroups") as (backend, store, data_dir),
        place("process") as (plain, plain_store, _),
    ):
        figures["isolation"] = str(backend.describe()["isolation"])
        with tempfile.TemporaryDirectory(dir=data_dir) as folder:
            for name, code in _TRAININGS.items():
                inside, bare = [], []
                for _ in range(pairs):
                    number += 1
                    await asyncio.to_thread(os.sync)
                    bare.append(await asyncio.to_thread(_bare, code, Path(folder)))
                    await asyncio.to_thread(os.sync)
                    log, _ = await _job(backend, store, _CELL.format(code=code), number)
                    inside.append(float(log.split("SECONDS")[1]))
                figures[f"{name}_bare_s"], figures[f"{name}_inside_s"] = round(min(bare), 4), round(min(inside), 4)
                figures[f"{name}_ratio"] = round(min(inside) / min(bare), 3)
        starts: dict[str, list[float]] = {"inside": [], "process": []}
        for _ in range(pairs):
            number += 1
            starts["inside"].append((await _job(backend, store, "1", number))[1])
            starts["process"].append((await _job(plain, plain_store, "1", number))[1])
    ready = {name: median(taken) * 1000 for name, taken in starts.items()}
    figures["start_inside_ms"], figures["start_process_ms"] = round(ready["inside"]), round(ready["process"])
    figures["start_costs_ms"] = round(ready["inside"] - ready["process"])
    return figures


def run(*, quick: bool = False) -> dict[str, Any]:
    """Ratios of minima, and what starting costs."""
    figures = asyncio.run(_measure(2 if quick else PAIRS))
    reached = figures["cpu_ratio"] <= CPU_RATIO and figures["io_ratio"] <= IO_RATIO
    return json.loads(json.dumps({**figures, "pass": reached and figures["isolation"] != "process"}))
