"""Control groups, version 1 or 2, where this user may make them. Detected by making one.

One group per attempt and controller, below the group that the server itself is in, so that the limits around the
server hold for its jobs too. All file names and counters: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of
the kernel.
"""

from __future__ import annotations

import errno
import os
import secrets
import signal
import time
from contextlib import suppress

from .process import kill_quietly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
PARENT = "trainjob"
_PERIOD_MICROSECONDS = 100_000
_OWNER_LETTERS = 12


class Cgroup:
    """The group of one attempt: one folder with version 2, one per controller with version 1.

    ``folders`` maps a controller to its folder. All readers answer None or 0 for what the kernel doesn't tell.
    """

    def __init__(self, version: int, folders: dict[str, str]) -> None:
        self.version = version
        self.folders = folders

    def create(self) -> None:
        """Make the folders; existing ones (of an earlier try) are taken over."""
        for folder in self._unique():
            os.makedirs(folder, exist_ok=True)

    def limit(self, *, memory_bytes: int | None, tasks: int | None) -> None:
        """Set the limits that stand from the start. Swap counts as memory."""
        if memory_bytes and "memory" in self.folders:
            if self.version == 2:
                self._write("memory", "memory.max", memory_bytes)
                self._write("memory", "memory.swap.max", 0, optional=True)
            else:
                try:
                    self._write("memory", "memory.limit_in_bytes", memory_bytes)
                except OSError as error:
                    if (
                        error.errno != errno.EINVAL
                    ):  # it is raised: that with swap, which is never the lower, goes first
                        raise
                    self._write("memory", "memory.memsw.limit_in_bytes", memory_bytes, optional=True)
                    self._write("memory", "memory.limit_in_bytes", memory_bytes)
                self._write("memory", "memory.memsw.limit_in_bytes", memory_bytes, optional=True)
        if tasks and "pids" in self.folders:
            self._write("pids", "pids.max", tasks)

    def limit_cpu(self, millis: int) -> bool:
        """Hold to ``millis`` thousandths of a CPU; False when there is no such controller."""
        if "cpu" not in self.folders or not millis:
            return False
        quota = millis * _PERIOD_MICROSECONDS // 1000
        if self.version == 2:
            self._write("cpu", "cpu.max", f"{quota} {_PERIOD_MICROSECONDS}")
        else:
            self._write("cpu", "cpu.cfs_period_us", _PERIOD_MICROSECONDS)
            self._write("cpu", "cpu.cfs_quota_us", quota)
        return True

    def enter(self, pid: int = 0) -> None:
        """Move a process (0: the caller) and so all its future children into the group."""
        for folder in self._unique():
            descriptor = os.open(os.path.join(folder, "cgroup.procs"), os.O_WRONLY)
            try:
                os.write(descriptor, str(pid).encode())
            finally:
                os.close(descriptor)

    def entrances(self) -> list[str]:
        """The files that a process writes ``0`` to in order to enter."""
        return [os.path.join(folder, "cgroup.procs") for folder in self._unique()]

    def oom_kills(self) -> int:
        """How many processes the kernel killed because the group was at its memory limit."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return self._keyed("memory", name).get("oom_kill", 0)

    def task_refusals(self) -> int:
        """How many times a new process or thread was refused because of the limit."""
        return self._keyed("pids", "pids.events").get("max", 0)

    def tasks(self) -> int:
        """Processes and threads: the most there were, where the kernel keeps that (Linux 6.1), else now."""
        return self._number("pids", "pids.peak") or self._number("pids", "pids.current")

    def cpu_seconds(self) -> float | None:
        """CPU time used by all that ever ran in the group."""
        if self.version == 2:
            used = self._keyed("cpu", "cpu.stat").get("usage_usec")
            return None if used is None else used / 1e6
        return self._number("cpuacct", "cpuacct.usage") / 1e9 if "cpuacct" in self.folders else None

    def memory_bytes(self) -> int:
        """Memory that can't be dropped: anonymous pages and shared memory, without the page cache."""
        stat = self._keyed("memory", "memory.stat")
        if self.version == 2:
            return stat.get("anon", 0) + stat.get("shmem", 0)
        return stat.get("total_rss", 0) + stat.get("total_shmem", 0)

    def pids(self) -> list[int]:
        """The processes in the group."""
        for folder in self._unique():
            try:
                with open(os.path.join(folder, "cgroup.procs"), encoding="ascii") as file:
                    return [int(line) for line in file]
            except FileNotFoundError:
                continue
        return []

    def kill(self) -> None:
        """Kill all that is in it, again until nothing is (at most some seconds: a process in a system call waits)."""
        if self.version == 2:
            with suppress(FileNotFoundError):  # before Linux 5.14: one by one, below
                self._write("memory", "cgroup.kill", 1)
        deadline = time.monotonic() + 5
        while (pids := self.pids()) and time.monotonic() < deadline:
            for pid in pids:
                kill_quietly(pid, signal.SIGKILL)
            time.sleep(0.005)

    def remove(self) -> bool:
        """Remove the (empty) group; False when something is still in it."""
        for folder in self._unique():
            for _ in range(40):
                try:
                    os.rmdir(folder)
                    break
                except FileNotFoundError:
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY:
                        raise
                    time.sleep(0.01)
            else:
                return False
        return True

    def _unique(self) -> list[str]:
        return list(dict.fromkeys(self.folders.values()))

    def _write(self, controller: str, name: str, value: int | str, *, optional: bool = False) -> None:
        path = os.path.join(self.folders[controller], name)
        if optional and not os.path.exists(path):
            return
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.write(descriptor, str(value).encode())
        finally:
            os.close(descriptor)

    def _number(self, controller: str, name: str) -> int:
        if controller not in self.folders:
            return 0
        try:
            with open(os.path.join(self.folders[controller], name), encoding="ascii") as file:
                return int(file.read())
        except FileNotFoundError:
            return 0

    def _keyed(self, controller: str, name: str) -> dict[str, int]:
        """A file of ``word number`` lines."""
        if controller not in self.folders:
            return {}
        try:
            with open(os.path.join(self.folders[controller], name), encoding="ascii") as file:
                pairs = [line.split() for line in file]
        except FileNotFoundError:
            return {}
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def find(name: str) -> Cgroup | None:
    """Where an attempt's group would lie, or None when memory and pids can't both be had. Makes parents, not it."""
    places = mounts()
    mine = memberships()
    if {"memory", "pids"} <= set(places):
        folders = {}
        for controller in CONTROLLERS:
            if controller in places:
                parent = places[controller] + mine.get(controller, "/").rstrip("/") + "/" + PARENT
                if _makedir(parent):
                    folders[controller] = os.path.join(parent, name)
        if {"memory", "pids"} <= set(folders):
            return Cgroup(1, folders)
    if "" in places:
        for parent in ancestors(places[""], mine.get("", "/")):
            if _delegates(parent):
                folder = os.path.join(parent, f"{PARENT}-{name}")
                return Cgroup(2, {"memory": folder, "pids": folder, "cpu": folder})
    return None


