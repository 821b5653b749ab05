"""Whoever waits for a change and is cancelled ends, also when the change comes at the same moment."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from jupyter_trainjob.resources.base import ObjectMeta
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.store import Store


@pytest.mark.asyncio
async def test_a_cancellation_is_not_lost_to_a_change_that_comes_with_it(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'record.sqlite'}")
    try:
        for number in range(5):
            version = await store.aread(lambda reader: reader.version())
            waiting = asyncio.create_task(store.await_change(version, 30))
            await asyncio.sleep(0.01)
            # Holding up the loop lets the answer and the cancellation come in one turn.
            store.write(lambda writer, n=number: writer.create(Queue(metadata=ObjectMeta(name=f"q{n}"))))
            time.sleep(0.15)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    finally:
        store.close()
