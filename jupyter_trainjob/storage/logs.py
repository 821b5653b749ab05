"""A job's log: one stream of bytes, read by offset while it grows and long after. See :mod:`.loglayout`.

:class:`LogWriter` lives in the one process that reads the job's output. It has its own thread towards the store, so
``write`` may be called from a plain ``select`` loop: it copies the bytes and returns, unless the store works but is
slower than the job. Then it waits, which slows the job's printing rather than losing what it prints. When the store
fails, bytes go to a spool file and the thread tries again; when the spool is full they are counted as missing.

Bytes put into the store: each once as a segment, and what the cap leaves of them once more when they are joined.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from .base import ObjectStore, StoreError
from .logjoin import join_segments
from .loglayout import Hole, LogRecord, as_found, base, merge, record_key, segment_key, segments
from .logreader import LogChunk, LogReader
from .pending import Pending

__all__ = ["LogChunk", "LogReader", "LogRecord", "LogWriter", "join"]

BUFFER_BYTES = 4 * 1024 * 1024
SEGMENT_BYTES = 4 * 1024 * 1024
SPOOL_BYTES = 256 * 1024 * 1024
DEFAULT_CAP_BYTES = 64 * 1024 * 1024
COALESCE_SECONDS = 0.005
"""How long the first byte after idle waits for the rest of its line."""
PATIENCE_SECONDS = 1.0
"""How long ``write`` waits for a store that neither fails nor takes anything."""
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.1, 5.0


class LogWriter:
    """Writes one log: one writer a log at a time. ``write`` may be called from any thread.

    ``cap_bytes`` bounds what is stored: its first half holds the log's head, the other its tail. ``spool`` is the
    file for bytes that the store does not take now (None: none are kept). ``start`` is :meth:`resume`'s.
    """

    def __init__(
        self,
        store: ObjectStore,
        prefix: str,
        *,
        cap_bytes: int = DEFAULT_CAP_BYTES,
        spool: Path | None = None,
        spool_bytes: int = SPOOL_BYTES,
        start: LogRecord | None = None,
    ) -> None:
        self._store, self._prefix = store, base(prefix)
        self._half = max(1, cap_bytes // 2)
        self._roll = max(1, min(SEGMENT_BYTES, self._half // 4))
        known = start or LogRecord()
        self._truncated = known.truncated
        self._lost: list[Hole] = [hole for hole in known.holes if hole != known.gap]
        self._taken = known.size
        self._segment: Hole = (known.size, known.size)
        self._shipped = known.size
        self._tail: deque[Hole] = deque()
        self._gap_end = known.gap[1] if known.gap else 0
        self._told: list[Hole] = []
        self._pending = Pending(BUFFER_BYTES, spool, spool_bytes)
        if start is not None:
            self._take_up(known)
        self._last_ship = 0.0
        self._closing = threading.Event()
        self._deadline: float | None = None
        self._error: StoreError | None = None
        self._result: LogRecord | None = None
        self._accident: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log-shipper", daemon=True)
        self._thread.start()

    @classmethod
    def resume(
        cls,
        store: ObjectStore,
        prefix: str,
        *,
        cap_bytes: int = DEFAULT_CAP_BYTES,
        spool: Path | None = None,
        spool_bytes: int = SPOOL_BYTES,
    ) -> LogWriter:
        """Go on where a writer that died left off, its spool included. The log tells that it was cut there."""
        known = as_found(store, prefix)
        if known.complete:
            raise StoreError(f"The log {base(prefix)!r} has ended; nothing can be added to it.")
        return cls(store, prefix, cap_bytes=cap_bytes, spool=spool, spool_bytes=spool_bytes, start=known)

    @property
    def error(self) -> StoreError | None:
        """What the store said, if it refused the last attempt."""
        return self._error

    @property
    def size(self) -> int:
        """How many bytes were printed so far."""
        return self._taken

    def state(self) -> LogRecord:
        """The log as it is now: size, gap and missing bytes."""
        with self._changed:
            return self._record()

    def write(self, data: bytes) -> None:
        """Take the next bytes. Never fails for the store's sake: what could not be kept is told by the log."""
        for start in range(0, len(data), BUFFER_BYTES // 4):
            piece = data[start : start + BUFFER_BYTES // 4]
            with self._changed:
                self._await_room(len(piece))
                if self._deadline is not None:
                    raise ValueError("the log is closed")
                kept = self._pending.push(self._taken, piece)
                if kept < len(piece):
                    self._lose(self._taken + kept, self._taken + len(piece))
                self._taken += len(piece)
                self._changed.notify_all()

    def _await_room(self, count: int) -> None:
        """Hold the job back while the store takes bytes, only not as fast as they come."""
        shipped, limit = self._segment[1], time.monotonic() + PATIENCE_SECONDS
        while not self._error and not self._pending.has_room(count, only_memory=not self._pending.spooling):
            if not self._changed.wait(max(0.0, limit - time.monotonic())):
                return
            if self._segment[1] > shipped:
                shipped, limit = self._segment[1], time.monotonic() + PATIENCE_SECONDS

    def close(self, timeout_seconds: float = 60.0) -> LogRecord:
        """Ship the rest and join the log; what became of it. Called again, it only waits again.

        Raises :class:`StoreError` if the store did not take it in time. What waited is then in the spool, and
        :func:`join` finishes the log later.
        """
        with self._changed:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout_seconds
                self._closing.set()
            self._changed.notify_all()
        self._thread.join()
        if self._accident is not None:
            raise self._accident
        if self._result is None:
            assert self._error is not None
            raise self._error
        return self._result

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # The thread towards the store

    def _run(self) -> None:
        try:
            while self._await_due():
                until = self._taken
                while self._pending.size and self._shipped < until and not self._given_up:
                    self._insist(self._ship)
                if self._given_up:
                    break
            if not self._pending.size:
                self._insist(self._finish)
            else:
                self._pending.persist()
            self._pending.close(remove=self._result is not None)
        except BaseException as error:  # told by close(); nobody listens in a thread
            self._accident = error
            raise

    def _await_due(self) -> bool:
        """Wait until bytes are to be shipped; False when the log is closed and all are."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending.size or self._closing.is_set())
            now = time.monotonic()
            delay = max(COALESCE_SECONDS, self._last_ship + self._store.ship_seconds - now)
            urgent = min(self._roll, BUFFER_BYTES // 4)
            self._changed.wait_for(lambda: self._pending.size >= urgent or self._closing.is_set(), delay)
            self._last_ship = time.monotonic()
            return self._pending.size > 0

    @property
    def _given_up(self) -> bool:
        return self._error is not None and self._deadline is not None and time.monotonic() >= self._deadline

    def _insist(self, step: Callable[[], None]) -> None:
        """Do ``step`` until the store takes it, or the log is closed and its time is over."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                step()
            except StoreError as error:
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                if self._given_up:
                    return
                if self._deadline is None:
                    self._closing.wait(delay)
                else:
                    time.sleep(max(0.0, min(delay, self._deadline - time.monotonic())))
                delay = min(delay * 2, LAST_RETRY_SECONDS)
            else:
                self._error = None
                return

    def _ship(self) -> None:
        with self._changed:
            offset, data = self._pending.peek(self._roll)
        if offset < self._half:
            data = data[: self._half - offset]
        start, end = self._segment
        if self._store.can_append and end == offset and start < end and end - start < self._roll and end != self._half:
            data = data[: self._roll - (end - start)]
            self._store.append(segment_key(self._prefix, start), data, offset - start)
        else:
            start = offset
            self._tell_holes(offset)
            if self._store.can_append:
                self._store.append(segment_key(self._prefix, start), data, 0)
            else:
                self._store.put(segment_key(self._prefix, start), data, durable=False)
        with self._changed:
            self._segment = (start, offset + len(data))
            self._shipped = offset + len(data)
            if start >= self._half:
                if self._tail and self._tail[-1][0] == start:
                    self._tail.pop()
                self._tail.append(self._segment)
            self._pending.pop(len(data))
            self._error = None
            self._changed.notify_all()
        self._trim()

    def _trim(self) -> None:
        """Drop the oldest segments of the tail beyond the cap. The record tells of the gap before there is one."""
        while len(self._tail) > 1 and sum(end - start for start, end in self._tail) > self._half:
            first = self._gap_end == 0
            with self._changed:
                self._gap_end = self._tail[1][0]
                told = self._record()
            if first:
                self._store.put(record_key(self._prefix), told.to_json(), durable=False)
            self._store.delete(segment_key(self._prefix, self._tail[0][0]))
            with self._changed:
                self._tail.popleft()

    def _tell_holes(self, before: int) -> None:
        """Let readers know of lost bytes before what lies behind them arrives."""
        with self._changed:
            lost = [hole for hole in self._lost if hole[1] <= before]
            told = self._record()
        if lost != self._told:
            self._store.put(record_key(self._prefix), told.to_json(), durable=False)
            self._told = lost

    def _finish(self) -> None:
        self._trim()
        with self._changed:
            told = self._record()
        self._result = join_segments(self._store, self._prefix, told)

    # What is known

    def _take_up(self, known: LogRecord) -> None:
        found = [(start, start + size) for start, size in segments(self._store, self._prefix)]
        self._tail = deque(segment for segment in found if segment[0] >= self._half)
        self._taken = self._pending.recover(known.size)
        if self._taken > known.size:
            for hole in self._pending.holes(known.size):
                self._lose(*hole)

    def _lose(self, start: int, end: int) -> None:
        if self._lost and self._lost[-1][1] == start:
            start = self._lost.pop()[0]
        self._lost.append((start, end))

    def _record(self) -> LogRecord:
        gap = (self._half, self._gap_end) if self._gap_end else None
        holes = merge([*self._lost, gap] if gap else self._lost)
        missing = sum(end - start for start, end in holes) - (gap[1] - gap[0] if gap else 0)
        return LogRecord(self._taken, False, gap, missing, holes, self._truncated)


def join(store: ObjectStore, prefix: str, *, spool: Path | None = None) -> LogRecord:
    """Finish the log of a writer that is gone; harmless where it is finished. Raises :class:`StoreError`.

    Only when the writer is known to be dead. Bytes in its ``spool`` are brought in.
    """
    known = as_found(store, prefix)
    if not known.complete and spool is not None and spool.exists():
        return LogWriter.resume(store, prefix, spool=spool).close()
    return join_segments(store, prefix, known)
