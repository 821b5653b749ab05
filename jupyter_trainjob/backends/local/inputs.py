"""Bring a job's inputs and the files of its folder into the attempt's ``in/inputs/``, each under a number."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ...resources.folder import MAX_BYTES, FolderError, walk_folder
from ...resources.trainjob import FolderSource, UriInput, VariablesInput
from ...resources.uris import UriError, allowed
from ...storage.base import KeyMissing, ObjectStore
from ..base import AttemptRequest, BackendError
from ..orders import VARIABLE_SUFFIXES, Paths, StoredInput, StoredInputs, blob_key, check_count, lost, optional_bytes
from .fetch import FetchRules, fetch
from .folder import Folder

SLOW_BYTES = 64 * 2**20
"""More than this, and what comes from elsewhere, may take long."""
_READ_ONLY = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


@dataclass
class Brought:
    """What ``job.json`` and the supervisor's orders say about inputs."""

    files: list[dict[str, Any]] = field(default_factory=list)
    """``{"path", "source"}``: where it appears, and where it lies as the job sees it; ``copy``: as the job's own."""
    variables: list[dict[str, Any]] = field(default_factory=list)
    conditions: list[dict[str, str]] = field(default_factory=list)
    entry: str = ""
    """Of a folder: the file that runs, as it lies in the draft."""


