"""Explaining many waiting jobs must not hold up the loop, nor be done anew for everyone who asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest

from jupyter_trainjob.controllers import source
from jupyter_trainjob.controllers.source import Ranking, SnapshotSource
from jupyter_trainjob.resources.trainjob import TrainJob
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