def owner(path: str) -> str:
    """The mark by which a data folder knows its groups again, kept in the file ``path``: random, for other machines
    and containers may see the same control groups and have a data folder of the same path.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        with open(path, encoding="ascii", errors="replace") as file:
            known = file.read()
        return known if len(known) == _OWNER_LETTERS and known.isalnum() else ""
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        made = secrets.token_hex(_OWNER_LETTERS // 2)
        file.write(made)
    return made


def sweep(owner: str, exists: Callable[[str], bool]) -> list[str]:
    """Remove the groups of ``owner`` whose attempt does not exist; their paths.

    Looked for everywhere, since the server may have been in another group when it made them. One with processes in
    it stays: the kernel removes no such group.
    """
    removed = []
    for mount in set(mounts().values()):
        for parent, names, _ in os.walk(mount):
            for name in list(names):
                mine, _, attempt = name.removeprefix(f"{PARENT}-").partition(".")
                if mine != owner or exists(attempt):
                    continue
                try:
                    os.rmdir(os.path.join(parent, name))
                except OSError:
                    continue  # in use, or gone meanwhile
                names.remove(name)
                removed.append(os.path.join(parent, name))
    return removed


def works(name: str) -> Cgroup | None:
    """:func:`find`, but tried: a group is made, limited, entered by a child of ours and removed again."""
    group = find(name)
    if group is None:
        return None
    try:
        group.create()
        group.limit(memory_bytes=64 * 2**20, tasks=64)
        child = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
        try:
            group.enter(child)
            entered = child in group.pids()
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        return group if entered else None
    except OSError:
        return None  # refused somewhere on the way: not ours to use
    finally:
        if all(os.path.isdir(folder) for folder in group.folders.values()):
            group.remove()


def _makedir(path: str) -> bool:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError:
        return False
    return os.access(path, os.W_OK)


def _delegates(parent: str) -> bool:
    """Whether children of ``parent`` get memory and pids, if need be by asking for it."""
    control = os.path.join(parent, "cgroup.subtree_control")
    if not os.access(parent, os.W_OK):
        return False
    try:
        with open(control, encoding="ascii") as file:
            active = set(file.read().split())
        if {"memory", "pids", "cpu"} <= active:
            return True
        with open(control, "w", encoding="ascii") as file:
            file.write("+memory +pids +cpu")
        return True
    except OSError:
        with open(control, encoding="ascii") as file:
            return {"memory", "pids"} <= set(file.read().split())


def ancestors(mount: str, path: str) -> Iterator[str]:
    """The group itself, then those above it."""
    parts = [part for part in path.split("/") if part]
    for length in range(len(parts), -1, -1):
        yield os.path.join(mount, *parts[:length])


def mounts() -> dict[str, str]:
    """Controller → mount point; the empty name for version 2."""
    found = {}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            place = left.split()[4]
            kind, _, options = right.split()[:3]
            if kind == "cgroup2":
                found[""] = place
            elif kind == "cgroup":
                for option in options.split(","):
                    if option in CONTROLLERS:
                        found[option] = place
    return found


def memberships() -> dict[str, str]:
    """Controller → path of our own group; the empty name for version 2."""
    found = {}
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for controller in controllers.split(","):
                found[controller] = path
    return found
