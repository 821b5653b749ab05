"""What an attempt used over time: a few hundred rows however long it runs. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable

COLUMNS = ("seconds", "cpuSeconds", "memoryBytes", "diskBytes", "readBytes", "writtenBytes", "tasks")
"""Seconds since the supervisor began, CPU time and bytes so far, memory and disk at the time."""
ROWS = 512
FIRST_INTERVAL_SECONDS = 0.5

Row = tuple[float, float, int, int, int, int, int]


class Samples:
    """At most :data:`ROWS` rows, evenly spread. When they are full, each two become one and the interval doubles.

    A row stands for all that was seen since the one before it: of what goes up and down it holds the highest, so that
    a short peak is never lost, of what only grows the latest.
    """

    def __init__(self, rows: int = ROWS, interval_seconds: float = FIRST_INTERVAL_SECONDS) -> None:
        self._most, self._interval = rows, interval_seconds
        self._rows: list[Row] = []
        self._next = 0.0

    def add(self, row: Row) -> None:
        """Take a look's figures in."""
        if self._rows and row[0] < self._next:
            self._rows[-1] = _merged(self._rows[-1], row)
            return
        if len(self._rows) >= self._most:
            self._rows = [_merged(*pair) if len(pair) == 2 else pair[0] for pair in _pairs(self._rows)]
            self._interval *= 2
        self._rows.append(row)
        self._next = row[0] + self._interval

    def to_json(self, began: str) -> bytes:
        """``{"began", "intervalSeconds", "columns", "rows"}``; ``began`` is RFC 3339."""
        told = {"began": began, "intervalSeconds": self._interval, "columns": COLUMNS, "rows": self._rows}
        return json.dumps(told, separators=(",", ":")).encode()


def _merged(first: Row, second: Row) -> Row:
    return (
        first[0],
        max(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
        max(first[4], second[4]),
        max(first[5], second[5]),
        max(first[6], second[6]),
    )


def _pairs(rows: list[Row]) -> Iterable[list[Row]]:
    return (rows[at : at + 2] for at in range(0, len(rows), 2))
