"""Bring a job's inputs and the files of its folder into the attempt's ``in/inputs/``, each under a number."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...resources.folder import MAX_BYTES, FolderError, walk_folder
from ...resources.names import attempt_prefix
from ...resources.quantity import byte_count
from ...resources.source import WHOLE_FOLDER
from ...resources.trainjob import (
    FolderSource,
    NotebookSource,
    OutputInput,
    ScriptSource,
    UploadInput,
    UriInput,
    VariablesInput,
)
from ...resources.uris import UriError, allowed
from ...storage.base import KeyMissing, ObjectStore
from ..base import AttemptRequest, BackendError
from .fetch import FetchRules, fetch
from .folder import Folder
from .limits import size as size_text

MAX_INPUT_FILES = 50_000
SLOW_BYTES = 64 * 2**20
"""More than this, and what comes from elsewhere, may take long."""
_SUFFIXES = {"cloudpickle": "pkl", "frame": "csv", "json": "json"}
_READ_ONLY = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


@dataclass
class Brought:
    """What ``job.json`` and the supervisor's orders say about inputs."""

    files: list[dict[str, str]] = field(default_factory=list)
    """``{"path", "source"}``: where it appears, and where it lies as the job sees it."""
    variables: list[dict[str, Any]] = field(default_factory=list)
    conditions: list[dict[str, str]] = field(default_factory=list)
    entry: str = ""
    """Of a folder: the file that runs, as it lies in the draft."""


