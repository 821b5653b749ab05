"""Use over time: a short table however long the job."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.backends.local.samples import COLUMNS, Samples

from .place import Place


def looks(memory: list[int], step: float = 0.1) -> Samples:
    samples = Samples(rows=8, interval_seconds=0.5)
    for index, used in enumerate(memory):
        samples.add((index * step, index * 0.05, used, 0, index, 2 * index, 3))
    return samples


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=2000))
def test_however_many_looks_the_table_is_short_in_order_and_forgets_no_peak(memory: list[int]) -> None:
    told = json.loads(looks(memory).to_json("2026-01-01T00:00:00Z"))
    rows = told["rows"]
    assert told["columns"] == list(COLUMNS)
    assert 1 <= len(rows) <= 8
    assert max(row[2] for row in rows) == max(memory)
    assert [row[0] for row in rows] == sorted({row[0] for row in rows})
    assert [row[4] for row in rows] == sorted(row[4] for row in rows)
    assert rows[-1][4] == len(memory) - 1, "what grows is told to the end"


def test_the_interval_doubles_when_the_table_is_full() -> None:
    few, many = looks([1] * 10), looks([1] * 1000)
    assert json.loads(few.to_json(""))["intervalSeconds"] == 0.5
    told = json.loads(many.to_json(""))
    assert told["intervalSeconds"] == 16.0 and 4 <= len(told["rows"]) <= 8


WORK = """
import os, time
block = bytearray(200 * 2**20)
block[::4096] = b"x" * len(block[::4096])
with open("written.bin", "wb") as file:
    file.write(os.urandom(8 * 2**20))
    os.fsync(file.fileno())
while time.process_time() < 2:
    pass
time.sleep(1.2)
"""


@pytest.mark.asyncio
async def test_a_jobs_use_is_kept_over_time(place: Place) -> None:
    seen = await place.run(WORK, resources={"memory": "1Gi"}, seconds=60)
    assert seen.claims["end"]["outcome"] == "ok", seen
    told = json.loads(place.store.get(f"jobs/{seen.ref.uid}/{seen.ref.attempt}/usage.json"))
    last = dict(zip(told["columns"], told["rows"][-1], strict=True))
    assert last["cpuSeconds"] == pytest.approx(seen.usage["cpuSeconds"], abs=0.01) and last["cpuSeconds"] >= 2
    assert max(row[2] for row in told["rows"]) >= 200 * 2**20
    assert last["writtenBytes"] == seen.usage["writtenBytes"]
    assert seen.usage["writtenBytes"] >= 8 * 2**20, "the file went to storage"
    assert last["seconds"] >= 1.2 and len(told["rows"]) >= 3
