"""What a job used."""

from __future__ import annotations

from ..base import authorized, takes
from ..query import AttemptQuery
from .jobs import JobHandlerBase


class UsageHandler(JobHandlerBase):
    """Use over time."""

    @authorized("read")
    @takes(AttemptQuery)
    async def get(self, query: AttemptQuery, namespace: str, name: str) -> None:
        """Asked for and used, and rows of figures over time."""
        job = await self.job("get", namespace, name)
        self.write_json(await self.services.usage.over_time(job, query.attempt))


class AdviceHandler(JobHandlerBase):
    """What to ask for next time."""

    @authorized("read")
    async def get(self, namespace: str, name: str) -> None:
        """From the runs of the same code."""
        job = await self.job("get", namespace, name)
        self.write_json(await self.services.usage.advice(self.identity, job))
