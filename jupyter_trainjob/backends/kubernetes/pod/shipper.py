"""A log's way from the ring into the store, by a process that may be killed at any line and can only put.

The same objects as :class:`jupyter_trainjob.storage.logs.LogWriter` makes (:mod:`jupyter_trainjob.storage.loglayout`),
but for the joining and the removal of what the cap leaves out, which are the server's. Each byte is put once. What the
store does not take now goes to a spool of files, so that the job is not held up; what fits nowhere is told as missing.

What was done is written down after each step, in the sidecar's own volume. Who is killed in between does the step
again: the same segment is put under the same key, so that no byte comes twice.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque

from ....storage.base import StoreError
from ....storage.loglayout import Hole, LogRecord, base, merge, record_key, segment_key
from .files import dump, load, replace, sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from ....storage.base import ObjectStore

    class Source(Protocol):
        """Where the bytes come from."""

        def read(self, offset: int, limit: int, *, jump: bool = False) -> tuple[int, bytes]:
            """Bytes and the offset of the first."""

        def waiting(self, offset: int) -> int:
            """How many bytes there are behind ``offset``, about."""


SEGMENT_BYTES = 4 * 2**20
URGENT_BYTES = 2**20
"""So many are not held back to make a segment larger."""
LOOK_SECONDS = 0.025
COALESCE_SECONDS = 0.005
PATIENCE_SECONDS = 1.5
"""How long a store may fail, or say nothing, until the job's bytes go to the spool."""
FLOOD_BYTES, FLOOD_BYTES_PER_SECOND = 32 * 2**20, 2**20
"""How much may come at once behind what is to stay stored, and how fast it goes on then, holding the job back: what
leaves the tail stays in the store until the server has removed it."""
LOST_BYTES = 2**40
"""More than this nobody may claim to have lost."""
GONE_SECONDS = 2.0
"""How long bytes may fail to come, where later ones are there, until they count as lost. Then it looks less often."""
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.1, 5.0
STEP_BYTES = 2**20


class Spool:
    """Bytes that wait for the store, in files called by their offsets."""

    def __init__(self, folder: str, maximum_bytes: int) -> None:
        self._folder, self._maximum = folder, maximum_bytes
        os.makedirs(folder, mode=0o700, exist_ok=True)
        sweep(folder)
        names = sorted(name for name in os.listdir(folder) if name.isdigit())
        self._files: deque[Hole] = deque()
        for name in names:
            size = os.stat(os.path.join(folder, name)).st_size
            self._files.append((int(name), int(name) + size))

    @property
    def end(self) -> int:
        """The offset behind the last byte; 0 where it is empty."""
        return self._files[-1][1] if self._files else 0

    def append(self, offset: int, data: bytes) -> int:
        """Take bytes that come behind all others; how many, from the first on."""
        count = min(len(data), self._maximum - sum(end - start for start, end in self._files))
        if count <= 0:
            return 0
        try:
            replace(self._path(offset), data[:count], 0o600)
        except OSError:  # the disk is full: told as missing
            return 0
        self._files.append((offset, offset + count))
        return count

    def read(self, offset: int, limit: int) -> tuple[int, bytes]:
        """The bytes at ``offset``, or the next ones behind it."""
        for start, end in self._files:
            if end > offset:
                with open(self._path(start), "rb") as file:
                    file.seek(max(0, offset - start))
                    return max(offset, start), file.read(limit)
        return offset, b""

    def drop(self, position: int) -> None:
        """All before ``position`` is in the store."""
        while self._files and self._files[0][1] <= position:
            os.unlink(self._path(self._files.popleft()[0]))

    def _path(self, start: int) -> str:
        return os.path.join(self._folder, f"{start:020d}")


