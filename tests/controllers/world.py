"""A record with the engine that is kept on it, and a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from jupyter_trainjob.controllers.live import LiveEngine
from jupyter_trainjob.controllers.snapshot import RecordCache, ended_row
from jupyter_trainjob.resources.base import ObjectMeta
from jupyter_trainjob.resources.queue import Queue, QueueSpec
from jupyter_trainjob.resources.trainjob import Attempt, Phase, TrainJob
from jupyter_trainjob.scheduling.decide import decide, run
from jupyter_trainjob.scheduling.model import Amount, Decision, NodeView, Snapshot
from jupyter_trainjob.scheduling.usage import Weights
from jupyter_trainjob.store import Store

from .conftest import make_job

START = datetime(2026, 3, 1, 9, tzinfo=timezone.utc)
NODES = (NodeView("local", "here", Amount(0, 4000, 64 * 2**30)),)


class World:
    """A record with a cache and an engine on it, and a clock that is moved by hand."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = START
        self.cache = RecordCache(default_backend="local", weights=Weights.of(node.size for node in NODES))
        self.live = LiveEngine()

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def refresh(self, cache: RecordCache) -> None:
        self.store.read(lambda reader: cache.refresh(reader, self.now.timestamp()))

    def anew(self) -> Snapshot:
        """From the record alone, as a server that was just started sees it."""
        fresh = RecordCache(default_backend="local", weights=Weights.of(node.size for node in NODES))
        self.refresh(fresh)
        return fresh.snapshot(0, NODES, self.now.timestamp())

    def decide(self) -> Decision:
        """By the engine that is kept; its admissions are recorded."""
        self.refresh(self.cache)
        decision = run(self.live.current(self.cache, NODES, self.now.timestamp()))
        assert decision == decide(self.anew())
        for admission in decision.admissions:
            self.change(admission.uid, lambda job, one=admission: self._admit(job, one))
        return decision

    def _admit(self, job: TrainJob, admission: Any) -> None:
        number = len(job.status.attempts) + 1
        attempt = Attempt(number=number, backend="local", node=admission.node, admitted=self.now)
        attempt.overtook = admission.overtook
        job.status.attempts.append(attempt)
        job.status.phase = Phase.ADMITTED

    def change(self, uid: str, change: Callable[[TrainJob], None]) -> None:
        def write(writer: Any) -> None:
            job = writer.by_uid(TrainJob, uid)
            change(job)
            writer.update(job)

        self.store.write(write)

    def submit(self, owner: str, **spec: Any) -> str:
        job = make_job(owner=owner, **spec)
        job.status.queued = self.now
        return self.store.write(lambda writer: writer.create(job)).metadata.uid

    def begin(self, uid: str) -> None:
        def change(job: TrainJob) -> None:
            job.status.phase = Phase.RUNNING
            job.status.attempts[-1].start = self.now

        self.change(uid, change)

    def end(self, uid: str) -> None:
        def write(writer: Any) -> None:
            job = writer.by_uid(TrainJob, uid)
            job.status.phase = Phase.SUCCEEDED
            job.status.attempts[-1].end = self.now
            row = ended_row(job, job.status.attempts[-1])
            assert row is not None
            writer.note_ended(row)
            writer.update(job)

        self.store.write(write)

    def queue(self, name: str, **spec: Any) -> None:
        def write(writer: Any) -> None:
            if any(queue.metadata.name == name for queue in writer.list(Queue).items):
                old = writer.get(Queue, "", name)
                old.spec = QueueSpec(**spec)
                writer.update(old)
            else:
                writer.create(Queue(metadata=ObjectMeta(name=name, owner="o"), spec=QueueSpec(**spec)))

        self.store.write(write)
