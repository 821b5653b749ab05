"""What is read from the object store for attempts: the sidecar's word while they run, the harvest at their end.

Plain S3 tells nobody of a new object, so this is asked for: small objects, of attempts that somebody looks at, the
rarer the more of them there are and the longer they have said nothing new.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from ...storage.base import KeyMissing, ObjectStore, StoreError
from ..base import AttemptRef, BackendError
from .fence import CalledOff, Fence
from .harvest import Harvest, forget, gather, prune, read_state, unread

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
FIRST_SECONDS, SLOWEST_SECONDS = 1.0, 5.0
READS_PER_SECOND = 20.0
"""Of all attempts together."""
WANTED_SECONDS = 20.0
"""An attempt that nobody looked at for so long is another server's."""
AT_ONCE = 8
PATIENCE_SECONDS = 900.0
"""So long the store may be away when an attempt has ended, before it ends without what it left there."""
WORD_SECONDS = 30.0
"""So long the cluster's word is waited for on who ended an attempt that did not end by itself."""
PRUNE_BYTES = 64 * 2**20
"""What a cap leaves out is removed when it has grown by so much: a flood must not fill the store while the job runs."""
AGAIN_SECONDS = 10.0
"""After a harvest that broke for a reason that nobody thought of."""
LEAVE_SECONDS = 30.0
"""So long a removal waits for a harvest that was called off and is in the middle of a step."""
_MEASURES = frozenset({"log", "metrics", "usage"})
"""What a state says anew each second, and nobody records before the end."""
_NOT_NOW = (StoreError, KeyMissing, ValueError)
"""Away, changed by another server meanwhile, or not what it should be: a further try may find it well."""


class Last(NamedTuple):
    """What the cluster tells of the end of an attempt."""

    over: bool
    """Whether its sidecar can say no more."""
    termination: str = ""
    """The sidecar's termination message."""
    begun: bool = True
    """Whether its code ever ran."""
    unexplained: Callable[[Mapping[str, Any]], bool] = lambda state: False
    """Whether, with the sidecar's word, the cluster has yet to tell who ended it."""


@dataclass
class _Known:
    state: dict[str, Any] = field(default_factory=dict)
    wanted: float = 0.0
    next: float = 0.0
    interval: float = FIRST_SECONDS
    reading: asyncio.Task[None] | None = None
    harvest: Harvest | None = None
    harvesting: asyncio.Task[None] | None = None
    harvest_after: float = 0.0
    fence: Fence | None = None
    """What the harvest writes through."""
    step: Future[Any] | None = None
    """What a thread does for it."""
    pruned: int = 0
    poked: asyncio.Event = field(default_factory=asyncio.Event)
    trouble: str = ""


