"""What the server told the sidecar (``orders.json``), and what it may do for how long (``credentials.json``)."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping
from contextlib import contextmanager

from ....storage.base import KeyMissing, ObjectInfo, ObjectStore, StoreError, open_store
from .files import PROTOCOL, WINDOW_BYTES, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

LOOK_SECONDS = 1.0
_DEFAULTS: dict[str, int | None] = {
    "inputBytes": None,
    "logBytes": 64 * 2**20,
    "diskBytes": None,
    "timeLimitSeconds": None,
    "startupSeconds": 120,
    "graceSeconds": 8,
    "processes": None,
    "windowBytes": WINDOW_BYTES,
    "spoolBytes": 256 * 2**20,
    "endSeconds": 60,
}


class OrdersError(Exception):
    """The orders can't be followed. The text says why, for an operator."""


class Orders:
    """``orders.json``. Raises :class:`OrdersError`."""

    def __init__(self, folder: str) -> None:
        path = f"{folder}/orders.json"
        try:
            data = load(path)
        except (OSError, ValueError) as error:
            raise OrdersError(f"The sidecar can't read its orders {path}: {error}") from error
        if data is None:
            raise OrdersError(f"The sidecar has no orders: there is no {path}. Is the Secret mounted?")
        if data.get("protocol") != PROTOCOL:
            raise OrdersError(
                f"The orders are of protocol {data.get('protocol')!r}, the sidecar speaks {PROTOCOL}: give it the "
                "image of the server's version."
            )
        try:
            self.uid, self.attempt, self.prefix = str(data["uid"]), int(data["attempt"]), str(data["prefix"])
            self.job: dict[str, Any] = dict(data["job"])
            self.notebook: dict[str, Any] | None = data.get("notebook")
            inputs = data.get("inputs") or []
            self.inputs: list[dict[str, Any]] | dict[str, Any] = inputs if isinstance(inputs, dict) else list(inputs)
            """Or, where they are too many for a Secret, the object that lists them: ``{"get", "bytes", "sha256"}``."""
            self.keep: list[str] = list(data.get("keep") or [])
            self.results: list[str] = list(data.get("results") or [])
            told = data.get("limits") or {}
            self.limits: dict[str, Any] = {**_DEFAULTS, **{k: v for k, v in told.items() if v is not None}}
        except (KeyError, TypeError, ValueError) as error:
            raise OrdersError(f"The orders {path} lack or garble a field: {error!r}") from error


class Credentials:
    """``credentials.json``, read anew when it changes: the server signs again before anything expires.

    ``first``: the folder with those that came with the orders, where ``folder`` has none before they are renewed.
    """

    def __init__(self, folder: str, first: str = "") -> None:
        self.path = f"{folder}/credentials.json"
        self._first = f"{first or folder}/credentials.json"
        self.authorities = f"{folder}/ca.crt"
        self._seen: tuple[int, ...] = ()
        self._next = 0.0
        self._data: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.version = 0

    def current(self) -> tuple[int, dict[str, Any]]:
        """The credentials and their version. Raises ``StoreError``."""
        with self._lock:
            now = time.monotonic()
            if now >= self._next:
                self._next = now + LOOK_SECONDS
                self._look()
            return self.version, self._data

    def _look(self) -> None:
        try:
            path = self.path if os.path.exists(self.path) else self._first
            info = os.stat(path)  # a Secret's files are links, which the kubelet exchanges all at once
            mark = (info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size)
            if mark != self._seen:
                self._data = load(path) or {}
                self._seen, self.version = mark, self.version + 1
        except (OSError, ValueError) as error:
            if not self._data:
                raise StoreError(f"The sidecar's credentials {self.path} can't be read: {error}") from error


