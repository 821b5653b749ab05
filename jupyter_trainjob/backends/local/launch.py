"""How an attempt is started, and within which limits: what its supervisor and its runner are told."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from ...resources.names import attempt_prefix
from ...resources.profile import HOST_NETWORK, OWN_LOOPBACK, reach
from ...storage.base import ObjectStore
from ..base import AttemptRequest, BackendError
from ..orders import keep, optional_bytes, time_limit
from . import cgroups, filter, landlock
from .compiled import Compiled
from .environments.cache import Environments
from .environments.recipes import Found
from .fetch import FetchRules
from .folder import Folder
from .limits import Limits, files_limit
from .probe import Offer
from .runtime import Runtime, package_folder
from .sandbox import LAUNCH_ENV, MARK, NETWORK_ETC, RUNNER, SHOWN_ETC, Inside, bwrap_argv, places, rank
from .spawn import FILTER_FD

LOCKED_BYTES = 64 * 2**20
"""Memory that a job may lock, as drivers and key stores do."""
FOLDER_MODE = 0o700
"""Each becomes the job's user's, who may be another; of ``in`` only the group does."""


PROCESS_ORDERS = ("mark", "sandboxed", "filter", "confine", "argv", "environment", "cwd", "drop", "cgroup")
"""What :func:`process_orders` tells: settled once the first process runs."""


@dataclass(frozen=True)
class Settings:
    """What the backend says about all its attempts."""

    runtime: Runtime
    offer: Offer
    store: ObjectStore
    run_folder: str
    uid_range: tuple[int, int]
    uid_locks: str
    startup_seconds: float
    grace_seconds: float
    nproc_per_sandbox: bool
    """Whether RLIMIT_NPROC counts this attempt's processes only."""
    runner: tuple[str, ...] = ()
    """The runner's command, without the path of ``job.json``; empty: ours, in the runtime's interpreter."""
    fetching: FetchRules = field(default_factory=FetchRules)
    cgroup_owner: str = ""
    """The mark of this data folder's control groups (see :func:`.cgroups.owner`); empty: they have none."""
    host_network: bool = False
    """Whether profiles may give their jobs the machine's network."""
    environments: Environments | None = None
    compiled: Compiled | None = None

    def networks(self) -> frozenset[str]:
        """Which of those that not every backend has. Landlock can't tell a loopback from the rest."""
        found = frozenset[str]() if self.offer.landlock else frozenset({OWN_LOOPBACK})
        return found | ({HOST_NETWORK} if self.host_network else frozenset())

    def describe(self, minimum: str) -> dict[str, Any]:
        """What :meth:`.base.Backend.describe` tells; ``minimum``: the level that is demanded."""
        warnings = [*self.offer.findings, *self.runtime.warnings]
        if self.offer.landlock:
            warnings.insert(0, "jobs see the machine's processes and share its /dev/shm; docs/sandbox.md has the rest")
        if self.offer.level == "process":
            warnings.insert(
                0, "jobs run as ordinary processes: they can read what this user can, and reach the network"
            )
        return {
            "type": "local",
            "isolation": self.offer.level,
            "minimumIsolation": minimum,
            "python": self.runtime.version,
            "ownUsers": self.offer.drop,
            "warnings": warnings,
        }


class Places:
    """Where the job sees its folders."""

    def __init__(self, folder: Folder, binds: list[str], *, sandboxed: bool) -> None:
        self.sandboxed = sandboxed
        self.inside = places(binds) if sandboxed else Inside(*map(folder.file, ("in", "work", "out")))
        self.work, self.out = self.inside.work, self.inside.out
        self.tmp = "/tmp" if sandboxed else folder.file("tmp")
        self.runner = RUNNER if sandboxed else os.path.join(package_folder(), "runner")

    def job(self, name: str) -> str:
        """A path in the read-only folder."""
        return f"{self.inside.job}/{name}"


def make_folders(folder: Folder) -> None:
    """Those that the sandbox shows, empty."""
    for name in ("in", "in/inputs", "work", "out", "out/results", "tmp", "tmp/home", "shm"):
        make_folder(folder, name)


def make_folder(folder: Folder, name: str) -> None:
    """One of them."""
    os.mkdir(folder.file(name))
    os.chmod(folder.file(name), 0o750 if name.startswith("in") else FOLDER_MODE)  # whatever the umask says


