"""A supervisor whose kernel has no job yet: it waits until its folder is an attempt's, with the attempt's orders in it.

Whoever claims it renames the folder, which is the claim, and wakes it (:mod:`.warm.slot`). It leaves, with all that it
started, when the server that wanted it is gone, its folder was removed, or what it started has died.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from . import process, watchdog
from .cgroups import Cgroup
from .events import EventReader
from .folder import Folder, try_lock
from .spawn import Drop, Spawned, give_to
from .tree import Tree

PREFIX = ".warm-"
"""What the folders of those are called that wait."""
SLOT = "slot.json"
"""As ``attempt.json``, of one that waits; ``warm`` holds what the pool wants to know of it."""
WARM = "warm.json"
"""There once the kernel is ready."""
UNLIMITED_BYTES = 2**62
_STDERR_BYTES = 16 * 1024
_CLAIMED_SECONDS = 1.0
"""Between two looks once the server is gone that claimed it: another one goes on."""


@dataclass
class Waited:
    """What is known when the wait is over."""

    folder: Folder
    init_pid: int | None
    events: EventReader
    cpu_seconds: float
    """What was used before there was a job: nobody's."""
    stderr: bytearray = field(default_factory=bytearray)


class Waiting:
    """One wait. Nothing else runs in this process."""

    def __init__(
        self, folder: Folder, orders: dict[str, Any], spawned: Spawned, drop: Drop | None, cgroup: Cgroup | None
    ) -> None:
        self._folder, self._orders, self._spawned = folder, orders, spawned
        self._drop, self._cgroup = drop, cgroup
        self._place = os.open(folder.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._tree = Tree(spawned.pid, sandboxed=orders["sandboxed"], drop=drop, cgroup=cgroup)
        self._events = EventReader()
        self._stderr, self._info = bytearray(), b""
        self._over = self._orphaned = False
        self._selector = selectors.DefaultSelector()

    def wait(self) -> Waited | None:
        """Until there is a job; None: there will be none, and all that was started is ended."""
        self._watch()
        while not self._over:
            claimed = self._claimed()
            if claimed is not None:
                return self._taken(claimed)
            for key, _ in self._selector.select(_CLAIMED_SECONDS if self._orphaned else None):
                key.data()
        self._leave()
        return None

    def _watch(self) -> None:
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        self._pipe = (read, write)
        self._first = os.pidfd_open(self._spawned.pid)
        handlers = {
            read: lambda: os.read(read, 4096),
            self._spawned.events: self._on_events,
            self._spawned.stderr: self._on_stderr,
            self._spawned.info: self._on_info,
            self._first: self._end,
        }
        owner = process.open_pidfd(self._orders["warm"]["owner"])
        if owner is None:
            self._over = True
        else:
            handlers[owner] = self._on_owner
        for descriptor, handler in handlers.items():
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ, handler)
        self._owner = owner

    # What comes in

    def _end(self, *_: Any) -> None:
        self._over = True

    def _on_owner(self) -> None:
        assert self._owner is not None
        self._selector.unregister(self._owner)
        self._orphaned = True
        if self._here().file("").rstrip("/").rpartition("/")[2].startswith(PREFIX):
            self._over = True

    def _on_stderr(self) -> None:
        self._stderr += self._read(self._spawned.stderr)
        del self._stderr[:-_STDERR_BYTES]

    def _on_info(self) -> None:
        data = self._read(self._spawned.info)
        self._info += data[:4096]
        if not data:
            with suppress(ValueError):
                self._tree.init_pid = int(json.loads(self._info)["child-pid"])

    def _on_events(self) -> None:
        data = self._read(self._spawned.events)
        events = self._events.feed(data, time.monotonic())
        kinds = [event["type"] for event in events]
        if not data or "failed" in kinds or "end" in kinds:
            self._over = True
        elif "waiting" in kinds:
            pids = self._tree.pids()
            memory = self._cgroup.memory_bytes() if self._cgroup else watchdog.look(pids, exact_above=0).memory_bytes
            with suppress(FileNotFoundError):
                self._here().write(WARM, {"memoryBytes": memory, "unready": events[kinds.index("waiting")]["unready"]})

    def _read(self, descriptor: int) -> bytes:
        try:
            data = os.read(descriptor, 64 * 1024)
        except BlockingIOError:
            return b" " if descriptor == self._spawned.info else b"\n"
        if not data:
            self._selector.unregister(descriptor)
        return data

    # What becomes of it

    def _here(self) -> Folder:
        """The folder by its name of now."""
        return Folder(os.readlink(f"/proc/self/fd/{self._place}"))

    def _claimed(self) -> Folder | None:
        if os.fstat(self._place).st_nlink == 0:
            self._over = True
            return None
        here = self._here()
        return here if os.path.exists(here.file("attempt.json")) else None

    def _taken(self, folder: Folder) -> Waited:
        """Let go of all that was only for the wait. That the slot is gone says that the job has its kernel."""
        os.unlink(folder.file(SLOT))
        signal.set_wakeup_fd(-1)
        for descriptor in (*self._pipe, self._first, self._place, *([self._owner] if self._owner is not None else [])):
            os.close(descriptor)
        self._selector.close()
        os.close(self._spawned.info)
        pids = self._tree.pids()
        before = self._cgroup.cpu_seconds() if self._cgroup else watchdog.look(pids).cpu_seconds
        return Waited(folder, self._tree.init_pid, self._events, before or 0.0, self._stderr)

    def _leave(self) -> None:
        self._tree.kill()
        with suppress(ChildProcessError):
            os.waitpid(self._spawned.pid, 0)
        self._tree.kill_rest()
        if self._cgroup is not None:
            self._cgroup.remove()
        self._remove()

    def _remove(self) -> None:
        """The folder, unless it was claimed: then the attempt that it is now starts without us."""
        try:
            lock = try_lock(self._here().file("claim"))
        except (FileNotFoundError, NotADirectoryError):
            return
        if lock is None:
            return
        try:
            here = self._here()  # as it is called now that nobody can rename it
            if not os.path.basename(here.path).startswith(PREFIX) or not os.path.isdir(here.path):
                return
            from .recover import remove_tree

            trash = os.path.join(os.path.dirname(here.path), f".gone-{os.path.basename(here.path)}-{os.getpid()}")
            os.rename(here.path, trash)  # at once: who claims it finds nothing, and nothing half removed
            remove_tree(trash)
        finally:
            os.close(lock)


