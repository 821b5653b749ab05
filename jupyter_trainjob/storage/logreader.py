"""Read a log by offset, while it is written and after. Blocks: servers call it in threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .base import KeyMissing, ObjectStore
from .loglayout import Hole, LogRecord, base, joined_key, record, segment_key, segments

READ_BYTES = 1024 * 1024
RECORD_SECONDS = 1.0
"""Whoever follows a log looks at its record this often: each look at it is a request."""


@dataclass(frozen=True)
class LogChunk:
    """A piece of a log. ``offset`` is that of its first byte: larger than asked for where bytes are not stored.

    ``size``: how many bytes are known to have been printed. ``complete``: the log has ended and will not grow.
    ``gap``: what the cap left out. ``missing``: bytes lost elsewhere. ``truncated``: its writer died.
    """

    data: bytes
    offset: int
    next_offset: int
    size: int
    complete: bool
    gap: Hole | None = None
    missing: int = 0
    truncated: bool = False


class LogReader:
    """Reads one log, for one caller at a time; cheap to make anew.

    It remembers where it was: who goes on reading where a chunk ended asks for one object a look, most of the time.
    ``enough`` is asked after each segment: True ends the chunk there.
    """

    def __init__(self, store: ObjectStore, prefix: str, enough: Callable[[], bool] = lambda: False) -> None:
        self._store, self._prefix, self._enough = store, base(prefix), enough
        self._here: tuple[int, int] | None = None  # (start, size) of the segment read last
        self._known: LogRecord | None = None
        self._record_due = 0.0
        self._end_seen = 0.0  # when there was nothing more behind what was read
        self.at_end = False
        """Whether the latest chunk was all that there was."""

    def read(self, offset: int, limit: int = READ_BYTES, wait_seconds: float = 0.0, *, fresh: bool = True) -> LogChunk:
        """Up to ``limit`` bytes from ``offset`` on.

        Where there are none yet it looks again for ``wait_seconds``, then returns an empty chunk. Inside a hole it
        reads from its end. Without ``fresh`` the news that the log has ended, or has holes, may be a second old. Raises
        ``StoreError``.
        """
        if offset < 0 or limit < 1:
            raise ValueError(f"offset {offset} or limit {limit} is no position in a log")
        deadline = time.monotonic() + wait_seconds
        while True:
            chunk = self._look(offset, limit, fresh)
            left = deadline - time.monotonic()
            if chunk.data or chunk.complete or left <= 0:
                return chunk
            time.sleep(min(self._store.poll_seconds, left))

    def _look(self, offset: int, limit: int, fresh: bool) -> LogChunk:
        """The record is read once at first, and then only where there are no bytes: each look at it is a request."""
        if not self._record_due:
            self._read_record()
        while True:
            known = self._known
            if known is not None and known.complete:
                return self._joined(known, offset, limit)
            chunk = self._growing(known or LogRecord(), offset, limit)
            if chunk.data or not (fresh or time.monotonic() >= self._record_due):
                return chunk
            self._read_record()
            if self._known == known:
                return chunk

    def _read_record(self) -> None:
        self._known, self._record_due = record(self._store, self._prefix), time.monotonic() + RECORD_SECONDS

    def _joined(self, known: LogRecord, offset: int, limit: int) -> LogChunk:
        begin, position, end = known.position(min(offset, known.size))
        count = min(limit, end - begin)
        data = b""
        if count > 0:
            data = self._store.get(joined_key(self._prefix), position, position + count)
        return LogChunk(data, begin, begin + len(data), known.size, True, known.gap, known.missing, known.truncated)

    def _growing(self, known: LogRecord, offset: int, limit: int) -> LogChunk:
        parts: list[bytes] = []
        begin, count = offset, 0
        now = time.monotonic()
        # One shipment at most can have come since the end was seen: what is found is then all there is.
        one_will_do = not self._store.can_append and now - self._end_seen < self._store.ship_seconds
        stopped = False
        while count < limit and not stopped and not (parts and one_will_do):
            found = self._take(begin + count, limit - count, holes=bool(known.holes))
            if found is None:
                break
            start, data = found
            if start > begin + count:
                if parts:
                    break  # the hole's end is the next chunk's beginning
                begin = start
            parts.append(data)
            count += len(data)
            stopped = self._enough()
        self.at_end = count < limit and not stopped
        if self.at_end:
            self._end_seen = now
        gap = known.gap
        if gap is not None and gap[0] <= offset < begin:
            gap = (gap[0], max(begin, gap[1]))
        seen = sum(self._here) if self._here else 0
        size = max(begin + count if parts else 0, seen, known.size)
        return LogChunk(b"".join(parts), begin, begin + count, size, False, gap, known.missing)

    def _take(self, offset: int, limit: int, *, holes: bool) -> tuple[int, bytes] | None:
        """Bytes of one segment, from ``offset`` on or from behind a hole, and where they begin; None if there are none.

        Where segments never grow, the bytes themselves are asked for: their length tells the segment's.
        """
        found = None
        if not self._store.can_append and not (self._here and self._here[0] <= offset < sum(self._here)):
            data = self._get(offset, 0, limit)
            if data:
                size = len(data) if len(data) < limit else (self._stat(offset) or (offset, limit))[1]
                self._here = (offset, size)
                return offset, data
            if holes or offset != sum(self._here or (0, 0)):
                found = self._search(offset)
        else:
            found = self._find(offset, holes=holes)
        if found is None:
            return None
        start, size = found
        skip = max(0, offset - start)
        data = self._get(start, skip, min(size, skip + limit))
        if not data:  # trimmed or joined since
            self._here, self._record_due = None, 0.0
            return None
        return start + skip, data

    def _get(self, start: int, first: int, end: int) -> bytes:
        try:
            return self._store.get(segment_key(self._prefix, start), first, end)
        except KeyMissing:
            return b""

    def _find(self, offset: int, *, holes: bool) -> tuple[int, int] | None:
        """The segment that holds ``offset``, or the next one behind a hole; None if there is none yet."""
        if self._here is not None and self._here[0] <= offset:
            start, size = self._here
            if self._store.can_append and offset >= start + size:
                self._here = self._stat(start)
            if self._here and offset < sum(self._here):
                return self._here
        at_end = self._here is not None and offset == sum(self._here)
        if exact := self._stat(offset):
            self._here = exact
            return exact
        if at_end and not holes:
            return None
        return self._search(offset)

    def _search(self, offset: int) -> tuple[int, int] | None:
        found = [(start, size) for start, size in segments(self._store, self._prefix) if size]
        self._here = found[-1] if found else None
        for start, size in found:
            if offset < start + size:
                self._here = (start, size)
                return self._here
        return None

    def _stat(self, start: int) -> tuple[int, int] | None:
        try:
            size = self._store.stat(segment_key(self._prefix, start)).size
        except KeyMissing:
            return None
        return (start, size) if size else None
