"""The metrics that a job's code logged: every point, read in pieces as they come, or thinned out for a plot."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from . import logs, ops
from .effects import Emit, Request, Steps
from .errors import NotFound
from .ops import Json
from .session import Session

Point = dict[str, Any]
"""``{"name", "step", "value", "time"}``: text, float (an int where it is whole), float, an aware ``datetime``."""


class Reader:
    """Lines of ``name TAB step TAB value TAB time`` as points. What is no such line is counted and left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._steps: dict[str, float] = {}
        self.left_out = 0

    def feed(self, data: bytes, *, gap: bool = False, ended: bool = False) -> list[Point]:
        """The points in ``data``; a line without its end waits for the next piece, unless all has ``ended``.

        Behind a ``gap`` the first line is half a line.
        """
        if gap:
            self._rest, (_, _, data) = b"", data.partition(b"\n")
            self.left_out += 1
        lines = (self._rest + data).split(b"\n")
        self._rest = b"" if ended else lines.pop()
        return [point for line in lines if line and (point := self._point(line)) is not None]

    def _point(self, line: bytes) -> Point | None:
        try:
            name, step_text, value, when = line.decode().split("\t")
            step = float(step_text) if step_text else self._steps.get(name, -1.0) + 1
            if not name or not math.isfinite(step):
                raise ValueError(step)
            point = {
                "name": name,
                "step": int(step) if step.is_integer() else step,
                "value": float(value),
                "time": datetime.fromtimestamp(float(when), timezone.utc),
            }
        except (ValueError, OverflowError, OSError):
            self.left_out += 1
            return None
        self._steps[name] = step
        return point


class _Cursor:
    """Reads what there is of one attempt's points, piece by piece."""

    def __init__(self, session: Session, namespace: str, uid: str, attempt: int | None) -> None:
        self._session, self._where, self._attempt = session, (namespace, uid), attempt
        self._offset = 0
        self._end: int | None = None
        self.reader = Reader()
        self.done = False

    def next(self) -> Steps[list[Point]]:
        """The points of the next piece; ``done`` afterwards where it was the last of those at the first."""
        try:
            chunk = yield from logs.read(
                self._session, *self._where, self._offset, attempt=self._attempt, where=("metrics",)
            )
        except NotFound:
            if self._offset:
                raise
            self.done = True  # nothing was logged yet
            return []
        self._end = chunk.size if self._end is None else self._end
        gap = bool(chunk.data) and chunk.offset > self._offset
        self._offset, self._attempt = chunk.next_offset, self._attempt or chunk.attempt
        self.done = not chunk.data or self._offset >= self._end
        return self.reader.feed(chunk.data, gap=gap, ended=self.done)


def stream(session: Session, namespace: str, uid: str, attempt: int | None = None) -> Steps[int]:
    """Emit lists of points until all that there is now was read; how many lines were none."""
    cursor = _Cursor(session, namespace, uid, attempt)
    while not cursor.done:
        points = yield from cursor.next()
        if points:
            yield Emit(points)
    return cursor.reader.left_out


def gathered(session: Session, namespace: str, uid: str, attempt: int | None = None) -> Steps[list[Point]]:
    """All points in one list."""
    cursor, found = _Cursor(session, namespace, uid, attempt), []
    while not cursor.done:
        found += yield from cursor.next()
    return found


def table(points: list[Point]) -> Any:
    """A pandas DataFrame of the columns name, step, value, time (UTC); the list itself where there is no pandas."""
    try:
        import pandas as pd  # type: ignore[import-untyped]
    except ImportError:
        return points
    frame = pd.DataFrame(points, columns=["name", "step", "value", "time"])
    if not points:
        return frame.astype({"name": "str", "step": "int64", "value": "float64", "time": "datetime64[us, UTC]"})
    return frame


def series(
    session: Session,
    namespace: str,
    uid: str,
    names: Iterable[str] = (),
    max_points: int = 500,
    attempt: int | None = None,
) -> Steps[Json]:
    """See :func:`.jobs.metric_series`."""
    params = [("maxPoints", str(max_points)), *(("metric", name) for name in names)]
    if attempt:
        params.append(("attempt", str(attempt)))
    return (yield from session.json(Request("GET", ops.job_path(namespace, uid, "metrics", "series"), tuple(params))))