def process_orders(
    folder: Folder,
    request: AttemptRequest,
    settings: Settings,
    limits: Limits,
    where: Places,
    found: Found,
    *,
    files: tuple[str, ...] = ("job.json",),
) -> dict[str, Any]:
    """How the first process is started; ``files``: the runner's orders in ``in``. Writes the filter of system calls."""
    offer, runtime, name = settings.offer, settings.runtime, os.path.basename(folder.path)
    runner = settings.runner or (runtime.python, "-I", where.runner)
    command = [*runner, *map(where.job, files)]
    environment = {
        "PATH": os.pathsep.join([*found.paths, os.path.dirname(runtime.python), LAUNCH_ENV["PATH"]]),
        "LANG": LAUNCH_ENV["LANG"],
        "HOME": f"{where.tmp}/home",
        "TMPDIR": where.tmp,
        "USER": "job",
        "LOGNAME": "job",
        "JUPYTER_PATH": runtime.jupyter_path,
        MARK: name,
        **({"R_LIBS": os.pathsep.join(found.libraries)} if found.libraries else {}),
        **({"TRAINJOB_JARS": os.pathsep.join(found.jars)} if found.jars else {}),
    }
    argv = command
    if offer.bwrap is not None:
        argv = bwrap_argv(
            offer.bwrap,
            attempt_folder=folder.path,
            binds=list(runtime.binds),
            shm_bytes=limits.shm_bytes,
            environment=environment,
            command=command,
            inside=where.inside,
            package=package_folder(),
            filter_fd=FILTER_FD if offer.filtered else None,
            own_network=not open_network(request),
        )
    if offer.filtered:
        inet = not offer.landlock or needs_tcp(request) or open_network(request)
        _write_filter(folder, counted=offer.cgroups, inet=inet)
    group_name = f"{settings.cgroup_owner}.{name}" if settings.cgroup_owner else name
    group = cgroups.find(group_name) if offer.cgroups else None
    first, last = settings.uid_range
    return {
        "mark": name,
        "sandboxed": where.sandboxed,
        "filter": folder.file(filter.FILE) if offer.filtered else "",
        "confine": _confine(folder, settings, where, request) if offer.landlock else None,
        "argv": argv,
        "environment": LAUNCH_ENV if where.sandboxed else environment,
        "cwd": "/",
        "drop": {"first": first, "last": last, "locks": settings.uid_locks} if offer.drop else None,
        "cgroup": {"version": group.version, "folders": group.folders} if group else None,
    }


def _write_filter(folder: Folder, *, counted: bool, inet: bool) -> None:
    try:
        program = filter.build(counted=counted, inet=inet)
    except (ImportError, RuntimeError, AttributeError) as error:  # it was there when the server started
        raise BackendError(
            f"The filter of system calls can't be made any more: {error}.",
            remedy="Install jupyter_trainjob[sandbox] and libseccomp again, or restart the server.",
            permanent=True,
        ) from error
    filter.write(folder.file(filter.FILE), program)


def attempt_orders(request: AttemptRequest, settings: Settings, limits: Limits) -> dict[str, Any]:
    """The rest of what a supervisor is told: whose the attempt is, where its outputs belong, what it may use."""
    return {
        "protocol": 1,
        "uid": request.ref.uid,
        "attempt": request.ref.attempt,
        "store": settings.store.describe(),
        "prefix": attempt_prefix(request.ref.uid, request.ref.attempt),
        "isolation": settings.offer.level,
        "limits": {**limits.to_dict(), "tasks": limits.tasks},
        "keep": keep(request),
        "results": request.job.spec.outputs.names,
        "conditions": _standing(settings.offer, request),
    }


def _confine(folder: Folder, settings: Settings, where: Places, request: AttemptRequest) -> dict[str, Any]:
    """What :func:`.landlock.restrict` takes."""
    wide = open_network(request)
    etc = [f"/etc/{name}" for name in (*SHOWN_ETC, *(NETWORK_ETC if wide else ()), "passwd", "group", "hosts")]
    package = package_folder()
    ours = [os.path.join(package, name) for name in ("__init__.py", "_version.py", "runner")]
    own = [folder.file("in"), *ours]
    return {
        "list": [package],
        "read": [*landlock.READ, *etc, *settings.runtime.binds, *own],
        "write": [*landlock.WRITE, *(folder.file(name) for name in ("work", "out", "tmp"))],
        "tcp": wide or needs_tcp(request),
        "filter": folder.file(filter.FILE),
        "drop": settings.offer.drop,
    }


def needs_tcp(request: AttemptRequest) -> bool:
    """Whether the job's kernel talks over TCP: a JVM's does, which Landlock can't tell from the network."""
    told = request.job.spec.environment
    return bool(told.kernel) or told.language.lower() not in ("", "python", "r")


def open_network(request: AttemptRequest) -> bool:
    """Whether the job has the machine's network."""
    return reach(request.job.spec.network, request.profile) == "host"


