"""Bring the segments of an ended log into one object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import RawIOBase
from typing import IO, cast

from .base import CHUNK_BYTES, KeyMissing, ObjectStore
from .loglayout import LogRecord, as_found, joined_key, measured, record_key, segment_key, segments


def join_segments(store: ObjectStore, prefix: str, told: LogRecord) -> LogRecord:
    """Write ``log.bytes``, then ``log.json``, then delete the segments; what the log came to.

    A crash at any line leaves a log that a further call finishes. ``told`` is what its writer knows; how many bytes
    are missing is counted anew, by what the segments hold. Raises :class:`StoreError`.
    """
    if not told.complete:
        found = segments(store, prefix)
        told = replace(measured(found, told), complete=True)
        try:
            store.put(joined_key(prefix), cast(IO[bytes], _Concatenated(_bytes(store, prefix, found))))
        except KeyMissing:  # another process joined it meanwhile
            other = as_found(store, prefix)
            if not other.complete:
                raise
            return other
        store.put(record_key(prefix), told.to_json())
    for start, _ in segments(store, prefix):
        store.delete(segment_key(prefix, start))
    return told


def _bytes(store: ObjectStore, prefix: str, found: list[tuple[int, int]]) -> Iterator[bytes]:
    for start, size in found:
        with store.open(segment_key(prefix, start), 0, size) as chunks:
            yield from chunks


class _Concatenated(RawIOBase):
    """Chunks as a file to read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; fewer only at the end, as uploads to S3 need it."""
        wanted = CHUNK_BYTES if size < 0 else size
        parts, count = [self._rest], len(self._rest)
        while count < wanted and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            count += len(chunk)
        data = b"".join(parts)
        if size < 0:
            data += b"".join(self._chunks)
            wanted = len(data)
        self._rest = data[wanted:]
        return data[:wanted]
