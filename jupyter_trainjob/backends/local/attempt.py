"""What the backend does to one attempt's folder. All of it blocks; the backend calls it on its threads."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

from ...storage.base import StoreError
from ..base import AttemptRef, AttemptRequest, BackendError, Observation, State
from . import prepare as preparation
from . import process, recover
from .folder import Folder, try_lock
from .prepare import NOTED_SECONDS, REQUEST, CalledOff, Settings, inputs_ready, seconds_since_asked
from .report import Report, now_text
from .sandbox import LAUNCH_ENV
from .waiting import SLOT
from .warm import slot

START_SECONDS = 60
START_PAUSES = (0.0, 1.0, 4.0)
"""Before each try to start the supervisor of an attempt that was prepared in the background, in seconds."""


def record(request: AttemptRequest, settings: Settings, warm: Sequence[str] = ()) -> str:
    """Make the folder, unless it is there, and refuse what is quickly found wrong. Raises :class:`BackendError`.

    ``warm``: what waits for such a job, of which one is claimed; which, is answered.
    """
    try:
        return preparation.record(request, settings, warm)
    except StoreError as error:
        raise _unreadable(error) from error


def prepare(folder: Folder, settings: Settings, stopping: Callable[[], bool] = lambda: False) -> None:
    """Fill a recorded attempt's folder, unless that is done, or another server is at it.

    Raises :class:`BackendError`, and :class:`CalledOff` where there is no more need of it.
    """
    try:
        lock = try_lock(folder.file("preparing"))
    except FileNotFoundError:
        raise CalledOff() from None
    if lock is None:
        return

    def going_on() -> None:
        if stopping() or os.fstat(lock).st_nlink == 0 or not os.path.isdir(folder.path):
            raise CalledOff()
        message = folder.cancel_message()
        if message is not None:
            raise CalledOff(message)

    try:
        if todo(folder) == "prepare":
            going_on()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(folder.file("attempt.json"))  # of a kernel that waited, and died before it took them up
            preparation.fill(folder, settings, going_on)
            while os.path.exists(folder.file(SLOT)) and not slot.wake(folder):
                os.unlink(folder.file("attempt.json"))
                preparation.fill(folder, settings, going_on)  # cold: nothing waits there any more
            if not os.path.exists(folder.file(SLOT)):  # else it has yet to take its orders up, and may die before
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(folder.file(REQUEST))
    except StoreError as error:
        raise _unreadable(error) from error
    except BackendError:
        if not os.path.isdir(folder.path):  # removed meanwhile: no wonder
            raise CalledOff() from None
        raise
    finally:
        os.close(lock)


def _unreadable(error: StoreError) -> BackendError:
    return BackendError(f"The job's inputs can't be read from the object store: {error}")


def todo(folder: Folder) -> Literal["prepare", "start", ""]:
    """What is still to be done until a supervisor has the attempt."""
    supervised = folder.read("supervisor.json") is not None
    if folder.read("state.json") is not None or (supervised and not os.path.exists(folder.file(SLOT))):
        return ""
    if folder.read("attempt.json") is not None:
        return "prepare" if recover.was_not_taken(folder) else "" if supervised else "start"
    return "prepare" if os.path.exists(folder.file(REQUEST)) else ""


def is_slow(folder: Folder) -> bool:
    """Whether preparing a recorded attempt may take long."""
    return bool((folder.read(REQUEST) or {}).get("slow"))


def give_up(folder: Folder, ref: AttemptRef, message: str) -> None:
    """The exit record of an attempt that can't be prepared, or not started afterwards."""
    evidence = {"exitCode": None, "signal": None, "limit": "BackendError", "message": message}
    _end(folder, ref, evidence, [inputs_ready(False, message)] if todo(folder) == "prepare" else [])


def call_off(folder: Folder, ref: AttemptRef, message: str) -> None:
    """The exit record of an attempt that was cancelled before it was prepared."""
    _end(folder, ref, {"exitCode": None, "signal": None, "cancelled": message}, [])


def _end(folder: Folder, ref: AttemptRef, evidence: dict[str, Any], conditions: list[dict[str, str]]) -> None:
    report = Report(folder, ref.uid, ref.attempt, "")
    report.update(state="ended", ended=now_text(), evidence=evidence, conditions=conditions)
    try:
        report.flush(now=True)
    except FileNotFoundError:
        return  # removed meanwhile


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


def start_or_give_up(folder: Folder, ref: AttemptRef) -> None:
    """As :func:`start`, of an attempt whose creation was told long ago: that it can't be started is its end."""
    problem = ""
    for pause in START_PAUSES:
        time.sleep(pause)
        if todo(folder) != "start":
            return
        try:
            _start_supervisor(folder)
        except BackendError as error:
            problem = str(error)
    lock = try_lock(folder.file("lock"))
    if lock is None:
        return  # it has started in spite of all
    try:
        if todo(folder) == "start":
            os.unlink(folder.file("attempt.json"))  # a supervisor that comes late has no orders
            give_up(folder, ref, problem or "The job's supervisor can't be started: it ended at once.")
    finally:
        os.close(lock)


def start_waiting(folder: Folder) -> None:
    """Start the supervisor of a kernel that waits for a job. Raises :class:`BackendError`."""
    _start_supervisor(folder)


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


def watch(folder: Folder) -> tuple[int | None, Literal["prepare", "start", ""]]:
    """A descriptor that tells of the supervisor's end (None: there is none), and what is to be done until there is."""
    known, step = folder.read("supervisor.json"), todo(folder)
    if known is None or step:
        return None, step
    return process.open_pidfd(known), ""


def observe(folder: Folder, ref: AttemptRef) -> tuple[Observation, bool]:
    """What ``state.json`` says, and whether the attempt is lost, so that :func:`.recover.recover` is to be called."""
    data = folder.read("state.json")
    lost = (not data or data["state"] != "ended") and recover.is_lost(folder)
    if not data:
        step = todo(folder)
        late = step == "prepare" and seconds_since_asked(folder) > NOTED_SECONDS
        state: State = "starting" if step or folder.read("attempt.json") is not None else "gone"
        return Observation(ref=ref, state=state, conditions=[inputs_ready(False)] if late else []), lost
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
