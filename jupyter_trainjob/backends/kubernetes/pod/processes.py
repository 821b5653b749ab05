"""The job's processes, seen from the first process of its container."""

from __future__ import annotations

import os
import signal
import time

from ...local.process import children, tree

SI_USER = 0
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36
_TAKEN_BACK = (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM, signal.SIGXFSZ)
GONE_SECONDS = 2.0


def become_first() -> None:
    """Keep the job's code, which has our user id, out of our memory; inherit its orphans; take signals when we like.

    As the first process of a container nothing of the job's can kill or stop us: the kernel lets no signal through
    that we did not ask for, and SIGTERM is told apart by :func:`asked_to_stop`.
    """
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for option, value in ((PR_SET_DUMPABLE, 0), (PR_SET_CHILD_SUBREAPER, 1)):
        if prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) was refused")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def asked_to_stop() -> bool:
    """Whether a SIGTERM came. As a container's first process only from outside of it: the job's code may say what it
    likes. Never waits."""
    while (found := signal.sigtimedwait([signal.SIGTERM], 0)) is not None:
        # The kernel shows no pid for senders of another namespace. Who queues a signal may write any pid into it, but
        # not that it came by kill().
        if os.getpid() != 1 or (found.si_pid == 0 and found.si_code == SI_USER):
            return True
    return False


def spawn(argv: list[str], environment: dict[str, str]) -> tuple[int, int, int, int]:
    """Start a process group with 0, 1, 2 and 3: ``(pid, stdout, stderr, events)``, our ends. Raises ``OSError``."""
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    pipes = [os.pipe() for _ in range(3)]
    high = [os.dup2(write, 100 + index, inheritable=False) for index, (_, write) in enumerate(pipes)]
    actions = [(os.POSIX_SPAWN_DUP2, end, index) for index, end in enumerate([null, *high])]
    try:
        pid = os.posix_spawn(
            argv[0], argv, environment, file_actions=actions, setpgroup=0, setsigmask=[], setsigdef=_TAKEN_BACK
        )
    except OSError:
        for read, _ in pipes:
            os.close(read)
        raise
    finally:
        for end in (null, *high, *(write for _, write in pipes)):
            os.close(end)
    for read, _ in pipes:
        os.set_blocking(read, False)
    return pid, pipes[0][0], pipes[1][0], pipes[2][0]


def reap(runner: int) -> None:
    """Take the exit status of every orphan that died; the runner's stays."""
    for pid in children(os.getpid()):
        if pid != runner:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue


def kill_code(runner: int) -> None:
    """Kill all but the runner; a few rounds, for what forks meanwhile."""
    for _ in range(5):
        found = [pid for pid in tree(os.getpid())[1:] if pid != runner]
        if not found:
            return
        for pid in found:
            _kill(pid)


def kill_all_but(runner: int) -> None:
    """Kill everything, and the runner, which its own wait then finds dead."""
    kill_code(runner)
    _kill(runner)


def kill_all() -> None:
    """Kill everything, and wait until it is gone, for a while. What is left dies with us."""
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline:
        if os.getpid() == 1:
            _kill(-1)
        for pid in tree(os.getpid())[1:]:
            _kill(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        time.sleep(0.005)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
