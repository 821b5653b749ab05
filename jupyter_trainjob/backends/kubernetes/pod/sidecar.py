"""The container beside the job's: brings its inputs, then ships what it prints and says, then what it left, and leaves.

It has the attempt's credentials, which the job has not, and believes nothing that it finds in the job's folders. It may
be killed at any time and goes on where it was: what it did is in its own volume and in ``in``. Its exit status: 0 when
all is delivered, 3 when not (the termination message says what), 2 where its orders can't be followed, 1 where it is to
be started again.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time

from ....storage.base import StoreError
from . import claims, waiting
from .courier import Courier
from .ending import NOTEBOOK_BYTES, Collection, termination
from .files import JOB, LOG, PROTOCOL, Places, dump, load, now_text, replace, sweep
from .inputs import Inputs, InputsError
from .main import OVERSHOOT_BYTES, READ_BYTES
from .orders import Credentials, LiveStore, Orders, OrdersError, seal_in
from .points import CAP_BYTES, INTERVAL_SECONDS, PointsFile
from .ring import RingReader
from .shipper import Shipper, Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TICK_SECONDS = 0.05
LOOK_SECONDS = 0.1
STATE_SECONDS = 1.0
NOTEBOOK_SECONDS = 1.0
USAGE_SECONDS = 15.0
LAST_SECONDS = 5.0
"""How long the very last word may take beyond the time for shipping."""
HARD_SECONDS = 8.0
"""How long after the time for shipping it leaves, whatever it waits for."""
DELIVERED, ACCIDENT, CANT, UNDELIVERED = 0, 1, 2, 3


class Over(Exception):
    """Main is gone."""


class Watch:
    """Whether main lives. The job's code can't pretend either: the lock is main's alone while it lives."""

    def __init__(self, places: Places) -> None:
        self._ended, self._mark = f"{places.out}/ended", f"{places.buffer}/seen"
        self._file = os.open(places.life, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444)
        self._seen = os.path.exists(self._mark)
        self.told_to_stop = False
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self.told_to_stop = True

    def is_over(self) -> bool:
        """True once main has ended, or never will begin: the kubelet tells us to stop only when main is gone."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not self._seen:
                self._seen = True
                replace(self._mark, b"")
            return False
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return self._seen or self.told_to_stop or os.path.lexists(self._ended)

    def check(self) -> None:
        """Raise :class:`Over` where :meth:`is_over`."""
        if self.is_over():
            raise Over


def main() -> int:
    """All of it; the exit status."""
    places = Places(os.environ)
    threading.excepthook = _accident
    os.makedirs(places.buffer, exist_ok=True)
    sweep(places.buffer)
    sweep(places.inside)
    finished = load(f"{places.buffer}/finished")
    if finished is not None:  # the kubelet started us again before it saw that main is gone
        termination(places.termination, finished["state"], finished["problem"])
        return int(finished["status"])
    folder = waiting.orders_folder(places, Watch(places).is_over)
    if not folder:
        return DELIVERED  # a slot that ended without a job
    try:
        orders = Orders(folder)
    except OrdersError as error:
        sys.stderr.write(f"{error}\n")
        replace(f"{places.inside}/failed", dump({"limit": "BackendError", "message": str(error)}))
        return CANT
    return Sidecar(places, orders, Credentials(places.orders, folder)).run()


def _accident(what: threading.ExceptHookArgs) -> None:
    """A thread died, of a full disk for example: leave, so that the kubelet starts us again, and go on then."""
    sys.__excepthook__(what.exc_type, what.exc_value or what.exc_type(), what.exc_traceback)
    sys.stderr.flush()
    os._exit(ACCIDENT)


class Sidecar:
    """One life of it."""

    def __init__(self, places: Places, orders: Orders, credentials: Credentials) -> None:
        self._places, self._orders = places, orders
        self._store = LiveStore(credentials, places.buffer)
        self._seal = seal_in(places.orders)
        lives = f"{places.buffer}/lives"
        count = (load(lives) or {"count": -1})["count"] + 1
        replace(lives, dump({"count": count}))
        limits, self._window = orders.limits, int(orders.limits["windowBytes"])
        self._log = Shipper(
            self._store,
            orders.prefix,
            RingReader(f"{places.out}/{LOG}", self._window),
            f"{places.buffer}/log.json",
            cap_bytes=limits["logBytes"],
            spool=Spool(f"{places.buffer}/spool", limits["spoolBytes"]),
            spool_from_bytes=min(2**20, self._window // 4),
            taken=lambda position: replace(places.taken, str(position).encode()),
        )
        self._points = Shipper(
            self._store,
            f"{orders.prefix}metrics/",
            PointsFile(places.out),
            f"{places.buffer}/metrics.json",
            cap_bytes=CAP_BYTES,
            look_seconds=INTERVAL_SECONDS,
        )
        self._watch = Watch(places)
        self._state: dict[str, Any] = {
            "protocol": PROTOCOL,
            "state": "starting",
            "ready": None,
            "log": self._log.state(),
            "metrics": self._points.state(),
            "usage": {},
            "claims": {},
            "notebook": False,
            "files": [],
            "filesTotal": 0,
            "filesBytes": 0,
            "conditions": [],
            "main": None,
            "failed": load(f"{places.inside}/failed"),
            "restarts": count,
        }
        self._sent: dict[str, Any] = {}
        self._usage = b""
        self._notebooks = 0
        self._marks: dict[str, tuple[int, ...]] = {}
        self._courier = Courier()
        self._courier.register("state", self._put_state, STATE_SECONDS)
        self._courier.register("usage", self._put_usage, USAGE_SECONDS, time.monotonic() + USAGE_SECONDS)
        self._courier.register("notebook", self._put_notebook, NOTEBOOK_SECONDS, time.monotonic() + NOTEBOOK_SECONDS)

    def run(self) -> int:
        """Inputs, then shipping, then the end."""
        if self._state["failed"] is None and self._prepare():
            self._log.start()
            self._follow()
        else:
            self._update()
            while not self._watch.is_over():
                time.sleep(TICK_SECONDS)
        return self._finish()

    # The beginning

    def _prepare(self) -> bool:
        """Bring what the job needs and say ``ready``; False where that can't be."""
        places, limits = self._places, self._orders.limits
        known = load(f"{places.inside}/ready")
        if known is None:
            deadline = time.monotonic() + float(limits["startupSeconds"])
            try:
                Inputs(self._orders, places, self._store, deadline, self._watch.check).bring()
            except Over:
                return False
            except InputsError as problem:
                self._state["failed"] = {"limit": problem.limit, "message": str(problem)}
                replace(f"{places.inside}/failed", dump(self._state["failed"]))
                return False
            names = ("timeLimitSeconds", "startupSeconds", "graceSeconds", "diskBytes", "processes", "windowBytes")
            known = {"protocol": PROTOCOL, "attempt": f"tj-{self._orders.uid}-{self._orders.attempt}"}
            known.update({name: limits[name] for name in names}, at=now_text())
            replace(f"{places.inside}/ready", dump(known), 0o444)
        self._state.update(state="running", ready=known["at"])
        return True

    # While it runs

    def _follow(self) -> None:
        next_look = 0.0
        while not self._watch.is_over():
            self._log.tend()
            now = time.monotonic()
            if now >= next_look:
                next_look = now + LOOK_SECONDS
                self._look()
                self._update()
            time.sleep(TICK_SECONDS)

    def _look(self) -> None:
        """Read what main wrote since the last look."""
        out = self._places.out
        if self._is_new("told.json"):
            told, count = claims.told(out, self._seal)
            self._state["claims"] = told or self._state["claims"]  # what is spoilt now is told again at the end
            if told and count != self._notebooks:
                self._notebooks = count
                self._courier.want("notebook")
        if self._is_new("usage.json") and (found := claims.usage(out, self._seal)) is not None:
            self._state["usage"], self._usage = found
            self._courier.want("usage")
        if not self._points.started and self._is_new(f"{JOB}/metrics.tsv"):
            self._points.start()

    def _is_new(self, name: str) -> bool:
        mark = claims.mark(f"{self._places.out}/{name}")
        changed = bool(mark) and mark != self._marks.get(name)
        self._marks[name] = mark
        return changed

    def _update(self) -> None:
        self._state["log"], self._state["metrics"] = self._log.state(), self._points.state()
        self._condition(_capped("log", self._state["log"], self._orders.limits["logBytes"]))
        self._condition(_capped("metrics", self._state["metrics"], CAP_BYTES))
        if self._state != self._sent:
            self._courier.want("state")

    def _condition(self, condition: dict[str, str] | None) -> None:
        if condition is not None:
            others = [old for old in self._state["conditions"] if old["type"] != condition["type"]]
            self._state["conditions"] = [*others, condition]

    # What is put

    def _put_state(self) -> None:
        sent = dict(self._state)
        self._store.put(f"{self._orders.prefix}state.json", dump({**sent, "at": now_text()}), durable=False)
        self._sent = sent

    def _put_usage(self) -> None:
        if self._usage:
            self._store.put(f"{self._orders.prefix}usage.json", self._usage, durable=False)

    def _put_notebook(self) -> None:
        from ...local import collect

        key, name = f"{self._orders.prefix}notebook.ipynb", f"{JOB}/notebook.ipynb"
        if collect.one_file(self._store, key, self._places.out, name, maximum=NOTEBOOK_BYTES) is not None:
            self._state["notebook"] = True

    # The end

    def _finish(self) -> int:
        """Nothing of the job's runs any more: ship the rest, collect, say so, leave."""
        places, deadline = self._places, time.monotonic() + float(self._orders.limits["endSeconds"])
        self._state["main"] = main = claims.ended(places.out, self._seal)
        printed = main["logBytes"] if main else 0
        self._log.end(deadline, more_bytes=self._window + OVERSHOOT_BYTES + READ_BYTES, printed=printed)
        if has_points := self._points.started or bool(claims.mark(f"{places.out}/{JOB}/metrics.tsv")):
            self._points.end(deadline, more_bytes=2 * CAP_BYTES)
        self._look()
        self._update()
        last_call = threading.Timer(deadline + HARD_SECONDS - time.monotonic(), self._leave_now)
        last_call.daemon = True
        last_call.start()
        termination(places.termination, self._state, "It was killed before all was delivered.")
        problem = self._collect(deadline) if self._state["ready"] else ""
        self._log.join()
        if has_points:
            self._points.join()
        self._courier.stop()
        self._update()
        problem = problem or _not_shipped(self._log, "log") or (_not_shipped(self._points, "points") * has_points)
        self._condition(_missing(self._log, self._state["log"]))
        self._state["state"] = "ended"
        last = self._last_word(max(deadline, time.monotonic() + LAST_SECONDS))
        problem = problem or last
        last_call.cancel()  # it would write over the last words
        status = UNDELIVERED if problem else DELIVERED
        termination(places.termination, self._state, problem)
        replace(f"{places.buffer}/finished", dump({"status": status, "problem": problem, "state": self._state}))
        return status

    def _leave_now(self) -> None:
        """A store that says nothing holds up whoever waits for it: leave the truth, before the kubelet kills us."""
        self._log.abandon()
        self._state["log"] = self._log.state()
        termination(self._places.termination, self._state, "The object store said nothing until the time was over.")
        os._exit(UNDELIVERED)

    def _collect(self, deadline: float) -> str:
        job = load(f"{self._places.inside}/job.json") or {}
        inputs = [str(one["path"]) for one in job.get("inputs", [])]
        collection = Collection(self._store, self._orders, self._places, inputs, self._put_state)
        problem = collection.bring(deadline)
        found = collection.found
        self._state.update(
            notebook=collection.notebook or self._state["notebook"],
            files=found.files,
            filesTotal=found.total,
            filesBytes=found.bytes,
        )
        self._condition(found.condition())
        return problem

    def _last_word(self, deadline: float) -> str:
        """Put usage and state, the latter last; why that could not be done, or empty."""
        while True:
            try:
                self._put_usage()
                self._put_state()
                return ""
            except StoreError as error:
                if time.monotonic() + STATE_SECONDS > deadline:
                    return f"The last word could not be stored: {error}"
                time.sleep(STATE_SECONDS)


