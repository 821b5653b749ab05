"""What to do about an attempt whose supervisor is no more: end what is left of it, bring home what there is, say so."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from ...storage.base import open_store
from ...storage.loglayout import as_found
from ...storage.logs import LogWriter
from . import leftovers, process
from .cgroups import Cgroup
from .courier import Courier
from .events import EventReader
from .finish import Finisher
from .folder import Folder, try_lock
from .openup import open_all
from .points import PointsPump, remark
from .report import Report, now_text
from .sandbox import MARK
from .waiting import SLOT

log = logging.getLogger(__name__)

REQUEST = "request.json"
SWEEP_SECONDS = 10.0
DISCARD_SECONDS = 30.0
HALF_MADE_SECONDS = 3600
"""A folder that another server is just making is left alone."""


def is_lost(folder: Folder) -> bool:
    """Whether a supervisor was there and is gone without an exit record."""
    if folder.read("supervisor.json") is None:
        return False  # asked first: who has written it has the lock
    lock = try_lock(folder.file("lock"))
    if lock is None:
        return False
    os.close(lock)
    return not _ended(folder) and not _may_be_prepared(folder)


def was_not_taken(folder: Folder) -> bool:
    """Whether a kernel that waited died with its orders before it, and nothing of the job ran: it can start anew."""
    if folder.read("supervisor.json") is None or not _may_be_prepared(folder):
        return False
    lock = try_lock(folder.file("lock"))
    if lock is None:
        return False
    os.close(lock)
    return _may_be_prepared(folder)  # asked again: it may have been taken, and be over


def _may_be_prepared(folder: Folder) -> bool:
    """Whether what was asked for is there, and the slot: who takes orders up removes that first."""
    asked = all(os.path.exists(folder.file(name)) for name in (SLOT, REQUEST))
    return asked and folder.read("state.json") is None


def recover(folder: Folder) -> bool:
    """Write the exit record of a lost attempt; False when there was nothing to do. Blocks."""
    known = folder.read("supervisor.json")
    lock = try_lock(folder.file("lock")) if known is not None else None
    if lock is None or known is None:
        return False
    try:
        orders = folder.read("attempt.json")
        if _ended(folder) or orders is None or _may_be_prepared(folder):  # claimed: whoever prepares it sees to that
            return False
        if not orders:
            sweep(folder, orders)
            _give_up(folder)
            return True
        rebooted = known.get("bootId", process.boot_id()) != process.boot_id()
        if not rebooted:
            sweep(folder, orders)
        _finish(folder, orders, rebooted)
        return True
    finally:
        os.close(lock)


def _ended(folder: Folder) -> bool:
    state = folder.read("state.json")
    return state is not None and state.get("state") == "ended"


def _finish(folder: Folder, orders: dict[str, Any], rebooted: bool) -> None:
    store = open_store(orders["store"])
    spool = Path(folder.file("log.spool"))
    closed = as_found(store, orders["prefix"])
    log = (
        closed
        if closed.complete
        else LogWriter.resume(store, orders["prefix"], cap_bytes=orders["limits"]["log_bytes"], spool=spool)
    )
    report = Report(folder, orders["uid"], orders["attempt"], orders["isolation"])
    report.data.update(folder.read("state.json") or {})
    facts: dict[str, Any] = {"exitCode": None, "signal": None}
    message = folder.cancel_message()
    if message is not None:
        facts["cancelled"] = message
    if rebooted:
        facts.update(hostRestarted=True, message="The machine restarted while the job ran.")
    else:
        facts.update(limit="RunnerLost", message=_why(folder))
    report.condition(remark(PointsPump(store, orders["prefix"], folder).finish()))
    Finisher(folder, orders, store, log, report, Courier(store, folder, orders)).finish(facts, EventReader())
    report.flush(now=True)


def _give_up(folder: Folder) -> None:
    """The exit record of an attempt of which nothing tells where its outputs belong."""
    name = os.path.basename(folder.path)
    uid, _, attempt = name.removeprefix("tj-").rpartition("-")
    report = Report(folder, uid, int(attempt), "")
    facts = {
        "exitCode": None,
        "signal": None,
        "limit": "StorageError",
        "message": "The attempt's orders (attempt.json) can't be read, after a power cut, for example. What the job "
        f"left is kept where it ran, as {name}.",
    }
    report.update(state="ended", ended=now_text(), evidence=facts)
    report.flush(now=True)


def _why(folder: Folder) -> str:
    """Why there is no supervisor: what it wrote when it failed, or, if it could write nothing, that it was killed."""
    try:
        with open(folder.file("supervisor.log"), encoding="utf-8", errors="replace") as file:
            lines = file.read()[-4096:].strip().splitlines()
    except FileNotFoundError:
        lines = []
    if lines:
        return f"The job's supervisor failed, and the job ended with it: {lines[-1]}"
    return "The job's supervisor was killed, and the job with it."


def sweep(folder: Folder, orders: dict[str, Any]) -> None:
    """Kill whatever is left of the attempt: by its control group, by its own uid, by its mark."""
    group = Cgroup(orders["cgroup"]["version"], orders["cgroup"]["folders"]) if orders.get("cgroup") else None
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline:
        if group is not None:
            group.kill()
        marks = {os.path.basename(folder.path), orders.get("mark", "")} - {""}
        left = [pid for mark in marks for pid in _marked(mark)] + _of_own_uid(folder, orders)
        if not left:
            break
        for pid in left:
            process.kill_quietly(pid)
        time.sleep(0.01)
    if group is not None:
        group.remove()


def _marked(name: str) -> list[int]:
    mark = f"{MARK}={name}".encode()
    found = []
    for pid in process.all_pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    found.append(pid)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def _of_own_uid(folder: Folder, orders: dict[str, Any]) -> list[int]:
    """Processes with the attempt's uid, unless another attempt has it by now (which made sure none was left)."""
    drop = (folder.read("in/waiting.json") or folder.read("in/job.json") or {}).get("drop")
    if not drop or not orders.get("drop"):
        return []
    lock = try_lock(os.path.join(orders["drop"]["locks"], f"{drop['uid']}.lock"))
    if lock is None:
        return []
    try:
        found = process.owned_by(drop["uid"])
        if not found and not orders.get("sandboxed", True):
            leftovers.sweep(drop["uid"])
        return found
    finally:
        os.close(lock)


