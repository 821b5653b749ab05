"""The attempt's processes: which they are, and how they are asked to end or made to."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any

from . import process
from .cgroups import Cgroup
from .spawn import Drop

KILL_SECONDS = 10.0
"""A process in an uninterruptible system call may take a while to die; longer than this is not waited."""


class Tree:
    """All that descends from ``first_pid``, the first process.

    ``init_pid`` is the sandbox's process 1 as seen from here, once it is known. Without a sandbox the first process is
    the runner itself.
    """

    def __init__(self, first_pid: int, *, sandboxed: bool, drop: Drop | None, cgroup: Cgroup | None) -> None:
        self._first, self._drop, self._cgroup = first_pid, drop, cgroup
        self.init_pid: int | None = None if sandboxed else first_pid
        self._runner = None if sandboxed else process.identity(first_pid)

    def pids(self) -> list[int]:
        """All of them, now."""
        return self._cgroup.pids() if self._cgroup is not None else process.tree(os.getpid())[1:]

    def ask_to_end(self) -> bool:
        """SIGTERM to the runner; False when there is none (yet)."""
        runner = self._find_runner()
        return runner is not None and process.send(runner, signal.SIGTERM)

    def wake_runner(self) -> bool:
        """Tell the runner that its job's orders are there; False when there is none."""
        runner = self._find_runner()
        return runner is not None and process.send(runner, signal.SIGUSR1)

    def _find_runner(self) -> dict[str, Any] | None:
        """The runner as seen from here: the oldest child of the sandbox's first process."""
        if self._runner is None and self.init_pid is not None:
            known = [process.identity(pid) for pid in process.children(self.init_pid)]
            known = [one for one in known if one["startTicks"] is not None]
            self._runner = min(known, key=lambda one: (one["startTicks"], one["pid"]), default=None)
        return self._runner

    def kill_code(self) -> None:
        """Kill what the runner started, but not the runner: it still saves what there is and says what happened."""
        runner = self._find_runner()
        spared = {self.init_pid, self._first, runner["pid"] if runner else None}
        for pid in self.pids():
            if pid not in spared:
                process.kill_quietly(pid)

    def kill(self) -> None:
        """All at once; with the sandbox's processes its pid namespace dies, and whatever is in it."""
        self.kill_code()
        if self.init_pid is not None:
            process.kill_quietly(self.init_pid)
        process.kill_quietly(self._first)

    def kill_rest(self) -> None:
        """Nothing outlives the first process: also what left its session, its parent or its process group."""
        deadline = time.monotonic() + KILL_SECONDS
        if self._cgroup is not None:
            self._cgroup.kill()
        while (left := self._left()) and time.monotonic() < deadline:
            for pid in left:
                process.kill_quietly(pid)
            self._reap()
            time.sleep(0.002)
        self._reap()

    def _left(self) -> list[int]:
        """What still lives: our descendants (orphans are ours, too) and whatever has the attempt's own uid."""
        left = process.tree(os.getpid())[1:]
        return left + process.owned_by(self._drop.uid) if self._drop is not None else left

    def _reap(self) -> None:
        with suppress(ChildProcessError):  # none is left
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
