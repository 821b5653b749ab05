"""Who acts: one server at a time. The lease saves work; exactness comes from the record (see ``admission``)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..backends.local.process import boot_id, start_ticks
from ..resources import mishaps
from ..store import Store, Writer

LEASE = "controller"
LEASE_SECONDS = 10.0
RENEW_SECONDS = 3.0


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
        self._holder = f"{boot_id()}:{os.getpid()}:{start_ticks(os.getpid()) or 0}:{secrets.token_hex(4)}"
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
        if row is not None and row.holder != self._holder and holder_is_dead(row.holder):
            writer.release_lease(LEASE, row.holder)
        return writer.acquire_lease(LEASE, self._holder, LEASE_SECONDS)


def holder_is_dead(holder: str) -> bool:
    """Whether the holder ran on this boot of this machine and is no more; False where that can't be told."""
    parts = holder.split(":")
    if len(parts) != 4 or parts[0] != boot_id() or not parts[1].isdigit() or not Path("/proc/self/stat").exists():
        return False
    return (start_ticks(int(parts[1])) or 0) != int(parts[2] or 0)
