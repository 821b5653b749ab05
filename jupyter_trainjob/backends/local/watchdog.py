"""What the attempt's processes use, seen from outside: memory, tasks, disk. Each look is a few reads of ``/proc``."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Generator
from dataclasses import dataclass, field

from . import process
from .openup import open_folder

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_LONG_PATH = 2000
"""Characters; the kernel takes paths of 4,095 bytes."""
_TABLE_BYTES = 4 * _PAGE
"""The most that page tables grow by one fault: a page at each of their levels."""
_ENTRIES_AT_ONCE = 256
SLICE_SECONDS = 0.02
"""So long one thing is looked at before others have their turn."""
MAPS_SECONDS = 1.0
_DELETED = b" (deleted)"
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


@dataclass
class Sample:
    """One look at the tree."""

    pids: list[int] = field(default_factory=list)
    memory_bytes: int = 0
    tasks: int = 0
    cpu_seconds: float = 0.0


@dataclass
class Transfer:
    """Bytes that went to and came from storage (not those that memory answered)."""

    read_bytes: int = 0
    written_bytes: int = 0


def transfer(pids: list[int]) -> Transfer:
    """Add up what ``pids`` and those of their children that are gone moved (``/proc/<pid>/io``, proc(5))."""
    total = Transfer()
    for pid in pids:
        try:
            with open(f"/proc/{pid}/io", encoding="ascii") as file:
                found = dict(line.split(": ") for line in file)
        except _GONE:
            continue
        total.read_bytes += int(found.get("read_bytes", 0))
        total.written_bytes += int(found.get("write_bytes", 0))
    return total


class Tables:
    """The page tables of processes: memory of the kernel's, which no process has mapped.

    A terabyte of untouched memory that is read here and there is no resident memory, and gigabytes of tables. They
    are read (``VmPTE``, proc(5)) only where they could matter: since the last reading they grew by four pages at most
    for each fault, and for each page of address space.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int, int, int]] = {}
        """Pid → when it started (ticks), faults and address space (bytes) at the last reading, what was read."""

    def bytes(self, seen: dict[int, tuple[int, int, int]], room: int) -> int:
        """Those of all in ``seen`` (pid → start, faults, address space), as exactly as ``room`` demands."""
        self._known = {pid: known for pid, known in self._known.items() if pid in seen and known[0] == seen[pid][0]}
        most = sum(self._most(pid, *told) for pid, told in seen.items())
        if most > room:
            for pid, told in seen.items():
                if self._known.get(pid, ())[:3] != told:
                    self._known[pid] = (*told, _tables(pid))
        return sum(known[3] for known in self._known.values())

    def _most(self, pid: int, start: int, faults: int, space: int) -> int:
        _, faults_then, space_then, size = self._known.get(pid, (start, 0, 0, 0))
        return size + _TABLE_BYTES * (max(0, faults - faults_then) + max(0, space - space_then) // _PAGE)


def _tables(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmPTE:"):
                    return int(line.split()[1]) * 1024
    except _GONE:
        pass
    return 0


def look(pids: list[int], *, exact_above: int | None = None, tables: Tables | None = None) -> Sample:
    """Add up resident memory, threads and CPU time of ``pids``.

    Resident memory counts a page that is shared by n processes n times, which is quick and never too little. Where
    the sum is above ``exact_above``, each page is counted once instead (PSS), which is slow. ``tables``: of these
    processes, from one look to the next; without, page tables are not counted.
    """
    sample = Sample(pids=pids)
    seen: dict[int, tuple[int, int, int]] = {}
    for pid in pids:
        fields = process.stat_fields(pid)
        if not fields:
            continue
        sample.memory_bytes += int(fields[21]) * _PAGE
        sample.tasks += int(fields[17])
        sample.cpu_seconds += sum(int(value) for value in fields[11:15]) / _TICK
        seen[pid] = (int(fields[19]), int(fields[7]) + int(fields[9]), int(fields[20]))
    if exact_above is not None and sample.memory_bytes > exact_above:
        sample.memory_bytes = sum(_pss(pid) for pid in pids)
    if tables is not None and exact_above is not None:
        sample.memory_bytes += tables.bytes(seen, exact_above - sample.memory_bytes)
    return sample


def _pss(pid: int) -> int:
    """Proportional set size in bytes; resident size where it can't be read."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except _GONE:
        fields = process.stat_fields(pid)
        return int(fields[21]) * _PAGE if fields else 0
    return 0


@dataclass
class Disk:
    """What lies in the attempt's folders."""

    used_bytes: int = 0
    largest_file_bytes: int = 0
    files: int = 0
    unseen: str = ""
    """What could not be looked into, and why: the first such place."""


def disk(folders: list[str]) -> Disk:
    """Blocks of all that lies in ``folders`` (hard links once); nothing is followed. For as long as it takes."""
    walk = Walk(folders)
    while not walk.go_on(1.0):
        continue
    return walk.found


class Walk:
    """One count of all that lies in ``folders``, in slices: who looks at other things, too, looks at them in between.

    Folders that the job closed to itself are opened up: what lies in them takes room, too. No path is longer than the
    kernel takes, however deep they lie. A folder that is no longer the one that was seen where it lay is passed over:
    the job may lay a link in the way at any moment.
    """

    def __init__(self, folders: list[str]) -> None:
        self.found = Disk()
        """What was found so far: never too much."""
        self._steps = _walk(folders, self.found)

    def go_on(self, seconds: float) -> bool:
        """For so long, or a little longer; whether all was counted."""
        until = time.monotonic() + seconds
        return all(time.monotonic() < until for _ in self._steps)

    def close(self) -> None:
        """Leave off."""
        self._steps.close()


def _walk(folders: list[str], found: Disk) -> Generator[None, None, None]:
    seen: set[tuple[int, int]] = set()
    for root in folders:
        within = os.path.realpath(root)
        shown = os.path.dirname(within)
        todo: list[tuple[_Anchor | None, str, tuple[int, int] | None]] = [(None, within, None)]
        here: _Anchor | None = None
        descriptor = -1
        try:
            while todo:
                anchor, path, expected = todo.pop()
                try:
                    descriptor = _opened(anchor, path, within, shown, found)
                    if descriptor < 0:
                        continue
                    if expected is not None and _identity(os.fstat(descriptor)) != expected:
                        os.close(descriptor)
                        descriptor = -1
                        continue
                    here = _Anchor(descriptor) if len(path) > _LONG_PATH else anchor
                    prefix = "" if len(path) > _LONG_PATH else f"{path}/"
                    try:
                        for name, identity in _count_all(descriptor, found, seen):
                            if name is None:
                                yield
                                continue
                            if here is not None:
                                here.waiting += 1
                            todo.append((here, prefix + name, identity))
                    except OSError as error:
                        found.unseen = found.unseen or f"{path} ({error.strerror})"
                    if here is None or here is anchor:
                        os.close(descriptor)
                    else:
                        here.release()
                    descriptor = -1
                finally:
                    if anchor is not None:  # only now: what lies in the folder may be named from there, too
                        anchor.release()
                yield
        finally:
            if descriptor >= 0 and here is not None and here.descriptor == descriptor:
                here.close()
            elif descriptor >= 0:
                os.close(descriptor)
            for left in {id(anchor): anchor for anchor, _, _ in todo if anchor is not None}.values():
                left.close()


def _opened(anchor: _Anchor | None, path: str, within: str, shown: str, found: Disk) -> int:
    """The folder's descriptor; -1 where it is gone, or can't be looked into, which is noted."""
    try:
        return open_folder(path, dir_fd=anchor.descriptor if anchor else None, within=within)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    except OSError as error:
        where = os.path.relpath(path, shown) if anchor is None else f"…/{path}"
        found.unseen = found.unseen or f"{where} ({error.strerror})"
        return -1


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


class _Anchor:
    """An open folder from which those below it are named: open until the last of them was looked at."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.waiting = descriptor, 1

    def release(self) -> None:
        self.waiting -= 1
        if not self.waiting:
            self.close()

    def close(self) -> None:
        """Whoever waits."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _count_all(
    folder: int, found: Disk, seen: set[tuple[int, int]]
) -> Generator[tuple[str | None, tuple[int, int]], None, None]:
    """Count what lies in an open folder; tells the folders in it, and now and then nothing, for a break."""
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries, 1):
            if number % _ENTRIES_AT_ONCE == 0:
                yield None, (0, 0)
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(info.st_mode) and info.st_nlink > 1:
                if _identity(info) in seen:
                    continue
                seen.add(_identity(info))
            found.files += 1
            found.used_bytes += info.st_blocks * 512
            if stat.S_ISREG(info.st_mode):
                found.largest_file_bytes = max(found.largest_file_bytes, info.st_size)
            if stat.S_ISDIR(info.st_mode):
                yield entry.name, _identity(info)


