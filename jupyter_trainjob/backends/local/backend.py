"""The local backend: attempts as folders, each with a supervisor of its own that needs no server."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, TypeVar

from ...resources import mishaps
from ...resources.profile import Profile
from ...resources.trainjob import Requirements
from ...storage.base import ObjectStore, StoreError
from ..base import (
    AttemptRef,
    AttemptRequest,
    Backend,
    BackendError,
    EnvironmentState,
    KernelInfo,
    NodeCapacity,
    Observation,
)
from . import attempt, cgroups, kernels, machine, probe, recover
from .compiled import Compiled
from .environments.box import NeverBuilt
from .environments.builds import Builds
from .environments.cache import Environments, Keeping
from .fetch import FetchRules
from .folder import Folder
from .launch import demand_level, demand_network
from .pokes import Pokes
from .prepare import Settings
from .preparing import Preparations
from .runtime import inspect
from .warm import slot
from .warm.pool import Pool, Warmth

T = TypeVar("T")
log = logging.getLogger(__name__)
_NAME = re.compile(r"tj-(?P<uid>.+)-(?P<attempt>[0-9]+)\Z")
POLL_SECONDS = 2.0
AGAIN_SECONDS = 5.0
"""Between two tries to start or recover an attempt."""
PATIENCE_SECONDS = 1.0
"""So long a create waits for a quick preparation; one that takes longer goes on in the background."""


class LocalBackend(Backend):
    """Runs attempts on this machine.

    ``data_dir``: where ``run/`` and ``kept/`` lie. ``minimum_isolation``: attempts are refused where the machine
    offers less. ``python``: the interpreter that jobs run in. ``bwrap``: a path, else it is looked for.
    ``uid_first`` … ``uid_last``: the user ids that a server that is root gives to its jobs, one each;
    ``uid_last`` below ``uid_first``: they run as root. ``cpu_millis``, ``memory_bytes``: what jobs may use together,
    else measured. ``runner``: another runner's command, to which the path of ``job.json`` is added.
    ``fetching``: what jobs may name as inputs by URI; nothing, unless given.
    ``keeping``: how environments are built, and kept below ``environments/``.
    ``warmth``: which kernels wait for jobs. ``host_network``: whether profiles may open the machine's network.
    """

    def __init__(
        self,
        *,
        name: str = "local",
        data_dir: str,
        minimum_isolation: str = "",
        cpu_millis: int | None = None,
        memory_bytes: int | None = None,
        python: str = "",
        bwrap: str = "",
        allow_bwrap: bool = True,
        allow_cgroups: bool = True,
        allow_landlock: bool = True,
        uid_first: int = 64000,
        uid_last: int = 64999,
        uid_locks: str = "/run/jupyter-trainjob/uids",
        kernelspec_dirs: tuple[str, ...] = (),
        startup_seconds: float = 120.0,
        grace_seconds: float = 10.0,
        runner: tuple[str, ...] = (),
        fetching: FetchRules | None = None,
        keeping: Keeping | None = None,
        warmth: Warmth | None = None,
        host_network: bool = False,
    ) -> None:
        self.name = name
        self._data = os.path.realpath(data_dir)
        self._run = os.path.join(self._data, "run")
        self._minimum = minimum_isolation
        self._cpu_millis, self._memory_bytes = cpu_millis, memory_bytes
        self._python, self._bwrap = python or sys.executable, bwrap
        self._allowed = {
            "allow_bwrap": allow_bwrap,
            "allow_cgroups": allow_cgroups,
            "allow_landlock": allow_landlock,
        }
        self._uids, self._uid_locks = (uid_first, uid_last), uid_locks
        self._kernelspec_dirs = list(kernelspec_dirs)
        self._startup_seconds, self._grace_seconds = startup_seconds, grace_seconds
        self._runner = runner
        self._fetching = fetching or FetchRules()
        self._keeping = keeping or Keeping()
        self._warmth = warmth or Warmth()
        self._host_network = host_network
        self._warm: Pool | None = None
        self._builds: Builds | None = None
        self._preparations: Preparations | None = None
        self._creating: set[AttemptRef] = set()
        self._settings: Settings | None = None
        self._changed: Callable[[AttemptRef], None] = lambda ref: None
        self._watched: dict[AttemptRef, int] = {}
        self._poller: asyncio.Task[None] | None = None
        self._works: dict[AttemptRef, asyncio.Task[None]] = {}
        self._kernels: kernels.Kernels | None = None
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix=f"backend-{name}")
        self._slow_pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix=f"backend-{name}-slow")
        """For what may take minutes (a store that is away, a large folder): nothing else waits behind it."""

    # Life of the backend

    async def start(self, store: ObjectStore, changed: Callable[[AttemptRef], None]) -> None:
        """Try the sandbox, listen for pokes, find the attempts of an earlier life."""
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._settings = await self._in_thread(self._look_around, store)
        if self._settings.environments is not None:
            self._builds = Builds(self._settings.environments, self._changed)
        sandboxed = self._settings.offer.bwrap is not None
        self._kernels = kernels.Kernels(partial(kernels.look, self._settings.runtime, sandboxed))
        self._preparations = Preparations(self.name, self._prepared)
        self._pokes = Pokes(self._run, lambda ref: self._changed(ref))
        await self._look_at_all()
        self._poller = asyncio.create_task(self._poll(), name=f"backend-{self.name}-poll")
        if self._warmth.budget_bytes:
            self._warm = Pool(self.name, self._settings, self._warmth, self._slow_pool)
            self._warm.start()

    def keep_warm(self, profiles: Collection[Profile] | None) -> None:
        """Have the pool keep the least that is configured of them."""
        if self._warm is not None:
            self._warm.keep(profiles)

    def _look_around(self, store: ObjectStore) -> Settings:
        first, last = self._uids
        drop = os.geteuid() == 0 and last >= first
        os.makedirs(self._run, exist_ok=True)
        os.chmod(self._run, 0o711 if drop else 0o700)  # a job with its own user passes through to its own folder
        recover.tidy(self._run)
        slot.tidy(self._run)
        runtime = inspect(self._python, self._kernelspec_dirs, compile_runner=True)
        offer = probe.cached(
            os.path.join(self._data, "sandbox.json"),
            runtime,
            self._run,
            bwrap=self._bwrap,
            uid=last if drop else 0,
            **self._allowed,
        )
        owner = cgroups.owner(os.path.join(self._data, "cgroup-owner")) if offer.cgroups else ""
        if owner:
            cgroups.sweep(owner, lambda name: os.path.isdir(os.path.join(self._run, name)))
        own_namespace = offer.bwrap is not None and not offer.bwrap.as_root
        nproc_per_sandbox = offer.drop or (own_namespace and machine.nproc_counts_per_user_namespace())
        return Settings(
            runtime=runtime,
            offer=offer,
            store=store,
            run_folder=self._run,
            uid_range=self._uids,
            uid_locks=self._uid_locks,
            startup_seconds=self._startup_seconds,
            grace_seconds=self._grace_seconds,
            nproc_per_sandbox=nproc_per_sandbox,
            environments=Environments(
                os.path.join(self._data, "environments"),
                store=store,
                runtime=runtime,
                offer=offer,
                keeping=self._keeping,
                uid_range=self._uids,
                uid_locks=self._uid_locks,
                nproc_per_sandbox=nproc_per_sandbox,
                run_folder=self._run,
            ),
            runner=self._runner,
            fetching=self._fetching,
            cgroup_owner=owner,
            host_network=self._host_network,
            compiled=Compiled(os.path.join(self._data, "compiled"), runtime, offer.bwrap),
        )

    async def stop(self) -> None:
        """Stop looking. Attempts go on."""
        if self._poller is None:  # a server that is stopped before it has started
            return
        if self._warm is not None:
            await self._warm.stop()
        if self._builds is not None:
            await self._builds.stop()
        if self._preparations is not None:
            await self._preparations.stop()
        if self._kernels is not None:
            await self._kernels.stop()
        if self._settings is not None and self._settings.compiled is not None:
            await self._in_thread(self._settings.compiled.stop)
        tasks = [self._poller, *self._works.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pokes.close()
        for descriptor in self._watched.values():
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
        self._watched.clear()
        await self._in_thread(self._pokes.remove)
        self._pool.shutdown(wait=False)
        self._slow_pool.shutdown(wait=False)

    # The port

    async def create(self, request: AttemptRequest) -> None:
        """Record it, unless it is; prepare it and start its supervisor, in the background where that takes long."""
        settings = self._ready()
        demand_level(settings.offer, self._minimum, request.profile.spec.minimum_isolation)
        demand_network(request, settings)
        names = self._warm.take(request) if self._warm is not None else []
        name = await self._slowly(attempt.record, request, settings, names)
        if self._warm is not None:
            self._warm.taken(request, name)
        await self._made(request.ref)

    async def observe(self, ref: AttemptRef) -> Observation:
        """Read ``state.json``. The exit record of a lost attempt is written in the background, and told."""
        seen, lost = await self._in_thread(attempt.observe, self._folder(ref), ref)
        if lost:
            self._begin(ref, recover.recover)
        return seen

    async def cancel(self, ref: AttemptRef, message: str) -> None:
        """Leave the message in the folder and wake the supervisor."""
        await self._in_thread(attempt.cancel, self._folder(ref), message)
        if self._preparations is not None:
            self._preparations.look(ref)

    async def delete(self, ref: AttemptRef) -> None:
        """Kill what runs, remove what lies there."""
        self._forget(ref)
        await self._slowly(recover.remove, self._folder(ref), os.path.join(self._data, "kept"))
        if self._preparations is not None:
            await self._preparations.over(ref)

    async def attempts(self) -> list[AttemptRef]:
        """By the folders' names."""
        names = await self._in_thread(os.listdir, self._run)
        matches = [_NAME.match(name) for name in sorted(names)]
        return [AttemptRef(match["uid"], int(match["attempt"])) for match in matches if match]

    async def capacity(self) -> list[NodeCapacity]:
        """This machine."""
        cpu_millis, memory_bytes = self._cpu_millis, self._memory_bytes
        if cpu_millis is None:
            cpu_millis = await self._in_thread(machine.cpu_millis)
        if memory_bytes is None:
            memory_bytes = await self._in_thread(machine.memory_bytes)
        return [NodeCapacity(name=socket.gethostname(), cpu_millis=cpu_millis, memory_bytes=memory_bytes)]

    async def kernels(self) -> list[KernelInfo]:
        """Those that the runner will find, as jobs are shown their folders; those of before, while that takes long."""
        if self._kernels is None:
            raise BackendError(f"The backend {self.name!r} has not been started.")
        return await self._kernels.get()

    def offers(self) -> frozenset[str]:
        """Networks, by the sandbox and the operator's settings."""
        return self._settings.networks() if self._settings is not None else frozenset()

    async def environment(
        self,
        uid: str,
        requirements: Requirements,
        *,
        minimum_isolation: str = "",
        owner: str = "",
        language: str = "",
        image: str = "",
        profile_image: str = "",
    ) -> EnvironmentState:
        """Look for it, or begin to build it on one of two threads; not where the job itself could not run."""
        if self._builds is None:
            raise BackendError(f"The backend {self.name!r} has not been started.")
        try:
            offer = self._ready().offer
            demand_level(offer, self._minimum, minimum_isolation, level=offer.builds_level)
        except BackendError as error:
            return EnvironmentState("failed", f"The environment of this job is not built here: {error}")
        return await self._builds.state(uid, requirements, owner)

    async def check_requirements(self, format: str, text: str) -> None:
        """By what the operator lets build, and the tools that are there."""
        environments = self._settings.environments if self._settings is not None else None
        if environments is None:
            return
        try:
            await self._in_thread(environments.check, format, text)
        except NeverBuilt as error:
            remedy = f"{error.remedy[0].upper()}{error.remedy[1:]}."
            raise BackendError(error.problem, remedy=remedy, permanent=True) from error

    async def collect_environments(self, needed: Collection[Requirements]) -> int:
        """By age and size."""
        return await self._builds.collect(needed) if self._builds is not None else 0

    def describe(self) -> dict[str, Any]:
        """What runs jobs here, and what to know about it."""
        told = self._ready().describe(self._minimum)
        if self._warm is not None:
            told["warnings"] += self._warm.warnings
            told["warm"] = self._warm.describe()
        return told

    # Behind it

    def _ready(self) -> Settings:
        if self._settings is None:
            raise BackendError(f"The backend {self.name!r} has not been started.")
        return self._settings

    def _folder(self, ref: AttemptRef) -> Folder:
        return Folder(os.path.join(self._run, ref.name))

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(function, *arguments))

    async def _slowly(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._slow_pool, partial(function, *arguments))

    def _begin(self, ref: AttemptRef, work: Callable[[Folder], object]) -> None:
        """Do ``work`` behind the scenes, one at a time for each attempt; ``changed`` tells that it is done."""
        if ref not in self._works:
            self._works[ref] = asyncio.create_task(self._work(ref, work), name=f"backend-{self.name}-{ref.name}")

    async def _work(self, ref: AttemptRef, work: Callable[[Folder], object]) -> None:
        try:
            await self._slowly(work, self._folder(ref))
            await self._watch(ref)
        except Exception as error:  # told, and tried again when it is looked at again
            _warn(f"Attempt {ref.name} can't be taken up now", error)
            self._changed(ref)  # it may be gone now
            await asyncio.sleep(AGAIN_SECONDS)
        finally:
            del self._works[ref]
        self._changed(ref)

    async def _poll(self) -> None:
        """For pokes that got lost, and attempts that another server started."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._look_at_all()
            except Exception as error:  # no descriptor to be had for a moment, say: who stops looking never finds out
                mishaps.tell(log, "The attempts can't be looked at now; that will be tried again", error)

    async def _look_at_all(self) -> None:
        for ref in await self.attempts():
            try:
                await self._take_up(ref)
            except OSError as error:
                _warn(f"Attempt {ref.name} can't be looked at now", error)
            self._changed(ref)

    async def _take_up(self, ref: AttemptRef) -> None:
        """Prepare what was only recorded, start what never was; watch the supervisor, so that its death is seen."""
        step = await self._watch(ref)
        if step == "prepare":
            await self._prepare(ref)
        elif step == "start":
            self._begin(ref, attempt.start)

    async def _prepare(self, ref: AttemptRef) -> asyncio.Task[None] | None:
        """The task; None for one that may take long, which nobody should wait for."""
        if self._preparations is None:
            return None
        folder = self._folder(ref)
        slow = await self._in_thread(attempt.is_slow, folder)
        task = self._preparations.begin(ref, folder, self._ready(), slow)
        return None if slow else task

    async def _made(self, ref: AttemptRef) -> None:
        """Wait a moment until the recorded ``ref`` runs. Raises :class:`BackendError` where it can't be started."""
        step = await self._watch(ref)
        if step == "prepare":
            self._creating.add(ref)
            try:
                task = await self._prepare(ref)
                if task is None or not (await asyncio.wait({task}, timeout=PATIENCE_SECONDS))[0]:
                    return
            finally:
                self._creating.discard(ref)
            step = await self._watch(ref)
        if step == "start":
            await self._slowly(attempt.start, self._folder(ref))
            await self._watch(ref)

    def _prepared(self, ref: AttemptRef) -> None:
        if ref not in self._creating:  # nobody waits to hear that it can't be started
            self._begin(ref, partial(attempt.start_or_give_up, ref=ref))

    async def _watch(self, ref: AttemptRef) -> Literal["prepare", "start", ""]:
        """What is still to be done until it has a supervisor."""
        if ref in self._watched:
            return ""
        descriptor, step = await self._in_thread(attempt.watch, self._folder(ref))
        if descriptor is not None and ref in self._watched:  # meanwhile, by another call
            os.close(descriptor)
        elif descriptor is not None:
            self._watched[ref] = descriptor
            self._loop.add_reader(descriptor, self._supervisor_left, ref)
        return step

    def _supervisor_left(self, ref: AttemptRef) -> None:
        self._forget(ref)
        self._changed(ref)

    def _forget(self, ref: AttemptRef) -> None:
        descriptor = self._watched.pop(ref, None)
        if descriptor is not None:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)


def _warn(what: str, error: Exception) -> None:
    """Of something that is tried again every few seconds, for each attempt: a full disk must not flood the log."""
    if mishaps.is_disk_full(error):
        mishaps.tell(log, what, error)
    else:
        expected = isinstance(error, (BackendError, StoreError, OSError))
        log.warning("%s, and will be tried again: %s", what, error, exc_info=not expected)
