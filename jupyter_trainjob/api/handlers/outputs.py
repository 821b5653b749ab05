"""What a job left: the list, and downloads."""

from __future__ import annotations

from ..base import authorized, takes
from ..query import AttemptQuery
from .download import DownloadHandler
from .jobs import JobHandlerBase


class OutputsHandler(JobHandlerBase):
    """The list."""

    @authorized("read")
    @takes(AttemptQuery)
    async def get(self, query: AttemptQuery, namespace: str, name: str) -> None:
        """Notebook, results and files of an attempt."""
        job = await self.job("outputs", namespace, name)
        self.write_json(await self.services.outputs.list(job, query.attempt))


class ArchiveHandler(DownloadHandler, JobHandlerBase):
    """All of them at once."""

    @authorized("read")
    @takes(AttemptQuery)
    async def get(self, query: AttemptQuery, namespace: str, name: str) -> None:
        """A tar of notebook.ipynb, results/ and files/, as far as the attempt has them."""
        job = await self.job("outputs", namespace, name)
        await self.send_archive(await self.services.outputs.archive(job, query.attempt))


class OutputHandler(DownloadHandler, JobHandlerBase):
    """One of them."""

    @authorized("read")
    @takes(AttemptQuery)
    async def get(self, query: AttemptQuery, namespace: str, name: str, part: str, path: str = "") -> None:
        """Its bytes, or the range that was asked for."""
        job = await self.job("outputs", namespace, name)
        await self.send(await self.services.outputs.find(job, query.attempt, part, path))

    head = get
