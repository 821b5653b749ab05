"""The points that code logs come home while it runs, in full at its end, and whatever the file is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jupyter_trainjob.backends.local.folder import Folder
from jupyter_trainjob.backends.local.points import PointsPump, remark
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.storage.logs import LogReader

from .place import Place

LOG_POINTS = """
import os, time
path = os.environ["TRAINJOB_METRICS"]
with open(path, "a") as file:
    for step in range({count}):
        file.write(f"loss\\t{{step}}\\t{{1 / (step + 1)}}\\t{{time.time()}}\\n")
{then}
"""


def points(place: Place, prefix: str) -> bytes:
    reader, data = LogReader(place.store, f"{prefix}metrics/"), b""
    while (chunk := reader.read(len(data))).data:
        data += chunk.data
    return data


@pytest.mark.asyncio
async def test_points_are_there_while_the_job_runs(place: Place) -> None:
    ref = await place.begin(LOG_POINTS.format(count=10, then="file = None; time.sleep(60)"))
    await place.until(ref, "running")
    deadline = time.monotonic() + 15
    while points(place, f"jobs/{ref.uid}/1/").count(b"\n") < 10:
        assert time.monotonic() < deadline, await place.log(ref)
    await place.backend.cancel(ref, "enough")
    seen = await place.until(ref, "ended")
    assert points(place, f"jobs/{seen.ref.uid}/1/").count(b"\n") == 10


@pytest.mark.asyncio
async def test_a_hundred_thousand_points_come_home_in_full(place: Place) -> None:
    seen = await place.run(LOG_POINTS.format(count=100_000, then=""), seconds=60)
    text = points(place, f"jobs/{seen.ref.uid}/1/")
    assert text.count(b"\n") == 100_000 and text.endswith(b"\n") and b"loss\t99999\t1e-05\t" in text
    assert not [one for one in seen.conditions if one["type"] == "MetricsComplete"]


@pytest.mark.asyncio
@pytest.mark.parametrize("make", ["os.symlink('/etc/passwd', path)", "os.mkfifo(path)", "os.mkdir(path)"])
async def test_a_file_that_is_none_is_left_alone(place: Place, make: str) -> None:
    seen = await place.run(f"import os; path = os.environ['TRAINJOB_METRICS']; {make}", seconds=60)
    assert seen.claims["end"]["outcome"] == "ok", seen
    assert points(place, f"jobs/{seen.ref.uid}/1/") == b""


def pump(tmp_path: Path, store: FilesystemStore, text: bytes = b"loss\t1\t0.5\t1\n") -> PointsPump:
    """Of an attempt whose code has ended."""
    (tmp_path / "tj-u-1" / "out").mkdir(parents=True)
    (tmp_path / "tj-u-1" / "out" / "metrics.tsv").write_bytes(text)
    return PointsPump(store, "jobs/u/1/", Folder(str(tmp_path / "tj-u-1")))


def test_a_file_of_several_names_is_refused_and_told(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path / "store")
    made = pump(tmp_path, store)
    os.link(tmp_path / "tj-u-1" / "out" / "metrics.tsv", tmp_path / "other")
    assert made.finish().endswith("metrics.tsv has several names (hard links)")
    assert list(store.list("jobs/")) == []


class Broken(FilesystemStore):
    """As one with a defect: what it raises is none of what a store may raise."""

    def append(self, key: str, data: bytes, at: int) -> None:
        raise RuntimeError("this is a defect")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_whatever_befalls_the_writer_is_told_and_the_end_goes_on(tmp_path: Path) -> None:
    told = pump(tmp_path / "a", Broken(tmp_path / "store")).finish()
    assert told == "The end of the logged metrics could not be stored: RuntimeError('this is a defect')"
    store = FilesystemStore(tmp_path / "other")
    store.put("jobs/u/1/metrics/log.json", b"half a rec")
    told = pump(tmp_path / "b", store).finish()
    assert told.startswith("The end of the logged metrics could not be stored: ValueError(")
    assert remark(told) is not None
