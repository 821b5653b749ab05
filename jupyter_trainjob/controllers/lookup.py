"""Jobs by their uids: those that are asked for at the same time come in one reading of the record."""

from __future__ import annotations

import asyncio

from ..resources.trainjob import TrainJob
from ..store import Store

Asked = tuple[str, "asyncio.Future[TrainJob | None]"]


class Lookup:
    """For one event loop. What is told is as new as the question."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: list[Asked] = []
        self._task: asyncio.Task[None] | None = None

    async def job(self, uid: str) -> TrainJob | None:
        """The job as it is in the record now; None if it is not there."""
        answer: asyncio.Future[TrainJob | None] = asyncio.get_running_loop().create_future()
        self._asked.append((uid, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read(), name="trainjob-lookup")
        return await answer

    async def close(self) -> None:
        """Wait for the reading that is under way."""
        if self._task is not None:
            await asyncio.wait((self._task,))

    async def _read(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, []
            try:
                found = await self._store.aread(
                    lambda reader, asked=asked: reader.by_uids(TrainJob, [uid for uid, _ in asked])  # type: ignore[misc]
                )
            except Exception as error:  # whoever asked is told
                for _, answer in asked:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for uid, answer in asked:
                if not answer.done():  # who asked may have been stopped
                    answer.set_result(found.get(uid))
