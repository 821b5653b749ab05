"""What each job's controller asks for by itself, done for many at a time.

Each kind has a queue of its own and one turn under way; when that is over, the next takes all that waits.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from ..backends.base import AttemptRef
from ..resources.errors import NotFound
from ..resources.names import attempt_prefix
from ..resources.trainjob import TrainJob
from ..storage.base import ObjectStore, StoreError
from ..store import Store, Writer

A = TypeVar("A")
B = TypeVar("B")
MOST = 256
"""So many go together."""


class Together(ABC, Generic[A, B]):
    """For one event loop."""

    def __init__(self) -> None:
        self._asked: list[tuple[A, asyncio.Future[B]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, what: A) -> B:
        """The answer to one, once its turn has come."""
        answer: asyncio.Future[B] = asyncio.get_running_loop().create_future()
        self._asked.append((what, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="trainjob-together")
        return await answer

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._task is not None:
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while self._asked:
            turn, self._asked = self._asked[:MOST], self._asked[MOST:]
            turn = [one for one in turn if not one[1].done()]  # who was stopped meanwhile wants nothing any more
            if turn:
                await self._answer(turn)

    async def _answer(self, turn: Sequence[tuple[A, asyncio.Future[B]]]) -> None:
        try:
            found = await self._all([what for what, _ in turn])
        except Exception as error:  # of one of them, perhaps: each is tried by itself, and whoever asked is told
            if len(turn) > 1:
                for one in turn:
                    await self._answer([one])
            elif not turn[0][1].done():
                turn[0][1].set_exception(error)
            return
        for (_, answer), job in zip(turn, found, strict=True):
            if not answer.done():  # who asked may have been stopped
                answer.set_result(job)

    @abstractmethod
    async def _all(self, asked: Sequence[A]) -> Sequence[B]:
        """The answers, in the order of the questions; what one of them fails with fails all."""


class Lookup(Together[str, TrainJob | None]):
    """Jobs by their uids as they are in the record now; None for those that are not there."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    async def _all(self, asked: Sequence[str]) -> list[TrainJob | None]:
        found = await self._store.aread(lambda reader: reader.by_uids(TrainJob, asked))
        return [found.get(uid) for uid in asked]


class Wanted(NamedTuple):
    """A change of the record's own copy of a job, and what is to be written beside it."""

    uid: str
    change: Callable[[TrainJob], bool]
    beside: Callable[[Writer, TrainJob], None]


class Changes(Together[Wanted, TrainJob | None]):
    """Jobs as they were stored; None where there was nothing to change. Each is applied to what the record holds
    in the transaction that writes it, and may be called again where that has to be repeated.
    """

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    async def _all(self, asked: Sequence[Wanted]) -> list[TrainJob | None]:
        return await self._store.awrite(lambda writer: _write(writer, asked))


def _write(writer: Writer, asked: Sequence[Wanted]) -> list[TrainJob | None]:
    known = writer.by_uids(TrainJob, [one.uid for one in asked]) if len(asked) > 1 else {}
    done: list[TrainJob | None] = []
    for one in asked:
        job = known.pop(one.uid, None) or _fetch(writer, one.uid)
        if job is None or not one.change(job):
            done.append(None)
            continue
        job.status.observed_generation = job.metadata.generation
        one.beside(writer, job)
        done.append(writer.update(job, check=False))
    return done


def _fetch(writer: Writer, uid: str) -> TrainJob | None:
    try:
        return writer.by_uid(TrainJob, uid)
    except NotFound:
        return None


class StoredBytes(Together[AttemptRef, int]):
    """How much attempts left in the object store; 0 where that can't be told, which is logged."""

    def __init__(self, objects: ObjectStore, log: logging.Logger) -> None:
        super().__init__()
        self._objects, self._log = objects, log

    async def _all(self, asked: Sequence[AttemptRef]) -> list[int]:
        return await asyncio.to_thread(lambda: [self._measure(ref) for ref in asked])

    def _measure(self, ref: AttemptRef) -> int:
        try:
            return sum(info.size for info in self._objects.list(attempt_prefix(ref.uid, ref.attempt)))
        except StoreError as error:  # the end matters more than its size
            self._log.warning("What %s left can't be measured: %s", ref.name, error)
            return 0
