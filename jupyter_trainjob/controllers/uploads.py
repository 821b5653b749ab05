"""Uploads that no job uses go after a while. What a waiting or running job needs stays, however old."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..resources.names import blob_key
from ..storage.base import ObjectStore
from ..store import BlobRow, Store, Writer
from . import needs

BATCH = 500


class UploadRetention:
    """Drops what nobody used for ``days``: the row first, so that nobody counts on it, then the bytes."""

    def __init__(self, store: Store, objects: ObjectStore, days: float) -> None:
        self._store = store
        self._objects = objects
        self._days = days

    async def reconcile(self, now: datetime) -> int:
        """One sweep; how many uploads went."""
        before = now - timedelta(days=self._days)
        gone = await self._store.awrite(lambda writer: _drop_rows(writer, before))
        for row in gone:
            await self._store.awrite(lambda writer, row=row: self._drop_bytes(writer, row))  # type: ignore[misc]
        return len(gone)

    def _drop_bytes(self, writer: Writer, row: BlobRow) -> None:
        """Within a write transaction: an upload of the same bytes is noted before it or after it, never meanwhile.

        One noted before is left alone; one noted after finds its bytes gone and puts them again.
        """
        if writer.blob(row.owner, row.digest) is None:
            self._objects.delete(blob_key(row.owner, row.digest))


def _drop_rows(writer: Writer, before: datetime) -> list[BlobRow]:
    stale = writer.blobs_unused_since(before, limit=BATCH)
    if not stale:
        return []
    needed = needs.uploads(writer)
    gone = [row for row in stale if (row.owner, row.digest) not in needed]
    for row in gone:
        writer.drop_blob(row.owner, row.digest)
    return gone
