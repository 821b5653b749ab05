"""How large this machine is, for us: its control group and CPU mask counted in."""

from __future__ import annotations

import os
import platform
import re

from . import cgroups

RESERVE_BYTES = 512 * 2**20
"""What the system and the server keep for themselves: this, or a tenth of all, whichever is more; never half."""


def cpu_millis() -> int:
    """Thousandths of a CPU that this process may use: by its mask, and by the quota of the groups it is in."""
    allowed = len(os.sched_getaffinity(0)) * 1000
    for folder, version in _groups("cpu"):
        quota = _quota(folder, version)
        if quota is not None:
            allowed = min(allowed, quota)
    return max(allowed, 1)


def memory_bytes() -> int:
    """Memory for jobs, in bytes."""
    with open("/proc/meminfo", encoding="ascii") as file:
        total = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemTotal:"))
    for folder, version in _groups("memory"):
        limit = _number(os.path.join(folder, "memory.max" if version == 2 else "memory.limit_in_bytes"))
        if limit is not None:
            total = min(total, limit)
    return total - min(max(RESERVE_BYTES, total // 10), total // 2)


def nproc_counts_per_user_namespace() -> bool:
    """Since Linux 5.14 RLIMIT_NPROC counts within the user namespace, so that a sandbox has its own count."""
    match = re.match(r"(\d+)\.(\d+)", platform.release())
    return match is not None and (int(match[1]), int(match[2])) >= (5, 14)


def _groups(controller: str) -> list[tuple[str, int]]:
    """The group we are in and those above it."""
    mounts, mine = cgroups.mounts(), cgroups.memberships()
    if controller in mounts:
        return [(path, 1) for path in cgroups.ancestors(mounts[controller], mine.get(controller, "/"))]
    if "" in mounts:
        return [(path, 2) for path in cgroups.ancestors(mounts[""], mine.get("", "/"))]
    return []


def _quota(folder: str, version: int) -> int | None:
    if version == 2:
        try:
            with open(os.path.join(folder, "cpu.max"), encoding="ascii") as file:
                quota, period = file.read().split()
        except FileNotFoundError:
            return None
        return None if quota == "max" else int(quota) * 1000 // int(period)
    limit, period_us = (_number(os.path.join(folder, f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
    return limit * 1000 // period_us if limit is not None and limit > 0 and period_us else None


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except FileNotFoundError:
        return None
    return None if text == "max" else int(text)