@dataclass(frozen=True)
class _Object:
    """One file to bring from the object store."""

    path: str
    key: str
    what: str
    size: int


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
        self._taken: dict[str, str] = {}
        self._copied: dict[str, str] = {}
        self._fetched: list[str] = []
        disk = request.job.spec.resources.disk
        self._limit = byte_count(disk) if disk else None
        self._bytes = 0
        self._deadline = time.monotonic() + rules.maximum_seconds

    def survey(self) -> bool:
        """Whether all that is named is there, may be fetched and has room, as far as that can be told without reading.

        Quick. Raises :class:`BackendError` and ``StoreError``. True: bringing it may take long.
        """
        spec, sizes, slow = self._request.job.spec, dict[str, int](), False
        if isinstance(spec.source, (NotebookSource, ScriptSource, FolderSource)):
            source = self._stat(blob_key(self._request, spec.source.digest), f"the {spec.source.type}")
            slow = source.size > SLOW_BYTES / 8  # a folder is packed
        for item in spec.inputs:
            if isinstance(item, UriInput):
                _allowed(item, self._rules)
                slow = True
            else:
                sizes.update((found.key, found.size) for found in self._objects(item))
        needed = sum(sizes.values())
        self._check_room(needed)
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
                for found in self._objects(item):
                    self._object(found)
        if self._fetched:
            self._brought.conditions.append(
                {"type": "InputsFetched", "status": "True", "reason": "Fetched", "message": "; ".join(self._fetched)}
            )
        return self._brought

    def _place(self, path: str) -> str:
        """A new file's place in the draft; it appears at ``path``. Raises :class:`BackendError` where that is taken."""
        self._check_count()
        self._claim(path)
        name = f"inputs/{len(self._brought.files)}"
        self._brought.files.append({"path": path, "source": self._job_path(name)})
        return self._draft.file("in", name)

    def _check_count(self) -> None:
        if len(self._brought.files) >= MAX_INPUT_FILES:
            raise BackendError(
                f"The inputs are more than {MAX_INPUT_FILES} files.",
                remedy="Send them as an archive, and unpack it in the job.",
                permanent=True,
            )

    def _claim(self, path: str) -> None:
        above = path
        while above := above.rpartition("/")[0]:
            if self._taken.setdefault(above, "folder") == "file":
                raise _collision(path, above)
        if path in self._taken:
            raise _collision(path, path)
        self._taken[path] = "file"

    def _objects(self, item: Any) -> Iterator[_Object]:
        """What an input names in the object store. Raises :class:`BackendError` where that is not there."""
        if isinstance(item, VariablesInput):
            what = f"the variables {', '.join(item.names)}"
            yield self._stat(blob_key(self._request, item.digest), what)
        elif isinstance(item, UploadInput):
            yield self._stat(blob_key(self._request, item.digest), f"the input {item.path!r}", item.path)
        elif isinstance(item, OutputInput):
            yield from self._outputs(item)
        else:
            raise BackendError(
                f"The local backend can't bring inputs of type {item.type!r} yet.",
                remedy="Upload the file and name it as an input.",
                permanent=True,
            )

    def _stat(self, key: str, what: str, path: str = "") -> _Object:
        try:
            return _Object(path, key, what, self._store.stat(key).size)
        except KeyMissing:
            raise lost(what) from None

    def _take(self, count: int) -> None:
        self._going_on()
        self._bytes += count
        self._check_room(self._bytes, more=True)

    def _check_room(self, needed: int, *, more: bool = False) -> None:
        """``more``: they are still coming, so that what they need is not known."""
        if self._limit is None or needed <= self._limit:
            return
        words = f"more than {size_text(self._limit)}" if more else size_text(needed)
        raise BackendError(
            f"The inputs have {words} together, and the job has {size_text(self._limit)} of disk.",
            remedy=f"Ask for {'more' if more else f'{-(-needed // 2**20)}Mi'} with --disk (resources.disk), or name "
            "fewer inputs.",
            permanent=True,
        )

    def _copy(self, found: _Object, target: str) -> None:
        copy_object(self._store, found.key, target, found.what, self._take)

    def _object(self, found: _Object) -> None:
        """An object that was brought under another path is not brought again: both paths lead to the one file."""
        if found.key in self._copied:
            self._check_count()
            self._claim(found.path)
            self._brought.files.append({"path": found.path, "source": self._copied[found.key]})
            return
        self._copy(found, self._place(found.path))
        self._copied[found.key] = self._brought.files[-1]["source"]

    def _variables(self, item: VariablesInput) -> None:
        name = f"variables-{len(self._brought.variables)}.{_SUFFIXES[item.format]}"
        for found in self._objects(item):
            self._copy(found, self._draft.file("in", name))
        self._brought.variables.append(
            {
                "file": self._job_path(name),
                "names": item.names,
                "format": item.format,
                "pythonVersion": item.python_version,
            }
        )

    def _outputs(self, item: OutputInput) -> Iterator[_Object]:
        """One file, or all below a folder, of an attempt that the controller has settled on."""
        if item.attempt is None:
            raise BackendError(f"It is not known which attempt of job {item.job} {item.path!r} is of.", permanent=True)
        prefix = f"{attempt_prefix(item.job, item.attempt)}files/"
        if item.file != WHOLE_FOLDER:
            if self._store.exists(prefix + item.file):
                yield self._stat(prefix + item.file, f"the input {item.path!r}", item.path)
                return
            prefix += f"{item.file}/"
        count = 0
        for count, info in enumerate(self._store.list(prefix), 1):  # noqa: B007 - counted for what comes behind
            path = f"{item.path}/{info.key.removeprefix(prefix)}"
            yield _Object(path, info.key, f"the input {path!r}", info.size)
        if not count:
            what = "no files" if item.file == WHOLE_FOLDER else f"no file {item.file!r}"
            raise BackendError(
                f"Attempt {item.attempt} of job {item.job} left {what}, which was to be the input {item.path!r}.",
                permanent=True,
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


def blob_key(request: AttemptRequest, digest: str) -> str:
    """Where an upload of the owner's lies."""
    return request.blob_prefix + digest.removeprefix("sha256:")


def _bytes_allowed(disk: str | None) -> int:
    """How far a folder may unpack."""
    return min(MAX_BYTES, byte_count(disk)) if disk else MAX_BYTES


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


def lost(what: str) -> BackendError:
    """That something the job needs is gone."""
    return BackendError(f"The object store no longer has {what}.", remedy="Submit the job again.", permanent=True)


def _collision(path: str, other: str) -> BackendError:
    problem = "two inputs have this path" if path == other else f"{other!r} on its way is a file, another input"
    return BackendError(
        f"The input {path!r} can't be placed: {problem}.",
        remedy="Give one of them another path.",
        permanent=True,
    )
