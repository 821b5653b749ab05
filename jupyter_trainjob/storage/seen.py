"""A store below one prefix as a single list showed it: what is not there is not asked for.

For whoever puts in order what an ended attempt left: on S3 each look is a request, and most of them ask for what was
never made. Another server may do the same meanwhile: what must be known of that is asked of the store itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import IO, Any

from .base import KeyMissing, ObjectInfo, ObjectStore

MOST = 1000
"""One page of S3's."""


def seen(store: ObjectStore, prefix: str) -> ObjectStore:
    """``store`` with what it has below ``prefix`` listed once; just ``store`` where that is more than a page."""
    found = {info.key: info for info in store.list(prefix, limit=MOST + 1)}
    return Seen(store, prefix, found) if len(found) <= MOST else store


class Seen(ObjectStore):
    """See :func:`seen`. What is done through it is known to it; not for several threads at once."""

    def __init__(self, store: ObjectStore, prefix: str, found: dict[str, ObjectInfo]) -> None:
        self._store, self._prefix, self._found = store, prefix, found

    def put(self, key: str, data: bytes | IO[bytes], *, if_absent: bool = False, durable: bool = True) -> ObjectInfo:
        """See :meth:`ObjectStore.put`."""
        made = self._store.put(key, data, if_absent=if_absent, durable=durable)
        if key.startswith(self._prefix):
            self._found[key] = made
        return made

    def open(self, key: str, start: int = 0, end: int | None = None) -> AbstractContextManager[Iterator[bytes]]:
        """See :meth:`ObjectStore.open`."""
        self._check(key)
        return self._store.open(key, start, end)

    def stat(self, key: str) -> ObjectInfo:
        """See :meth:`ObjectStore.stat`."""
        self._check(key)
        return self._store.stat(key)

    def exists(self, key: str) -> bool:
        """See :meth:`ObjectStore.exists`."""
        return key in self._found if key.startswith(self._prefix) else self._store.exists(key)

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        """See :meth:`ObjectStore.list`."""
        if not prefix.startswith(self._prefix):
            return self._store.list(prefix, after=after, limit=limit)
        first = after.encode()
        keys = sorted((key for key in self._found if key.startswith(prefix)), key=str.encode)
        return islice((self._found[key] for key in keys if key.encode() > first), limit)

    def delete(self, key: str) -> None:
        """See :meth:`ObjectStore.delete`."""
        if key in self._found or not key.startswith(self._prefix):
            self._store.delete(key)
            self._found.pop(key, None)

    def delete_prefix(self, prefix: str) -> int:
        """See :meth:`ObjectStore.delete_prefix`."""
        within = prefix.startswith(self._prefix)
        gone = [key for key in self._found if key.startswith(prefix)]
        if within and not gone:
            return 0
        count = self._store.delete_prefix(prefix)
        for key in gone:
            del self._found[key]
        return count

    def describe(self) -> dict[str, Any]:
        """See :meth:`ObjectStore.describe`."""
        return self._store.describe()

    def _check(self, key: str) -> None:
        if key.startswith(self._prefix) and key not in self._found:
            raise KeyMissing(key)