class Shipper:
    """Ships one log. ``state`` is the file of what was done; ``taken`` is told what needs not be kept elsewhere.

    ``cap_bytes`` bounds what is to stay stored: its first half is the log's head, the other its tail. The spool is used
    once ``spool_from_bytes`` wait.
    """

    def __init__(
        self,
        store: ObjectStore,
        prefix: str,
        source: Source,
        state: str,
        *,
        cap_bytes: int,
        spool: Spool | None = None,
        spool_from_bytes: int = STEP_BYTES,
        taken: Callable[[int], None] = lambda position: None,
        look_seconds: float = LOOK_SECONDS,
        flood_bytes: int = FLOOD_BYTES,
    ) -> None:
        self._store, self._prefix, self._source, self._path = store, base(prefix), source, state
        self._half, self._look = max(1, cap_bytes // 2), look_seconds
        self._roll = max(1, min(SEGMENT_BYTES, self._half // 4))
        self._spool, self._spool_from, self._tell_taken = spool, spool_from_bytes, taken
        known = load(state) or {}
        self._stored: int = known.get("stored", 0)
        self._taken: int = known.get("taken", 0)
        self._lost: list[Hole] = [(start, end) for start, end in known.get("lost", [])]
        self._tail: deque[Hole] = deque((start, end) for start, end in known.get("tail", []))
        self._gap_end: int = known.get("gapEnd", 0)
        self.gone: int = known.get("gone", 0)
        """How many of the missing bytes never came from the source, whatever the store did."""
        self._printed = 0
        self._told: list[Hole] | None = None
        if spool is not None:
            spool.drop(self._stored)
            self._taken = max(self._taken, spool.end)
        self._lock = threading.Lock()
        self._wake, self._ending, self._over = threading.Event(), threading.Event(), False
        self._ceiling: int | None = None
        self._deadline = float("inf")
        self._last_put = 0.0
        self._allowance, self._counted = float(flood_bytes if self._stored <= cap_bytes else 0), time.monotonic()
        self._flood = flood_bytes
        self._silent_since: float | None = None
        self._stuck_since: float | None = None
        self._next_jump = 0.0
        self._in_flight: float | None = None
        self._error: StoreError | None = None
        self._error_since = 0.0
        self.closed = False
        """Whether all that came is stored, or told as missing, and the record of it too."""
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)
        self._tell_taken(self._taken)

    def start(self) -> None:
        """Begin. Doing it again is harmless."""
        if not self._thread.ident:
            self._thread.start()

    @property
    def started(self) -> bool:
        """Whether it was begun, in this life or an earlier one."""
        return bool(self._thread.ident) or self._stored > 0

    @property
    def error(self) -> StoreError | None:
        """What the store said, if it refused the last put."""
        return self._error

    def state(self) -> dict[str, Any]:
        """``{"size", "stored", "complete", "gap", "missing"}``, for ``state.json``."""
        with self._lock:
            record = self._record()
            return {
                "size": record.size,
                "stored": self._stored,
                "complete": self.closed,
                "gap": record.gap,
                "missing": record.missing,
            }

    def tend(self) -> None:
        """Keep the job going while the store does not take anything. Called often, from another thread."""
        now = time.monotonic()
        failing = self._error is not None and now - self._error_since >= PATIENCE_SECONDS
        hanging = (since := self._in_flight) is not None and now - since >= PATIENCE_SECONDS
        if self._spool is None or self._over or not (failing or hanging):
            return
        for _ in range(8):
            if self._source.waiting(max(self._taken, self._stored)) < self._spool_from or not self._secure(STEP_BYTES):
                return

    def end(self, deadline: float, *, more_bytes: int, printed: int = 0) -> None:
        """Nothing more is printed: what is there is shipped until ``deadline`` (monotonic), then the log is closed.

        ``more_bytes``: how much of it there can be; more was never printed. ``printed``: how much there was in all, as
        the source claims; what does not come of it is told as missing.
        """
        self._printed = printed
        self._deadline = deadline
        self._ceiling = max(self._taken, self._stored) + more_bytes
        self._ending.set()
        self._wake.set()
        self.start()

    def join(self) -> None:
        """Wait for the end, after :meth:`end`."""
        self._thread.join()

    def abandon(self) -> None:
        """Ship nothing more; what is not stored is missing. Its thread may still wait for the store."""
        with self._lock:
            if not self.closed:
                self._over = True
                self._give_up()

    # The thread towards the store

    def _run(self) -> None:
        delay, retry = 0.0, FIRST_RETRY_SECONDS
        while not self.closed:
            if delay:
                self._wake.wait(delay)  # set for good once the end has come: then nothing waits but for the store
            if self._ending.is_set() and time.monotonic() >= self._deadline:
                self.abandon()
                return
            self._in_flight = time.monotonic()
            try:
                delay, retry = self._turn(), FIRST_RETRY_SECONDS
            except StoreError as error:
                if self._error is None:
                    self._error_since = time.monotonic()
                self._error = error
                delay, retry = retry, min(LAST_RETRY_SECONDS, retry * 2)
                if self._ending.is_set():
                    time.sleep(max(0.0, min(delay, 1.0, self._deadline - time.monotonic())))
            finally:
                self._in_flight = None

    def _turn(self) -> float:
        """Put a segment, if it is time; how long to wait for the next look."""
        ending, now = self._ending.is_set(), time.monotonic()
        jump, waiting = ending, 0
        if not ending and (pause := self._flooded(now)) > 0:
            return pause
        if not ending and self._taken <= self._stored:
            waiting = self._source.waiting(self._stored)
            if not waiting:
                if self._silent_since is None:
                    self._silent_since = self._next_jump = now
                    self._next_jump += GONE_SECONDS
                if now < self._next_jump:
                    return self._look * (2 if now - self._silent_since > GONE_SECONDS else 1)
                jump, self._next_jump = True, now + GONE_SECONDS
            elif self._stuck_since is not None:  # something is there, but not what comes next
                jump = now >= self._stuck_since + GONE_SECONDS
            pause = self._last_put + self._store.ship_seconds - now
            if waiting < URGENT_BYTES and pause > 0 and self._error is None:
                return min(pause, self._look)
            if waiting:
                time.sleep(COALESCE_SECONDS)
        offset, data = self._next(jump=jump)
        if data:
            self._silent_since = self._stuck_since = None
            self._put(offset, data)
            return 0.0
        if ending:
            self._close()
        elif waiting and self._stuck_since is None:
            self._stuck_since = now
        return self._look

    def _flooded(self, now: float) -> float:
        """Seconds until more may be put behind what is to stay."""
        if self._stored <= 2 * self._half:
            self._counted = now
            return 0.0
        self._allowance += (now - self._counted) * FLOOD_BYTES_PER_SECOND
        self._allowance, self._counted = min(self._allowance, self._flood), now
        return -self._allowance / FLOOD_BYTES_PER_SECOND

    def _next(self, *, jump: bool) -> tuple[int, bytes]:
        """The next bytes to put: the spool's, else the source's."""
        with self._lock:
            offset, data, limit = self._stored, b"", self._roll
            if offset < self._half:
                limit = min(limit, self._half - offset)
            if self._spool is not None and self._taken > offset:
                offset, data = self._spool.read(offset, min(limit, self._taken - offset))
            if not data:
                offset = max(offset, self._taken)
        if data:
            return offset, data
        if self._ceiling is not None:
            limit = min(limit, self._ceiling - offset)
        if limit <= 0:
            return offset, b""
        found = self._source.read(offset, limit, jump=jump)
        return found if found[1] else (self._stored, b"")

    def _put(self, offset: int, data: bytes) -> None:
        if offset < self._half:
            data = data[: self._half - offset]
        with self._lock:
            if offset > max(self._stored, self._taken):
                self.gone += offset - max(self._stored, self._taken)
                self._lose(max(self._stored, self._taken), offset)
            holes = [hole for hole in self._lost if hole[1] <= offset]
            told = self._record()
        if holes != (self._told or []):
            self._tell(told)
            self._told = holes
        self._last_put = time.monotonic()
        self._store.put(segment_key(self._prefix, offset), data, durable=False)
        self._error = None
        with self._lock:
            self._stored = offset + len(data)
            if self._stored > 2 * self._half:
                self._allowance -= len(data)
            self._taken = max(self._taken, self._stored)
            if offset >= self._half:
                self._tail.append((offset, self._stored))
            first = self._gap_end == 0
            while len(self._tail) > 1 and sum(end - start for start, end in self._tail) > self._half:
                self._tail.popleft()
                self._gap_end = self._tail[0][0]
            told = self._record()
            self._save()
            if self._spool is not None:
                self._spool.drop(self._stored)
        if first and self._gap_end:
            self._tell(told)

    def _close(self) -> None:
        with self._lock:
            reached = max(self._stored, self._taken)
            rest = min(max(0, self._printed - reached), LOST_BYTES)
            if rest:
                self.gone += rest
                self._lose(reached, reached + rest)
            self._stored = self._taken = reached + rest
            told = self._record()
        self._tell(told)
        with self._lock:
            self._save()
            self.closed = True

    def _tell(self, record: LogRecord) -> None:
        self._store.put(record_key(self._prefix), record.to_json(), durable=False)

    # What is known; with the lock held

    def _secure(self, limit: int) -> int:
        """Move some of the source's bytes into the spool, or count them as lost; how many."""
        assert self._spool is not None
        with self._lock:
            at = max(self._taken, self._stored)
            offset, data = self._source.read(at, limit)
            if not data or offset != at:
                return 0
            kept = self._spool.append(offset, data)
            if kept < len(data):
                self._lose(offset + kept, offset + len(data))
            self._taken = offset + len(data)
            self._save()
            return len(data)

    def _give_up(self) -> None:
        """The time is over: what is neither stored nor was lost before is missing."""
        reached = max(self._taken, self._stored)
        there = self._source.waiting(reached)
        if self._ceiling is not None:
            there = min(there, self._ceiling - reached)
        self._taken = reached + max(0, there, min(self._printed - reached, LOST_BYTES))
        if self._taken > self._stored:
            self._lost = [hole for hole in self._lost if hole[0] < self._stored]
            self._lose(self._stored, self._taken)

    def _lose(self, start: int, end: int) -> None:
        if self._lost and self._lost[-1][1] >= start:
            start = min(start, self._lost.pop()[0])
        self._lost.append((start, end))

    def _record(self) -> LogRecord:
        gap = (self._half, self._gap_end) if self._gap_end else None
        holes = merge([*self._lost, gap] if gap else self._lost)
        missing = sum(end - start for start, end in holes) - (gap[1] - gap[0] if gap else 0)
        return LogRecord(max(self._taken, self._stored), False, gap, missing, holes)

    def _save(self) -> None:
        known = {
            "stored": self._stored,
            "taken": self._taken,
            "lost": self._lost,
            "tail": list(self._tail),
            "gapEnd": self._gap_end,
            "gone": self.gone,
        }
        replace(self._path, dump(known), 0o600)
        self._tell_taken(self._taken)
