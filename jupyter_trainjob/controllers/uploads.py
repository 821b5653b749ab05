"""Uploads that no job uses go after a while. What a waiting or running job needs stays, however old.

So do bytes that no row names: a server that died between the bytes and the row leaves such.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from itertools import groupby

from ..resources.names import blob_key, blob_prefix
from ..storage.base import ObjectStore
from ..store import BlobRow, Reader, Store, Writer, clearing
from . import needs

BATCH = 500
SWEEP_EVERY = timedelta(hours=6)
"""Bytes that have no row in two sweeps go: no upload takes so long from its bytes to its row."""
REMOVE_SECONDS = clearing.SECONDS / 2
BLOBS = "blobs/"


class UploadRetention:
    """Drops what nobody used for ``days``: the row first, so that nobody counts on it, then the bytes."""

    def __init__(self, store: Store, objects: ObjectStore, days: float) -> None:
        self._store = store
        self._objects = objects
        self._days = days
        self._swept: datetime | None = None
        self._suspects: set[str] = set()

    async def reconcile(self, now: datetime) -> int:
        """One round; how many uploads went."""
        before = now - timedelta(days=self._days)
        gone = await self._store.awrite(lambda writer: _drop_rows(writer, before))
        await self._clear([blob_key(row.owner, row.digest) for row in gone])
        if self._swept is None or now - self._swept >= SWEEP_EVERY:
            self._swept = now
            await self._sweep()
        return len(gone)

    async def _sweep(self) -> None:
        """Look through the store for bytes without a row; remove those that had none the last time either."""
        found, after = set(), ""
        while keys := await asyncio.to_thread(self._list, after):
            found.update(await self._store.aread(lambda reader, keys=keys: _unnamed(reader, keys)))  # type: ignore[misc]
            after = keys[-1]
        lasting = sorted(found & self._suspects)
        self._suspects = found - self._suspects
        for start in range(0, len(lasting), BATCH):
            await self._clear(lasting[start : start + BATCH])

    async def _clear(self, keys: list[str]) -> None:
        """Remove those that (still) have no row. One that gets its row afterwards has its bytes put again."""

        async def remove(unnamed: list[str]) -> None:
            await asyncio.to_thread(self._remove, unnamed)

        for prefix, group in groupby(sorted(keys), _prefix):
            wanted = list(group)
            await clearing.clear(self._store, prefix, lambda reader, keys=wanted: _unnamed(reader, keys), remove)  # type: ignore[misc]

    def _list(self, after: str) -> list[str]:
        return [info.key for info in self._objects.list(BLOBS, after=after, limit=BATCH)]

    def _remove(self, keys: list[str]) -> None:
        until = time.monotonic() + REMOVE_SECONDS
        for key in keys:
            if time.monotonic() > until:
                return
            self._objects.delete(key)


def _prefix(key: str) -> str:
    return key.rpartition("/")[0] + "/"


def _unnamed(reader: Reader, keys: list[str]) -> list[str]:
    """Those of ``keys`` that are no row's."""
    owners = {blob_prefix(owner): owner for owner in reader.blob_owners()}

    def named(key: str) -> bool:
        owner = owners.get(_prefix(key))
        return owner is not None and reader.blob(owner, f"sha256:{key.rpartition('/')[2]}") is not None

    return [key for key in keys if not named(key)]


def _drop_rows(writer: Writer, before: datetime) -> list[BlobRow]:
    stale = writer.blobs_unused_since(before, limit=BATCH)
    if not stale:
        return []
    needed = needs.uploads(writer)
    gone = [row for row in stale if (row.owner, row.digest) not in needed]
    for row in gone:
        writer.drop_blob(row.owner, row.digest)
    return gone
