"""The points that code logs come home while it runs, in full at its end, and whatever the file is."""

from __future__ import annotations

import time

import pytest

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