def seal_in(folder: str) -> str:
    """What main marks its words with; empty where the orders are without."""
    try:
        with open(f"{folder}/seal", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def open_store_from(credentials: dict[str, Any], authorities: str = "") -> ObjectStore:
    """The store that ``credentials`` open: to put objects into, and to read those that were signed. ``StoreError``."""
    if "store" in credentials:
        return open_store(credentials["store"])
    from ....storage.signed import open_signed

    ca_file = authorities if os.path.exists(authorities) else ""
    try:
        return open_signed(credentials["post"], ca_file, credentials.get("gets"))
    except (KeyError, TypeError) as error:
        raise StoreError(f"The sidecar's credentials lack or garble a field: {error!r}") from error


class Places(Mapping[str, "dict[str, Any]"]):
    """Signed places to read from, by key, in a file of their own: in memory they would take more than a sidecar has."""

    def __init__(self, path: str, store: ObjectStore, told: dict[str, Any]) -> None:
        """Bring what ``told`` names out of ``store`` into ``path``. Raises ``StoreError``."""
        self._path, self._offsets, digest = path, dict[str, int](), hashlib.sha256()
        try:
            with open(path, "wb") as file, store.open(str(told["get"])) as chunks:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != told["sha256"]:
                raise StoreError(f"The signatures in {told['get']!r} are not those that the credentials speak of.")
            with open(path, "rb") as file:
                at = 0
                for line in file:
                    self._offsets[json.loads(line)["key"]] = at
                    at += len(line)
        except KeyMissing:
            raise StoreError(f"The signatures {told['get']!r} are gone.") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"The signatures in {told['get']!r} can't be read: {error!r}") from error

    def __getitem__(self, key: str) -> dict[str, Any]:
        with open(self._path, "rb") as file:
            file.seek(self._offsets[key])
            found: dict[str, Any] = json.loads(file.readline())
            return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._offsets)

    def __len__(self) -> int:
        return len(self._offsets)

    def values(self) -> Any:
        """One after the other, read once."""
        with open(self._path, "rb") as file:
            yield from map(json.loads, file)


class LiveStore(ObjectStore):
    """The attempt's store with the latest credentials: puts, and reads what was signed. For several threads."""

    def __init__(self, credentials: Credentials, folder: str) -> None:
        """``folder``: the sidecar's own, for what signatures do not fit into a Secret."""
        self._credentials, self._folder = credentials, folder
        self._more: tuple[int, ObjectStore] | None = None
        self._lock = threading.Lock()
        self._version = 0
        self._store: ObjectStore | None = None

    def _current(self) -> ObjectStore:
        version, known = self._credentials.current()
        with self._lock:
            if self._store is None or self._version != version:
                self._store, self._version = open_store_from(known, self._credentials.authorities), version
            return self._store

    def put(self, key: str, data: bytes | IO[bytes], *, if_absent: bool = False, durable: bool = True) -> ObjectInfo:
        """See :meth:`ObjectStore.put`."""
        return self._current().put(key, data, if_absent=if_absent, durable=durable)

    @contextmanager
    def open(self, key: str, start: int = 0, end: int | None = None) -> Iterator[Iterator[bytes]]:
        """See :meth:`ObjectStore.open`."""
        with self._reading(key).open(key, start, end) as chunks:
            yield chunks

    def stat(self, key: str) -> ObjectInfo:
        """See :meth:`ObjectStore.stat`."""
        return self._reading(key).stat(key)

    def _reading(self, key: str) -> ObjectStore:
        """The store with the signature for ``key``, wherever that is."""
        version, known = self._credentials.current()
        current, more = self._current(), known.get("more")
        if more is None or key in known["gets"]:
            return current
        with self._lock:
            if self._more is None or self._more[0] != version:
                places = Places(f"{self._folder}/gets.jsonl", current, more)
                opened = open_store_from({**known, "gets": places}, self._credentials.authorities)
                self._more = version, opened
            return self._more[1]

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        """Not for pods."""
        raise NotImplementedError("a pod can't list objects")

    def delete(self, key: str) -> None:
        """Not for pods."""
        raise NotImplementedError("a pod can't delete objects")

    def describe(self) -> dict[str, Any]:
        """Of no use to other processes."""
        return {"type": "pod"}
