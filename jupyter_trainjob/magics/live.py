"""A displayed job whose ``text/html`` and ``text/plain`` follow it, for front ends that lack our own renderer.

One thread a kernel asks for all displayed jobs, about once a second while they run, and ends with the last of them.
The card's payload (``application/vnd.trainjob+json``) never changes: it is a reference, and says where the log is.
"""

from __future__ import annotations

import atexit
import contextvars
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from ..client import Client, ConnectionLost, Job, NotFound, ServerError, TooMany, TrainJobError, Unavailable, logs
from ..client.view import MIME, JobView
from ..verbs.printing import cut, plain, without_escapes

_PASS_SECONDS = 1.0
_PER_JOB_SECONDS = 0.2
_AWAY_SECONDS = (2.0, 10.0)
_CLOCK_SECONDS = 5.0
"""The running time alone is shown anew so often."""
_LINES = 5
_LINE_WIDTH = 160
_TAIL_BYTES = 4096


class LiveJob(Job):
    """A job that follows itself wherever it is displayed in a notebook."""

    def _ipython_display_(self) -> None:
        from IPython.core.getipython import get_ipython

        from . import state

        shell = get_ipython()
        if shell is None or not hasattr(shell, "kernel"):
            print(self.plain())
            return
        state.follower().display(self, shell, log=True)


def live(job: Job) -> LiveJob:
    """The same job, following itself."""
    return LiveJob(job.client, job.resource)


@dataclass
class _Watch:
    """One displayed job: where it is shown and what was shown there last."""

    view: JobView
    publish: Any
    display_id: str
    context: contextvars.Context
    log: bool
    attempt: int = 0
    """Whose log ``offset`` and ``tail`` are of: offsets count within one."""
    offset: int = 0
    tail: bytes = b""
    shown: tuple[Any, ...] = ()
    shown_at: float = 0.0
    ended: bool = False
    notes: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while what is shown changes: the cell's own thread may finish it while the follower has older news."""

    def lines(self) -> list[str]:
        """The last lines of the log, as a person would see them on a terminal, and what is to be noted."""
        if not self.log:
            return self.notes
        found = [
            cut(plain(without_escapes(line.rstrip("\r").rsplit("\r", 1)[-1])), _LINE_WIDTH)
            for line in self.tail.decode("utf-8", "replace").rstrip("\n").split("\n")
        ]
        return ([line for line in found if line.strip()][-_LINES:] if self.tail else []) + self.notes

    def show(self, update: bool = True) -> None:
        """Publish what is known, if it differs from what is shown."""
        lines = self.lines()
        status = self.view.status
        now = (self.view.phase, self.view.reason, status.get("position"), status.get("waitingFor"), *lines)
        now += (self.view.progress_text(),)
        if update and now == self.shown and time.monotonic() - self.shown_at < _CLOCK_SECONDS and not self.ended:
            return
        self.shown, self.shown_at = now, time.monotonic()
        bundle = self.view.mimebundle(lines, log_below=not self.log)
        assert MIME in bundle
        transient = {"display_id": self.display_id}
        self.context.run(self.publish, data=bundle, metadata={}, transient=transient, update=update)

    def tell(self, view: JobView) -> None:
        """Show the news, unless the end is shown already."""
        with self.lock:
            if not self.ended:
                self.view, self.ended = view, view.finished
                self.show()

    def give_up(self, note: str) -> None:
        """Show what is known for the last time, with a note."""
        with self.lock:
            if not self.ended:
                self.notes, self.ended = [note], True
                self.show()

    def finish(self, view: JobView) -> None:
        """Show ``view``, the last there is to know, at once."""
        with self.lock:
            self.view, self.ended = JobView(view.resource), True
            self.show()


class Follower:
    """Keeps displays up to date. ``display`` is for the main thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: list[_Watch] = []
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        atexit.register(self._stop.set)

    def display(self, job: Job, shell: Any, *, log: bool) -> _Watch:
        """Show the job here, and go on showing it until it ends. ``log``: with its last lines; else whoever asks
        prints the log below it, and the card need not show it once more."""
        watch = _Watch(
            JobView(job.resource),
            shell.display_pub.publish,
            f"trainjob-{uuid.uuid4().hex}",
            contextvars.copy_context(),
            log,
        )
        watch.show(update=False)
        with self._lock:
            self._watches.append(watch)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, args=(job.client.clone(),), name="trainjob-follower", daemon=True
                )
                self._thread.start()
        return watch

    def _run(self, client: Client) -> None:
        client.session.notice = None
        try:
            with client:
                self._follow(client)
        finally:  # also after an accident: the next job that is displayed starts another
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _follow(self, client: Client) -> None:
        away = 0.0
        while not self._stop.is_set():
            with self._lock:
                self._watches = [watch for watch in self._watches if not watch.ended]
                watches = list(self._watches)
                if not watches:
                    self._thread = None
                    return
            lost = False
            for watch in watches:
                try:
                    self._look(client, watch)
                except ConnectionLost:
                    lost = True
                    break  # the others would be as long without an answer
                except (Unavailable, ServerError, TooMany):
                    lost = True
                except TrainJobError as error:  # the server refuses what it allowed before
                    watch.give_up(f"No longer followed: {error}")
                except Exception as error:  # with one card, not with the others
                    _give_up(watch, error)
            away = min(max(away * 2, _AWAY_SECONDS[0]), _AWAY_SECONDS[1]) if lost else 0.0
            self._stop.wait(away or max(_PASS_SECONDS, _PER_JOB_SECONDS * len(watches)))

    def _look(self, client: Client, watch: _Watch) -> None:
        try:
            job = client.job(watch.view.uid, watch.view.namespace)
        except NotFound:
            watch.give_up("It was deleted.")
            return
        if watch.log and job.phase != "Queued":
            self._read(client, watch, job)
        watch.tell(JobView(job.resource))

    def _read(self, client: Client, watch: _Watch, view: JobView) -> None:
        attempt = int(view.attempt.get("number") or 0)
        if attempt != watch.attempt:
            watch.attempt, watch.offset, watch.tail = attempt, 0, b""
        size = int((view.status.get("log") or {}).get("size") or 0)
        start = max(watch.offset, size - _TAIL_BYTES)
        try:
            asked = logs.read(client.session, view.namespace, view.uid, start, limit=65536, attempt=attempt or None)
            chunk = client.transport.run(asked)
        except NotFound:
            return
        watch.tail = (watch.tail + chunk.data if start == watch.offset else chunk.data)[-_TAIL_BYTES:]
        watch.offset = chunk.next_offset


def _give_up(watch: _Watch, accident: Exception) -> None:
    """Tell the accident on the card; where that can't be shown either, as any thread's."""
    try:
        watch.give_up(f"No longer followed: {type(accident).__name__}: {accident}")
    except Exception as error:
        told = (type(error), error, error.__traceback__, threading.current_thread())
        threading.excepthook(threading.ExceptHookArgs(told))
