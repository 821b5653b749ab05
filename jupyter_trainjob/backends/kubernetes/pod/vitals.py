"""What the container uses, as its own control group shows it (v1 and v2): claims, since they are taken inside."""

from __future__ import annotations

import os
import stat
import time

from ...local.samples import Samples
from .files import dump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SAMPLE_SECONDS = 0.25
DISK_SECONDS = 1.0
SHARE = 0.03
"""At most this part of a CPU goes into counting what lies on the disk."""
TELL_SECONDS = 2.0
FULL_BYTES = 512 * 1024
"""A volume of the pod's own with less room than this is full: main may have given up its reserve there."""
NODE_FULL_BYTES = 16 * 2**20
"""A node's disk with less."""
_BLOCK = 512
_NODES = "/volumes/kubernetes.io~empty-dir/"
"""In the path of a volume that lies on the node's disk."""


class Cgroup:
    """The files of the container's control group. A figure that no file tells is 0."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._version = 2 if os.path.exists(f"{root}/cgroup.controllers") else 1

    def cpu_seconds(self) -> float:
        """CPU time used."""
        if self._version == 2:
            return self._table("cpu.stat").get("usage_usec", 0) / 1e6
        return self._number("cpuacct/cpuacct.usage") / 1e9

    def memory_bytes(self) -> int:
        """Memory in use, without what could be dropped at once (as the kubelet counts its working set)."""
        if self._version == 2:
            used, idle = self._number("memory.current"), self._table("memory.stat").get("inactive_file", 0)
        else:
            used = self._number("memory/memory.usage_in_bytes")
            idle = self._table("memory/memory.stat").get("total_inactive_file", 0)
        return max(0, used - idle)

    def tasks(self) -> int:
        """Processes and threads."""
        return self._number("pids.current" if self._version == 2 else "pids/pids.current")

    def oom_kills(self) -> int:
        """How many processes were killed for memory."""
        name = "memory.events" if self._version == 2 else "memory/memory.oom_control"
        return self._table(name).get("oom_kill", 0)

    def transfer(self) -> tuple[int, int]:
        """Bytes read from and written to disks."""
        if self._version == 2:
            words = self._text("io.stat").split()
            read, written = ("rbytes=", "wbytes=")
            return _sum(words, read), _sum(words, written)
        lines = [line.split() for line in self._text("blkio/blkio.throttle.io_service_bytes").splitlines()]
        found = {"Read": 0, "Write": 0}
        for line in lines:
            if len(line) == 3 and line[1] in found and line[2].isdigit():
                found[line[1]] += int(line[2])
        return found["Read"], found["Write"]

    def _text(self, name: str) -> str:
        try:
            with open(f"{self._root}/{name}", encoding="ascii", errors="replace") as file:
                return file.read(65536)
        except OSError:
            return ""

    def _number(self, name: str) -> int:
        text = self._text(name).strip()
        return int(text) if text.isdigit() else 0

    def _table(self, name: str) -> dict[str, int]:
        lines = (line.split() for line in self._text(name).splitlines())
        return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}


def _sum(words: list[str], prefix: str) -> int:
    return sum(int(word[len(prefix) :]) for word in words if word.startswith(prefix) and word[len(prefix) :].isdigit())


class Vitals:
    """Samples of the container, to be told as ``usage.json``."""

    def __init__(self, root: str, folders: list[str], volumes: dict[str, str]) -> None:
        """``folders``: what lies in them counts as the job's disk. ``volumes``: name → where it is mounted."""
        self._cgroup = Cgroup(root)
        self._folders, self._volumes = folders, volumes
        self.full: set[str] = set()
        """The volumes that had no room left at some time; ``node`` for those that lie on the node's disk."""
        self._samples = Samples()
        self._began = time.monotonic()
        self._next = self._next_disk = self._next_told = 0.0
        self.disk_bytes = self.tasks = self.peak_tasks = self.oom_kills = 0
        self._cpu, self._memory, self._peak = 0.0, 0, 0
        self._moved = (0, 0)

    def due(self, now: float) -> float:
        """Seconds until the next look."""
        return self._next - now

    def look(self, now: float, *, thorough: bool = False) -> None:
        """Sample, where it is time."""
        if now < self._next and not thorough:
            return
        self._next = now + SAMPLE_SECONDS
        self._cpu = max(self._cpu, self._cgroup.cpu_seconds())
        self._memory, self.tasks = self._cgroup.memory_bytes(), self._cgroup.tasks()
        self._peak, self.peak_tasks = max(self._peak, self._memory), max(self.peak_tasks, self.tasks)
        self.oom_kills = self._cgroup.oom_kills()
        self.full.update(filter(None, (_full(name, folder) for name, folder in self._volumes.items())))
        if now >= self._next_disk or thorough:
            began = time.monotonic()
            self.disk_bytes = sum(used_bytes(folder) for folder in self._folders)
            self._moved = self._cgroup.transfer()
            self._next_disk = now + max(DISK_SECONDS, (time.monotonic() - began) / SHARE)
        seconds = round(now - self._began, 3)
        self._samples.add((seconds, round(self._cpu, 3), self._memory, self.disk_bytes, *self._moved, self.tasks))

    def to_json(self, began: str) -> bytes:
        """``usage.json`` with the totals."""
        import json

        told: dict[str, Any] = json.loads(self._samples.to_json(began))
        told["totals"] = {
            "cpuSeconds": round(self._cpu, 3),
            "peakMemoryBytes": self._peak,
            "diskBytes": self.disk_bytes,
            "processes": self.peak_tasks,
            "readBytes": self._moved[0],
            "writtenBytes": self._moved[1],
        }
        return dump(told)


def _full(name: str, folder: str) -> str:
    """``name`` where a memory volume has no room left, ``node`` where the disk has none; else empty."""
    try:
        space = os.statvfs(folder)
        free = space.f_bavail * space.f_frsize
        if free >= NODE_FULL_BYTES or (free >= FULL_BYTES and _in_memory(folder)):
            return ""
        return name if _in_memory(folder) else "node"
    except OSError:
        return ""


def used_bytes(folder: str) -> int:
    """Blocks of all that lies in a folder; a quick answer where it is a memory volume of its own."""
    try:
        if os.path.ismount(folder) and (space := os.statvfs(folder)).f_blocks and _in_memory(folder):
            return (space.f_blocks - space.f_bfree) * space.f_frsize
    except OSError:
        return 0
    total, todo = 0, [folder]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    total += info.st_blocks * _BLOCK
                    if stat.S_ISDIR(info.st_mode):
                        todo.append(entry.path)
        except OSError:
            continue
    return total


def _in_memory(folder: str) -> bool:
    """Whether a mount is a tmpfs of the pod's own: the node's disk may be one as well, of which it is a folder."""
    real = os.path.realpath(folder)
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            mount, _, rest = line.partition(" - ")
            root, point = mount.split()[3:5]
            if point == real:
                found.append(rest.split()[0] == "tmpfs" and _NODES not in root)
    return found[-1:] == [True]
