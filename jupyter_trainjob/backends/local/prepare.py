"""Make the attempt folder: recorded at once, then filled with all that the supervisor needs, ``attempt.json`` last."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ...resources.names import attempt_prefix
from ...resources.profile import Profile
from ...resources.trainjob import CellSource, NotebookSource, Resources, ScriptSource, TrainJob
from ...storage.base import KeyMissing, ObjectStore
from ..base import AttemptRef, AttemptRequest, BackendError
from ..environments import named
from ..onecell import script
from ..orders import Place, blob_key, described, lost, one_cell, optional_bytes, time_limit
from . import cgroups
from .compiled import Compiled
from .environments.box import BuildFailed
from .environments.cache import Environments
from .environments.recipes import Found
from .fetch import FetchRules
from .folder import Folder
from .inputs import Inputs, copy_object
from .limits import Limits
from .probe import Offer
from .runtime import Runtime, package_folder
from .sandbox import LAUNCH_ENV, MARK, RUNNER, Inside, bwrap_argv, places

REQUEST = "request.json"
NOTED_SECONDS = 2.0
"""Inputs that take longer are told of."""
FOLDER_MODE = 0o700
"""Each becomes the job's user's, who may be another; of ``in`` only the group does."""


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
    environments: Environments | None = None
    compiled: Compiled | None = None


class CalledOff(Exception):
    """The preparation was left off: somebody cancelled the attempt, or removed it, or the server stops."""

    def __init__(self, cancelled: str | None = None) -> None:
        super().__init__(cancelled)
        self.cancelled = cancelled
        """What the one who cancelled said."""


def record(request: AttemptRequest, settings: Settings) -> Folder:
    """The attempt's folder, made unless it is there, with what was asked for (``request.json``) and nothing else.

    What is quickly told is told now: whether the inputs are there, and have room. Blocks. Raises
    :class:`BackendError` and ``StoreError``.
    """
    folder = Folder(os.path.join(settings.run_folder, request.ref.name))
    if os.path.isdir(folder.path):
        return folder
    draft = Folder(os.path.join(settings.run_folder, f".new-{request.ref.name}-{secrets.token_hex(4)}"))
    offer = settings.offer
    try:
        _environment(request, settings)
        slow = Inputs(draft, request, settings.store, lambda name: name, settings.fetching).survey()
        os.mkdir(draft.path, 0o700 if offer.bwrap or not offer.drop else 0o711)
        asked = {
            "uid": request.ref.uid,
            "attempt": request.ref.attempt,
            "job": request.job.to_dict(),
            "profile": request.profile.to_dict(),
            "blobPrefix": request.blob_prefix,
            "slow": slow,
        }
        draft.write(REQUEST, asked, durable=True)
        draft.make_reserve()
        os.rename(draft.path, folder.path)
    except FileExistsError:
        return folder  # another server was quicker
    except OSError as error:
        if os.path.isdir(folder.path):
            return folder
        raise _cant_be_made(folder, error) from error
    finally:
        shutil.rmtree(draft.path, ignore_errors=True)
    return folder


def fill(folder: Folder, settings: Settings, going_on: Callable[[], None] = lambda: None) -> None:
    """Bring all that the supervisor needs into a recorded attempt's folder; ``attempt.json`` comes last.

    What an earlier try left is removed first. Blocks, for minutes where inputs are large. ``going_on`` is called again
    and again, and may raise. Raises :class:`BackendError` and ``StoreError``.
    """
    asked = folder.read(REQUEST)
    if not asked:
        raise BackendError("What was asked of the attempt can't be read, after a power cut, for example.")
    request = AttemptRequest(
        AttemptRef(asked["uid"], asked["attempt"]),
        TrainJob.model_validate(asked["job"]),
        Profile.model_validate(asked["profile"]),
        asked["blobPrefix"],
    )
    try:
        for name in ("in", "work", "out", "tmp", "shm"):
            shutil.rmtree(folder.file(name), ignore_errors=True)
        _fill(folder, request, settings, going_on)
    except OSError as error:
        raise _cant_be_made(folder, error) from error


def seconds_since_asked(folder: Folder) -> float:
    """How long ago the attempt was recorded, by the wall clock; 0 where nothing tells."""
    try:
        return time.time() - os.stat(folder.file(REQUEST)).st_mtime
    except FileNotFoundError:
        return 0.0


def inputs_ready(ready: bool, message: str = "") -> dict[str, str]:
    """The condition that tells of the inputs of an attempt that they hold up."""
    if ready:
        return {"type": "InputsReady", "status": "True", "reason": "Brought", "message": "Its inputs are there."}
    reason = "Failed" if message else "Preparing"
    message = message or "The job starts when its inputs are there: they are being brought."
    return {"type": "InputsReady", "status": "False", "reason": reason, "message": message}


def _cant_be_made(folder: Folder, error: OSError) -> BackendError:
    return BackendError(f"The attempt's folder {folder.path} can't be made: {error.strerror}.")


def _fill(folder: Folder, request: AttemptRequest, settings: Settings, going_on: Callable[[], None]) -> None:
    job, offer = request.job, settings.offer
    found = _environment(request, settings)
    compiled = settings.compiled.place(job.spec.environment.language) if settings.compiled is not None else ""
    if shown := [path for path in (found.root, compiled) if path]:
        settings = replace(settings, runtime=replace(settings.runtime, binds=(*settings.runtime.binds, *shown)))
    for name in ("in", "in/inputs", "work", "out", "out/results", "tmp", "tmp/home", "shm"):
        os.mkdir(folder.file(name))
        os.chmod(folder.file(name), 0o750 if name.startswith("in") else FOLDER_MODE)  # whatever the umask says
    where = _Places(folder, list(settings.runtime.binds), sandboxed=offer.bwrap is not None)
    inputs = Inputs(folder, request, settings.store, where.job, settings.fetching, going_on)
    brought = inputs.bring()
    _write_notebook(folder, request, settings.store, inputs, brought.entry)
    limits = _limits(job.spec.resources, request, settings)
    rlimits = _rlimits(limits, settings)
    place = Place(
        notebook=where.job("notebook.ipynb"),
        work=where.work,
        out=where.out,
        inputs=brought.files,
        variables=brought.variables,
        rlimits=rlimits,
        interpreter=found.interpreter,
        libraries=tuple(found.libraries),
        jars=tuple(found.jars),
        compiled=compiled,
    )
    folder.write("in/job.json", described(request, place), mode=0o644)
    told = _orders(folder, request, settings, limits, where, found)
    told["rlimits"] = [name for name in ("nproc", "nofile", "fsize") if rlimits[name] is not None]
    told["inputs"] = [item["path"] for item in brought.files]
    told["conditions"] += brought.conditions
    if seconds_since_asked(folder) > NOTED_SECONDS:
        told["conditions"].append(inputs_ready(True))
    folder.write("attempt.json", told, durable=True)


def _environment(request: AttemptRequest, settings: Settings) -> Found:
    """That of the job's requirements; an empty one where it has none."""
    asked = request.job.spec.environment.requirements
    if asked is None:
        return Found("")
    try:
        found = settings.environments.find(asked) if settings.environments is not None else None
    except BuildFailed as error:
        raise BackendError(f"The job's environment can't be looked up: {error}.") from error
    if found is None:
        raise BackendError(f"The environment of the job ({named(asked)}) is gone.", remedy="Run it again with retry.")
    return found[0]


