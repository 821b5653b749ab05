"""Waiting for news as long as a client asked to, and not a moment longer than it listens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


class Patience:
    """How long one request may wait, and what it waited so far. ``leave`` ends all waiting at once."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + seconds
        self._gone = asyncio.Event()
        self.waited = 0.0

    @property
    def left(self) -> float:
        """Seconds that may still be waited; 0 once the client has gone."""
        return 0.0 if self.gone else max(0.0, self._deadline - self._loop.time())

    @property
    def gone(self) -> bool:
        """Whether the client has gone. Any thread may ask."""
        return self._gone.is_set()

    def leave(self) -> None:
        """The client has gone."""
        self._gone.set()

    async def pause(self, seconds: float) -> None:
        """Let up to ``seconds`` go by."""
        await self._until_gone(asyncio.sleep(min(seconds, self.left)))

    async def wait(self, news: Awaitable[Any]) -> None:
        """Until ``news`` come (which bound themselves by :attr:`left`), or the client goes. News' errors are raised."""
        await self._until_gone(news)

    async def _until_gone(self, awaitable: Awaitable[Any]) -> None:
        begun = self._loop.time()
        gone = asyncio.ensure_future(self._gone.wait())
        news = asyncio.ensure_future(awaitable)
        try:
            await asyncio.wait({gone, news}, return_when=asyncio.FIRST_COMPLETED)
            if news.done():
                news.result()
        finally:
            gone.cancel()
            news.cancel()
            self.waited += self._loop.time() - begun