class Inputs:
    """Brings them. ``job_path`` tells where the job sees a file of ``in/``. Blocks.

    All together may have as many bytes as the job has disk; what the job writes counts apart. ``going_on`` is called
    again and again while they come, and may raise.
    """

    def __init__(
        self,
        draft: Folder,
        request: AttemptRequest,
        store: ObjectStore,
        job_path: Callable[[str], str],
        rules: FetchRules,
        going_on: Callable[[], None] = lambda: None,
    ) -> None:
        self._draft, self._request, self._store = draft, request, store
        self._job_path, self._rules, self._going_on = job_path, rules, going_on
        self._brought = Brought()
        self._stored = StoredInputs(request, store, "local")
        self._paths = Paths()
        self._copied: dict[str, str] = {}
        self._fetched: list[str] = []
        self._bytes = 0
        self._deadline = time.monotonic() + rules.maximum_seconds

    def survey(self) -> bool:
        """Whether all that is named is there, may be fetched and has room, as far as that can be told without reading.

        Quick. Raises :class:`BackendError` and ``StoreError``. True: bringing it may take long.
        """
        spec, sizes, slow = self._request.job.spec, dict[str, int](), False
        source = self._stored.source()
        if source is not None:
            slow = source.size > SLOW_BYTES / 8  # a folder is packed
        for item in spec.inputs:
            if isinstance(item, UriInput):
                _allowed(item, self._rules)
                slow = True
            else:
                sizes.update((found.key, found.size) for found in self._stored.of(item))
        sizes.update((found.key, found.size) for found in self._stored.checkpoint())
        needed = sum(sizes.values())
        self._stored.check_room(needed)
        return slow or needed > SLOW_BYTES

    def bring(self) -> Brought:
        """All of them. Raises :class:`BackendError` and ``StoreError``."""
        self.survey()
        spec = self._request.job.spec
        if isinstance(spec.source, FolderSource):
            self._folder(spec.source, _bytes_allowed(spec.resources.disk))
        for item in spec.inputs:
            if isinstance(item, UriInput):
                self._uri(item)
            elif isinstance(item, VariablesInput):
                self._variables(item)
            else:
                for found in self._stored.of(item):
                    self._object(found)
        for found in self._stored.checkpoint():
            self._object(found)
            self._brought.files[-1]["copy"] = True
        if self._fetched:
            self._brought.conditions.append(
                {"type": "InputsFetched", "status": "True", "reason": "Fetched", "message": "; ".join(self._fetched)}
            )
        return self._brought

    def script(self, path: str, data: bytes) -> None:
        """The script itself beside what it reads, as its author has it; where an input has its path, that is it."""
        try:
            target = self._place(path)
        except BackendError:
            return
        with open(target, "xb") as file:
            file.write(data)
        os.chmod(target, _READ_ONLY)

    def _place(self, path: str) -> str:
        """A new file's place in the draft; it appears at ``path``. Raises :class:`BackendError` where that is taken."""
        check_count(len(self._brought.files))
        self._paths.claim(path)
        name = f"inputs/{len(self._brought.files)}"
        self._brought.files.append({"path": path, "source": self._job_path(name)})
        return self._draft.file("in", name)

    def _take(self, count: int) -> None:
        self._going_on()
        self._bytes += count
        self._stored.check_room(self._bytes, more=True)

    def _copy(self, found: StoredInput, target: str) -> None:
        copy_object(self._store, found.key, target, found.what, self._take)

    def _object(self, found: StoredInput) -> None:
        """An object that was brought under another path is not brought again: both paths lead to the one file."""
        if found.key in self._copied:
            check_count(len(self._brought.files))
            self._paths.claim(found.path)
            self._brought.files.append({"path": found.path, "source": self._copied[found.key]})
            return
        self._copy(found, self._place(found.path))
        self._copied[found.key] = self._brought.files[-1]["source"]

    def _variables(self, item: VariablesInput) -> None:
        name = f"variables-{len(self._brought.variables)}.{VARIABLE_SUFFIXES[item.format]}"
        for found in self._stored.of(item):
            self._copy(found, self._draft.file("in", name))
        self._brought.variables.append(
            {
                "file": self._job_path(name),
                "names": item.names,
                "format": item.format,
                "pythonVersion": item.python_version,
            }
        )

    def _uri(self, item: UriInput) -> None:
        target = self._place(item.path)
        digest, size = fetch(
            item.uri, target, self._rules, deadline=self._deadline, took=self._take, going_on=self._going_on
        )
        os.chmod(target, _READ_ONLY)
        self._fetched.append(f"{item.path}: {digest} ({size} bytes)")

    def _folder(self, source: FolderSource, maximum_bytes: int) -> None:
        try:
            with self._store.open(blob_key(self._request, source.digest)) as chunks:
                self._unpack(source, chunks, maximum_bytes)
        except KeyMissing:
            raise lost("the folder") from None
        except FolderError as error:
            raise BackendError(f"The folder can't be unpacked: {error}.", permanent=True) from None
        if not self._brought.entry:
            raise BackendError(f"The folder has no file {source.entry!r} that could run.", permanent=True)

    def _unpack(self, source: FolderSource, chunks: Iterable[bytes], maximum_bytes: int) -> None:
        for path, _, content in walk_folder(chunks, maximum_bytes=maximum_bytes):
            target = self._place(path)
            with open(target, "xb") as file:
                while piece := content.read(1024**2):
                    self._take(len(piece))
                    file.write(piece)
            os.chmod(target, _READ_ONLY)
            if path == source.entry:
                self._brought.entry = target


def _bytes_allowed(disk: str | None) -> int:
    """How far a folder may unpack."""
    return min(MAX_BYTES, optional_bytes(disk) or MAX_BYTES)


def _allowed(item: UriInput, rules: FetchRules) -> None:
    try:
        allowed(item.uri, rules.prefixes)
    except UriError as error:
        raise BackendError(f"The input can't be fetched: {error}.", permanent=True) from None


def copy_object(
    store: ObjectStore, key: str, target: str, what: str, took: Callable[[int], None] = lambda count: None
) -> None:
    """The object as the new read-only file ``target``. ``took`` is called with the size of each piece, and may raise.

    Raises :class:`BackendError` where it is gone.
    """
    try:
        with store.open(key) as chunks, open(target, "xb") as file:
            for chunk in chunks:
                took(len(chunk))
                file.write(chunk)
    except KeyMissing:
        raise lost(what) from None
    os.chmod(target, _READ_ONLY)
