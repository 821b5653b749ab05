"""Look for bytes in a log, while it is written and after. Blocks: servers call it in threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .base import ObjectStore
from .logreader import READ_BYTES, LogReader

READ_AWAY_BYTES = 8 * READ_BYTES
"""So much at once where each look is a request to another machine; of a log that grows, as many of its small segments
as there is time for."""


@dataclass(frozen=True)
class Wanted:
    """What is looked for in ``[offset, end)`` of a log; ``end`` None means as far as it has come.

    ``fold``: A to Z are as a to z, in both; all other bytes are compared as they are. ``most``: so many places are
    told, the rest are counted.
    """

    text: bytes
    fold: bool = False
    offset: int = 0
    end: int | None = None
    most: int = 1000


@dataclass(frozen=True)
class Found:
    """Offsets in the order of the log, at most as many as were wanted; ``count`` is that of all.

    ``next_offset``: where to look on, as the time was up; None where all was looked at.
    """

    offsets: list[int]
    count: int
    next_offset: int | None


def _never() -> bool:
    return False


def search(store: ObjectStore, prefix: str, wanted: Wanted, seconds: float, gone: Callable[[], bool] = _never) -> Found:
    """Every place where the text stands, for about so many seconds. Places do not overlap, nor reach over a hole.

    The time is looked at after each object that was read; once ``gone`` is true the rest is left. A few megabytes are
    held at a time. Of a text that overlaps itself (``aa``) the count beyond ``most`` may be off by one for each of
    them. Raises :class:`StoreError`; ``ValueError`` for no text.
    """
    if not wanted.text:
        raise ValueError("no text to look for")
    until = time.monotonic() + seconds

    def enough() -> bool:
        return gone() or time.monotonic() >= until

    reader = LogReader(store, prefix, enough)
    piece = READ_BYTES if store.can_append else READ_AWAY_BYTES
    needle = wanted.text.lower() if wanted.fold else wanted.text
    offsets: list[int] = []
    count, at, rest = 0, wanted.offset, b""
    while wanted.end is None or at < wanted.end:
        chunk = reader.read(at, piece if wanted.end is None else min(piece, wanted.end - at))
        data = chunk.data
        if wanted.end is not None:  # what was asked for from within a hole begins at its end, and reaches further
            data = data[: max(0, wanted.end - chunk.offset)]
        if not data:
            break
        after = chunk.offset + len(data)
        data = data.lower() if wanted.fold else data
        text = rest + data if chunk.offset == at else data
        begin = after - len(text)
        behind = 0  # what was found in this text ends here
        while len(offsets) < wanted.most and (place := text.find(needle, behind)) >= 0:
            offsets.append(begin + place)
            count, behind = count + 1, place + len(needle)
        if len(offsets) >= wanted.most and (more := text.count(needle, behind)):
            count, behind = count + more, text.rfind(needle) + len(needle)
        rest = text[max(behind, len(text) - len(needle) + 1) :]
        at = after
        if enough() and (at - len(rest) > wanted.offset or gone()):
            return Found(offsets, count, at - len(rest))
    return Found(offsets, count, None)
