"""Bring what the job reads into ``in``: fetched from signed places, checked, and believed in nothing else.

As ``backends/local/inputs.py`` does it on a server: everything under a number, folders unpacked by
:mod:`jupyter_trainjob.resources.folder`, which refuses what could leave its folder; all together may have as many bytes
as the job has disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from contextlib import suppress

from ....resources.folder import MAX_BYTES, MAX_ENTRY_BYTES, FolderError, walk_folder
from ....storage.base import KeyMissing, StoreError
from ...onecell import script
from ...rules import MAX_INPUT_FILES, VARIABLE_SUFFIXES, Collision, Paths, size
from .files import JOB, dump, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ....storage.base import ObjectStore
    from .files import Places
    from .orders import Orders

CHUNK_BYTES = 256 * 1024
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class InputsError(Exception):
    """The job's inputs can't be brought. ``limit`` names the reason; the text is for the job's owner."""

    def __init__(self, message: str, limit: str = "BackendError") -> None:
        super().__init__(message)
        self.limit = limit


class Inputs:
    """Brings them. ``deadline``: monotonic; ``going_on`` is called again and again, and may raise."""

    def __init__(
        self,
        orders: Orders,
        places: Places,
        store: ObjectStore,
        deadline: float,
        going_on: Callable[[], None] = lambda: None,
    ) -> None:
        self._orders, self._in, self._out = orders, places.inside, f"{places.out}/{JOB}"
        self._work, self._list = places.work, f"{places.buffer}/inputs.jsonl"
        self._store, self._deadline, self._going_on = store, deadline, going_on
        self._files: list[dict[str, Any]] = []
        self._variables: list[dict[str, Any]] = []
        self._paths = Paths()
        self._brought: dict[str, str] = {}
        self._entry = ""
        self._limit: int | None = orders.limits["inputBytes"]
        self._bytes = 0

    def bring(self) -> None:
        """All of them, and ``job.json``. Raises :class:`InputsError`."""
        shutil.rmtree(f"{self._in}/inputs", ignore_errors=True)  # what an earlier life left half done
        os.makedirs(f"{self._in}/inputs")
        try:
            for one in self._inputs():
                if "folder" in one:
                    self._folder(one)
                elif "variables" in one:
                    self._variable(one)
                else:
                    self._file(one)
            self._notebook()
            job = {
                **self._orders.job,
                "notebook": f"{self._in}/notebook.ipynb",
                "work": self._work,
                "out": self._out,
                "inputs": self._files,
                "variables": self._variables,
                "drop": None,
            }
            replace(f"{self._in}/job.json", dump(job), 0o444)
        except OSError as error:
            raise InputsError(
                f"The inputs can't be written down in the pod: {error.strerror}. Has the job enough disk for them?",
                "StorageError",
            ) from error

    def _inputs(self) -> Iterator[dict[str, Any]]:
        """What the orders name, one by one: there may be more than a Secret holds, or memory."""
        told = self._orders.inputs
        if isinstance(told, list):
            yield from told
            return
        limit, self._limit = self._limit, None  # the list is none of the job's
        self._fetch(told, self._list, "the list of the job's inputs")
        self._limit, self._bytes = limit, 0
        with open(self._list, "rb") as lines:
            for line in lines:
                yield json.loads(line)

    def _file(self, one: dict[str, Any]) -> None:
        path = str(one["path"])
        if len(self._files) >= MAX_INPUT_FILES:
            raise InputsError(f"The inputs are more than {MAX_INPUT_FILES} files. Send them as an archive.")
        self._claim(path)
        known = self._brought.get(one["get"])
        if known is None:
            known = self._brought[one["get"]] = f"{self._in}/inputs/{len(self._files)}"
            self._fetch(one, known, f"the input {path!r}")
        self._files.append({"path": path, "source": known, **({"copy": True} if one.get("copy") else {})})

    def _variable(self, one: dict[str, Any]) -> None:
        told = one["variables"]
        target = f"{self._in}/variables-{len(self._variables)}.{VARIABLE_SUFFIXES[told.get('format') or 'cloudpickle']}"
        self._fetch(one, target, f"the variables {', '.join(told['names'])}")
        self._variables.append({**told, "file": target})

    def _folder(self, one: dict[str, Any]) -> None:
        entry = str(one["folder"]["entry"])
        before = self._bytes, len(self._files), self._paths.copy()

        def unpack(chunks: Iterator[bytes]) -> None:
            self._bytes, count, self._paths = before[0], before[1], before[2].copy()
            del self._files[count:]
            try:
                for path, _, content in walk_folder(chunks, maximum_bytes=min(MAX_BYTES, self._limit or MAX_BYTES)):
                    self._claim(path)
                    target = f"{self._in}/inputs/{len(self._files)}"
                    with open(target, "wb") as file:
                        while piece := content.read(CHUNK_BYTES):
                            self._take(len(piece))
                            file.write(piece)
                        os.fchmod(file.fileno(), 0o644)
                    self._files.append({"path": path, "source": target})
                    if path == entry:
                        self._entry = target
            except FolderError as error:
                raise InputsError(f"The folder can't be unpacked: {error}.") from None
            for _ in chunks:  # what is behind the archive's end belongs to its digest
                continue

        self._get(one, unpack, "the folder")
        if not self._entry:
            raise InputsError(f"The folder has no file {entry!r} that could run.")

    def _notebook(self) -> None:
        told, target = self._orders.notebook, f"{self._in}/notebook.ipynb"
        if told is None:
            if os.path.getsize(self._entry) > MAX_ENTRY_BYTES:
                raise InputsError(f"The file that runs has more than {MAX_ENTRY_BYTES} bytes.")
            with open(self._entry, "rb") as file:
                data = file.read()
            entry = next(one["path"] for one in self._files if one["source"] == self._entry)
            text = data if entry.endswith(".ipynb") else _script(data, entry)
            replace(target, text, 0o444)
        elif "inline" in told:
            replace(target, json.dumps(told["inline"]).encode(), 0o444)
        elif "script" in told:
            path, place = str(told.get("path", "")), f"{self._in}/inputs/script"
            self._fetch(told["script"], place, "the script")
            with open(place, "rb") as file:
                data = file.read()
            replace(target, _script(data, path), 0o444)
            with suppress(Collision):  # an input has its path: that is it, then
                if path:
                    self._paths.claim(path)
                    self._files.append({"path": path, "source": place})
        else:
            self._fetch(told, target, "the notebook")

    # Paths and sizes

    def _claim(self, path: str) -> None:
        try:
            self._paths.claim(path)
        except Collision as problem:
            raise InputsError(str(problem)) from None

    def _take(self, count: int) -> None:
        self._going_on()
        self._bytes += count
        if self._limit is not None and self._bytes > self._limit:
            raise InputsError(
                f"The inputs have more than the {size(self._limit)} of disk that the job has for them. "
                "Ask for more with --disk, or send less."
            )

    # Over the network

    def _fetch(self, one: dict[str, Any], target: str, what: str) -> None:
        """One object as a file. Raises :class:`InputsError`."""
        before = self._bytes

        def write(chunks: Iterator[bytes]) -> None:
            self._bytes = before
            with open(target, "wb") as file:
                for chunk in chunks:
                    self._take(len(chunk))
                    file.write(chunk)
                os.fchmod(file.fileno(), 0o644)

        self._get(one, write, what)

    def _get(self, one: dict[str, Any], use: Callable[[Iterator[bytes]], None], what: str) -> None:
        """Fetch, and again while it may help, until the deadline; ``use`` begins anew each time."""
        tries = 0
        while True:
            try:
                self._try(one, use, what)
                return
            except StoreError as problem:
                wait = RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
                tries += 1
                if time.monotonic() + wait > self._deadline:
                    raise InputsError(
                        f"The object store did not give {what} in time: {problem} ({tries} tries). Try again later.",
                        "StorageError",
                    ) from problem
                until = time.monotonic() + wait
                while time.monotonic() < until:
                    self._going_on()
                    time.sleep(0.05)

    def _try(self, one: dict[str, Any], use: Callable[[Iterator[bytes]], None], what: str) -> None:
        digest, size = hashlib.sha256(), 0
        try:
            with self._store.open(str(one["get"])) as answer:

                def chunks() -> Iterator[bytes]:
                    nonlocal size
                    for chunk in answer:
                        size += len(chunk)
                        digest.update(chunk)
                        yield chunk

                use(chunks())
        except KeyMissing:
            raise InputsError(f"The object store no longer has {what}. Submit the job again.") from None
        except StoreError as error:
            from ....storage.signed import NotAllowed

            if isinstance(error, NotAllowed):
                raise InputsError(f"The object store refuses {what}: {error}", "StorageError") from error
            raise
        self._check(one, digest.hexdigest(), size, what)

    def _check(self, one: dict[str, Any], digest: str, size: int, what: str) -> None:
        wanted_bytes, wanted = one.get("bytes"), one.get("sha256")
        if wanted_bytes is not None and size != wanted_bytes:
            raise InputsError(
                f"The object store gave {size} bytes of {what}, which has {wanted_bytes}.", "StorageError"
            )
        if wanted is not None and digest != wanted.removeprefix("sha256:"):
            raise InputsError(
                f"The object store gave {what} with other bytes than were uploaded: their SHA-256 is {digest} and not "
                f"{wanted.removeprefix('sha256:')}. Upload it again.",
                "StorageError",
            )


def _script(data: bytes, path: str) -> bytes:
    return json.dumps(script(data, path)).encode()