class Following:
    """All of one backend's. Used on the event loop; ``changed`` is called there when there is something new."""

    def __init__(self, store: ObjectStore, changed: Callable[[AttemptRef], None], name: str) -> None:
        self._store, self._changed = store, changed
        self._known: dict[AttemptRef, _Known] = {}
        self._leaving: dict[AttemptRef, set[Future[Any]]] = {}
        """Steps of harvests that were called off."""
        self._news = asyncio.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix=f"backend-{name}-store")
        self._task = asyncio.create_task(self._run(), name=f"backend-{name}-following")

    async def stop(self) -> None:
        """Leave off; the next start reads it all again."""
        tasks = [self._task]
        for ref in list(self._known):
            self.break_off(ref)
        for known in self._known.values():
            tasks += [task for task in (known.reading, known.harvesting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.shutdown(wait=False)

    def state(self, ref: AttemptRef) -> dict[str, Any]:
        """The sidecar's latest word; empty where none was heard."""
        known = self._known.get(ref)
        return known.state if known is not None else {}

    def trouble(self, ref: AttemptRef) -> str:
        """Why what it left can't be read now; empty where it can."""
        known = self._known.get(ref)
        return known.trouble if known is not None else ""

    def want(self, ref: AttemptRef) -> None:
        """Somebody looks at the living ``ref``: go on reading its state for a while."""
        known = self._known.setdefault(ref, _Known())
        known.wanted = time.monotonic() + WANTED_SECONDS
        self._news.set()

    def wanted(self, ref: AttemptRef) -> bool:
        """Whether somebody looked at it lately."""
        known = self._known.get(ref)
        return known is not None and known.wanted > time.monotonic()

    def poke(self, ref: AttemptRef) -> None:
        """Its pod changed: look again soon."""
        known = self._known.get(ref)
        if known is not None:
            known.poked.set()
            known.interval, known.next = FIRST_SECONDS, min(known.next, time.monotonic() + FIRST_SECONDS / 4)

    def harvest(self, ref: AttemptRef, over: Callable[[], Last]) -> Harvest | None:
        """What the ended ``ref`` left, or None while that is being read; ``changed`` tells when it is there."""
        known = self._known.setdefault(ref, _Known())
        if known.harvest is None and known.harvesting is None and known.harvest_after <= time.monotonic():
            name = f"harvest-{ref.name}"
            known.harvesting = asyncio.create_task(self._harvest(ref, known, over), name=name)
            known.harvesting.add_done_callback(partial(self._harvested, ref, known))
        return known.harvest

    def reaps(self, ref: AttemptRef) -> bool:
        """Whether what it left is being read, or was."""
        known = self._known.get(ref)
        return known is not None and (known.harvest is not None or known.harvesting is not None)

    async def left(self, ref: AttemptRef) -> dict[str, Any]:
        """The last word of an attempt that the cluster has forgotten; empty where it is not in the store.

        Raises ``StoreError``.
        """
        if self.reaps(ref):
            return self.state(ref)
        state: dict[str, Any] = await self._in_thread(read_state, self._store, ref)
        if state:
            self._known.setdefault(ref, _Known()).state = state
        return state

    def break_off(self, ref: AttemptRef) -> None:
        """Its Job is gone: whoever removed it may be removing what it left too, so nothing more is written for it.

        Where it was a stranger, it is harvested anew when it is asked for.
        """
        known = self._known.get(ref)
        if known is None or known.harvest is not None or known.harvesting is None:
            return
        if known.fence is not None:
            known.fence.shut()
        if known.step is not None and not known.step.done():
            self._leaving.setdefault(ref, set()).add(known.step)
        known.harvesting.cancel()
        known.harvesting = None

    async def drop(self, ref: AttemptRef, *, clean: bool) -> None:
        """Forget all about it; ``clean``: remove what was only for the harvest too.

        When this returns, no thread writes for it any more. Raises :class:`BackendError` where one can't be stopped.
        """
        self.break_off(ref)
        known = self._known.pop(ref, None)
        for task in (known.reading, known.harvesting) if known is not None else ():
            if task is not None and not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if leaving := self._leaving.get(ref):
            await asyncio.to_thread(wait, leaving, LEAVE_SECONDS)
            if not all(step.done() for step in leaving):
                raise BackendError(f"What {ref.name} left is still being put in order; its removal has to wait.")
            self._leaving.pop(ref, None)
        if clean:
            try:
                await self._in_thread(forget, self._store, ref)
            except StoreError as error:  # a few hundred bytes, which go with the job's other objects
                log.info("The state of %s stays in the store for now: %s", ref.name, error)

    async def _run(self) -> None:
        while True:
            now = time.monotonic()
            alive = [
                (known.next, ref.name, ref, known)
                for ref, known in self._known.items()
                if known.wanted > now and known.harvesting is None
            ]
            if not alive:
                self._news.clear()
                await self._news.wait()
                continue
            floor = len(alive) / READS_PER_SECOND
            due = sorted(item for item in alive if item[0] <= now and item[3].reading is None)
            for _, _, ref, known in due[:AT_ONCE]:
                known.next = now + max(known.interval, floor)
                known.reading = asyncio.create_task(self._read(ref, known))
            await asyncio.sleep(TICK_SECONDS)

    async def _read(self, ref: AttemptRef, known: _Known) -> None:
        try:
            state = await self._in_thread(read_state, self._store, ref)
        except _NOT_NOW as error:
            known.interval = SLOWEST_SECONDS
            self._note(ref, known, error)
        else:
            known.trouble = ""
            self._take(ref, known, state)
            await self._prune(ref, known)
        finally:
            known.reading = None

    def _take(self, ref: AttemptRef, known: _Known, state: dict[str, Any]) -> None:
        if state and state != known.state:
            old, known.state, known.interval = known.state, state, FIRST_SECONDS
            if any(state[name] != old.get(name) for name in state.keys() - _MEASURES):
                self._changed(ref)
        else:
            known.interval = min(SLOWEST_SECONDS, known.interval * 1.5)

    async def _prune(self, ref: AttemptRef, known: _Known) -> None:
        gaps = [known.state.get(name, {}).get("gap") for name in ("log", "metrics")]
        reached = sum(gap[1] for gap in gaps if gap)
        if reached - known.pruned < PRUNE_BYTES:
            return
        try:
            await self._in_thread(prune, self._store, ref, known.state)
        except _NOT_NOW as error:  # the harvest does it again
            log.info("What the cap of %s left out stays in the store for now: %s", ref.name, error)
        else:
            known.pruned = reached

    async def _harvest(self, ref: AttemptRef, known: _Known, over: Callable[[], Last]) -> None:
        pause = 0.1
        failing: float | None = None
        """Since when; None while it does not."""
        while True:
            known.poked.clear()
            last = over()
            try:
                known.state = await self._in_thread(read_state, self._store, ref) or known.state
                if known.state.get("state") == "ended" or last.over:
                    known.fence = Fence(self._store)
                    reap = partial(gather, known.fence, ref, last.termination, begun=last.begun)
                    known.step = self._pool.submit(reap)
                    found = await asyncio.wrap_future(known.step)
                    known.trouble = ""
                    await self._hear(known, found.state, over)
                    known.harvest = found
                    break
            except _NOT_NOW as error:
                self._note(ref, known, error)
                failing = time.monotonic() if failing is None else failing
                if time.monotonic() > failing + PATIENCE_SECONDS:
                    known.harvest = unread(known.state, last.termination)
                    break
            else:
                failing, known.trouble = None, ""
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(known.poked.wait(), pause)
            pause = min(SLOWEST_SECONDS, pause * 1.5)
        self._changed(ref)

    async def _hear(self, known: _Known, state: Mapping[str, Any], over: Callable[[], Last]) -> None:
        """Wait until the cluster has told who ended it, where it did not end by itself: a look at every change."""
        until = time.monotonic() + WORD_SECONDS
        while True:
            known.poked.clear()
            left = until - time.monotonic()
            if left <= 0 or not over().unexplained(state):
                return
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(known.poked.wait(), left)

    def _harvested(self, ref: AttemptRef, known: _Known, task: asyncio.Task[None]) -> None:
        """A harvest that broke is begun again when it is asked for after a while: nothing runs for ever for it."""
        error = None if task.cancelled() else task.exception()
        if error is None or isinstance(error, CalledOff) or self._known.get(ref) is not known:
            return
        log.error("Reading what %s left broke, and will be tried again", ref.name, exc_info=error)
        known.trouble = f"What {ref.name} left can't be read: {error!r}."
        known.harvesting, known.harvest_after = None, time.monotonic() + AGAIN_SECONDS
        asyncio.get_running_loop().call_later(AGAIN_SECONDS + 0.05, self._changed, ref)

    def _note(self, ref: AttemptRef, known: _Known, error: Exception) -> None:
        if not known.trouble:  # once: a store that is away is so for hundreds of attempts
            log.warning("What %s shipped can't be read now; that will be tried again: %s", ref.name, error)
        known.trouble = str(error)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *arguments))
