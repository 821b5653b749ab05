"""Make the attempt folder: recorded at once, then filled with all that the supervisor needs, ``attempt.json`` last."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ...resources.profile import Profile
from ...resources.trainjob import CellSource, NotebookSource, ScriptSource, TrainJob
from ...storage.base import KeyMissing, ObjectStore
from ..base import AttemptRef, AttemptRequest, BackendError
from ..environments import named
from ..onecell import script
from ..orders import Place, blob_key, described, lost, one_cell
from .environments.box import BuildFailed
from .environments.recipes import Found
from .folder import Folder
from .inputs import Inputs, copy_object
from .launch import (
    PROCESS_ORDERS,
    Places,
    attempt_orders,
    limits_of,
    make_folder,
    make_folders,
    process_orders,
    rlimits_of,
)
from .launch import Settings as Settings
from .warm import slot

REQUEST = "request.json"
NOTED_SECONDS = 2.0
"""Inputs that take longer are told of."""


class CalledOff(Exception):
    """The preparation was left off: somebody cancelled the attempt, or removed it, or the server stops."""

    def __init__(self, cancelled: str | None = None) -> None:
        super().__init__(cancelled)
        self.cancelled = cancelled
        """What the one who cancelled said."""


def record(request: AttemptRequest, settings: Settings, warm: Sequence[str] = ()) -> str:
    """The attempt's folder, made unless it is there, with what was asked for (``request.json``) and nothing else.

    What is quickly told is told now: whether the inputs are there, and have room. ``warm``: kernels that wait for such
    a job; the first that can be claimed becomes the attempt, and its name is answered. Blocks. Raises
    :class:`BackendError` and ``StoreError``.
    """
    folder = Folder(os.path.join(settings.run_folder, request.ref.name))
    if os.path.isdir(folder.path):
        return ""
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
        for name in () if slow else warm:
            if slot.claim(name, folder, asked):
                return name
        draft.write(REQUEST, asked, durable=True)
        draft.make_reserve()
        os.rename(draft.path, folder.path)
    except FileExistsError:
        return ""  # another server was quicker
    except OSError as error:
        if os.path.isdir(folder.path):
            return ""
        raise _cant_be_made(folder, error) from error
    finally:
        shutil.rmtree(draft.path, ignore_errors=True)
    return ""


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
        waits = slot.of(folder)
        if waits is None:
            for name in ("in", "work", "out", "tmp", "shm"):
                shutil.rmtree(folder.file(name), ignore_errors=True)
        else:
            shutil.rmtree(folder.file("in", "inputs"), ignore_errors=True)
        _fill(folder, request, settings, going_on, waits)
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


def _fill(
    folder: Folder,
    request: AttemptRequest,
    settings: Settings,
    going_on: Callable[[], None],
    waits: dict[str, Any] | None,
) -> None:
    """``waits``: the orders of the kernel that waits in the folder; what was settled with its start stays."""
    job, offer = request.job, settings.offer
    found = _environment(request, settings)
    compiled = settings.compiled.place(job.spec.environment.language) if settings.compiled is not None else ""
    if waits is not None:
        compiled = waits["warm"]["compiled"]
    if shown := [path for path in (found.root, compiled) if path]:
        settings = replace(settings, runtime=replace(settings.runtime, binds=(*settings.runtime.binds, *shown)))
    if waits is None:
        make_folders(folder)
    else:
        make_folder(folder, "in/inputs")
    where = Places(folder, list(settings.runtime.binds), sandboxed=offer.bwrap is not None)
    inputs = Inputs(folder, request, settings.store, where.job, settings.fetching, going_on)
    brought = inputs.bring()
    _write_notebook(folder, request, settings.store, inputs, brought.entry)
    limits = limits_of(request, settings, len(brought.files))
    rlimits = rlimits_of(limits, settings)
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
    told = attempt_orders(request, settings, limits)
    if waits is None:
        told |= process_orders(folder, request, settings, limits, where, found)
    else:
        told |= {name: waits[name] for name in PROCESS_ORDERS}
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
