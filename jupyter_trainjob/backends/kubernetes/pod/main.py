"""The first process of the user's container: holds the job's limits and hands on what the runner says and prints.

It waits for the sidecar's ``ready``, starts the runner, and puts its output into the ring of :mod:`.ring`, its events
into ``told.json``, and at the end all that is known into ``ended``. It has no credential, and nothing that it writes is
believed without its seal (:mod:`.seal`) and without being checked: user code has the same user id. What user code can't
do is end it, stop it, look into it, or keep it from ending the job.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import time
from functools import partial

from ...rules import RUNNER_PROTOCOL, past_disk, past_processes, past_time
from . import idle, processes
from .begin import READY_SECONDS, Refused, Stopped, await_ready
from .files import JOB, LOG, PROTOCOL, WINDOW_BYTES, Places, discard, dump, now_text, replace
from .ring import RingWriter
from .seal import sealed
from .told import NAME as TOLD
from .told import Told
from .vitals import TELL_SECONDS, Vitals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TICK_SECONDS = 0.05
FREE_SECONDS = 0.1
READ_BYTES = 128 * 1024
OVERSHOOT_BYTES = 2 * 2**20
"""How much more than the window may lie in the ring at the end: what pipes held when the code was killed."""
SHM = "/dev/shm"  # noqa: S108 - a volume of the pod's own
DRAIN_SECONDS = 20.0
STDERR_BYTES = 4 * 1024
SHOWN_BYTES = 64 * 1024
"""How much of the log the container's own log shows too, for those who look there."""
RESERVE_BYTES = 256 * 1024
STRUCK_SECONDS = 3.0
LEAVE_SECONDS = 5.0
"""How long the runner may take to leave after it said ``end``."""
OVERHEAD_TASKS = 26
"""Processes and threads of ours, the runner's and its kernel's."""
INPUTS_FAILED, TERMINATED, ACCIDENT = 64, 143, 70
_OURS = ("IN", "OUT", "WORK", "ORDERS", "BUFFER", "TERMINATION", "CGROUP", "RUNNER", "PYTHON", "SEAL")


def main() -> int:
    """Run the job; the container's exit status."""
    places = Places(os.environ)
    processes.become_first()
    told, begun = Told(), None
    try:
        orders = await_ready(places)
        if orders.get("slot"):
            spawn = partial(start_runner, attempt=str(orders.get("attempt", "")))
            orders, begun = idle.begin(places, spawn, told)
    except Stopped:
        processes.kill_all()
        return _end(places, {"terminated": True, "message": "It was told to stop before the code began."}, TERMINATED)
    except Refused as problem:
        processes.kill_all()
        return _end(places, {"limit": problem.limit, "message": str(problem)}, INPUTS_FAILED)
    try:
        return Life(places, orders, told, begun).run()
    finally:
        processes.kill_all()


def _end(places: Places, known: dict[str, Any], status: int) -> int:
    """Write ``ended``; the exit status."""
    told = {
        "protocol": PROTOCOL,
        "exitCode": None,
        "signal": None,
        "limit": "",
        "message": "",
        "oomKills": 0,
        "peakTasks": 0,
        "lastWords": "",
        "terminated": False,
        "full": [],
        "logBytes": 0,
        "lostBytes": 0,
        "at": now_text(),
        **known,
    }
    try:
        replace(f"{places.out}/ended", sealed(places.seal, "ended", dump(told)))
    except OSError as error:  # the exit status tells, and the kubelet
        sys.stderr.write(f"The end can't be written down: {error}\n")
        discard(f"{places.out}/ended")  # better none than one that the job left
    return status


def start_runner(*orders: str, attempt: str) -> tuple[int, int, int, int]:
    """As :func:`processes.spawn`. Raises :class:`Refused`."""
    python = os.environ.get("TRAINJOB_PYTHON") or sys.executable
    runner = os.environ.get("TRAINJOB_RUNNER") or os.path.join(__file__.rsplit("/backends/", 1)[0], "runner")
    try:
        return processes.spawn([python, "-I", runner, *orders], _environment(attempt))
    except OSError as error:
        raise Refused("BackendError", f"The runner {python} {runner} can't be started: {error.strerror}.") from error


