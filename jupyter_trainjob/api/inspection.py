"""What a draft's code says: fetched from the object store, handed to those who know its language."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..resources import names
from ..resources.errors import FieldError, Unavailable
from ..resources.folder import FolderError, Listing, read_folder
from ..resources.trainjob import CellSource, FolderSource, NotebookSource, TrainJob
from ..storage.base import KeyMissing, ObjectStore, StoreError
from ..store import Store
from .sources import CODE, DIGEST, MAX_SCRIPT_BYTES, SCRIPT_REMEDY, Asked, Findings, Inspector

T = TypeVar("T")

MAX_NOTEBOOK_BYTES = 32 * 1024 * 1024
ENTRY = "spec.source.entry"


class Inspection:
    """Finds out what a draft's code is, before the job is queued."""

    def __init__(self, store: Store, objects: ObjectStore, inspector: Inspector) -> None:
        self._store = store
        self._objects = objects
        self._inspector = inspector
        self._reading = ThreadPoolExecutor(2, thread_name_prefix="trainjob-inspect")

    async def findings(self, job: TrainJob, asked: str, fallback: str) -> Findings:
        """``asked`` is the language that the job names, ``fallback`` its profile's; either may be empty.

        Raises :class:`Unavailable` where the store can't be read.
        """
        source, person = job.spec.source, job.metadata.owner
        if isinstance(source, CellSource):
            about = Asked(asked or fallback, job.spec.parameters, CODE, person, source.first_line)
            return await self._inspector.cell(source.code, about)
        row = await self._store.aread(lambda reader: reader.blob(person, source.digest))
        if row is None:
            return Findings()  # told by checks.blob_errors
        key = names.blob_key(person, source.digest)
        if isinstance(source, FolderSource):
            return await self._folder(job, source, key, asked)
        is_notebook = isinstance(source, NotebookSource)
        limit = MAX_NOTEBOOK_BYTES if is_notebook else MAX_SCRIPT_BYTES
        if row.size > limit:
            what = "notebook" if is_notebook else "script"
            problem = f"the {what} {source.path!r} has {row.size / 2**20:.0f} MiB; the limit is {limit >> 20} MiB"
            remedy = "Clear its outputs and save it again." if is_notebook else SCRIPT_REMEDY
            return Findings([FieldError(DIGEST, problem, None, remedy)])
        data = await self._read(source.path, self._objects.get, key)
        return await self._file(data, source.path, Asked(asked, job.spec.parameters, DIGEST, person), is_notebook)

    async def _folder(self, job: TrainJob, source: FolderSource, key: str, asked: str) -> Findings:
        try:
            listing = await self._read(source.entry, self._listing, key, source.entry)
        except FolderError as error:
            remedy = "Send the folder again; the client makes the archive."
            return Findings([FieldError(DIGEST, f"the folder can't be taken: {error}", None, remedy)])
        if listing.entry is None:
            near = difflib.get_close_matches(source.entry, list(listing.files)[:2000], n=1, cutoff=0.5)
            some = [f"{name}" for name in listing.files][:10]
            remedy = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(some)}."
            problem = f"the folder has no file {source.entry!r}"
            return Findings([FieldError(ENTRY, problem, source.entry, remedy)])
        is_notebook = source.entry.lower().endswith(".ipynb")
        about = Asked(asked, job.spec.parameters, ENTRY, job.metadata.owner)
        return await self._file(listing.entry, source.entry, about, is_notebook)

    def _listing(self, key: str, entry: str) -> Listing:
        with self._objects.open(key) as chunks:
            return read_folder(chunks, entry=entry)

    async def _file(self, data: bytes, path: str, asked: Asked, is_notebook: bool) -> Findings:
        return await (self._inspector.notebook if is_notebook else self._inspector.script)(data, path, asked)

    async def _read(self, path: str, function: Callable[..., T], *arguments: Any) -> T:
        """In threads of our own: a large upload must not keep others from the loop's."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reading, function, *arguments)
        except (KeyMissing, StoreError) as error:
            raise Unavailable(
                f"{path!r} was uploaded but can't be read from the store now: {error}",
                remedy="Send it again in a moment.",
            ) from error

    def close(self) -> None:
        """End threads and parsers."""
        self._inspector.close()
        self._reading.shutdown(wait=False, cancel_futures=True)
