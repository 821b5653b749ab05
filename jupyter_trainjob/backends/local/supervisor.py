"""The supervisor of one attempt: ``python -I -m jupyter_trainjob.backends.local.supervisor FOLDER``.

Detaches, takes the attempt's lock, starts the sandbox and only then loads what it needs to watch it. The first
process leaves as soon as the lock is taken, so that the one who started it needs no care for a child. Exit status of
that first process: 0 a supervisor runs (this one or an earlier one) or the attempt is over; 1 it can't, see stderr.
"""

from __future__ import annotations

import os
import signal
import sys

from . import process
from .cgroups import Cgroup
from .folder import Folder, try_lock
from .spawn import Drop, Spawned, give_to, spawn, take_uid, write_etc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def main(path: str) -> int:
    """Run the attempt in ``path``. Returns in the first process only."""
    folder = Folder(path)
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        told = os.read(read, 4096)
        os.waitpid(pid, os.WNOHANG)
        if told == b"ok":
            return 0
        sys.stderr.buffer.write(told or b"the supervisor died at once\n")
        return 1
    os.close(read)
    os.setsid()
    _quiet(folder)
    _supervise(folder, write)


def _quiet(folder: Folder) -> None:
    """No terminal, no pipes of the server's: what goes wrong here is in ``supervisor.log``."""
    null = os.open("/dev/null", os.O_RDWR)
    log = os.open(folder.file("supervisor.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):  # the last is a poke: until the loop runs, no news
        signal.signal(number, signal.SIG_IGN)


def _supervise(folder: Folder, handshake: int) -> NoReturn:
    status = 1
    try:
        lock = try_lock(folder.file("lock"))
        known = folder.read("supervisor.json")
        if lock is None or known is not None:
            os.write(handshake, b"ok")  # another one runs, or ran: nothing runs twice
            os._exit(0)
        folder.write("supervisor.json", process.identity(os.getpid()), durable=True)
        os.write(handshake, b"ok")
        os.close(handshake)
        orders = folder.read("attempt.json")
        waits = None if orders else folder.read("slot.json")
        if not orders and not waits:
            raise OSError(f"{folder.file('attempt.json')} is missing or can't be read")
        drop, cgroup, spawned = _start(folder, orders or waits or {}, waits=bool(waits))

        from .life import Life  # loads while the sandbox starts

        if waits:
            _lead_claimed(Life, folder, waits, drop, cgroup, spawned)
        else:
            Life(folder, orders or {}, drop, cgroup, spawned).run()
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(status)


def _lead_claimed(
    life: Any, folder: Folder, waits: dict[str, Any], drop: Drop | None, cgroup: Cgroup | None, spawned: Spawned | str
) -> None:
    """Wait for a job, then lead that."""
    from .waiting import Waiting, apply

    if isinstance(spawned, str):
        raise OSError(spawned)
    waited = Waiting(folder, waits, spawned, drop, cgroup).wait()
    if waited is None:
        return
    orders = waited.folder.read("attempt.json") or {}
    led = life(waited.folder, orders, drop, cgroup, spawned, waited)
    apply(waited.folder, orders, drop, cgroup, led.tree)
    led.run()


def _start(folder: Folder, orders: dict[str, Any], *, waits: bool) -> tuple[Drop | None, Cgroup | None, Spawned | str]:
    """The sandbox, started; or, in its place, why not."""
    drop: Drop | None = None
    cgroup: Cgroup | None = None
    try:
        if orders["drop"] is not None:
            drop = take_uid(orders["drop"])
            give_to(folder, drop.uid)
        told = "in/waiting.json" if waits else "in/job.json"
        job = folder.read(told) or {}
        job["drop"] = {"uid": drop.uid, "gid": drop.uid} if drop else None
        folder.write(told, job, mode=0o644)
        if orders["sandboxed"]:
            write_etc(folder, drop.uid if drop else 1000)
        if orders["cgroup"] is not None:
            cgroup = Cgroup(orders["cgroup"]["version"], orders["cgroup"]["folders"])
            cgroup.create()
            if waits:  # its limits are the job's that comes; nobody may take without end meanwhile
                cgroup.limit(memory_bytes=orders["warm"].get("mostBytes"), tasks=None)
            else:
                cgroup.limit(memory_bytes=orders["limits"]["memory_bytes"], tasks=orders["limits"]["tasks"])
        return drop, cgroup, spawn(orders, cgroup.entrances() if cgroup else [])
    except OSError as error:
        return drop, cgroup, f"The sandbox could not be started: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
