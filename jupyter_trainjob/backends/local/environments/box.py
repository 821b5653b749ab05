"""The sandbox of a build. It has the network, for packages come from there; that is all it has more than a job's.

What is installed brings code of strangers that runs at once (``setup.py``, ``configure``): it sees the system, the
runtime and what the operator named for it, read-only, and writes into the environment and a folder of its own. It sees
neither the server's files nor its environment, but for the settings of the package tools.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from .. import process
from ..probe import Offer
from ..runtime import Runtime
from ..sandbox import LAUNCH_ENV, Bwrap, confined_argv, outermost, parents
from ..spawn import Drop

_ETC = ("hosts", "resolv.conf", "gai.conf", "ca-certificates", "ssl/openssl.cnf", "maven", "gitconfig")
"""What those who fetch something need beyond a job's ``/etc``."""

_ENTER = """
import json, os, resource, sys
orders = json.loads(sys.argv[1])
uid = orders["uid"]
if uid:
    os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
if orders["parent"]:
    import ctypes, signal, time
    prctl = ctypes.CDLL(None).prctl
    prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: all that it starts stays below this process
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != orders["parent"]:
        sys.exit(125)
    child = os.fork()
    if child:
        def below():
            parents = {}
            for name in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{name}/stat", "rb") as file:
                        fields = file.read().rpartition(b") ")[2].split()
                except OSError:
                    continue
                if fields[0] != b"Z":
                    parents[int(name)] = int(fields[1])
            found = {os.getpid()}
            while more := {pid for pid, parent in parents.items() if parent in found} - found:
                found |= more
            return found - {os.getpid()}
        try:
            done = 0
            while done != child:
                done, status = os.wait()
        finally:
            while left := below():
                for pid in left:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                time.sleep(0.01)
        sys.exit(128 + (status & 127) if status & 127 else 1 if status else 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.close(orders["lock"])
    prctl(1, signal.SIGKILL, 0, 0, 0)
for name, value in orders["rlimits"].items():
    number = getattr(resource, "RLIMIT_" + name.upper())
    hard = resource.getrlimit(number)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    if name == "nproc" and not orders["nproc"] and value:
        continue
    resource.setrlimit(number, (value, value))
os.umask(0o022)
os.chdir(orders["cwd"])
os.execvpe(orders["argv"][0], orders["argv"], os.environ)
"""
"""The first process of a build's command. Without a sandbox, which would end all within it, it stays, and ends what is
left when its command or the server has ended; until then it holds the lock, so that no other server builds there.
"""
_LOOK_SECONDS = 0.05
_MEASURE_SECONDS = 1.0
_MAX_FILES = 1_000_000
_SHM_BYTES = 256 * 2**20
_MAX_LOG_BYTES = 64 * 2**20
_TAIL_BYTES = 8192
_TAIL_LINES = 12


class BuildFailed(Exception):
    """The build can't be done. The text says why, for the one whose job it is; ``otherwise`` what to do where
    the list is right."""

    def __init__(self, words: str, otherwise: str = "") -> None:
        super().__init__(words)
        self.otherwise = otherwise


