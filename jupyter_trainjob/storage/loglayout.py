"""How a log lies in an object store: keys, holes and the end record. Pure but for :func:`segments` and :func:`record`.

Offsets count bytes as they were printed, for ever. Not all of them may be stored: the cap leaves out the middle (the
*gap*), a store that was away too long makes bytes go *missing*. Both are *holes* ``[a, b)`` in the offset space.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .base import KeyMissing, ObjectInfo, ObjectStore, StoreError

DIGITS = 20
Hole = tuple[int, int]


def base(prefix: str) -> str:
    """``prefix`` with its slash."""
    return prefix.rstrip("/") + "/"


def segment_key(prefix: str, start: int) -> str:
    """The key of the segment whose first byte has offset ``start``."""
    return f"{base(prefix)}log/{start:0{DIGITS}d}"


def joined_key(prefix: str) -> str:
    """The key of the whole log, once it has ended."""
    return f"{base(prefix)}log.bytes"


def record_key(prefix: str) -> str:
    """The key of what is known of the log beyond its bytes."""
    return f"{base(prefix)}log.json"


@dataclass
class LogRecord:
    """``log.json``: written when the log has holes, and at its end.

    ``size`` counts all bytes printed. ``complete``: the log has ended and is joined. ``gap``: what the cap left out.
    ``missing``: how many bytes outside the gap were lost. ``holes``: all that is not stored, in order.
    ``truncated``: its writer died, so that bytes behind ``size`` may have been lost, nobody knows how many.
    """

    size: int = 0
    complete: bool = False
    gap: Hole | None = None
    missing: int = 0
    holes: list[Hole] = field(default_factory=list)
    truncated: bool = False

    def to_json(self) -> bytes:
        """The object's bytes."""
        data: dict[str, Any] = {"size": self.size, "complete": self.complete, "gap": self.gap, "missing": self.missing}
        return json.dumps({**data, "holes": self.holes, "truncated": self.truncated}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> LogRecord:
        """Read it back. ``ValueError`` if it is none."""
        try:
            found = json.loads(data)
            gap = found["gap"]
            return cls(
                size=int(found["size"]),
                complete=bool(found["complete"]),
                gap=None if gap is None else (int(gap[0]), int(gap[1])),
                missing=int(found["missing"]),
                holes=[(int(a), int(b)) for a, b in found.get("holes", [])],
                truncated=bool(found.get("truncated", False)),
            )
        except (KeyError, TypeError, IndexError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"this is no log record: {error!r}") from error

    def position(self, offset: int) -> tuple[int, int, int]:
        """Where the byte ``offset`` lies in the joined object: ``(offset, position, end)``.

        Inside a hole it is the hole's end that is meant. ``end`` is the offset where the next hole begins.
        """
        skipped = 0
        for start, end in self.holes:
            if offset < start:
                return offset, offset - skipped, start
            offset = max(offset, end)
            skipped += end - start
        return offset, offset - skipped, self.size


def segments(store: ObjectStore, prefix: str, *, limit: int | None = None) -> list[tuple[int, int]]:
    """The stored segments as ``(start, size)``, in order."""
    folder = f"{base(prefix)}log/"
    return [(start_of(info), info.size) for info in store.list(folder, limit=limit)]


def start_of(info: ObjectInfo) -> int:
    """The offset that a segment's key tells."""
    name = info.key.rsplit("/", 1)[-1]
    if len(name) != DIGITS or not name.isdigit():
        raise StoreError(f"{info.key!r} is no log segment; something else wrote into the log's folder.")
    return int(name)


def record(store: ObjectStore, prefix: str) -> LogRecord | None:
    """The log's record, if there is one yet."""
    try:
        return LogRecord.from_json(store.get(record_key(prefix)))
    except KeyMissing:
        return None


def holes_between(found: list[tuple[int, int]], size: int) -> list[Hole]:
    """What ``found`` segments leave out of ``[0, size)``."""
    holes: list[Hole] = []
    reached = 0
    for start, length in found:
        if start > reached:
            holes.append((reached, start))
        reached = max(reached, start + length)
    if size > reached:
        holes.append((reached, size))
    return holes


def merge(holes: list[Hole]) -> list[Hole]:
    """Holes in order, those that touch made one."""
    merged: list[Hole] = []
    for start, end in sorted(holes):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def as_found(store: ObjectStore, prefix: str) -> LogRecord:
    """What the store tells of a log whose writer is gone; the end record if it has one."""
    known = record(store, prefix) or LogRecord()
    if known.complete:
        return known
    found = segments(store, prefix)
    size = max([known.size, *(start + length for start, length in found)])
    return measured(found, LogRecord(size, gap=known.gap, truncated=True))


def measured(found: list[tuple[int, int]], told: LogRecord) -> LogRecord:
    """``told`` with holes and missing bytes as the segments show them."""
    gap = told.gap
    if gap is not None:
        gap = (gap[0], min((start for start, _ in found if start >= gap[1]), default=gap[1]))
    holes = holes_between(found, told.size)
    swallowed = gap or (0, 0)
    missing = sum(end - start - _common((start, end), swallowed) for start, end in holes)
    return LogRecord(told.size, told.complete, gap, missing, holes, told.truncated)


def _common(one: Hole, other: Hole) -> int:
    """How many bytes lie in both."""
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))