def _environment(attempt: str) -> dict[str, str]:
    """The image's own, without what is ours or Kubernetes'."""
    ours = {f"TRAINJOB_{name}" for name in _OURS}
    found = {
        name: value
        for name, value in os.environ.items()
        if name not in ours and not name.startswith(("KUBERNETES_", "JUPYTER_TRAINJOB_"))
    }
    found.setdefault("PATH", os.defpath)
    found.setdefault("LANG", "C.UTF-8")
    temporary = found.setdefault("TMPDIR", "/tmp")  # noqa: S108 - the container's own
    found.update(HOME=f"{temporary}/home", USER="job", LOGNAME="job")
    found["TRAINJOB_ATTEMPT"] = attempt
    os.makedirs(found["HOME"], exist_ok=True)
    return found


class Life:
    """From the runner's start to the container's end."""

    def __init__(
        self, places: Places, orders: dict[str, Any], told: Told, begun: tuple[int, int, int, int] | None = None
    ) -> None:
        """``begun``: the runner as :func:`processes.spawn` gave it, where it waited for this job already."""
        self._places, self._orders, self._begun = places, orders, begun
        self._told, self._began, self._began_text = told, time.monotonic(), now_text()
        os.makedirs(f"{places.out}/{JOB}/results", exist_ok=True)
        self._ring = RingWriter(f"{places.out}/{LOG}", int(orders.get("windowBytes") or WINDOW_BYTES))
        volumes = {"work": places.work, "out": places.out, "shm": SHM}
        self._vitals = Vitals(places.cgroup, [places.work, f"{places.out}/{JOB}"], volumes)
        self._stderr, self._rest, self._lost, self._shown = bytearray(), b"", 0, 0
        self._limit = self._message = ""
        self._terminated = False
        self._started: float | None = None
        self._kill_at: float | None = None
        self._next_free = self._next_usage = self._next_reap = self._next_tell = 0.0
        self._status: int | None = None
        os.set_blocking(1, False)
        self._make_reserve()

    def run(self) -> int:
        """All of it; the exit status."""
        places, attempt = self._places, str(self._orders.get("attempt", ""))
        try:
            self._runner, *ends = self._begun or start_runner(f"{places.inside}/job.json", attempt=attempt)
        except Refused as problem:
            self._strike(problem.limit, str(problem))
            return _end(places, self._facts(), ACCIDENT)
        self._stdout, self._stderr_end, self._events = ends
        self._pidfd = os.pidfd_open(self._runner)
        self._open = set(ends)
        while self._status is None:
            self._turn()
        self._finish()
        status = 0 if self._told.end is not None else os.waitstatus_to_exitcode(self._status)
        return _end(places, self._facts(), status if status >= 0 else 128 - status)

    # One turn

    def _turn(self) -> None:
        wanted = self._open | {self._pidfd}
        if self._rest or self._ring.room <= 0:
            wanted.discard(self._stdout)
        poll = select.poll()
        for descriptor in wanted:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll(TICK_SECONDS * 1000 if self._stdout in wanted else READY_SECONDS * 1000):
            self._on(descriptor)
        now = time.monotonic()
        self._free(now)
        self._look(now)
        self._tell(now)

    def _on(self, descriptor: int) -> None:
        if descriptor == self._pidfd:
            self._on_exit()
        elif descriptor == self._stdout:
            self._pump(min(READ_BYTES, self._ring.room))
        elif descriptor == self._events:
            for event in self._told.feed(self._read(descriptor, READ_BYTES) or b"", time.monotonic()):
                self._on_event(event)
        else:
            self._stderr += self._read(descriptor, READ_BYTES) or b""
            del self._stderr[:-STDERR_BYTES]

    def _read(self, descriptor: int, limit: int) -> bytes | None:
        """What there is; None at the end, when the descriptor is closed."""
        try:
            data = os.read(descriptor, limit)
        except BlockingIOError:
            return b""
        if data:
            return data
        self._open.discard(descriptor)
        os.close(descriptor)
        return None

    def _pump(self, limit: int) -> bool:
        """Move output into the ring; whether there was any."""
        data = self._read(self._stdout, limit)
        if not data:
            return False
        self._show(data)
        self._keep(data)
        return True

    def _keep(self, data: bytes) -> None:
        taken = self._ring.write(data)
        if taken < len(data):
            self._release_reserve()
            taken += self._ring.write(data[taken:])
        self._rest = data[taken:]  # the volume is full: the job waits until the sidecar took some

    def _show(self, data: bytes) -> None:
        if self._shown < SHOWN_BYTES:
            try:
                self._shown += os.write(1, data[: SHOWN_BYTES - self._shown])
            except OSError:  # whoever reads it is slow or gone: it is a courtesy
                self._shown = SHOWN_BYTES

    def _on_event(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "hello" and event["runnerProtocol"] != RUNNER_PROTOCOL:
            self._strike(
                "BackendError",
                f"The runner speaks protocol {event['runnerProtocol']}, the pod speaks {RUNNER_PROTOCOL}: both must "
                "come from the same version of jupyter_trainjob.",
            )
            self._ask_to_end(0)
        elif kind == "failed" and not self._told.started:
            self._strike("BackendError", event["message"])
        elif kind == "started" and self._started is None:
            self._started = time.monotonic()
        elif kind == "end":
            self._ask_to_end(LEAVE_SECONDS, ask=False)

    def _on_exit(self) -> None:
        _, self._status = os.waitpid(self._runner, 0)
        os.close(self._pidfd)
        self._vitals.look(time.monotonic(), thorough=True)

    # What is looked at

    def _free(self, now: float) -> None:
        if now < self._next_free and not self._rest and self._ring.room > 0:
            return
        self._next_free = now + FREE_SECONDS
        with open(self._places.taken, "rb") as file:
            self._ring.free(int(file.read(32)))
        if self._rest:
            self._rest = self._rest[self._ring.write(self._rest) :]

    def _look(self, now: float) -> None:
        if self._status is not None:
            return
        if now >= self._next_reap:
            self._next_reap = now + TICK_SECONDS
            processes.reap(self._runner)
        self._vitals.look(now)
        if processes.asked_to_stop() and not self._terminated:
            self._terminated = True
            self._ask_to_end(float(self._orders.get("graceSeconds") or 8))
        if self._told.end is None and not self._terminated and not self._limit:
            self._look_at_limits(now)
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            processes.kill_all_but(self._runner)

    def _look_at_limits(self, now: float) -> None:
        orders, grace = self._orders, float(self._orders.get("graceSeconds") or 8)
        startup, limit = orders.get("startupSeconds"), orders.get("timeLimitSeconds")
        if self._started is None and startup and now >= self._began + startup:
            self._strike("StartupTimeout", f"The code had not begun {startup:g} s after the start.")
            self._ask_to_end(grace)
        elif self._started is not None and limit and now >= self._started + limit:
            self._strike("TimeLimit", past_time(limit))
            self._ask_to_end(grace)
        elif orders.get("processes") and self._vitals.tasks > orders["processes"] + OVERHEAD_TASKS:
            self._strike("ProcessLimit", past_processes(orders["processes"]))
            processes.kill_code(self._runner)
            self._ask_to_end(STRUCK_SECONDS)
        elif orders.get("diskBytes") and self._vitals.disk_bytes > orders["diskBytes"]:
            what = "The job's files, with its notebook, results and metrics,"
            self._strike("DiskLimit", past_disk(what, orders["diskBytes"]))
            processes.kill_code(self._runner)
            self._ask_to_end(STRUCK_SECONDS)

    def _strike(self, limit: str, message: str) -> None:
        if not self._limit:
            self._limit, self._message = limit, message

    def _ask_to_end(self, grace_seconds: float, *, ask: bool = True) -> None:
        """SIGTERM to the runner, if it is there to hear it, and the end of everything after the grace."""
        until = time.monotonic() + grace_seconds
        self._kill_at = until if self._kill_at is None else min(self._kill_at, until)
        if ask and self._status is None:  # what it said last is read when it is gone
            os.kill(self._runner, signal.SIGTERM)

    # What is told

    def _tell(self, now: float) -> None:
        if now >= self._next_tell and (news := self._told.news()) is not None:
            self._next_tell = now + TICK_SECONDS
            if not self._write(TOLD, news):
                self._told.again()
        if now >= self._next_usage:
            self._next_usage = now + TELL_SECONDS
            self._write("usage.json", self._vitals.to_json(self._began_text))

    def _write(self, name: str, data: bytes) -> bool:
        """Whether it could be written. The job may have filled the volume, or put a folder in the file's place."""
        for last in (False, True):
            try:
                replace(f"{self._places.out}/{name}", sealed(self._places.seal, name, data))
                return True
            except OSError as error:
                if last or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    return False
                self._release_reserve()
        return False

    def _make_reserve(self) -> None:
        """Room for the last words on a volume that the job may fill."""
        replace(f"{self._places.out}/reserve", b"\1" * RESERVE_BYTES)

    def _release_reserve(self) -> None:
        discard(f"{self._places.out}/reserve")

    # The end

    def _finish(self) -> None:
        """The runner is gone: nothing of the job's may go on, and what it printed is brought out."""
        processes.kill_all()
        deadline = time.monotonic() + (STRUCK_SECONDS if self._terminated else DRAIN_SECONDS)
        for descriptor in (self._events, self._stderr_end):
            while descriptor in self._open and self._readable(descriptor):
                self._on(descriptor)
        while self._stdout in self._open or self._rest:
            self._free(time.monotonic())
            room = self._ring.room + OVERSHOOT_BYTES
            if not self._rest and room > 0:
                if not self._readable(self._stdout) or not self._pump(min(READ_BYTES, room)):
                    break
                continue
            if time.monotonic() > deadline:
                self._lost = len(self._rest) + self._discard()
                break
            time.sleep(READY_SECONDS)
        self._release_reserve()
        for folder in (self._places.work, f"{self._places.out}/{JOB}"):
            open_up(folder, time.monotonic() + STRUCK_SECONDS)
        self._told.again()  # the job may have spoilt what was told; now nothing of it is left
        self._tell(float("inf"))

    def _readable(self, descriptor: int) -> bool:
        """Whether there is something to read, or the end. Nobody is left who could write, but what can't be killed."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def _discard(self) -> int:
        """Read what nobody takes; how many bytes there were."""
        count = 0
        while self._stdout in self._open and self._readable(self._stdout):
            data = self._read(self._stdout, READ_BYTES)
            if not data:
                break
            count += len(data)
        return count

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "limit": self._limit,
            "message": self._message,
            "oomKills": self._vitals.oom_kills,
            "peakTasks": self._vitals.peak_tasks,
            "lastWords": bytes(self._stderr).decode("utf-8", "replace"),
            "terminated": self._terminated,
            "full": sorted(self._vitals.full),
            "logBytes": self._ring.end + self._lost,
            "lostBytes": self._lost + self._ring.lost,
        }
        if self._status is not None:
            code = os.waitstatus_to_exitcode(self._status)
            facts["exitCode" if code >= 0 else "signal"] = abs(code)
        return facts


def open_up(folder: str, deadline: float) -> None:
    """Make folders that the job closed to itself readable: the sidecar, which only reads, can't. Nothing else runs."""
    todo = [folder]
    while todo and time.monotonic() < deadline:
        path = todo.pop()
        try:
            if not os.access(path, os.R_OK | os.X_OK):
                os.chmod(path, 0o700)
            with os.scandir(path) as entries:
                todo += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # the sidecar will say what it could not read
