"""What the attempt's processes use, seen from outside: memory, tasks, disk. Each look is a few reads of ``/proc``."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from . import process
from .openup import open_folder

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_LONG_PATH = 2000
"""Characters; the kernel takes paths of 4,095 bytes."""
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


def look(pids: list[int], *, exact_above: int | None = None) -> Sample:
    """Add up resident memory, threads and CPU time of ``pids``.

    Resident memory counts a page that is shared by n processes n times, which is quick and never too little. Where
    the sum is above ``exact_above``, each page is counted once instead (PSS), which is slow.
    """
    sample = Sample(pids=pids)
    for pid in pids:
        fields = process.stat_fields(pid)
        if not fields:
            continue
        sample.memory_bytes += int(fields[21]) * _PAGE
        sample.tasks += int(fields[17])
        sample.cpu_seconds += sum(int(value) for value in fields[11:15]) / _TICK
    if exact_above is not None and sample.memory_bytes > exact_above:
        sample.memory_bytes = sum(_pss(pid) for pid in pids)
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
    """Blocks of all that lies in ``folders`` (hard links once); nothing is followed.

    Folders that the job closed to itself are opened up: what lies in them takes room, too. No path is longer than the
    kernel takes, however deep they lie.
    """
    found = Disk()
    seen: set[tuple[int, int]] = set()
    for root in folders:
        within = os.path.realpath(root)
        shown = os.path.dirname(within)
        todo: list[tuple[_Anchor | None, str]] = [(None, within)]
        while todo:
            anchor, path = todo.pop()
            try:
                descriptor = open_folder(path, dir_fd=anchor.descriptor if anchor else None, within=within)
            except (FileNotFoundError, NotADirectoryError):
                descriptor = -1
            except OSError as error:
                where = os.path.relpath(path, shown) if anchor is None else f"…/{path}"
                found.unseen = found.unseen or f"{where} ({error.strerror})"
                descriptor = -1
            if anchor is not None:
                anchor.release()
            if descriptor < 0:
                continue
            here = _Anchor(descriptor) if len(path) > _LONG_PATH else anchor
            prefix = "" if len(path) > _LONG_PATH else f"{path}/"
            try:
                for name in _count_all(descriptor, found, seen):
                    if here is not None:
                        here.waiting += 1
                    todo.append((here, prefix + name))
            except OSError as error:
                found.unseen = found.unseen or f"{path} ({error.strerror})"
            if here is None or here is anchor:
                os.close(descriptor)
            else:
                here.release()
    return found


class _Anchor:
    """An open folder from which those below it are named: open until the last of them was looked at."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.waiting = descriptor, 1

    def release(self) -> None:
        self.waiting -= 1
        if not self.waiting:
            os.close(self.descriptor)


def _count_all(folder: int, found: Disk, seen: set[tuple[int, int]]) -> list[str]:
    """Count what lies in an open folder; the names of the folders in it."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(info.st_mode):
                folders.append(entry.name)
            elif info.st_nlink > 1:
                if (info.st_dev, info.st_ino) in seen:
                    continue
                seen.add((info.st_dev, info.st_ino))
            found.files += 1
            found.used_bytes += info.st_blocks * 512
            if stat.S_ISREG(info.st_mode):
                found.largest_file_bytes = max(found.largest_file_bytes, info.st_size)
    return folders


def deleted_bytes(pids: list[int], device: int) -> int:
    """Blocks of files on ``device`` that have no name any more but are still open: no folder shows them."""
    total = 0
    seen: set[int] = set()
    for pid in pids:
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except _GONE:
            continue
        for name in names:
            try:
                info = os.stat(f"/proc/{pid}/fd/{name}")
            except _GONE:
                continue
            if info.st_nlink == 0 and info.st_dev == device and stat.S_ISREG(info.st_mode) and info.st_ino not in seen:
                seen.add(info.st_ino)
                total += info.st_blocks * 512
    return total


def shm_is_full(pid: int) -> bool:
    """Whether ``/dev/shm`` as ``pid`` sees it has no room left."""
    try:
        found = os.statvfs(f"/proc/{pid}/root/dev/shm")
    except (*_GONE, NotADirectoryError):
        return False
    return found.f_blocks > 0 and found.f_bavail * 50 < found.f_blocks
