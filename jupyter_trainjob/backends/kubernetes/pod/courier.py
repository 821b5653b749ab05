"""Small things for the store, on a thread of their own: the latest of each, not too often, again where it failed."""

from __future__ import annotations

import threading
import time

from ....storage.base import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

RETRY_SECONDS = 1.0
BUSY_SHARE = 10
"""A delivery that took long is not done again before ten times that."""


class _Wanted:
    """One thing that is delivered again and again."""

    def __init__(self, deliver: Callable[[], None], interval: float) -> None:
        self.deliver, self.interval = deliver, interval
        self.next = 0.0
        self.wanted = False


class Courier:
    """``register`` what there is, ``want`` it whenever it changed."""

    def __init__(self) -> None:
        self._all: dict[str, _Wanted] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    def register(self, name: str, deliver: Callable[[], None], interval_seconds: float, first: float = 0.0) -> None:
        """``deliver`` raises ``StoreError`` or ``OSError`` where it is to be tried again. ``first``: from when on."""
        with self._changed:
            self._all[name] = _Wanted(deliver, interval_seconds)
            self._all[name].next = first

    def want(self, name: str) -> None:
        """It changed."""
        with self._changed:
            if not self._all[name].wanted:
                self._all[name].wanted = True
                self._changed.notify()

    def stop(self) -> None:
        """Deliver nothing more; waits for what is on its way."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                now = time.monotonic()
                waiting = sorted((one for one in self._all.values() if one.wanted), key=lambda one: one.next)
                if not waiting or waiting[0].next > now:
                    self._changed.wait(waiting[0].next - now if waiting else None)
                    continue
                waiting[0].wanted = False
            self._deliver(waiting[0], now)

    def _deliver(self, one: _Wanted, began: float) -> None:
        try:
            one.deliver()
        except (StoreError, OSError):
            with self._changed:
                one.wanted, one.next = True, time.monotonic() + RETRY_SECONDS
            return
        took = time.monotonic() - began
        one.next = began + max(one.interval, took * BUSY_SHARE)
