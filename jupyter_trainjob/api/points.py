"""The points that a job's code logged, as series for a plot: read once as they come, thinned out as asked. Pure.

The text is the job's own (see docs/architecture.md): a line is ``name TAB step TAB value TAB time``; what is no such
line is left out.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_NAMES = 200
"""As many metrics of one job are kept apart; points of others are counted only."""
MAX_NAME_BYTES = 200
LONGEST_LINE = 64 * 1024
MAX_POINTS = 4_000_000
"""Of one attempt, kept in memory while somebody looks at it."""
POINT_BYTES = 24
MAX_TOLD = 100_000
"""Points of all metrics in one answer: some 5 MB of JSON, made in a tenth of a second."""


@dataclass
class Points:
    """One metric: parallel arrays of steps, values and times (seconds since 1970)."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    times: array[float] = field(default_factory=lambda: array("d"))
    lowest: float | None = None
    highest: float | None = None
    """Of the values that are finite numbers."""

    def add(self, step: float | None, value: float, time: float) -> None:
        """One more; without a step of its own it is the next one."""
        if step is None:
            step = self.steps[-1] + 1 if self.steps else 0.0
        self.steps.append(step)
        self.values.append(value)
        self.times.append(time)
        if math.isfinite(value):
            self.lowest = value if self.lowest is None else min(self.lowest, value)
            self.highest = value if self.highest is None else max(self.highest, value)

    def thinned(self, maximum: int) -> dict[str, Any]:
        """``{count, last, minimum, maximum, points: [[step, value, time], …]}`` with at most ``maximum`` points.

        Of each stretch the first, the lowest and the highest are kept, in order: peaks stay, and so do ends. A value
        that is no finite number is null.
        """
        return {
            "count": len(self.values),
            "last": _number(self.values[-1]) if self.values else None,
            "minimum": self.lowest,
            "maximum": self.highest,
            "points": [
                [self.steps[at], _number(self.values[at]), round(self.times[at], 3)] for at in self._chosen(maximum)
            ],
        }

    def _chosen(self, maximum: int) -> Iterator[int]:
        count = len(self.values)
        if count <= maximum:
            yield from range(count)
            return
        stretches = max(1, (maximum - 1) // 3)
        for number in range(stretches):
            begin, end = number * (count - 1) // stretches, (number + 1) * (count - 1) // stretches
            inside = range(begin, end)
            key = self.values.__getitem__
            known = [at for at in inside if math.isfinite(key(at))] or [begin]
            yield from sorted({begin, min(known, key=key), max(known, key=key)})
        yield count - 1


@dataclass
class Series:
    """All metrics of an attempt, as far as they were read: up to ``offset``, so that every read brings it further."""

    offset: int = 0
    points: int = 0
    left_out: int = 0
    metrics: dict[str, Points] = field(default_factory=dict)
    _begun: bytes = b""
    """A line whose end was not there yet."""
    _cut: bool = False
    """It stands in the middle of a line whose beginning is not stored."""

    def feed(self, data: bytes, offset: int, *, ended: bool = False) -> None:
        """Take in the bytes from ``offset`` on. A last line without its end waits for more, unless it has ``ended``.

        Where bytes before ``offset`` are not stored, the lines that this cut on both sides are left out.
        """
        if offset != self.offset:
            self.left_out += 2 if self._begun else 1
            self._begun, self._cut = b"", True
        self.offset = offset + len(data)
        if self._cut:
            first = data.find(b"\n")
            data, self._cut = data[first + 1 :] if first >= 0 else b"", first < 0
        data = self._begun + data
        last = len(data) if ended else data.rfind(b"\n") + 1
        if not last and len(data) > LONGEST_LINE:
            last = len(data)  # no point is that long: its rest will be none either
        for line in data[:last].split(b"\n"):
            if line:
                self._line(line)
        self._begun = data[last:]

    def _line(self, line: bytes) -> None:
        parts = line.split(b"\t")
        try:
            name, step, value, time = parts
            if not name or len(name) > MAX_NAME_BYTES:
                raise ValueError("no name")
            numbers = (float(step) if step else None, float(value), float(time))
            metric = self._metric(name.decode())
        except ValueError:
            metric = None
        if metric is None or self.points >= MAX_POINTS or not _sensible(numbers[0]) or not _sensible(numbers[2]):
            self.left_out += 1
            return
        metric.add(*numbers)
        self.points += 1

    def _metric(self, name: str) -> Points | None:
        found = self.metrics.get(name)
        if found is None and len(self.metrics) < MAX_NAMES and name.isprintable():
            found = self.metrics[name] = Points()
        return found

    @property
    def kept_bytes(self) -> int:
        """Memory that its points take."""
        return self.points * POINT_BYTES

    def to_dict(self, maximum: int, wanted: list[str] | None = None) -> dict[str, Any]:
        """``{metrics: {name: …}, points, leftOut}`` with at most ``maximum`` points a metric.

        Of many long metrics each has fewer, so that all have :data:`MAX_TOLD` together.
        """
        chosen = {name: metric for name, metric in self.metrics.items() if not wanted or name in wanted}
        maximum = fair_share([len(metric.values) for metric in chosen.values()], maximum, MAX_TOLD)
        return {
            "metrics": {name: metric.thinned(maximum) for name, metric in chosen.items()},
            "points": self.points,
            "leftOut": self.left_out,
        }


def fair_share(counts: list[int], maximum: int, total: int) -> int:
    """The most, up to ``maximum``, that each may have of what it has so that they have ``total`` together at most."""
    for number, count in enumerate(sorted(counts)):
        share = total // (len(counts) - number)
        if count > share:
            return min(maximum, share)
        total -= min(count, maximum)
    return maximum


def _sensible(number: float | None) -> bool:
    return number is None or math.isfinite(number)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
