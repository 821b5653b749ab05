"""What an attempt left in the object store: the executed notebook, results, files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from ..resources import names
from ..resources.errors import NotFound
from ..resources.trainjob import Attempt, TrainJob
from ..storage.base import KeyMissing, check_key
from . import archive
from .logs import pick_attempt

if TYPE_CHECKING:
    from .services import Services

T = TypeVar("T")
MAX_LISTED = 1000
"""As many files are named; ``filesTotal`` counts all, up to :data:`MAX_COUNTED`."""
MAX_COUNTED = 100_000


@dataclass(frozen=True)
class Download:
    """One object to be sent: its key, its size in bytes, the name it is saved under, its version."""

    key: str
    size: int
    name: str
    version: str = ""


@dataclass(frozen=True)
class Archive:
    """Several objects to be sent as one tar: the name it is saved under, its bytes."""

    name: str
    pieces: AsyncGenerator[bytes, None]


class Outputs:
    """Lists and opens outputs for requests."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._objects = services.objects

    async def list(self, job: TrainJob, number: int | None) -> dict[str, Any]:
        """``{attempt, notebook, results, files, filesTotal, bytesTotal}``, also of a job that still runs."""
        attempt = pick_attempt(job, number)
        if attempt is None:
            return {"attempt": None, "notebook": False, "results": [], "files": [], "filesTotal": 0, "bytesTotal": 0}
        told = job.status.outputs
        if told is not None and attempt is job.status.attempt and job.status.phase.final:
            return {"attempt": attempt.number, **told.model_dump(by_alias=True, mode="json")}
        return await self._services.io(self._look, job, attempt)

    async def find(self, job: TrainJob, number: int | None, part: str, name: str) -> Download:
        """``part`` is notebook, results or files. Raises :class:`NotFound`."""
        attempt = pick_attempt(job, number)
        problem = _missing(job, attempt, part, name)
        if attempt is None:
            raise problem
        prefix = names.attempt_prefix(job.metadata.uid, attempt.number)
        try:
            key = check_key(f"{prefix}notebook.ipynb" if part == "notebook" else f"{prefix}{part}/{name}")
            info = await self._services.io(self._objects.stat, key)
        except (KeyMissing, ValueError):
            raise problem from None
        name = f"{job.metadata.name}.ipynb" if part == "notebook" else name
        return Download(key, info.size, name, info.version)

    async def elsewhere(self, download: Download) -> str:
        """An address at the store where the client may fetch it; empty where the store has none for people."""
        return await self._services.io(self._objects.download_url, download.key, download.name.rpartition("/")[2])

    async def archive(self, job: TrainJob, number: int | None) -> Archive:
        """All that an attempt left, to be sent. Raises :class:`NotFound` where it has not begun."""
        attempt = pick_attempt(job, number)
        if attempt is None:
            raise NotFound(f"The job {job.metadata.name} has left nothing.", remedy="It has not begun yet.")
        made = attempt.end or attempt.start or attempt.admitted or job.metadata.creation_timestamp
        prefix = names.attempt_prefix(job.metadata.uid, attempt.number)
        pieces = archive.pieces(self._objects, prefix, made or datetime.now(timezone.utc))
        return Archive(f"{job.metadata.name}-{attempt.number}.tar", self._counted(pieces))

    async def _counted(self, pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Each piece is made when the one before was taken."""
        while (piece := await self._services.io(_next, pieces)) is not None:
            self._services.metrics.output_bytes.inc(len(piece))
            yield piece

    async def chunks(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """The bytes ``[start, end)`` of an object, piece by piece: each is read when the one before was taken."""
        opened = self._objects.open(key, start, end)
        pieces = await self._services.io(opened.__enter__)
        try:
            while (piece := await self._services.io(_next, pieces)) is not None:
                self._services.metrics.output_bytes.inc(len(piece))
                yield piece
        finally:
            await self._services.io(opened.__exit__, None, None, None)

    def _look(self, job: TrainJob, attempt: Attempt) -> dict[str, Any]:
        prefix = names.attempt_prefix(job.metadata.uid, attempt.number)
        results = [
            {"name": info.key.removeprefix(f"{prefix}results/"), "size": info.size, "type": "", "error": ""}
            for info in self._objects.list(f"{prefix}results/", limit=MAX_LISTED)
        ]
        files, count, size = [], 0, 0
        for info in self._objects.list(f"{prefix}files/", limit=MAX_COUNTED):
            if count < MAX_LISTED:
                files.append({"path": info.key.removeprefix(f"{prefix}files/"), "size": info.size})
            count, size = count + 1, size + info.size
        return {
            "attempt": attempt.number,
            "notebook": self._objects.exists(f"{prefix}notebook.ipynb"),
            "results": results,
            "files": files,
            "filesTotal": count,
            "bytesTotal": size,
        }


def _next(pieces: Iterator[T]) -> T | None:
    return next(pieces, None)


def _missing(job: TrainJob, attempt: Attempt | None, part: str, name: str) -> NotFound:
    said = f"The job {job.metadata.name} has no {_word(part, name)}."
    if attempt is None:
        return NotFound(said, remedy="It has not begun yet.")
    if part == "notebook" and attempt.end is None:
        said = f"The job {job.metadata.name} has not saved its notebook yet; it does so after each cell."
        return NotFound(said, remedy="Try again in a moment.")
    if part == "notebook":
        return NotFound(said, remedy="It ended before its first cell did; its log may say why.")
    return NotFound(said, remedy="The list of its outputs names those there are.")


def _word(part: str, name: str) -> str:
    return {"notebook": "executed notebook", "results": f"result {name[:80]!r}", "files": f"file {name[:200]!r}"}[part]
