"""Reading a log by byte offset: whole, its last lines, or following it to the end."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import ops
from .effects import Emit, Request, Response, Sleep, Steps
from .errors import NotFound
from .session import FOLLOW_PATIENCE_SECONDS, PATIENCE_SECONDS, Session
from .spec import FINAL_PHASES
from .view import count_text

_LIMIT_BYTES = 1024 * 1024
_FIRST_WINDOW_BYTES = 16 * 1024
_IDLE_SECONDS = 0.5
_FIRST_WAIT_SECONDS = 2


@dataclass(frozen=True)
class LogChunk:
    """A piece of a log. ``gap`` is ``(a, b)`` when the bytes from a to b were left out just before it.

    ``attempt`` is the number of the one whose bytes these are, as far as the server says so. What is read on must name
    it: offsets count within one, and "the latest" may become another at any time.
    """

    data: bytes
    offset: int
    next_offset: int
    size: int
    complete: bool
    gap: tuple[int, int] | None
    missing: int
    attempt: int | None = None


class LogText(str):
    """A log; shown as printed rather than as a quoted string."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def read(
    session: Session,
    namespace: str,
    uid: str,
    offset: int,
    *,
    limit: int = _LIMIT_BYTES,
    wait_seconds: float = 0,
    attempt: int | None = None,
    patience: float = PATIENCE_SECONDS,
    where: tuple[str, ...] = ("log",),
) -> Steps[LogChunk]:
    """One piece from ``offset`` on; ``wait_seconds`` is how long the server may wait for the first byte.

    ``where`` is the part of the job: its log, or something that is read in the same way."""
    params = [("offset", str(offset)), ("limit", str(limit)), ("wait", f"{wait_seconds:g}")]
    if attempt:
        params.append(("attempt", str(attempt)))
    effect = Request("GET", ops.job_path(namespace, uid, *where), tuple(params), timeout_seconds=wait_seconds + 15)
    return _chunk((yield from session.call(effect, patience=patience)), offset)


def _chunk(answer: Response, offset: int) -> LogChunk:
    headers = answer.headers

    def number(name: str, default: int) -> int:
        text = headers.get(f"x-log-{name}", "")
        return int(text) if text.isdecimal() else default

    begin = number("offset", offset)
    gap = headers.get("x-log-gap", "").strip("[]()").replace("-", ",").split(",")
    return LogChunk(
        answer.body,
        begin,
        number("next-offset", begin + len(answer.body)),
        number("size", 0),
        headers.get("x-log-complete", "").lower() in ("true", "1"),
        (int(gap[0]), int(gap[1])) if len(gap) == 2 and all(part.strip().isdecimal() for part in gap) else None,
        number("missing", 0),
        number("attempt", 0) or None,
    )


def whole(
    session: Session, namespace: str, uid: str, *, tail: int | None = None, attempt: int | None = None
) -> Steps[LogText]:
    """The log as it is now, or its last ``tail`` lines; a capped middle is told in its place."""
    if tail is not None:
        data, _ = yield from _tail(session, namespace, uid, tail, attempt)
        return LogText(data.decode("utf-8", "replace"))
    text, offset = _Text(), 0
    while True:
        chunk = yield from read(session, namespace, uid, offset, attempt=attempt)
        text.add(chunk, offset)
        offset, attempt = chunk.next_offset, attempt or chunk.attempt
        if not chunk.data or offset >= chunk.size:
            return LogText(text.taken() + text.rest(chunk))


def _tail(session: Session, namespace: str, uid: str, lines: int, attempt: int | None) -> Steps[tuple[bytes, int]]:
    """The last ``lines`` lines, and the offset behind them: the log may have grown since."""
    first = yield from read(session, namespace, uid, 0, limit=1, attempt=attempt)
    size, attempt = first.size, attempt or first.attempt
    window = _FIRST_WINDOW_BYTES
    while True:
        begin = max(0, size - window)
        offset, data, gap = begin, b"", False
        while offset < size:
            chunk = yield from read(session, namespace, uid, offset, limit=min(_LIMIT_BYTES, window), attempt=attempt)
            if chunk.offset > offset:
                data, gap = b"", True
            if not chunk.data:
                break
            data, offset = data + chunk.data, chunk.next_offset
        found = data.splitlines(keepends=True)
        if begin == 0 or gap or len(found) > lines:
            return b"".join(found[-lines:] if lines > 0 else []), offset
        window *= 8


