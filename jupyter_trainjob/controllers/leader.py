"""Who acts: one server at a time. The lease saves work; exactness comes from the record (see ``admission``).

Servers on several machines hold it by the record's own row, whatever their clocks say: another's is over when nobody
renewed it while one looked at it for so long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ..backends.local.process import boot_id, start_ticks
from ..resources import mishaps
from ..store import LeaseRow, Store, Writer

LEASE = "controller"
LEASE_SECONDS = 10.0
RENEW_SECONDS = 2.0
"""Both together, and once more the latter: so long after its last renewal a dead leader has a successor."""
SKEW_SECONDS = 300.0
"""A lease that ran out so long ago did so by any clock: nobody waits for it to stand still."""


class LeaderElection:
    """Holds the lease while it can, and calls ``lead`` and ``follow`` as it comes and goes."""

    def __init__(
        self,
        store: Store,
        lead: Callable[[], Awaitable[None]],
        follow: Callable[[], Awaitable[None]],
        log: logging.Logger,
    ) -> None:
        self._store = store
        self._lead = lead
        self._follow = follow
        self._log = log
        self._holder = f"{_here()}:{os.getpid()}:{start_ticks(os.getpid()) or 0}:{secrets.token_hex(4)}"
        self._seen: tuple[LeaseRow, float] | None = None
        """Another's lease, and since when it has stood still."""
        self._task: asyncio.Task[None] | None = None
        self._renewed = 0.0
        self.leading = False

    async def start(self) -> None:
        """Try at once, then keep trying and renewing, whatever comes of the first try."""
        await self._try_and_tell()
        self._task = asyncio.create_task(self._run(), name="leader-election")

    async def stop(self) -> None:
        """Give the lease back, so that another server need not wait for it to run out."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self.leading:
            await self._resign()
            await self._store.awrite(lambda writer: writer.release_lease(LEASE, self._holder))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self._try_and_tell()

    async def _try_and_tell(self) -> None:
        try:
            await self._try()
        except Exception as error:  # the record may be away for a while: told, and tried again
            mishaps.tell(self._log, "the controllers' lease could not be had or renewed", error)
            if self.leading and asyncio.get_running_loop().time() - self._renewed > LEASE_SECONDS:
                await self._resign()

    async def _try(self) -> None:
        held = await self._store.awrite(self._acquire)
        if held:
            self._renewed = asyncio.get_running_loop().time()
        if held and not self.leading:
            await self._begin()
        elif not held and self.leading:
            self._log.warning("another server runs the controllers now")
            await self._resign()

    async def _begin(self) -> None:
        """Lead, or give the lease back: one who holds it and does nothing would stop everybody."""
        try:
            await self._lead()
        except BaseException:
            await self._follow()
            await self._store.awrite(lambda writer: writer.release_lease(LEASE, self._holder))
            raise
        self.leading = True
        self._log.info("this server now runs the controllers")

    async def _resign(self) -> None:
        self.leading = False
        await self._follow()

    def _acquire(self, writer: Writer) -> bool:
        row = writer.lease(LEASE)
        if row is not None and row.holder != self._holder:
            if not (holder_is_dead(row.holder) or self._is_over(row)):
                return False
            writer.release_lease(LEASE, row.holder)
        return writer.acquire_lease(LEASE, self._holder, LEASE_SECONDS)

    def _is_over(self, row: LeaseRow) -> bool:
        """Whether another's lease ran out, by a clock that is ours alone: its own may be minutes off."""
        if row.expires < datetime.now(timezone.utc) - timedelta(seconds=SKEW_SECONDS):
            return True
        if self._seen is None or self._seen[0] != row:
            self._seen = row, time.monotonic()
        return time.monotonic() - self._seen[1] > LEASE_SECONDS


def holder_is_dead(holder: str) -> bool:
    """Whether the holder ran where we would see its process, and is no more; False where that can't be told."""
    parts = holder.split(":")
    if len(parts) != 4 or parts[0] != _here() or not parts[1].isdigit() or not Path("/proc/self/stat").exists():
        return False
    return (start_ticks(int(parts[1])) or 0) != int(parts[2] or 0)


def _here() -> str:
    """This boot of this machine, and the processes that are seen: those of two pods on one node have the same pids."""
    try:
        seen = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:  # no Linux: nobody's process is looked at
        seen = 0
    return f"{boot_id()}.{seen}"
