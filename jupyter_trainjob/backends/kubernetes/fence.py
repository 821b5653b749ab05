"""A store for work that somebody may call off: once that is done, nothing of it is read or written any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from ...storage.base import ObjectInfo, ObjectStore


class CalledOff(Exception):
    """The work was called off."""


class Fence(ObjectStore):
    """``store`` until :meth:`shut`. A step that is under way then ends at its next chunk. For several threads."""

    def __init__(self, store: ObjectStore) -> None:
        self._store, self._open = store, True

    def shut(self) -> None:
        """Let nothing through any more: whoever tries gets :class:`CalledOff`."""
        self._open = False

    def _check(self) -> ObjectStore:
        if not self._open:
            raise CalledOff
        return self._store

    def put(self, key: str, data: bytes | IO[bytes], *, if_absent: bool = False, durable: bool = True) -> ObjectInfo:
        """See :meth:`ObjectStore.put`."""
        return self._check().put(key, data, if_absent=if_absent, durable=durable)

    @contextmanager
    def open(self, key: str, start: int = 0, end: int | None = None) -> Iterator[Iterator[bytes]]:
        """See :meth:`ObjectStore.open`."""
        with self._check().open(key, start, end) as chunks:
            yield self._each(chunks)

    def _each(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._check()
            yield chunk

    def stat(self, key: str) -> ObjectInfo:
        """See :meth:`ObjectStore.stat`."""
        return self._check().stat(key)

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        """See :meth:`ObjectStore.list`."""
        return self._check().list(prefix, after=after, limit=limit)

    def delete(self, key: str) -> None:
        """See :meth:`ObjectStore.delete`."""
        self._check().delete(key)

    def delete_prefix(self, prefix: str) -> int:
        """See :meth:`ObjectStore.delete_prefix`."""
        return self._check().delete_prefix(prefix)

    def describe(self) -> dict[str, Any]:
        """The store's."""
        return self._store.describe()
