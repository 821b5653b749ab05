"""Parts of files over HTTP: ``Range`` and ``Content-Disposition``. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote

from ..resources.errors import RangeNotSatisfiable

MOVED = "X-TrainJob-Moved"
"""Marks the one redirect that we send: to the object itself, at the store."""
_RANGE = re.compile(r"bytes=(?P<first>\d{0,19})-(?P<last>\d{0,19})\Z", re.IGNORECASE)
_PLAIN = re.compile(r"[^A-Za-z0-9._ -]")


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """``[start, end)`` that a ``Range`` header asks of ``size`` bytes; None means all of them.

    RFC 9110, 14.2: what can't be read, another unit, and several ranges at once (which we don't serve) are as good
    as no header. :class:`RangeNotSatisfiable` for a range that begins behind the end.
    """
    match = _RANGE.match(header.strip().replace(" ", ""))
    if match is None or not (match["first"] or match["last"]):
        return None
    if not match["first"]:
        length = int(match["last"])
        if length == 0 or size == 0:
            raise _outside(header, size)
        return max(0, size - length), size
    first = int(match["first"])
    last = int(match["last"]) if match["last"] else size - 1
    if match["last"] and last < first:
        return None
    if first >= size:
        raise _outside(header, size)
    return first, min(last + 1, size)


def _outside(header: str, size: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(
        f"The range {header.strip()[:80]!r} lies outside: there are {size} bytes.",
        remedy=f"Ask for bytes below {size}." if size else "It is empty: ask without a range.",
        data={"size": size},
    )


def attachment(path: str) -> str:
    """``Content-Disposition`` that saves under the last part of ``path``, whatever is in it (RFC 6266, RFC 8187)."""
    name = path.rsplit("/", 1)[-1] or "file"
    plain = _PLAIN.sub("_", name)
    coded = quote(name.encode("utf-8", "replace"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{coded}"
