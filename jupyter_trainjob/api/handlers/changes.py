"""The feed, asked for page by page."""

from __future__ import annotations

from ..base import TrainJobHandler, authorized, takes
from ..query import ChangesQuery


class ChangesHandler(TrainJobHandler):
    """What changed after a version."""

    _track_activity = False  # programs ask on and on: that keeps no idle server alive

    @authorized("read")
    @takes(ChangesQuery)
    async def get(self, query: ChangesQuery) -> None:
        """A page, waited for if the request says so."""
        feed = self.services.feed
        await feed.check(self.identity, query)
        with self.patience(query.wait) as patience:
            page = await feed.poll(self.identity, query, query.since, query.limit, patience)
        self.write_json(page.text)
