"""One kernel that waits: made, looked for, claimed, dropped. All of it blocks."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ...base import AttemptRequest
from ...orders import Place, described
from .. import process
from ..environments.recipes import Found
from ..folder import Folder, try_lock
from ..launch import Places, Settings, attempt_orders, limits_of, make_folders, process_orders
from ..recover import remove_tree, sweep
from ..waiting import PREFIX, SLOT, WARM
from .kinds import GUESSED_BYTES, emptied

WAITING = "waiting.json"
"""What the runner is told before there is a job, in ``in``."""
REQUEST = "request.json"
MOST_TIMES = 8
"""So many times what a bare kernel takes may one take that waits, with all that it preloads."""


@dataclass(frozen=True)
class Slot:
    """One that waits."""

    name: str
    kind: str
    pool: str
    """Whose it is: servers that share a data folder use each other's, and end their own alone."""
    warm: bool
    memory_bytes: int
    began: float
    """Seconds since the epoch."""
    unready: str
    """What went wrong while it was made ready, if anything did: jobs get it all the same."""


def make(request: AttemptRequest, settings: Settings, kind: str, imports: list[str], pool: str) -> Folder:
    """The folder of one that fits jobs like ``request``; its supervisor is to be started. Raises ``OSError``."""
    token = secrets.token_hex(6)
    folder = Folder(os.path.join(settings.run_folder, f"{PREFIX}{token}"))
    request = emptied(request, token)
    compiled = settings.compiled.place(request.job.spec.environment.language) if settings.compiled is not None else ""
    if compiled:
        settings = replace(settings, runtime=replace(settings.runtime, binds=(*settings.runtime.binds, compiled)))
    os.mkdir(folder.path, 0o700 if settings.offer.bwrap or not settings.offer.drop else 0o711)
    make_folders(folder)
    where = Places(folder, list(settings.runtime.binds), sandboxed=settings.offer.bwrap is not None)
    place = Place("", where.work, where.out, rlimits={"core": 0}, compiled=compiled)
    folder.write(f"in/{WAITING}", {**described(request, place), "preload": imports}, mode=0o644)
    limits = limits_of(request, settings)
    told = attempt_orders(request, settings, limits)
    files = (WAITING, "job.json")
    told |= process_orders(folder, request, settings, limits, where, Found(""), files=files)
    told["warm"] = {
        "kind": kind,
        "pool": pool,
        "owner": process.identity(os.getpid()),
        "path": folder.path,
        "compiled": compiled,
        "began": time.time(),
        "mostBytes": MOST_TIMES * GUESSED_BYTES[request.job.spec.environment.language.lower() or "python"],
    }
    folder.make_reserve()
    folder.write(SLOT, told)
    return folder


def there(run_folder: str) -> Iterator[Slot]:
    """Those that wait, the oldest first."""
    found = []
    for entry in os.scandir(run_folder):
        if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
            folder = Folder(entry.path)
            told, warm = folder.read(SLOT), folder.read(WARM)
            known = (told or {}).get("warm", {})
            if {"kind", "pool", "began"} <= set(known) and is_alive(folder):  # else of another version's server
                memory, unready = (warm or {}).get("memoryBytes", 0), (warm or {}).get("unready", "")
                found.append(
                    Slot(entry.name, known["kind"], known["pool"], warm is not None, memory, known["began"], unready)
                )
    return iter(sorted(found, key=lambda slot: slot.began))


def is_alive(folder: Folder) -> bool:
    """Whether a supervisor holds it."""
    if folder.read("supervisor.json") is None:
        return False
    try:
        lock = try_lock(folder.file("lock"))
    except FileNotFoundError:
        return False
    if lock is not None:
        os.close(lock)
    return lock is None


def claim(name: str, target: Folder, asked: dict[str, Any]) -> bool:
    """Make the one called ``name`` the attempt ``target``; False where somebody else was quicker, or it is gone.

    The rename is the claim: afterwards the attempt is recorded, and nobody else finds what waited. The old name stays
    as a link, for paths that the kernel was given. Raises ``FileExistsError`` where the attempt is there already.
    """
    folder = Folder(os.path.join(os.path.dirname(target.path), name))
    try:
        lock = try_lock(folder.file("claim"))
    except (FileNotFoundError, NotADirectoryError):
        return False
    if lock is None:
        return False
    try:
        if os.path.islink(folder.path) or not is_alive(folder):
            return False
        folder.write(REQUEST, asked, durable=True)
        try:
            os.rename(folder.path, target.path)
        except OSError as error:
            with suppress(FileNotFoundError):
                os.unlink(folder.file(REQUEST))
            if os.path.isdir(target.path):
                raise FileExistsError(target.path) from error
            return False
        link(target, folder.path)
        return True
    finally:
        os.close(lock)


def link(target: Folder, path: str) -> None:
    """The name that a claimed one had, for as long as the attempt lasts."""
    with suppress(FileExistsError):
        os.symlink(os.path.basename(target.path), path)


def of(folder: Folder) -> dict[str, Any] | None:
    """The orders of what waited, where the attempt in ``folder`` is one that claimed it and it still lives."""
    told = folder.read(SLOT)
    if not told:
        return None
    if is_alive(folder):
        link(folder, told["warm"]["path"])
        return told
    sweep(folder, told)
    for name in (SLOT, WARM, "supervisor.json"):
        with suppress(FileNotFoundError):
            os.unlink(folder.file(name))
    return None


def wake(folder: Folder) -> bool:
    """Tell it that its orders are there; False where it died before it took them up."""
    known = folder.read("supervisor.json")
    if known is not None and process.send(known, signal.SIGUSR1):
        return True
    return not os.path.exists(folder.file(SLOT))


def drop(run_folder: str, name: str) -> None:
    """End one that waits, and remove it; nothing where it was claimed meanwhile."""
    folder = Folder(os.path.join(run_folder, name))
    try:
        lock = try_lock(folder.file("claim"))
    except (FileNotFoundError, NotADirectoryError):
        return
    if lock is None:
        return
    try:
        if os.path.islink(folder.path):
            return
        known, told = folder.read("supervisor.json"), folder.read(SLOT)
        if known is not None and process.send(known, signal.SIGKILL):
            while process.is_alive(known):
                time.sleep(0.005)
        if told:
            sweep(folder, told)
        remove_tree(folder.path)
    finally:
        os.close(lock)


def tidy(run_folder: str) -> None:
    """Remove what is left of those whose supervisor is gone, and links to attempts that are."""
    for entry in os.scandir(run_folder):
        if not entry.name.startswith(PREFIX):
            continue
        if entry.is_symlink():
            if not os.path.exists(entry.path):
                with suppress(FileNotFoundError):
                    os.unlink(entry.path)
        elif Folder(entry.path).read("supervisor.json") is not None and not is_alive(Folder(entry.path)):
            drop(run_folder, entry.name)
        elif _age(entry.path) > 3600 and not is_alive(Folder(entry.path)):
            shutil.rmtree(entry.path, ignore_errors=True)


def _age(path: str) -> float:
    with suppress(FileNotFoundError):
        return time.time() - os.stat(path).st_mtime
    return 0.0
