"""The metrics that a job's code logged."""

from __future__ import annotations

from ..base import authorized, takes
from ..query import LogQuery, SeriesQuery
from ..series import FOLDER
from .jobs import JobHandlerBase


class PointsHandler(JobHandlerBase):
    """Their text, by offset as a log is read."""

    _track_activity = False

    @authorized("read")
    @takes(LogQuery)
    async def get(self, query: LogQuery, namespace: str, name: str) -> None:
        """A piece: lines of name, step, value and time with tabs between. Its headers are a log's."""
        job = await self.job("log", namespace, name)
        with self.patience(query.wait) as patience:
            logs = self.services.logs
            piece = await logs.read(job, query.attempt, query.offset, query.limit, patience, FOLDER)
        for header, value in piece.headers().items():
            self.set_header(header, value)
        self.write_bytes(piece.data)


class SeriesHandler(JobHandlerBase):
    """Them, ready for a plot."""

    _track_activity = False

    @authorized("read")
    @takes(SeriesQuery)
    async def get(self, query: SeriesQuery, namespace: str, name: str) -> None:
        """Each metric's extremes and at most so many of its points; peaks and ends stay."""
        job = await self.job("log", namespace, name)
        self.write_json(await self.services.series.series(job, query.attempt, query.max_points, query.metric))
