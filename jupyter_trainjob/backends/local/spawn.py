"""Start the attempt's first process. Quick to import: it runs before all else, while the rest still loads."""

from __future__ import annotations

import os
import signal

from .folder import Folder, try_lock
from .process import owned_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

FILTER_FD = 5
"""Where bwrap finds the filter of system calls. The runner has 0 to 3, and bwrap says on 4 what its child's pid is."""
_PR_SET_PDEATHSIG = 1


class Spawned:
    """The first process and our ends of its pipes."""

    def __init__(self, pid: int, stdout: int, stderr: int, events: int, info: int) -> None:
        self.pid, self.stdout, self.stderr, self.events, self.info = pid, stdout, stderr, events, info


class Drop:
    """A user id that is this attempt's alone while :attr:`lock` is open."""

    def __init__(self, uid: int, lock: int) -> None:
        self.uid, self.lock = uid, lock


def take_uid(orders: dict[str, Any]) -> Drop:
    """Take a free uid of the range. The locks are the machine's, not the data folder's: servers share the range."""
    os.makedirs(orders["locks"], mode=0o700, exist_ok=True)
    first, last = orders["first"], orders["last"]
    offset = os.getpid() % (last - first + 1)  # where to begin: two that start at once seldom meet
    for step in range(last - first + 1):
        uid = first + (offset + step) % (last - first + 1)
        lock = try_lock(os.path.join(orders["locks"], f"{uid}.lock"))
        if lock is None:
            continue
        if not owned_by(uid):  # else: left over from a supervisor that was killed; its recovery ends them
            return Drop(uid, lock)
        os.close(lock)
    raise OSError(f"all user ids from {first} to {last} are taken by running jobs")


def give_to(folder: Folder, uid: int) -> None:
    """Make the attempt's own folders the uid's."""
    for name in ("work", "out", "tmp", "shm"):
        _chown_all(folder.file(name), uid)
    os.chown(folder.file("in"), -1, uid)
    os.chown(folder.file("in", "inputs"), -1, uid)


def _chown_all(path: str, uid: int) -> None:
    """``path`` and all in it: made by us a moment ago, small, and nothing of the job's runs yet."""
    os.chown(path, uid, uid, follow_symlinks=False)
    if os.path.isdir(path) and not os.path.islink(path):
        for name in os.listdir(path):
            _chown_all(os.path.join(path, name), uid)


def write_etc(folder: Folder, uid: int) -> None:
    """The few files of ``/etc`` that the sandbox has of its own."""
    os.makedirs(folder.file("etc"), exist_ok=True)
    contents = {
        "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\njob:x:{uid}:{uid}:job:/tmp/home:/bin/sh\n",
        "group": f"root:x:0:\njob:x:{uid}:\n",
        "hosts": "127.0.0.1\tlocalhost job\n::1\tlocalhost\n",
    }
    for name, text in contents.items():
        with open(folder.file("etc", name), "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(folder.file("etc", name), 0o644)


def spawn(orders: dict[str, Any], cgroup_files: list[str]) -> Spawned:
    """Fork and run ``orders["argv"]`` in a session of its own, inside the control group, with 0, 1, 2, 3 (and 4).

    Called on the main thread with no other thread alive: the sandbox dies with the thread that started it.
    """
    pipes = [os.pipe() for _ in range(4)]
    prctl = None
    if orders.get("confine") is not None:
        from . import landlock  # noqa: F401 - before the fork
    if not orders["sandboxed"]:
        prctl = _load_prctl()
        adopt_orphans()  # before there can be any; in a sandbox they stay below its first process
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(orders, cgroup_files, [write for _, write in pipes], prctl, parent)
    for _, write in pipes:
        os.close(write)
    return Spawned(pid, *[read for read, _ in pipes])


def _become(orders: dict[str, Any], cgroup_files: list[str], ends: list[int], prctl: Any, parent: int) -> NoReturn:
    """The child's side: never returns."""
    try:
        os.setsid()
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(125)
        for path in cgroup_files:
            descriptor = os.open(path, os.O_WRONLY)
            os.write(descriptor, b"0")
        os.umask(0o022)
        null = os.open("/dev/null", os.O_RDONLY)
        high = [os.dup2(end, 100 + index, inheritable=False) for index, end in enumerate(ends)]
        os.dup2(null, 0)
        last = 4 if orders["sandboxed"] else 3
        for target, end in zip(range(1, last + 1), high, strict=False):
            os.dup2(end, target)
        os.closerange(last + 1, 100)
        if orders["sandboxed"] and orders.get("filter"):
            program = os.open(orders["filter"], os.O_RDONLY)
            if program != FILTER_FD:
                os.dup2(program, FILTER_FD)
                os.close(program)
            os.set_inheritable(FILTER_FD, True)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.chdir(orders["cwd"])
        if orders.get("confine") is not None:
            from .landlock import restrict

            restrict(orders["confine"])
        os.execve(orders["argv"][0], orders["argv"], orders["environment"])  # noqa: S606
    except OSError as error:
        os.write(2, f"can't start {orders['argv'][0]}: {error}\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(126)


def _load_prctl() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True).prctl


def adopt_orphans() -> None:
    """Make this process the parent of all descendants whose parent dies, so that none gets out of sight."""
    if _load_prctl()(36, 1, 0, 0, 0) != 0:  # PR_SET_CHILD_SUBREAPER
        raise OSError("the kernel knows no PR_SET_CHILD_SUBREAPER")
