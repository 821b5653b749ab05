"""Builds as the event loop sees them: who waits for which, how far it is, what became of it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar

from ....resources.trainjob import Requirements
from ....storage.base import StoreError
from ...base import AttemptRef, BackendError, EnvironmentState
from ...environments import named, not_built
from .box import BuildFailed, BuildStopped
from .cache import Environments
from .recipes import Found

T = TypeVar("T")
log = logging.getLogger(__name__)
AT_ONCE = 2
ABANDONED_SECONDS = 60.0
"""A build that nobody asked for during so long is stopped: those who wait ask every ten seconds."""
LOOK_SECONDS = 1.0
FORGET_ALL_SECONDS = 3600.0
"""So long a failure is told to the jobs that waited for it. Others build again: what was away may be there by now."""


@dataclass
class _Build:
    requirements: Requirements
    uids: dict[str, float] = field(default_factory=dict)
    """The jobs that wait for it, and when each asked last (monotonic seconds)."""
    owners: set[str] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)
    task: asyncio.Task[None] | None = None
    """None while it waits for its turn."""
    began: datetime | None = None

    def abandoned(self) -> bool:
        return time.monotonic() - max(self.uids.values(), default=0.0) > ABANDONED_SECONDS


@dataclass(frozen=True)
class _Failure:
    words: str
    at: float
    uids: frozenset[str]


class Builds:
    """All of one backend's. Made and used on the event loop."""

    def __init__(self, environments: Environments, changed: Callable[[AttemptRef], None]) -> None:
        self._environments, self._changed = environments, changed
        self._builds: dict[tuple[str, str], _Build] = {}
        self._failures: dict[tuple[str, str], _Failure] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="environment-build")
        self._looking = ThreadPoolExecutor(2, thread_name_prefix="environment-look")

    async def stop(self) -> None:
        """End what is built; the next start begins it anew."""
        self._environments.stop.set()
        tasks = [build.task for build in self._builds.values() if build.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.shutdown(wait=False)
        self._looking.shutdown(wait=False)

    async def state(self, uid: str, requirements: Requirements, owner: str = "") -> EnvironmentState:
        """As :meth:`jupyter_trainjob.backends.base.Backend.environment` promises."""
        key = (requirements.format, requirements.digest)
        build = self._builds.get(key)
        if build is None:
            try:
                told = await self._before(uid, key, requirements)
            except (StoreError, OSError) as error:
                return EnvironmentState("building", f"it can't be looked up now, and will be again: {error}")
            except (BuildFailed, BackendError) as error:
                return EnvironmentState("failed", not_built(requirements, str(error)))
            except Exception as error:  # told once, to the job; raised, it would be asked for again for ever
                return EnvironmentState("failed", _broken(requirements, error))
            if told is not None:
                return told
            build = self._builds.setdefault(key, _Build(requirements))  # looking took a moment
        build.uids[uid] = time.monotonic()
        build.owners.add(owner)
        self._next()
        return EnvironmentState("building", self._under_way(build), since=build.began)

    async def collect(self, needed: Collection[Requirements]) -> int:
        """Drop what :meth:`.Environments.collect` drops."""
        return await self._look(self._environments.collect, needed)

    async def _before(self, uid: str, key: tuple[str, str], requirements: Requirements) -> EnvironmentState | None:
        """What is to be told instead of building it."""
        found: tuple[Found, str] | None = await self._look(self._environments.find, requirements)
        if found is not None:
            self._failures.pop(key, None)
            return EnvironmentState("ready", lock=found[1])
        if self._environments.stop.is_set():
            return EnvironmentState("building", "the server stops; the next one begins to build it")
        failure = self._failure(key)
        if failure is not None and uid in failure.uids:
            return EnvironmentState("failed", failure.words)
        crowded = await self._look(self._environments.crowded)
        return EnvironmentState("building", crowded) if crowded else None

    async def _look(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._looking, function, *arguments)

    def _failure(self, key: tuple[str, str]) -> _Failure | None:
        now = time.monotonic()
        for old in [key for key, one in self._failures.items() if now - one.at > FORGET_ALL_SECONDS]:
            del self._failures[old]
        return self._failures.get(key)

    def _under_way(self, build: _Build) -> str:
        requirements = build.requirements
        if build.began is None:
            return f"it waits until other environments are built ({named(requirements)})"
        return f"{self._environments.tool(requirements)} installs {named(requirements)}"

    def _next(self) -> None:
        """Begin as many as may run: first those of whom the fewest run already, then first come, first served."""
        while not self._environments.stop.is_set():
            under_way = [build for build in self._builds.values() if build.task is not None]
            for key in [key for key, build in self._builds.items() if build.task is None and build.abandoned()]:
                del self._builds[key]
            waiting = [(key, build) for key, build in self._builds.items() if build.task is None]
            if len(under_way) >= AT_ONCE or not waiting:
                return
            busy = [owner for build in under_way for owner in build.owners]
            key, build = min(waiting, key=lambda item: min(map(busy.count, item[1].owners)))
            build.task = asyncio.create_task(self._build(key, build), name=f"environment-{key[1][:15]}")

    async def _build(self, key: tuple[str, str], build: _Build) -> None:
        def work() -> None:
            if self._environments.crowded():
                raise BuildStopped  # who waits asks again, and is told
            build.began = datetime.now(timezone.utc)
            self._environments.build(build.requirements, build.stop)

        words = ""
        try:
            future = asyncio.get_running_loop().run_in_executor(self._pool, work)
            while not (await asyncio.wait([future], timeout=LOOK_SECONDS))[0]:
                if build.abandoned():
                    build.stop.set()
            future.result()
        except BuildStopped:
            return
        except StoreError as error:
            words = f"The object store can't be used now: {error}."
        except BuildFailed as error:
            words = not_built(build.requirements, str(error), error.otherwise)
        except (BackendError, OSError) as error:
            words = not_built(build.requirements, str(error))
        except Exception as error:  # a fault of ours: told, or the jobs would wait and it would be built for ever
            words = _broken(build.requirements, error)
        finally:
            del self._builds[key]
            if words:
                self._failures[key] = _Failure(words, time.monotonic(), frozenset(build.uids))
            for uid in build.uids:
                self._changed(AttemptRef(uid, 0))
            self._next()


def _broken(requirements: Requirements, error: Exception) -> str:
    log.error("The environment of %s can't be built, which is a fault here", named(requirements), exc_info=error)
    return not_built(
        requirements, f"the builder itself broke, {type(error).__name__}: {error} (the server's log has more)"
    )