def demand_level(offer: Offer, *minimums: str, level: str = "") -> None:
    """Raises :class:`BackendError` where the sandbox is weaker than one of ``minimums``.

    ``level``: that of what is to run, where it is no job.
    """
    level = level or offer.level
    needed = max(minimums, key=rank)
    if not offer.filtered and rank("process") < rank(needed) <= rank(level):
        raise BackendError(
            f"The sandbox on this machine is {level!r} without a filter of system calls, but {needed!r} is demanded.",
            remedy="; ".join(offer.findings) or "Install jupyter_trainjob[sandbox] and restart the server.",
            permanent=True,
        )
    if rank(level) < rank(needed):
        raise BackendError(
            f"The sandbox on this machine is {level!r}, but {needed!r} is demanded.",
            remedy="; ".join(offer.findings) or "Lower the minimum, or run the job elsewhere.",
            permanent=True,
        )


def demand_network(request: AttemptRequest, settings: Settings) -> None:
    """Raises :class:`BackendError` where the job can't have the network that it asks for, or could have more."""
    wanted = reach(request.job.spec.network, request.profile)
    if wanted == "none" or f"network:{wanted}" in settings.networks():
        return
    if wanted == "host":
        raise BackendError(
            f"The profile {request.profile.metadata.name!r} allows the machine's network, and the backend does not.",
            remedy="The operator may set LocalBackendSettings.host_network; without, send it with --network none.",
            permanent=True,
        )
    raise BackendError(
        "At the level landlock+seccomp a job can't have a loopback of its own: it would have the machine's network.",
        remedy="Send it with --network none, or run the server where there are namespaces (jupyter trainjob doctor).",
        permanent=True,
    )


def _standing(offer: Offer, request: AttemptRequest) -> list[dict[str, str]]:
    if offer.level != "process" and not offer.filtered:
        message = "The job's system calls were not filtered: it could reach parts of the kernel that this level closes."
        return [{"type": "Isolated", "status": "False", "reason": "Unfiltered", "message": message}]
    if offer.level != "process" and open_network(request):
        message = f"The profile {request.profile.metadata.name!r} gives its jobs the machine's network."
        return [{"type": "Isolated", "status": "False", "reason": "NetworkAllowed", "message": message}]
    if offer.landlock and needs_tcp(request):
        message = "The job's kernel talks over TCP, so that at landlock+seccomp the job could reach the network."
        return [{"type": "Isolated", "status": "False", "reason": "NetworkOpen", "message": message}]
    if offer.level != "process":
        return []
    message = "The job ran as an ordinary process of this machine: it could read its files and reach the network."
    return [{"type": "Isolated", "status": "False", "reason": "ProcessOnly", "message": message}]


def limits_of(request: AttemptRequest, settings: Settings, inputs: int = 0) -> Limits:
    """What it may use; ``inputs``: how many files are brought."""
    resources = request.job.spec.resources
    cpus, seconds = -(-resources.cpu_millis // 1000), time_limit(request)
    return Limits(
        memory_bytes=optional_bytes(resources.memory),
        processes=resources.processes,
        disk_bytes=optional_bytes(resources.disk),
        files=files_limit(optional_bytes(resources.disk), inputs),
        file_size_bytes=optional_bytes(resources.file_size),
        open_files=resources.open_files,
        shm_bytes=optional_bytes(resources.shm) or 64 * 2**20,
        log_bytes=optional_bytes(resources.log) or 64 * 2**20,
        cpu_millis=resources.cpu_millis,
        cpu_seconds=None if settings.offer.cgroups else max(1, cpus) * (seconds + settings.grace_seconds),
        time_limit_seconds=seconds,
        startup_seconds=settings.startup_seconds,
        grace_seconds=settings.grace_seconds,
    )


def rlimits_of(limits: Limits, settings: Settings) -> dict[str, int | None]:
    """What the runner sets. Processes only where nothing better counts them and where they are this attempt's alone."""
    return {
        "nproc": limits.tasks if settings.nproc_per_sandbox and not settings.offer.cgroups else None,
        "nofile": limits.open_files,
        "fsize": limits.file_size_bytes,
        "as": None,
        "core": 0,
        "memlock": min(limits.memory_bytes or LOCKED_BYTES, LOCKED_BYTES),
        "cpu": _cpu_backstop(limits),
    }


def _cpu_backstop(limits: Limits) -> int | None:
    """Seconds of CPU time after which the kernel ends a process, should nobody else be left who does."""
    if limits.time_limit_seconds is None:
        return None
    cpus = max(1, -(-limits.cpu_millis // 1000), os.cpu_count() or 1)
    return int(cpus * (limits.time_limit_seconds + limits.startup_seconds + limits.grace_seconds)) + 1
