"""Which limit ended an attempt: a pure function of what was seen from outside and what the runner claims.

How each is told apart from a plain error of the code:

* **Seen by ourselves** (:attr:`Outside.struck`): wall clock, start-up, memory and disk over the limit, in the order
  in which they struck; the first one is the reason, whatever the runner says after it.
* **Counted by the kernel** in the attempt's control group: ``oom_kill`` says that a process was killed for memory;
  ``pids.max`` that a fork or thread was refused. A refusal alone ends nothing (BLAS is content with fewer threads), so
  it is the reason only where the claimed error speaks of it (EAGAIN, "can't start new thread") or the kernel died.
* **Told only to the process that it hits** (open files, file size, without a control group also processes): the kernel
  keeps no counter. The errno in the claimed error is what there is, and it counts only where that limit was in
  force for this attempt (EAGAIN has many causes: the sampled peak or the traceback must speak of processes, too).
  A job that lies about it turns a CodeError into another reason that is as much its own fault, and never into one
  of the infrastructure's.
* **No space** (ENOSPC): a host file system without free space is a StorageError. Where it has room, the job's own
  sized ``/dev/shm`` is the only place that can have said so: DiskLimit.

An attempt whose code ended well ended well, whatever was refused to it on the way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ..rules import past_processes, past_shm, size

OVERHEAD_TASKS = 24
"""Processes and threads that runner, kernel and sandbox need for themselves; the job's limit comes on top."""

BYTES_PER_FILE = 16 * 2**10
"""A job may have as many files as a file system of its disk's size has inodes: ext4 makes one for 16 KiB."""
FEWEST_FILES = 2000

HOST_FULL_BYTES = 16 * 2**20
"""A file system with less free space than this counts as full."""

_ERRNO = re.compile(r"\[Errno (\d+)\]")
_EAGAIN, _ENFILE, _EMFILE, _EFBIG, _ENOSPC, _EDQUOT = 11, 23, 24, 27, 28, 122
_THREADS = ("can't start new thread", "Resource temporarily unavailable", "unable to create thread")
_FORKS = ("fork", "spawn", *_THREADS[::2])


@dataclass(frozen=True)
class Limits:
    """What an attempt may use; None is no limit. Bytes, seconds, counts."""

    memory_bytes: int | None = None
    processes: int | None = None
    disk_bytes: int | None = None
    files: int | None = None
    """And folders, pipes and links."""
    file_size_bytes: int | None = None
    open_files: int | None = None
    shm_bytes: int = 64 * 2**20
    log_bytes: int = 64 * 2**20
    cpu_millis: int = 0
    cpu_seconds: float | None = None
    """Of all its processes together, where no control group keeps them to ``cpu_millis``."""
    time_limit_seconds: float | None = None
    startup_seconds: float = 120.0
    grace_seconds: float = 10.0

    def to_dict(self) -> dict[str, Any]:
        """For ``attempt.json``."""
        return dict(vars(self))

    @property
    def tasks(self) -> int | None:
        """The cap on processes and threads, ours included."""
        return None if self.processes is None else self.processes + OVERHEAD_TASKS


@dataclass
class Outside:
    """What the supervisor saw."""

    struck: str = ""
    struck_message: str = ""
    oom_kills: int = 0
    task_refusals: int = 0
    peak_tasks: int = 0
    shm_full: bool = False
    shm_sized: bool = False
    """Whether ``/dev/shm`` is the attempt's own, with a size."""
    host_free_bytes: int | None = None
    largest_file_bytes: int = 0
    rlimits: frozenset[str] = field(default=frozenset())
    """Which of ``nproc``, ``nofile``, ``fsize`` were set."""

    def strike(self, limit: str, message: str) -> bool:
        """Note the first limit that struck; False when another was first."""
        if self.struck:
            return False
        self.struck, self.struck_message = limit, message
        return True


@dataclass(frozen=True)
class Claimed:
    """What the runner says of the error: its errno (0: none), its words, and whether the kernel (or runner) died."""

    number: int
    text: str
    died: bool


def verdict(outside: Outside, limits: Limits, end: dict[str, Any] | None) -> tuple[str, str]:
    """``(limit, message)``, both empty where no limit is to blame. ``end`` is the runner's checked last claim."""
    outcome = end["outcome"] if end else "lost"
    if outcome == "ok":
        return "", ""
    if outside.struck:
        return outside.struck, outside.struck_message
    if outside.oom_kills:
        return "OutOfMemory", memory_message(limits)
    error = (end or {}).get("error") or {}
    text = f"{error.get('ename', '')}: {error.get('evalue', '')}"
    claimed = Claimed(_errno(text), text + error.get("traceback", ""), outcome in ("kernelDied", "lost"))
    for check in (_processes, _open_files, _file_size, _space):
        found = check(outside, limits, claimed)
        if found[0]:
            return found
    return "", ""


def memory_message(limits: Limits) -> str:
    """For a person."""
    return f"The job used more than its {size(limits.memory_bytes)} of memory."


def _processes(outside: Outside, limits: Limits, error: Claimed) -> tuple[str, str]:
    refused = error.number == _EAGAIN or any(words in error.text for words in _THREADS)
    if limits.processes is None or not (error.died or refused):
        return "", ""
    counted = outside.task_refusals > 0
    nearly = outside.peak_tasks >= (limits.tasks or 0) * 0.9 or any(words in error.text for words in _FORKS)
    if not counted and not ("nproc" in outside.rlimits and refused and nearly):
        return "", ""
    return "ProcessLimit", past_processes(limits.processes)


def _open_files(outside: Outside, limits: Limits, error: Claimed) -> tuple[str, str]:
    if error.number != _EMFILE or "nofile" not in outside.rlimits:
        return "", ""
    return "OpenFilesLimit", f"A process of the job had its {limits.open_files} files open and wanted another."


def _file_size(outside: Outside, limits: Limits, error: Claimed) -> tuple[str, str]:
    if limits.file_size_bytes is None or "fsize" not in outside.rlimits:
        return "", ""
    if error.number != _EFBIG and not outside.largest_file_bytes >= limits.file_size_bytes:
        return "", ""
    return "FileSizeLimit", f"A file of the job reached the {size(limits.file_size_bytes)} that one file may have."


def _space(outside: Outside, limits: Limits, error: Claimed) -> tuple[str, str]:
    host_has_room = outside.host_free_bytes is not None and outside.host_free_bytes >= HOST_FULL_BYTES
    only_shm = outside.shm_sized and host_has_room and error.number == _ENOSPC
    if only_shm or (outside.shm_full and (error.died or error.number == _ENOSPC)):
        return "DiskLimit", past_shm(limits.shm_bytes)
    if error.number not in (_ENOSPC, _EDQUOT):
        return "", ""
    if outside.host_free_bytes is not None and outside.host_free_bytes < HOST_FULL_BYTES:
        return "StorageError", "The disk of the machine that ran the job is full. An operator must make room."
    return "", ""


def _errno(text: str) -> int:
    match = _ERRNO.search(text)
    return int(match[1]) if match else 0


def files_limit(disk_bytes: int | None, inputs: int) -> int | None:
    """How many files a job with so much disk may have, besides its inputs."""
    return None if disk_bytes is None else max(FEWEST_FILES, disk_bytes // BYTES_PER_FILE) + inputs
