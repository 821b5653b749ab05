"""Explaining many waiting jobs must not hold up the loop, nor be done anew for everyone who asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest

from jupyter_trainjob.controllers import source
from jupyter_trainjob.controllers.source import Ranking, SnapshotSource
from jupyter_trainjob.resources.trainjob import TrainJob
from jupyter_trainjob.scheduling import explain
from jupyter_trainjob.scheduling.explain import Explanation
from jupyter_trainjob.store import Store, Writer

from .conftest import limit_queue, make_job
from .instant import InstantBackend


@pytest.mark.asyncio
async def test_a_thousand_waiting_jobs_leave_the_loop_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(writer: Writer) -> None:
        for number in range(1000):
            writer.create(make_job(f"j{number}"))

    limit_queue(store, running_jobs=1)
    store.write(fill)
    calls = turns = turns_meanwhile = 0
    real = source.explain_all

    def counted(*args: object) -> Mapping[str, Explanation]:
        nonlocal calls, turns_meanwhile
        calls += 1
        before = turns
        time.sleep(0.1)
        turns_meanwhile = turns - before
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(source, "explain_all", counted)
    ranking = Ranking(SnapshotSource(store, {"local": InstantBackend()}))
    jobs = store.read(lambda reader: reader.list(TrainJob, limit=100)).items

    async def watch() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    watcher = asyncio.create_task(watch())
    told = await asyncio.gather(*(ranking.explain_many(jobs) for _ in range(20)))
    watcher.cancel()
    assert calls == 1
    # The first of all is about to start and holds no place among those that wait.
    assert {item.position for item in told[0].values()} == set(range(900, 1000))
    assert turns_meanwhile > 1
    late = store.write(lambda writer: writer.create(make_job("late")))
    assert (await ranking.explain(late)).position == 1001
    assert calls == 1


@pytest.mark.asyncio
async def test_a_dry_run_behind_a_long_queue_replays_nothing_for_itself(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_queue(store, running_jobs=1)
    store.write(lambda writer: [writer.create(make_job(f"j{number}")) for number in range(30)])
    monkeypatch.setattr(explain, "MAX_STARTS", 10)
    replays = 0
    real = explain.latest_starts

    def counted(*args: Any) -> dict[str, float]:
        nonlocal replays
        replays += 1
        return real(*args)

    monkeypatch.setattr(explain, "latest_starts", counted)
    monkeypatch.setattr(source, "CHEAP_SECONDS", 0.0)
    monkeypatch.setattr(source, "OLD_SECONDS", 3600.0)
    ranking = Ranking(SnapshotSource(store, {"local": InstantBackend()}))
    ranking._fresh_until = 0.0
    told = [await ranking.explain(make_job("typed")) for _ in range(5)]
    assert replays <= 2, "what all are told is worked out once for all"
    assert {one.position for one in told} == {30} and all(one.estimated_start for one in told)
    assert told[0].waiting_for.startswith("Queue default allows 1 running job and has 1; 29 jobs are ahead")
