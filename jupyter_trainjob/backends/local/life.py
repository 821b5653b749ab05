"""The watch over one attempt, from its start to its exit record: one thread, one loop, no guesses.

The stages: *starting* (nothing of the user's runs), *running* (since the runner said ``started``), *stopping* (asked
to end, within its grace), *over* (the first process is gone). Then what is left is killed, the log closed, outputs
brought home, and the exit record written, in this order, so that whoever reads ``ended`` finds all of it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...storage.base import open_store
from ...storage.logs import LogWriter
from ..rules import RUNNER_PROTOCOL, past_disk, past_processes, past_time
from . import leftovers, report
from .cgroups import Cgroup
from .courier import Courier
from .events import EventReader
from .finish import Finisher, evidence
from .folder import Folder
from .limits import Limits, Outside, memory_message, verdict
from .meter import Meter
from .points import PointsPump, remark
from .pump import Pump
from .spawn import Drop, Spawned, adopt_orphans
from .tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .waiting import Waited

STDERR_BYTES = 16 * 1024
READ_BYTES = 256 * 1024
OOM_GRACE_SECONDS = 3.0
DRAIN_SECONDS = 60.0
"""How long the store may take for what was printed last."""
USAGE_SECONDS = 15.0
"""Between two sendings of the figures over time."""
END_GRACE_SECONDS = 5.0
"""How long the runner may take to leave after it said ``end``."""


class Life:
    """Everything about one running attempt."""

    def __init__(
        self,
        folder: Folder,
        orders: dict[str, Any],
        drop: Drop | None,
        cgroup: Cgroup | None,
        spawned: Spawned | str,
        waited: Waited | None = None,
    ) -> None:
        """``waited``: of a kernel that was started before there was a job for it."""
        self.folder, self.orders, self.drop, self.cgroup = folder, orders, drop, cgroup
        self.limits = Limits(**{k: v for k, v in orders["limits"].items() if k != "tasks"})
        self.outside = Outside(rlimits=frozenset(orders["rlimits"]), shm_sized=orders["sandboxed"])
        self.report = report.Report(folder, orders["uid"], orders["attempt"], orders["isolation"])
        for condition in orders["conditions"]:
            self.report.condition(condition)
        self.spawned = spawned
        self.store = open_store(orders["store"])
        self.log = LogWriter(
            self.store, orders["prefix"], cap_bytes=self.limits.log_bytes, spool=Path(folder.file("log.spool"))
        )
        self.courier = Courier(self.store, folder, orders)
        self.points = PointsPump(self.store, orders["prefix"], folder)
        self.events = waited.events if waited else EventReader()
        self.meter = Meter(folder, self.limits, self.outside, cgroup, waited.cpu_seconds if waited else 0.0)
        self.stderr = waited.stderr if waited else bytearray()
        self._waited = waited
        if isinstance(spawned, Spawned):
            self.tree = Tree(spawned.pid, sandboxed=orders["sandboxed"], drop=drop, cgroup=cgroup)
            self.tree.init_pid = waited.init_pid if waited else self.tree.init_pid
        self.end: dict[str, Any] | None = None
        self.cancelled: str | None = None
        self.status: int | None = None
        self.began = time.monotonic()
        self.began_text = report.now_text()
        self._next_usage = self.began + USAGE_SECONDS
        self.started: float | None = None
        self.kill_at: float | None = None
        self.greeted = waited is not None
        self._info = b""
        self._open: set[int] = set()
        self._drain_until = 0.0
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """All of it."""
        if isinstance(self.spawned, str):
            self.outside.strike("BackendError", self.spawned)
            self._finish()
            return
        if self.orders["sandboxed"]:
            adopt_orphans()  # the sandbox's first process becomes one when the outer one is killed
        pump = Pump(self.spawned.stdout, self.log)
        self._watch(self.spawned)
        if self._waited is not None and not self.tree.wake_runner():
            self.outside.strike("BackendError", "The kernel that waited for the job has ended.")
            self._kill()
        while self.status is None or self._open:
            self._turn()
            if self.status is not None and time.monotonic() > self._drain_until:
                break
        pump.drain(DRAIN_SECONDS)
        self._finish()

    # What wakes the loop

    def _watch(self, spawned: Spawned) -> None:
        self._pidfd = os.pidfd_open(spawned.pid)
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.signal(signal.SIGTERM, self._told_to_stop)
        handlers = {
            spawned.stderr: self._on_stderr,
            spawned.events: self._on_events,
            **({} if self._waited else {spawned.info: self._on_info}),
            self._pidfd: self._on_exit,
            wake_read: lambda: self._drain(wake_read) and None,
        }
        self._open = {spawned.stderr, spawned.events}
        for descriptor, handler in handlers.items():
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ, handler)

    def _turn(self) -> None:
        now = time.monotonic()
        waits = [self.meter.due(now), self.report.due(), 1.0]
        waits += [limit - now for limit in (self.kill_at, self._deadline()) if limit is not None]
        for key, _ in self._selector.select(max(0.0, min(wait for wait in waits if wait is not None))):
            key.data()
        self._look(time.monotonic())
        self.report.flush()

    def _drain(self, descriptor: int) -> bytes | None:
        """What there is to read; None at the end, when the descriptor is closed."""
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return b""
        if data:
            return data
        self._selector.unregister(descriptor)
        self._open.discard(descriptor)
        os.close(descriptor)
        return None

    # What comes in

    def _on_stderr(self) -> None:
        assert isinstance(self.spawned, Spawned)
        self.stderr += self._drain(self.spawned.stderr) or b""
        del self.stderr[:-STDERR_BYTES]

    def _on_info(self) -> None:
        assert isinstance(self.spawned, Spawned)
        data = self._drain(self.spawned.info)
        if data is not None:
            self._info += data[:4096]
            return
        with suppress(ValueError):  # bwrap failed and wrote nothing; its stderr says why
            self.tree.init_pid = int(json.loads(self._info)["child-pid"])

    def _on_events(self) -> None:
        assert isinstance(self.spawned, Spawned)
        data = self._drain(self.spawned.events)
        for event in self.events.feed(data or b"", time.monotonic()):
            self._on_event(event)

    def _on_event(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if self.end is not None:
            return
        if kind == "hello":
            self.greeted = True
            if event["runnerProtocol"] != RUNNER_PROTOCOL and self.started is None:
                self.outside.strike(
                    "BackendError",
                    f"The runner speaks protocol {event['runnerProtocol']}, this server speaks {RUNNER_PROTOCOL}: "
                    "install the same version of jupyter_trainjob in both.",
                )
                self._kill()
        elif kind == "failed" and self.started is None:  # it can't follow its orders; afterwards, user code may say so
            self.outside.strike("BackendError", event["message"])
        elif kind == "started" and self.started is None:
            self.started = time.monotonic()
            if self.cgroup is not None:
                self.cgroup.limit_cpu(self.limits.cpu_millis)
            self.report.update(state="running", started=report.now_text())
            self.report.flush(now=True)
        elif kind == "progress":
            self.report.claim("progress", event)
        elif kind == "notebook":
            self.courier.notebook()
        elif kind == "end":
            self.meter.look(time.monotonic(), self.tree.pids(), self.tree.init_pid, thorough=True)
            self.end = event
            self.report.claim("end", event)
            self.kill_at = min(self.kill_at or float("inf"), time.monotonic() + END_GRACE_SECONDS)

    def _on_exit(self) -> None:
        assert isinstance(self.spawned, Spawned)
        self._look_at_counters()
        _, self.status = os.waitpid(self.spawned.pid, 0)
        self._selector.unregister(self._pidfd)
        os.close(self._pidfd)
        self.kill_at = None
        self._drain_until = time.monotonic() + 2.0  # of reports; nobody can hold them longer but what can't be killed
        self.tree.kill_rest()
        if self.drop is not None and not self.orders["sandboxed"]:
            leftovers.sweep(self.drop.uid)
        self.meter.reaped()
        self.report.update(usage=self.meter.usage())

    # What is looked at

    def _deadline(self) -> float | None:
        """When the time limit or the start-up limit strikes."""
        if self.outside.struck or self.end is not None or self.status is not None or self.cancelled is not None:
            return None
        if self.started is None:
            return self.began + self.limits.startup_seconds
        if self.limits.time_limit_seconds is None:
            return None
        return self.started + self.limits.time_limit_seconds

    def _look(self, now: float) -> None:
        if self.status is not None:
            return
        self._look_at_cancel()
        deadline = self._deadline()
        if deadline is not None and now >= deadline:
            self._out_of_time()
        if self.meter.due(now) <= 0:
            self.meter.look(now, self.tree.pids(), self.tree.init_pid)
            self.report.update(soon=False, usage=self.meter.usage())
            self.report.condition(self.meter.condition())
            self._look_at_log()
            self._look_at_counters()
            self._look_at_limits()
            self._tell_usage(now)
            self.points.look(now)
        if self.kill_at is not None and now >= self.kill_at:
            self._kill()

    def _look_at_cancel(self) -> None:
        if self.cancelled is None and self.end is None:
            self.cancelled = self.folder.cancel_message()
            if self.cancelled is not None and not self.outside.struck:
                self._ask_to_end(self.limits.grace_seconds)

    def _look_at_log(self) -> None:
        record = self.log.state()
        self.report.update(
            soon=False,
            log={"size": record.size, "complete": False, "gap": record.gap, "missing": record.missing},
        )

    def _tell_usage(self, now: float) -> None:
        if now >= self._next_usage:
            self._next_usage = now + USAGE_SECONDS
            self.courier.usage(self.meter.samples.to_json(self.began_text))

    def _look_at_counters(self) -> None:
        if self.cgroup is not None:
            self.outside.oom_kills = self.cgroup.oom_kills()
            self.outside.task_refusals = self.cgroup.task_refusals()

    def _look_at_limits(self) -> None:
        limits, outside = self.limits, self.outside
        if outside.oom_kills and self.end is None and outside.strike("OutOfMemory", memory_message(limits)):
            self._ask_to_end(OOM_GRACE_SECONDS)
        memory = self.meter.memory_bytes
        if self.cgroup is None and limits.memory_bytes and memory > limits.memory_bytes:
            self._over("OutOfMemory", memory_message(limits))
        if limits.disk_bytes and self.meter.disk_bytes > limits.disk_bytes:
            self._over("DiskLimit", past_disk("The job's files", limits.disk_bytes))
        if limits.files and self.meter.files > limits.files:
            message = f"The job made more than the {limits.files} files and folders that its disk has room for."
            self._over("DiskLimit", f"{message} Put small ones into an archive, or ask for more disk.")
        if self.cgroup is None and limits.cpu_seconds and self.meter.cpu_seconds > limits.cpu_seconds:
            message = f"The job used more CPU time than {limits.cpu_seconds:g} s, its CPUs for its whole time limit."
            if self.end is None and outside.strike("TimeLimit", message):
                self._ask_to_end(limits.grace_seconds)
        tasks = limits.tasks
        if self.cgroup is None and "nproc" not in outside.rlimits and tasks and outside.peak_tasks > tasks:
            self._over("ProcessLimit", past_processes(limits.processes or 0))

    def _over(self, limit: str, message: str) -> None:
        """It has more than it may have: nothing of the code goes on.

        Also behind the word ``end``, which is a claim like any other: who goes past a limit then was not done.
        """
        first = self.outside.strike(limit, message)
        if first and self.end is None:
            self._ask_to_end(OOM_GRACE_SECONDS)
        if first and self.end is not None:
            self._kill()
        else:
            self.tree.kill_code()

    # What is done about it

    def _out_of_time(self) -> None:
        if self.started is None:
            seconds = self.limits.startup_seconds
            self.outside.strike("StartupTimeout", f"The code had not begun {seconds:g} s after the start.")
        else:
            self.outside.strike("TimeLimit", past_time(self.limits.time_limit_seconds or 0))
        self._ask_to_end(self.limits.grace_seconds)

    def _told_to_stop(self, *_: Any) -> None:
        if self.outside.strike("RunnerLost", "The machine or its operator told the job's supervisor to stop."):
            self._ask_to_end(self.limits.grace_seconds - 2)

    def _ask_to_end(self, grace_seconds: float) -> None:
        """SIGTERM to the runner, and the end of everything after the grace."""
        until = time.monotonic() + grace_seconds
        self.kill_at = until if self.kill_at is None else min(self.kill_at, until)
        if not self.tree.ask_to_end():
            self.kill_at = time.monotonic()

    def _kill(self) -> None:
        self.kill_at = None
        self.tree.kill()

    def _finish(self) -> None:
        if self.status is not None and not self.greeted and self.cancelled is None:
            self.outside.strike("BackendError", "The job's runner could not be started.")
        limit, message = verdict(self.outside, self.limits, self.end)
        facts = evidence(self.status, self.end, limit, message, self.cancelled, bytes(self.stderr))
        self.report.condition(remark(self.points.finish()))
        parts = (self.folder, self.orders, self.store, self.log, self.report, self.courier)
        Finisher(*parts, usage=self.meter.samples.to_json(self.began_text)).finish(facts, self.events)
        if self.cgroup is not None:
            self.cgroup.remove()
        self.report.flush(now=True)
