"""Which process is meant: a pid alone may be another's by now. Standard library only, quick to import."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def boot_id() -> str:
    """This boot of this machine, or the host's name where the kernel doesn't tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return os.uname().nodename


def start_ticks(pid: int) -> int | None:
    """When ``pid`` started, in clock ticks since boot; None when there is no such process."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields else None


def stat_fields(pid: int) -> list[bytes]:
    """``/proc/<pid>/stat`` behind the command's name: state first, then ppid …; empty for no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            data = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return data[data.rfind(b")") + 2 :].split()


def identity(pid: int) -> dict[str, Any]:
    """What tells this process from every other one, ever: ``{pid, startTicks, bootId}``."""
    return {"pid": pid, "startTicks": start_ticks(pid), "bootId": boot_id()}


def is_alive(known: dict[str, Any]) -> bool:
    """Whether the process of this :func:`identity` still runs (a zombie does not)."""
    if known.get("bootId") != boot_id():
        return False
    fields = stat_fields(int(known["pid"]))
    return bool(fields) and int(fields[19]) == known.get("startTicks") and fields[0] not in (b"Z", b"X")


def open_pidfd(known: dict[str, Any]) -> int | None:
    """A descriptor that means exactly this process, or None when it is gone or unknown. The caller closes it."""
    if not known:
        return None
    try:
        descriptor = os.pidfd_open(int(known["pid"]))
    except ProcessLookupError:
        return None
    if not is_alive(known):  # looked at after opening: the pid can't have been taken over in between
        os.close(descriptor)
        return None
    return descriptor


def send(known: dict[str, Any], number: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone."""
    descriptor = open_pidfd(known)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def children(pid: int) -> list[int]:
    """The living children of all threads of ``pid``."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(int(word) for word in file.read().split())
        except (FileNotFoundError, ProcessLookupError):
            if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
                return _children_by_scan(pid)
    return found


def _children_by_scan(pid: int) -> list[int]:
    """For kernels without CONFIG_PROC_CHILDREN: look at every process of the machine."""
    wanted = str(pid).encode()
    return [other for other in all_pids() if stat_fields(other)[1:2] == [wanted]]


def all_pids() -> list[int]:
    """Every process that can be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def tree(root: int) -> list[int]:
    """``root`` and all that descends from it, parents first."""
    found = [root]
    for pid in found:
        found.extend(children(pid))
    return found


def kill_quietly(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal ``pid`` unless it is gone already. Only for processes known to be ours just now."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def owned_by(uid: int) -> list[int]:
    """Processes whose owner is ``uid``."""
    found = []
    for pid in all_pids():
        try:
            if os.stat(f"/proc/{pid}").st_uid == uid:
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