class Nameless:
    """Files that have no name any more, but are still open or mapped: they take room that no folder shows.

    Which are open is quickly seen, which are mapped is not: that is looked at once a second, in slices. What lies in a
    socket that nobody reads is not seen (docs/sandbox.md).
    """

    def __init__(self, device: int, most_bytes: int | None) -> None:
        """``device``: where they count. ``most_bytes``: what one counts as whose size can't be seen: only root may
        see that of a mapped file.
        """
        self._device, self._most = device, most_bytes
        self._mapped: dict[int, dict[int, int]] = {}
        """Pid → inode → bytes."""
        self._todo: list[int] = []
        self._next = 0.0

    def bytes(self, pids: list[int], now: float, *, thorough: bool = False) -> int:
        """Their blocks. ``thorough``: look at all that is mapped, too, and not only at what is due."""
        self._look_at_maps(pids, now, thorough)
        found: dict[int, int] = {}
        for pid in pids:
            found.update(self._mapped.get(pid, {}))
        for pid in pids:
            found.update(_open_nameless(pid, self._device))
        return sum(found.values())

    def _look_at_maps(self, pids: list[int], now: float, thorough: bool) -> None:
        self._mapped = {pid: found for pid, found in self._mapped.items() if pid in pids}
        if thorough or (not self._todo and now >= self._next):
            self._todo = list(pids)
            self._next = now + MAPS_SECONDS
        began = time.thread_time()
        while self._todo:
            pid = self._todo.pop()
            self._mapped[pid] = _mapped_nameless(pid, self._device, self._most)
            seconds = time.thread_time() - began
            if seconds > SLICE_SECONDS and not thorough:
                break
        self._next = max(self._next, now + (time.thread_time() - began) * 100)  # a hundredth of a CPU at most