class _Places:
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


def _orders(
    folder: Folder, request: AttemptRequest, settings: Settings, limits: Limits, where: _Places, found: Found
) -> dict[str, Any]:
    offer, runtime = settings.offer, settings.runtime
    runner = settings.runner or (runtime.python, "-I", where.runner)
    command = [*runner, where.job("job.json")]
    environment = {
        "PATH": os.pathsep.join([*found.paths, os.path.dirname(runtime.python), LAUNCH_ENV["PATH"]]),
        "LANG": LAUNCH_ENV["LANG"],
        "HOME": f"{where.tmp}/home",
        "TMPDIR": where.tmp,
        "USER": "job",
        "LOGNAME": "job",
        "JUPYTER_PATH": runtime.jupyter_path,
        MARK: request.ref.name,
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
        )
    group_name = f"{settings.cgroup_owner}.{request.ref.name}" if settings.cgroup_owner else request.ref.name
    group = cgroups.find(group_name) if offer.cgroups else None
    first, last = settings.uid_range
    return {
        "protocol": 1,
        "uid": request.ref.uid,
        "attempt": request.ref.attempt,
        "store": settings.store.describe(),
        "prefix": attempt_prefix(request.ref.uid, request.ref.attempt),
        "isolation": offer.level,
        "sandboxed": where.sandboxed,
        "argv": argv,
        "environment": LAUNCH_ENV if where.sandboxed else environment,
        "cwd": "/",
        "drop": {"first": first, "last": last, "locks": settings.uid_locks} if offer.drop else None,
        "cgroup": {"version": group.version, "folders": group.folders} if group else None,
        "limits": {**limits.to_dict(), "tasks": limits.tasks},
        "keep": request.job.spec.outputs.keep,
        "results": request.job.spec.outputs.names,
        "conditions": _standing(offer),
    }