def _capped(what: str, log: dict[str, Any], cap: int) -> dict[str, str] | None:
    if not log["gap"]:
        return None
    start, end = log["gap"]
    kind, name = {"log": ("LogComplete", "log"), "metrics": ("MetricsComplete", "file of logged points")}[what]
    message = f"The {name} was longer than the {cap} bytes kept: bytes {start} to {end} are left out."
    return {"type": kind, "status": "False", "reason": "Capped", "message": message}


def _missing(shipper: Shipper, log: dict[str, Any]) -> dict[str, str] | None:
    if not log["missing"]:
        return None
    if shipper.gone >= log["missing"]:
        message = (
            f"{log['missing']} bytes of the log are missing: the job's container could not hand them on. Its volume "
            "for the log was full, or the code touched what lies there."
        )
        return {"type": "LogComplete", "status": "False", "reason": "NotHandedOn", "message": message}
    said = f" It said: {shipper.error}" if shipper.error else ""
    message = f"{log['missing']} bytes of the log are missing: the store was away too long.{said}"
    return {"type": "LogComplete", "status": "False", "reason": "StoreAway", "message": message}


def _not_shipped(shipper: Shipper, what: str) -> str:
    """Why a log was not shipped to its end; empty where it was."""
    return "" if shipper.closed else f"The end of the {what} could not be stored: {shipper.error or 'no time was left'}"