def _open_nameless(pid: int, device: int) -> dict[int, int]:
    found: dict[int, int] = {}
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except _GONE:
        return found
    for name in names:
        try:
            info = os.stat(f"/proc/{pid}/fd/{name}")
        except _GONE:
            continue
        if info.st_nlink == 0 and info.st_dev == device and stat.S_ISREG(info.st_mode):
            found[info.st_ino] = info.st_blocks * 512
    return found


def _mapped_nameless(pid: int, device: int, most_bytes: int | None) -> dict[int, int]:
    found: dict[int, int] = {}
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            lines = file.read()
    except _GONE:
        return found
    if _DELETED not in lines:
        return found
    for line in lines.splitlines():
        if not line.endswith(_DELETED):
            continue
        place, _, offset, where, number = line.split(None, 5)[:5]
        first, last = (int(word, 16) for word in place.split(b"-"))
        try:
            info = os.stat(f"/proc/{pid}/map_files/{first:x}-{last:x}")
        except PermissionError:
            major, minor = (int(word, 16) for word in where.split(b":"))
            if os.makedev(major, minor) == device:
                found[int(number)] = most_bytes or int(offset, 16) + last - first
            continue
        except _GONE:
            continue
        if info.st_nlink == 0 and info.st_dev == device and stat.S_ISREG(info.st_mode):
            found[info.st_ino] = info.st_blocks * 512
    return found


def shm_is_full(pid: int) -> bool:
    """Whether ``/dev/shm`` as ``pid`` sees it has no room left."""
    try:
        found = os.statvfs(f"/proc/{pid}/root/dev/shm")
    except (*_GONE, NotADirectoryError):
        return False
    return found.f_blocks > 0 and found.f_bavail * 50 < found.f_blocks