def _standing(offer: Offer) -> list[dict[str, str]]:
    if offer.level != "process":
        return []
    message = "The job ran as an ordinary process of this machine: it could read its files and reach the network."
    return [{"type": "Isolated", "status": "False", "reason": "ProcessOnly", "message": message}]


def _limits(resources: Resources, request: AttemptRequest, settings: Settings) -> Limits:
    return Limits(
        memory_bytes=optional_bytes(resources.memory),
        processes=resources.processes,
        disk_bytes=optional_bytes(resources.disk),
        file_size_bytes=optional_bytes(resources.file_size),
        open_files=resources.open_files,
        shm_bytes=optional_bytes(resources.shm) or 64 * 2**20,
        log_bytes=optional_bytes(resources.log) or 64 * 2**20,
        cpu_millis=resources.cpu_millis,
        time_limit_seconds=time_limit(request),
        startup_seconds=settings.startup_seconds,
        grace_seconds=settings.grace_seconds,
    )


def _rlimits(limits: Limits, settings: Settings) -> dict[str, int | None]:
    """What the runner sets. Processes only where nothing better counts them and where they are this attempt's alone."""
    return {
        "nproc": limits.tasks if settings.nproc_per_sandbox and not settings.offer.cgroups else None,
        "nofile": limits.open_files,
        "fsize": limits.file_size_bytes,
        "as": None,
        "core": 0,
    }


def _write_notebook(draft: Folder, request: AttemptRequest, store: ObjectStore, inputs: Inputs, entry: str) -> None:
    """What runs, as a notebook. ``entry``: the file of a folder that does."""
    source = request.job.spec.source
    target = draft.file("in", "notebook.ipynb")
    if isinstance(source, NotebookSource):
        copy_object(store, blob_key(request, source.digest), target, "the notebook")
        return
    if isinstance(source, CellSource):
        text = json.dumps(one_cell(source.code, source.cell_id or "cell-1", source.first_line)).encode()
    elif isinstance(source, ScriptSource):
        try:
            data = store.get(blob_key(request, source.digest))
        except KeyMissing:
            raise lost("the script") from None
        inputs.script(source.path, data)
        text = json.dumps(script(data, source.path)).encode()
    else:
        with open(entry, "rb") as file:
            data = file.read()
        is_notebook = source.entry.endswith(".ipynb")
        text = data if is_notebook else json.dumps(script(data, source.entry)).encode()
    with open(target, "wb") as file:
        file.write(text)
    os.chmod(target, 0o644)
