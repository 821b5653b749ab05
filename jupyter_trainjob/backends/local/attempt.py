"""What the backend does to one attempt's folder. All of it blocks; the backend calls it on its threads."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import subprocess
import sys
from datetime import datetime

from ...storage.base import StoreError
from ..base import AttemptRef, AttemptRequest, BackendError, Observation
from . import process, recover
from .folder import Folder
from .prepare import Settings, prepare
from .sandbox import LAUNCH_ENV

START_SECONDS = 60


def create(request: AttemptRequest, settings: Settings) -> None:
    """Make the folder and start its supervisor, each unless it is there. Raises :class:`BackendError`."""
    try:
        folder = prepare(request, settings)
    except StoreError as error:
        raise BackendError(f"The job's inputs can't be read from the object store: {error}") from error
    start(folder)


def start(folder: Folder) -> None:
    """Start the supervisor of a prepared attempt, unless one runs or ran. Raises :class:`BackendError`.

    An attempt whose supervisor can't be started is removed, so that it is ``gone``, which is true, and not for ever
    about to start. One that did start in spite of all (a time-out, another server's) keeps its folder.
    """
    problem = BackendError("The job's supervisor can't be started: it ended at once, or its folder was removed.")
    try:
        _start_supervisor(folder)
    except BackendError as error:
        problem = error
    if folder.read("supervisor.json") is None and recover.discard(folder):
        raise problem


def _start_supervisor(folder: Folder) -> None:
    """Returns when it has the attempt's lock."""
    if folder.read("supervisor.json") is not None:
        return
    command = [sys.executable, "-I", "-m", "jupyter_trainjob.backends.local.supervisor", folder.path]
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=LAUNCH_ENV,
            cwd="/",
            start_new_session=True,
            timeout=START_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or b""
        text = told.decode("utf-8", "replace").strip()
        raise BackendError(f"The job's supervisor can't be started: {error}. {text}".strip()) from error


def watch(folder: Folder) -> tuple[int | None, bool]:
    """A descriptor that tells of the supervisor's end (None: there is none), and whether one is still to be started."""
    known = folder.read("supervisor.json")
    if known is None:
        return None, folder.read("attempt.json") is not None
    return process.open_pidfd(known), False


def observe(folder: Folder, ref: AttemptRef) -> tuple[Observation, bool]:
    """What ``state.json`` says, and whether the attempt is lost, so that :func:`.recover.recover` is to be called."""
    data = folder.read("state.json")
    lost = (not data or data["state"] != "ended") and recover.is_lost(folder)
    if not data:
        present = folder.read("attempt.json") is not None
        return Observation(ref=ref, state="starting" if present else "gone"), lost
    printed = data["log"]
    seen = Observation(
        ref=ref,
        state=data["state"],
        node=data["node"],
        isolation=data["isolation"],
        started=_time(data["started"]),
        ended=_time(data["ended"]),
        usage=data["usage"],
        log_size=printed["size"],
        log_complete=printed["complete"],
        log_gap=tuple(printed["gap"]) if printed["gap"] else None,
        log_missing=printed["missing"],
        evidence=data["evidence"],
        claims=data["claims"],
        notebook=data.get("notebook", False),
        files=data["files"],
        files_total=data["filesTotal"],
        files_bytes=data["filesBytes"],
        conditions=data["conditions"],
    )
    return seen, lost


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def cancel(folder: Folder, message: str) -> None:
    """Leave the message in the folder and wake the supervisor, unless it was asked before."""
    draft = folder.file(f"cancel.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return  # there is no such attempt
    try:
        _write(descriptor, message.encode("utf-8", "replace")[:4000])
        os.link(draft, folder.file("cancel"))  # whole or not at all: the supervisor may look at any moment
        os.unlink(draft)
    except FileExistsError:
        os.unlink(draft)
        return  # asked before
    except FileNotFoundError:
        return  # removed meanwhile
    known = folder.read("supervisor.json")
    if known is not None:
        process.send(known, signal.SIGUSR1)


def _write(descriptor: int, text: bytes) -> None:
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise  # else: on a full disk, to be cancelled without its words is better than to go on
