"""Builds as the event loop sees them: who waits for which, how far it is, what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ....resources.trainjob import Requirements
from ....storage.base import StoreError
from ...base import AttemptRef, BackendError, EnvironmentState
from ...environments import named
from .box import BuildFailed, BuildStopped
from .cache import Environments
from .recipes import Found

AT_ONCE = 2
FORGET_SECONDS = 10.0
"""So long a failure is told to all who ask; afterwards only to the jobs that waited for it, and others build again."""
FORGET_ALL_SECONDS = 3600.0


@dataclass
class _Build:
    task: asyncio.Task[None]
    since: float
    uids: set[str] = field(default_factory=set)
    began: bool = False


@dataclass(frozen=True)
class _Failure:
    words: str
    at: float
    uids: frozenset[str]


class Builds:
    """All of one backend's. Made and used on the event loop."""

    def __init__(self, environments: Environments, changed: Callable[[AttemptRef], None]) -> None:
        self._environments, self._changed = environments, changed
        self._running: dict[tuple[str, str], _Build] = {}
        self._failures: dict[tuple[str, str], _Failure] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="environment-build")
        self._looking = ThreadPoolExecutor(2, thread_name_prefix="environment-look")

    async def stop(self) -> None:
        """End what is built; the next start begins it anew."""
        self._environments.stop.set()
        await asyncio.gather(*(build.task for build in self._running.values()), return_exceptions=True)
        self._pool.shutdown(wait=False)
        self._looking.shutdown(wait=False)

    async def find(self, requirements: Requirements) -> Found | None:
        """The environment, if it is ready. Raises :class:`BackendError` where that can't be told."""
        try:
            found = await self._look(requirements)
        except (BuildFailed, StoreError) as error:
            raise BackendError(f"Its environment can't be looked up: {error}.") from error
        return found[0] if found else None

    async def state(self, uid: str, requirements: Requirements) -> EnvironmentState:
        """As :meth:`jupyter_trainjob.backends.base.Backend.environment` promises."""
        key = (requirements.format, requirements.digest)
        build = self._running.get(key)
        if build is None:
            try:
                found = await self._look(requirements)
            except StoreError as error:
                return EnvironmentState("building", f"its list can't be read from the object store now: {error}")
            except (BuildFailed, BackendError) as error:
                return EnvironmentState("failed", _failed(requirements, str(error)))
            if found is not None:
                self._failures.pop(key, None)
                return EnvironmentState("ready", lock=found[1])
            if self._environments.stop.is_set():
                return EnvironmentState("building", "the server stops; the next one begins to build it")
            failure = self._failure(key)
            if failure is not None and (uid in failure.uids or time.monotonic() - failure.at < FORGET_SECONDS):
                return EnvironmentState("failed", failure.words)
            build = self._running.get(key) or self._begin(key, requirements)  # looking took a moment
        build.uids.add(uid)
        return EnvironmentState("building", self._under_way(build, requirements))

    async def collect(self, needed: Collection[Requirements]) -> int:
        """Drop what :meth:`.Environments.collect` drops."""
        return await asyncio.get_running_loop().run_in_executor(self._looking, self._environments.collect, needed)

    async def _look(self, requirements: Requirements) -> tuple[Found, str] | None:
        return await asyncio.get_running_loop().run_in_executor(self._looking, self._environments.find, requirements)

    def _failure(self, key: tuple[str, str]) -> _Failure | None:
        now = time.monotonic()
        for old in [key for key, one in self._failures.items() if now - one.at > FORGET_ALL_SECONDS]:
            del self._failures[old]
        return self._failures.get(key)

    def _under_way(self, build: _Build, requirements: Requirements) -> str:
        if not build.began:
            return f"it waits until other environments are built ({named(requirements)})"
        seconds = int(time.monotonic() - build.since)
        return f"{self._environments.tool(requirements)} installs {named(requirements)} since {seconds} s"

    def _begin(self, key: tuple[str, str], requirements: Requirements) -> _Build:
        task = asyncio.create_task(self._build(key, requirements), name=f"environment-{key[1][:15]}")
        build = self._running[key] = _Build(task, time.monotonic())
        return build

    async def _build(self, key: tuple[str, str], requirements: Requirements) -> None:
        build = self._running[key]

        def work() -> None:
            build.since, build.began = time.monotonic(), True
            self._environments.build(requirements)

        words = ""
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except BuildStopped:
            return
        except StoreError as error:
            words = f"The object store can't be used now: {error}."
        except (BuildFailed, BackendError, OSError) as error:
            words = _failed(requirements, str(error))
        finally:
            del self._running[key]
            if words:
                self._failures[key] = _Failure(words, time.monotonic(), frozenset(build.uids))
            for uid in build.uids:
                self._changed(AttemptRef(uid, 0))


def _failed(requirements: Requirements, words: str) -> str:
    return (
        f"The environment of this job can't be built ({named(requirements)}): {words.strip().rstrip('.')}. Correct the "
        "list and submit it again; if the network or the index was away, retry the job."
    )