class _Text:
    """Bytes of a log as text: characters cut by a chunk's end are put together, gaps are told."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pieces: list[str] = []

    def add(self, chunk: LogChunk, asked: int) -> None:
        if chunk.data and chunk.offset > asked:
            self._pieces.append(self._decoder.decode(b"", final=True))
            self._decoder.reset()
            self._pieces.append(
                f"\n[… {count_text(chunk.offset - asked, 'byte')} left out: the log was longer than kept …]\n"
            )
        self.take(chunk.data)

    def take(self, data: bytes) -> None:
        self._pieces.append(self._decoder.decode(data))

    def taken(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    def rest(self, chunk: LogChunk) -> str:
        text = self._decoder.decode(b"", final=True)
        if chunk.complete and chunk.missing:
            text += f"\n[{count_text(chunk.missing, 'byte')} missing: the store could not be reached for too long]\n"
        return text


def follow(
    session: Session,
    namespace: str,
    uid: str,
    *,
    tail: int | None = None,
    seen: Callable[[dict[str, Any]], None] = lambda job: None,
) -> Steps[dict[str, Any]]:
    """Stream the log as text until the job is final, over attempts and restarts of the server; the job at its end.

    ``seen`` is told the job as often as it is looked at: every few seconds until it prints something.

    Every read names its attempt: offsets count within one, and "the latest" may become another at any time.
    """
    job = yield from _job(session, namespace, uid)
    attempt, offset, text, line = _newest(job), 0, _Text(), _Line()
    if tail is not None and attempt:
        data, offset = yield from _tail(session, namespace, uid, tail, attempt)
        text.take(data)
        if piece := text.taken():
            yield Emit(line.after(piece))
    began = False
    while True:
        chunk = yield from _next(session, namespace, uid, offset, attempt, began)
        if attempt:
            text.add(chunk, offset)
            offset, began = chunk.next_offset, began or bool(chunk.data)
            if piece := text.taken():
                yield Emit(line.after(piece))
            if chunk.data and not (chunk.complete and offset >= chunk.size):
                continue
        job = yield from _job(session, namespace, uid)
        seen(job)
        ended = chunk.complete or not chunk.data
        if job["status"]["phase"] in FINAL_PHASES and _newest(job) <= attempt and ended:
            if piece := text.rest(chunk):
                yield Emit(piece)
            return job
        if attempt and ended and _newest(job) > attempt:
            if piece := text.rest(chunk):
                yield Emit(line.after(piece))
            said = f"{line.end}[attempt {attempt} ended{_why(job, attempt)}; attempt {attempt + 1} begins]\n"
            yield Emit(line.after(said))
        if _newest(job) > attempt:
            attempt, offset, text, began = attempt + 1, 0, _Text(), False
        elif chunk.complete or not began:
            yield Sleep(_IDLE_SECONDS)


class _Line:
    """Whether what was shown last ended its line."""

    end = ""
    """What ends it."""

    def after(self, piece: str) -> str:
        self.end = "" if piece.endswith("\n") else "\n"
        return piece


def _next(session: Session, namespace: str, uid: str, offset: int, attempt: int, began: bool) -> Steps[LogChunk]:
    """What comes next of the attempt; before the first (0), a wait for its first byte, which is read again then."""
    try:
        return (
            yield from read(
                session,
                namespace,
                uid,
                offset,
                limit=_LIMIT_BYTES if attempt else 1,
                wait_seconds=ops.WAIT_SECONDS if began else _FIRST_WAIT_SECONDS,
                attempt=attempt or None,
                patience=FOLLOW_PATIENCE_SECONDS,
            )
        )
    except NotFound:  # no log yet, or no such job: asked next
        return LogChunk(b"", offset, offset, offset, False, None, 0)


def _job(session: Session, namespace: str, uid: str) -> Steps[dict[str, Any]]:
    return (yield from session.json(Request("GET", ops.job_path(namespace, uid)), patience=FOLLOW_PATIENCE_SECONDS))


def _newest(job: dict[str, Any]) -> int:
    attempts = job["status"].get("attempts") or []
    return int(attempts[-1]["number"]) if attempts else 0


def _why(job: dict[str, Any], number: int) -> str:
    reasons = [item.get("reason") for item in job["status"]["attempts"] if item["number"] == number]
    return f" ({reasons[0]})" if reasons and reasons[0] else ""