def apply(folder: Folder, orders: dict[str, Any], drop: Drop | None, cgroup: Cgroup | None, tree: Tree) -> None:
    """Make folders and limits the job's own, before a word of its code is read. Raises ``OSError``."""
    if drop is not None:
        give_to(folder, drop.uid)
    if cgroup is not None:
        memory = orders["limits"]["memory_bytes"] or UNLIMITED_BYTES  # in place of what it had while it waited
        cgroup.limit(memory_bytes=memory, tasks=orders["limits"]["tasks"])
    wanted = {name: value for name, value in (folder.read("in/job.json") or {})["rlimits"].items() if value is not None}
    done: set[int] = set()
    while left := set(tree.pids()) - done:  # again, should one of them have started another meanwhile
        theirs = {pid for pid in left if drop is not None and _owner(pid) == drop.uid}
        for pid in left - theirs:
            _limit(pid, wanted)
        if drop is not None and theirs:
            _limit_as(drop.uid, theirs, wanted)
        done |= left


def _owner(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except (FileNotFoundError, ProcessLookupError):
        return -1


def _limit(pid: int, limits: dict[str, int]) -> None:
    for name, value in limits.items():
        number = getattr(resource, f"RLIMIT_{name.upper()}")
        with suppress(ProcessLookupError):
            hard = resource.prlimit(pid, number)[1]
            limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(pid, number, (limit, limit))


def _limit_as(uid: int, pids: set[int], limits: dict[str, int]) -> None:
    """As their own user: root in a container often may not set the limits of others (CAP_SYS_RESOURCE)."""
    helper = os.fork()
    if helper == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            for pid in pids:
                _limit(pid, limits)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(helper, 0)[1] != 0:
        raise OSError(f"the limits of the job can't be set on its processes as user {uid}")
