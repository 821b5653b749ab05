"""The pool: as many waiting kernels of each kind as recent use asks for, within a budget of memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from ....resources.profile import Profile
from ...base import AttemptRequest, BackendError
from .. import attempt
from ..launch import Settings
from . import slot
from .kinds import GUESSED_BYTES, blank, emptied, kind
from .sizes import Kind, is_over, plan, surplus

T = TypeVar("T")
log = logging.getLogger(__name__)

CALM_SECONDS = 0.5
"""After a use, before another kernel is started: the job that has just begun goes first."""
LOOK_SECONDS = 60.0
WARMING_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 600.0


@dataclass(frozen=True)
class Warmth:
    """What an operator says about the pool."""

    budget_bytes: int = 0
    """Memory for all kernels that wait; 0: none do."""
    least: Mapping[str, int] = field(default_factory=dict)
    """Profile → how many wait whatever the use."""
    imports: Mapping[str, list[str]] = field(default_factory=dict)
    """Profile → packages that are loaded beforehand."""


class Pool:
    """All of one backend's. ``executor``: for what blocks."""

    def __init__(self, name: str, settings: Settings, warmth: Warmth, executor: Executor) -> None:
        self._name, self._settings, self._warmth, self._executor = name, settings, warmth, executor
        self._kinds: dict[str, Kind] = {}
        self._models: dict[str, AttemptRequest] = {}
        self._there: list[slot.Slot] = []
        self._claimed: Counter[str] = Counter()
        self._missed: Counter[str] = Counter()
        self._pauses: dict[str, tuple[int, float]] = {}
        self._problems: list[str] = []
        self._token = secrets.token_hex(8)
        self._used: set[str] = set()
        """Those that were claimed."""
        self._told: set[str] = set()
        """What was said in our log of kernels that are not quite ready: once is enough."""
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    # Life

    def start(self) -> None:
        """Begin to look after it."""
        self._task = asyncio.create_task(self._run(), name=f"backend-{self._name}-warm")

    async def stop(self) -> None:
        """End what waits: it is of no use without a server, and would leave by itself."""
        self._stopping = True
        self._news.set()
        if self._task is not None:
            await self._task
        for one in await self._in_thread(lambda: list(slot.there(self._settings.run_folder))):
            if one.pool == self._token:
                await self._in_thread(slot.drop, self._settings.run_folder, one.name)

    def keep(self, profiles: Collection[Profile] | None) -> None:
        """Keep the least that is configured of these; None: another server does."""
        for known in self._kinds.values():
            known.least = 0
        self._problems = []
        there = {profile.metadata.name: profile for profile in profiles or ()}
        for name, least in self._warmth.least.items():
            if profiles is None or not least:
                continue
            if name not in there:
                self._problems.append(f"warm names the profile {name!r}, which there is not")
                continue
            kept = self._known(blank(there[name]))
            if kept is None:
                self._problems.append(f"the profile {name!r} can't be kept warm: its kernel can't wait for a job")
            else:
                kept.least = max(kept.least, least)
        self._news.set()

    # A job's start

    def take(self, request: AttemptRequest) -> list[str]:
        """Those that fit the job, to be claimed in this order; its use is noted."""
        known = self._known(request)
        if known is None:
            return []
        known.uses = [*known.uses[-99:], time.monotonic()]
        self._news.set()
        fits = self._kind(request)
        return [one.name for one in self._there if one.kind == fits and one.warm]

    def taken(self, request: AttemptRequest, name: str) -> None:
        """The one called ``name`` is the job's; empty: none was."""
        (self._claimed if name else self._missed)[request.profile.metadata.name] += 1
        self._used.add(name)
        self._there = [one for one in self._there if one.name != name]
        self._news.set()

    def _kind(self, request: AttemptRequest) -> str:
        return kind(request, self._imports(request))

    def _imports(self, request: AttemptRequest) -> list[str]:
        return list(self._warmth.imports.get(request.profile.metadata.name, []))

    def _known(self, request: AttemptRequest) -> Kind | None:
        fits = self._kind(request)
        if not fits:
            return None
        if fits not in self._kinds:
            told = request.job.spec.environment.env
            self._kinds[fits] = Kind(own=told != request.profile.spec.environment.env and bool(told))
            self._models[fits] = emptied(request, self._token)  # nothing of a job's is kept but its kernel's kind
        return self._kinds[fits]

    def _forget(self) -> None:
        """What nobody used of late: its kind has a job's environment variables in it."""
        now = time.monotonic()
        for fits in [fits for fits, known in self._kinds.items() if is_over(known, now)]:
            del self._kinds[fits], self._models[fits]
            self._pauses.pop(fits, None)

    # What is kept

    async def _run(self) -> None:
        while not self._stopping:
            self._news.clear()
            try:
                await self._tend()
            except Exception as error:  # told, and tried again: who stops looking never finds out
                known = isinstance(error, (OSError, BackendError))
                log.warning("backend %s: kernels can't be kept waiting now: %s", self._name, error, exc_info=not known)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), LOOK_SECONDS)
            if not self._stopping:
                await asyncio.sleep(CALM_SECONDS)

    async def _tend(self) -> None:
        await self._look()
        self._forget()
        guesses = {fits: GUESSED_BYTES[self._language(fits)] for fits in self._kinds}
        sizes = plan(self._kinds, time.monotonic(), self._warmth.budget_bytes, guesses)
        for fits in {one.kind for one in self._there} | set(sizes):
            mine = [one.name for one in self._there if one.kind == fits and one.pool == self._token]
            for name in surplus(mine, sizes.get(fits, 0)):
                await self._in_thread(slot.drop, self._settings.run_folder, name)
        for fits, size in sizes.items():
            for _ in range(size - sum(one.kind == fits for one in self._there)):
                if self._stopping or time.monotonic() < self._pauses.get(fits, (0, 0.0))[1]:
                    break
                await self._make(fits)
        await self._look()

    def _language(self, fits: str) -> str:
        return (self._models[fits].job.spec.environment.language or "python").lower()

    async def _look(self) -> None:
        await self._in_thread(slot.tidy, self._settings.run_folder)
        self._there = await self._in_thread(lambda: list(slot.there(self._settings.run_folder)))
        for one in self._there:
            if one.warm and one.kind in self._kinds:
                self._kinds[one.kind].memory_bytes = one.memory_bytes
            if one.unready and one.unready not in self._told:
                self._told.add(one.unready)
                log.warning("backend %s: a kernel that waits for jobs is not quite ready: %s", self._name, one.unready)

    async def _make(self, fits: str) -> None:
        """One more, and wait until it is warm: one at a time, so that jobs have the machine."""
        try:
            done = await self._made(fits, self._models[fits])
        except Exception:
            self._pause(fits)
            raise
        if done:
            self._pauses.pop(fits, None)
        elif not self._stopping:
            self._pause(fits)
            log.warning("backend %s: a kernel that was to wait for jobs did not start", self._name)

    async def _made(self, fits: str, model: AttemptRequest) -> bool:
        """False where it was not warm in time: then it is ended."""
        self._used.clear()
        folder = await self._in_thread(slot.make, model, self._settings, fits, self._imports(model), self._token)
        name = folder.path.rpartition("/")[2]
        await self._in_thread(attempt.start_waiting, folder)
        until = time.monotonic() + self._settings.startup_seconds
        while not self._stopping and time.monotonic() < until:
            await self._look()
            mine = [one for one in self._there if one.name == name]
            if name in self._used or (mine and mine[0].warm):
                return True
            if not mine:
                break
            await asyncio.sleep(WARMING_SECONDS)
        if not self._stopping:
            await self._in_thread(slot.drop, self._settings.run_folder, name)
        return False

    def _pause(self, fits: str) -> None:
        count = self._pauses.get(fits, (0, 0.0))[0] + 1
        self._pauses[fits] = (count, time.monotonic() + min(LONGEST_PAUSE_SECONDS, 5.0 * 2.0**count))

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *arguments))

    # What is told

    def describe(self) -> dict[str, Any]:
        """How many wait or are on their way, and their memory; by profile, how many jobs found one and how many not."""
        names = sorted({*self._claimed, *self._missed})
        return {
            "warm": sum(one.warm for one in self._there),
            "warming": sum(not one.warm for one in self._there),
            "memoryBytes": sum(one.memory_bytes for one in self._there),
            "profiles": {name: {"claimed": self._claimed[name], "missed": self._missed[name]} for name in names},
        }

    @property
    def warnings(self) -> list[str]:
        """What an operator should know of it."""
        return list(self._problems)