def remove(folder: Folder, keep_in: str) -> None:
    """Kill and drop all of an attempt. One whose outputs could not be stored is moved to ``keep_in`` instead."""
    known, orders = folder.read("supervisor.json"), folder.read("attempt.json") or folder.read("slot.json")
    if known is not None and process.send(known, signal.SIGKILL):
        while process.is_alive(known):
            time.sleep(0.005)
    if orders is not None and (known is None or known.get("bootId", process.boot_id()) == process.boot_id()):
        sweep(folder, orders)
    state = folder.read("state.json") or {}
    if state.get("evidence", {}).get("limit") == "StorageError":
        os.makedirs(keep_in, mode=0o700, exist_ok=True)
        target = os.path.join(keep_in, os.path.basename(folder.path))
        if not os.path.exists(target):
            os.rename(folder.path, target)
        return
    _bury(folder)


def discard(folder: Folder) -> bool:
    """Drop a prepared attempt that no supervisor has taken up; False when one has. Blocks.

    The attempt's lock is held meanwhile: a supervisor that comes late finds neither it nor the folder, and leaves.
    """
    deadline = time.monotonic() + DISCARD_SECONDS
    while True:
        try:
            lock = try_lock(folder.file("lock"))
        except FileNotFoundError:
            return True
        if lock is not None:
            break
        if folder.read("supervisor.json") is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.01)  # one that writes it now, or another that drops the folder
    try:
        if folder.read("supervisor.json") is not None:
            return False
        _bury(folder)
        return True
    finally:
        os.close(lock)


def _bury(folder: Folder) -> None:
    trash = os.path.join(os.path.dirname(folder.path), f".gone-{os.path.basename(folder.path)}-{os.getpid()}")
    try:
        os.rename(folder.path, trash)  # gone at once, whatever the rest takes
    except FileNotFoundError:
        return
    remove_tree(trash)


def tidy(run_folder: str) -> None:
    """Remove what a crash left half made or half removed."""
    for entry in os.scandir(run_folder):
        if entry.name.startswith(".gone-"):
            remove_tree(entry.path)
        elif entry.name.startswith((".new-", ".probe-")):
            try:
                old = time.time() - entry.stat().st_mtime > HALF_MADE_SECONDS
            except FileNotFoundError:
                continue
            if old:
                remove_tree(entry.path)


def remove_tree(path: str) -> None:
    """Remove ``path`` whole, whatever the job made of it: closed folders, folders thousands deep. Follows no links.

    By ``rm``, for :func:`shutil.rmtree` recurses (before Python 3.13) and goes no deeper than the stack.
    """
    command = ["rm", "-rf", "--one-file-system", "--", path]
    if subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0:
        return
    open_all(path)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        told = done.stderr.decode("utf-8", "replace").strip()[:500]
        log.warning("What an attempt left can't be removed and stays: %s", told)
