"""Bytes through the API on loopback: 2 GB in and out with the server's memory watched, and 10,000 small files.

Clients send and fetch as they do for people. The server's memory is read from outside, twenty times a second; its
disk work (every upload and output is flushed before it counts) is in the figures, and what the disk alone takes is
told beside them.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from jupyter_trainjob.client import Client, Job

from .server import RunningServer, running_server

COPY = "import shutil; shutil.copyfile('big.bin', 'out.bin')"
MANY = """
import os, pathlib
names = sorted(os.listdir("many"))
pathlib.Path("out").mkdir()
for name in names:
    pathlib.Path("out", name).write_bytes(pathlib.Path("many", name).read_bytes()[::-1])
print(len(names))
"""
PIECE = 1024 * 1024


class Memory(threading.Thread):
    """The server's resident memory while it lasts: the most it grew, in bytes."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._before = server.memory_bytes()
        self._done = threading.Event()
        self.growth = 0

    def run(self) -> None:
        """Until :meth:`close`."""
        while not self._done.wait(0.05):
            self.growth = max(self.growth, self._server.memory_bytes() - self._before)

    def close(self) -> int:
        """The growth."""
        self._done.set()
        self.join()
        return self.growth


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def make_big(path: Path, size: int) -> None:
    """A file of bytes that don't repeat within 64 MiB, flushed."""
    block = os.urandom(min(size, 64 * PIECE))
    with path.open("wb") as file:
        left = size
        while left:
            left -= file.write(block[: min(left, len(block))])
        os.fsync(file.fileno())


def ended(job: Job) -> Job:
    """The job, well ended."""
    if job.wait(600).phase != "Succeeded":
        raise RuntimeError(f"{job.phase}: {job.resource['status']['message']}\n{job.logs()}")
    return job


def large(client: Client, server: RunningServer, folder: Path, size: int) -> dict[str, Any]:
    """One file up, through a job, and down again."""
    source = folder / "big.bin"
    start = time.perf_counter()
    make_big(source, size)
    disk = time.perf_counter() - start
    client.submit_cell("1", name="warm").wait(60)
    memory = Memory(server)
    memory.start()
    start = time.perf_counter()
    client.upload_file(source)
    up = time.perf_counter() - start
    start = time.perf_counter()
    job = ended(client.submit_cell(COPY, files=["big.bin"], folder=folder, disk="12Gi", file_size="8Gi", name="big"))
    through = time.perf_counter() - start
    start = time.perf_counter()
    job.download("out.bin", folder / "got.bin")
    down = time.perf_counter() - start
    start = time.perf_counter()
    job.download_all(folder / "all")
    archive = time.perf_counter() - start
    growth = memory.close()
    wanted = digest(source)
    same = digest(folder / "got.bin") == digest(folder / "all" / "files" / "out.bin") == wanted
    for path in (source, folder / "got.bin", folder / "all" / "files" / "out.bin"):
        path.unlink()
    return {
        "large_bytes": size,
        "disk_write_and_flush_mb_per_s": round(size / disk / 1e6, 1),
        "upload_mb_per_s": round(size / up / 1e6, 1),
        "download_mb_per_s": round(size / down / 1e6, 1),
        "archive_and_unpack_mb_per_s": round(size / archive / 1e6, 1),
        "job_that_copies_it_s": round(through, 2),
        "memory_growth_mb": round(growth / 1e6, 1),
        "same_bytes": same,
    }


def many(client: Client, folder: Path, count: int) -> dict[str, Any]:
    """Small files up with a job, through it, and down again."""
    (folder / "many").mkdir()
    for number in range(count):
        (folder / "many" / f"{number:05}.bin").write_bytes(os.urandom(500 + number % 1000))
    start = time.perf_counter()
    job = client.submit_cell(MANY, files=["many"], folder=folder, name="many")
    submitted = time.perf_counter() - start
    start = time.perf_counter()
    ended(job)
    ran = time.perf_counter() - start
    start = time.perf_counter()
    got = job.download_all(folder / "back")
    down = time.perf_counter() - start
    same = all(
        (got / "files" / "out" / path.name).read_bytes() == path.read_bytes()[::-1]
        for path in (folder / "many").iterdir()
    )
    return {
        "small_files": count,
        "small_files_submit_s": round(submitted, 2),
        "small_files_job_s": round(ran, 2),
        "small_files_download_s": round(down, 2),
        "small_files_same": same,
    }


def run(*, quick: bool = False) -> dict[str, Any]:
    """Both, on one server."""
    size, count = (100_000_000, 500) if quick else (2_000_000_000, 10_000)
    with (
        running_server() as server,
        tempfile.TemporaryDirectory() as folder,
        Client(url=f"{server.url}/trainjob/api/v1", token=server.token) as client,
    ):
        figures = large(client, server, Path(folder), size) | many(client, Path(folder), count)
    reached = (
        figures["upload_mb_per_s"] >= 200
        and figures["download_mb_per_s"] >= 200
        and figures["memory_growth_mb"] < 100
        and figures["small_files_submit_s"] <= 30
        and figures["small_files_download_s"] <= 30
        and figures["same_bytes"]
        and figures["small_files_same"]
    )
    return {"benchmark": "transfer", **figures, "pass": reached}
