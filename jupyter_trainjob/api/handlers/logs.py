"""A job's log, by offset."""

from __future__ import annotations

from ..base import authorized, takes
from ..query import LogQuery, LogSearchQuery
from .jobs import JobHandlerBase


class LogHandler(JobHandlerBase):
    """Bytes from an offset on; where there are none yet, the wait for them."""

    _track_activity = False  # programs ask on and on: that keeps no idle server alive

    @authorized("read")
    @takes(LogQuery)
    async def get(self, query: LogQuery, namespace: str, name: str) -> None:
        """A piece. Its headers say where the next one begins, and whether there will be one."""
        job = await self.job("log", namespace, name)
        with self.patience(query.wait) as patience:
            piece = await self.services.logs.read(job, query.attempt, query.offset, query.limit, patience)
        for header, value in piece.headers().items():
            self.set_header(header, value)
        self.write_bytes(piece.data)


class LogSearchHandler(JobHandlerBase):
    """Where a text stands in it."""

    @authorized("read")
    @takes(LogSearchQuery)
    async def get(self, query: LogSearchQuery, namespace: str, name: str) -> None:
        """Offsets, of as much as could be looked at in a moment, and where to ask on."""
        job = await self.job("log", namespace, name)
        with self.patience(0.0) as patience:
            found = await self.services.logs.search(job, query.attempt, query.wanted(), patience)
        self.write_json(found)
