"""How much an attempt uses: looks often enough to hold limits, and seldom enough to cost next to nothing."""

from __future__ import annotations

import os
import resource
import time
from typing import Any

from . import watchdog
from .cgroups import Cgroup
from .folder import Folder
from .limits import Limits, Outside
from .samples import Samples

WATCH_SECONDS = 0.05
"""Between two looks at memory where no control group holds it."""
SAMPLE_SECONDS = 0.25
"""Between two looks where one does."""
DISK_SECONDS = 0.1
TRANSFER_SECONDS = 1.0
_BLOCK = 512  # of ru_inblock and ru_oublock: getrusage(2)
SHARE = 0.04
"""At most this part of a CPU goes into looking: what takes long is done less often. CPU time counts: whoever keeps the
machine so busy that a look has to wait is not looked at less often for it.
"""


class Meter:
    """Samples of one attempt. ``look`` when ``due``; ``usage`` any time."""

    def __init__(
        self, folder: Folder, limits: Limits, outside: Outside, cgroup: Cgroup | None, cpu_before: float = 0.0
    ) -> None:
        """``cpu_before``: seconds that were used before the attempt began, and are not its own."""
        self._cpu_before = cpu_before
        self._folders = [folder.file(name) for name in ("work", "out", "tmp", "shm")]
        self._nameless = watchdog.Nameless(os.stat(folder.path).st_dev, limits.file_size_bytes)
        self._nameless_bytes = 0
        self._walk: watchdog.Walk | None = None
        self._walked_seconds = 0.0
        self._tables = watchdog.Tables()
        self._path = folder.path
        self._limits, self._outside, self._cgroup = limits, outside, cgroup
        self._next_tree = self._next_disk = self._next_transfer = 0.0
        self.memory_bytes = self.peak_memory_bytes = 0
        self.disk_bytes = self.files = 0
        self.cpu_seconds = 0.0
        self.read_bytes = self.written_bytes = 0
        self.samples = Samples()
        self._tasks = 0
        self._began = time.monotonic()
        self._unseen = ""

    def due(self, now: float) -> float:
        """Seconds until the next look."""
        return min(self._next_tree, self._next_disk) - now

    def look(self, now: float, pids: list[int], init_pid: int | None, *, thorough: bool = False) -> None:
        """Sample what is due, or (``thorough``) everything."""
        if thorough or now >= self._next_tree:
            began = time.thread_time()
            self._look_at_tree(pids)
            interval = WATCH_SECONDS if self._cgroup is None else SAMPLE_SECONDS
            self._next_tree = now + max(interval, (time.thread_time() - began) / SHARE)
        if thorough or now >= self._next_disk:
            self._look_at_disk(now, pids, init_pid, thorough)
        if thorough or now >= self._next_transfer:
            moved = watchdog.transfer(pids)
            self._moved(moved.read_bytes, moved.written_bytes)
            self._next_transfer = now + TRANSFER_SECONDS
        self._sample()

    def _used(self, cpu_seconds: float) -> None:
        self.cpu_seconds = max(self.cpu_seconds, cpu_seconds - self._cpu_before)

    def _moved(self, read_bytes: int, written_bytes: int) -> None:
        self.read_bytes = max(self.read_bytes, read_bytes)
        self.written_bytes = max(self.written_bytes, written_bytes)

    def _sample(self) -> None:
        seconds = round(time.monotonic() - self._began, 3)
        cpu = round(self.cpu_seconds, 3)
        moved = (self.read_bytes, self.written_bytes)
        self.samples.add((seconds, cpu, self.memory_bytes, self.disk_bytes, *moved, self._tasks))

    def _look_at_tree(self, pids: list[int]) -> None:
        if self._cgroup is not None:
            self.memory_bytes = self._cgroup.memory_bytes()
            tasks = self._cgroup.tasks()
            self._used(self._cgroup.cpu_seconds() or 0.0)
        else:
            sample = watchdog.look(pids, exact_above=self._limits.memory_bytes, tables=self._tables)
            self.memory_bytes, tasks = sample.memory_bytes, sample.tasks
            self._used(sample.cpu_seconds)
        self.peak_memory_bytes = max(self.peak_memory_bytes, self.memory_bytes)
        self._tasks = tasks
        self._outside.peak_tasks = max(self._outside.peak_tasks, tasks)

    def _look_at_disk(self, now: float, pids: list[int], init_pid: int | None, thorough: bool) -> None:
        """Go on with the count of what there is, or begin another: many files take seconds, and memory none."""
        began = time.thread_time()
        if self._walk is None or thorough:
            self._leave_off()
            self._walk, self._walked_seconds = watchdog.Walk(self._folders), 0.0
            self._nameless_bytes = self._nameless.bytes(pids, now, thorough=thorough)
            if init_pid is not None and watchdog.shm_is_full(init_pid):
                self._outside.shm_full = True
            space = os.statvfs(self._path)
            self._outside.host_free_bytes = space.f_bavail * space.f_frsize
        over = self._walk.go_on(float("inf") if thorough else watchdog.SLICE_SECONDS)
        self._note(self._walk.found, over)
        self._walked_seconds += time.thread_time() - began
        self._next_disk = now
        if over:
            self._leave_off()
            self._next_disk = now + max(DISK_SECONDS, self._walked_seconds / SHARE)

    def _note(self, found: watchdog.Disk, over: bool) -> None:
        """What a count found so far, where it is over, or has found too much already."""
        self._unseen = self._unseen or found.unseen
        self._outside.largest_file_bytes = max(self._outside.largest_file_bytes, found.largest_file_bytes)
        used, limits = found.used_bytes + self._nameless_bytes, self._limits
        if over or used > (limits.disk_bytes or used) or found.files > (limits.files or found.files):
            self.disk_bytes, self.files = used, found.files

    def _leave_off(self) -> None:
        if self._walk is not None:
            self._walk.close()
            self._walk = None

    def reaped(self) -> None:
        """What the kernel adds up when the tree is gone: nothing that happened between two looks is lost."""
        self._leave_off()
        if self._cgroup is not None:
            self._used(self._cgroup.cpu_seconds() or 0.0)
        total = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._used(total.ru_utime + total.ru_stime)
        self.peak_memory_bytes = max(self.peak_memory_bytes, total.ru_maxrss * 1024)
        self._moved(total.ru_inblock * _BLOCK, total.ru_oublock * _BLOCK)
        self._sample()

    def condition(self) -> dict[str, str] | None:
        """The standing remark about what could not be measured."""
        if not self._unseen:
            return None
        shown = self._unseen.encode("utf-8", "backslashreplace").decode()[-300:]
        message = f"The disk that the job uses is more than was measured: some of it can't be looked at: {shown}."
        return {"type": "DiskMeasured", "status": "False", "reason": "SomeUnreadable", "message": message}

    def usage(self) -> dict[str, Any]:
        """For ``state.json``."""
        return {
            "cpuSeconds": round(self.cpu_seconds, 3),
            "peakMemoryBytes": self.peak_memory_bytes,
            "diskBytes": self.disk_bytes,
            "processes": self._outside.peak_tasks,
            "readBytes": self.read_bytes,
            "writtenBytes": self.written_bytes,
        }