class NeverBuilt(BuildFailed):
    """This server builds no such environment, which is known beforehand: ``problem``, and what to do (``remedy``)."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem, self.remedy = problem, remedy


class BuildStopped(Exception):
    """The server stops or nobody waits: nothing is wrong with the build, the next who asks begins it anew."""


@dataclass(frozen=True)
class Bounds:
    """What one build may use."""

    seconds: float = 1800.0
    disk_bytes: int = 10 * 2**30
    memory_bytes: int = 4 * 2**30
    processes: int = 512


@dataclass
class Box:
    """The sandbox of one build, for as many commands as it takes."""

    offer: Offer
    runtime: Runtime
    bounds: Bounds
    drop: Drop | None
    root: str
    """What becomes the environment; writable, and inside at the same path."""
    scratch: str
    """Writable; ``/tmp`` inside."""
    log: str
    nproc_per_sandbox: bool
    lock: int
    """The descriptor of the lock on it."""
    stopped: Callable[[], bool]
    binds: list[str] = field(default_factory=list)
    """Further host paths, shown read-only at the same place."""

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.bounds.seconds

    @property
    def tmp(self) -> str:
        """Where :attr:`scratch` is seen inside."""
        return "/tmp" if self.offer.bwrap else self.scratch

    @property
    def can_forbid_processes(self) -> bool:
        """Whether ``processes=0`` holds: not for root, whom no limit of processes binds."""
        return os.geteuid() != 0 or self.drop is not None

    def run(
        self,
        argv: list[str],
        environment: dict[str, str] | None = None,
        *,
        cache: str = "",
        network: bool = True,
        processes: int | None = None,
    ) -> int:
        """Run one command to its end; its exit status. ``cache``: one more folder that it may write into.

        What it prints goes to the log. Raises :class:`BuildFailed` where it needs more than :attr:`bounds` allow, and
        where it is killed.
        """
        environment = {
            "PATH": LAUNCH_ENV["PATH"],
            "LANG": LAUNCH_ENV["LANG"],
            "HOME": f"{self.tmp}/home",
            "TMPDIR": self.tmp,
            "USER": "build",
            **(environment or {}),
        }
        entered = self._entered(argv, processes)
        full = self._argv(self.offer.bwrap, entered, environment, cache, network) if self.offer.bwrap else entered
        with open(self.log, "ab") as output:
            shown = f"$ {' '.join(argv)[:2000]}\n"
            output.write(shown.encode("utf-8", "backslashreplace"))
            output.flush()
            child = subprocess.Popen(
                full,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=LAUNCH_ENV if self.offer.bwrap else environment,
                cwd="/",
                start_new_session=True,
                pass_fds=() if self.offer.bwrap else (self.lock,),
            )
        try:
            status = self._watch(child)
        finally:
            self._end(child)
        if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
            raise BuildFailed(
                "its process was killed from outside (signal 9), which a machine does that runs out of memory",
                "The list may be right: retry the job when there is more.",
            )
        return status

    def _entered(self, argv: list[str], processes: int | None) -> list[str]:
        rlimits = {
            "nproc": self.bounds.processes if processes is None else processes,
            "nofile": 4096,
            "fsize": self.bounds.disk_bytes,
            "core": 0,
        }
        orders = {
            "uid": self.drop.uid if self.drop else 0,
            "rlimits": rlimits,
            "nproc": self.drop is not None or self.nproc_per_sandbox,
            "parent": 0 if self.offer.bwrap else os.getpid(),
            "lock": self.lock,
            "cwd": self.tmp,
            "argv": argv,
        }
        return [self.runtime.python, "-I", "-S", "-c", _ENTER, json.dumps(orders)]

    def _argv(
        self, bwrap: Bwrap, command: list[str], environment: dict[str, str], cache: str, network: bool
    ) -> list[str]:
        argv = [bwrap.path, "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
        argv += [] if network else ["--unshare-net"]
        argv += ["--hostname", "build", "--die-with-parent", "--new-session"]
        argv += confined_argv(bwrap, environment)
        for name in _ETC if network else ():
            if os.path.exists(f"/etc/{name}"):
                for folder in parents([f"/etc/{name}"])[1:]:
                    argv += ["--dir", folder]
                argv += ["--ro-bind", os.path.realpath(f"/etc/{name}"), f"/etc/{name}"]
        if bwrap.sizes:
            argv += ["--perms", "1777", "--size", str(_SHM_BYTES), "--tmpfs", "/dev/shm"]
        argv += ["--bind", self.scratch, "/tmp"]
        shown = outermost([*self.runtime.binds, *self.binds])
        writable = [self.root, *([cache] if cache else [])]
        for folder in parents([*shown, *writable]):
            argv += ["--dir", folder]
        for path in shown:
            argv += ["--ro-bind", path, path]
        for path in writable:
            argv += ["--bind", path, path]
        for name in ("passwd", "group"):
            argv += ["--ro-bind", os.path.join(self.scratch, "etc", name), f"/etc/{name}"]
        return [*argv, "--chdir", "/", "--remount-ro", "/", "--", *command]

    # While it runs

    def _watch(self, child: subprocess.Popen[bytes]) -> int:
        measure = time.monotonic() + _MEASURE_SECONDS
        while True:
            with suppress(subprocess.TimeoutExpired):
                return child.wait(_LOOK_SECONDS)
            now = time.monotonic()
            if self.stopped():
                raise BuildStopped
            if now > self._deadline:
                raise BuildFailed(f"it took longer than {self.bounds.seconds:.0f} s")
            if now > measure:
                self._measure(child.pid)
                measure = time.monotonic() + _MEASURE_SECONDS

    def _measure(self, pid: int) -> None:
        if os.stat(self.log).st_size > _MAX_LOG_BYTES:
            raise BuildFailed(f"it printed more than {_MAX_LOG_BYTES // 2**20} MiB")
        used = disk_bytes(self.root) + disk_bytes(self.scratch)
        if used > self.bounds.disk_bytes:
            raise BuildFailed(f"it wrote more than {self.bounds.disk_bytes / 2**30:.1f} GiB")
        tree = process.tree(pid)
        if len(tree) > self.bounds.processes:
            raise BuildFailed(f"it started more than {self.bounds.processes} processes")
        if sum(map(_resident, tree)) > self.bounds.memory_bytes:
            raise BuildFailed(f"it needed more than {self.bounds.memory_bytes / 2**30:.1f} GiB of memory")

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        """Nothing of it outlives this: a sandbox dies with its first process, a user's processes by name."""
        tree = process.tree(child.pid) if child.poll() is None else []
        for pid in reversed(tree):
            process.kill_quietly(pid)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        deadline = time.monotonic() + 10
        while self.drop is not None and (left := process.owned_by(self.drop.uid)) and time.monotonic() < deadline:
            for pid in left:
                process.kill_quietly(pid)
            time.sleep(0.005)


def last_words(path: str) -> str:
    """The end of what the last command of a build said into its log."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    lines = [line.rstrip() for line in text.rpartition("\n$ ")[2].splitlines()[1:] if line.strip()]
    return "\n".join([line for line in lines if not line.startswith("Looking in ")][-_TAIL_LINES:])[-2000:]


def _resident(pid: int) -> int:
    fields = process.stat_fields(pid)
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 21 else 0


def disk_bytes(path: str) -> int:
    """What lies below ``path``, on disk. Raises :class:`BuildFailed` where that can't be counted any more."""
    total = count = 0
    todo = [path]
    while todo:
        folder = todo.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    count += 1
                    info = entry.stat(follow_symlinks=False)
                    total += info.st_blocks * 512
                    if stat.S_ISDIR(info.st_mode):
                        todo.append(entry.path)
        except FileNotFoundError:
            continue  # gone while we looked
        except OSError as error:
            raise BuildFailed(f"it made a folder that can't be looked into: {error.strerror}") from error
        if count > _MAX_FILES:
            raise BuildFailed(f"it made more than {_MAX_FILES:,} files")
    return total
