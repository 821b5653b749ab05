"""Waiting for the feed to move, whoever moves it.

One thread for each Store, which sleeps while nobody waits. While somebody does it looks after writes of other
processes: by ``PRAGMA data_version`` every 50 ms on SQLite, by LISTEN on PostgreSQL. Writes of this process are
told to it directly.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)

Callback = Callable[[bool], object]


class Source(Protocol):
    """How a database tells of other processes' writes."""

    def version(self) -> int:
        """The feed's version now."""

    def pause(self) -> None:
        """Return when the version may have moved, or after a while."""

    def close(self) -> None:
        """Give the connection back."""


class Watcher:
    """Calls back those who wait for a version beyond theirs."""

    def __init__(self, open_source: Callable[[], Source], retry_seconds: float = 1.0) -> None:
        self._open_source = open_source
        self._retry_seconds = retry_seconds
        self._condition = threading.Condition()
        self._waiting: dict[int, tuple[int, Callback]] = {}
        self._keys = itertools.count()
        self._version = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, version: int, callback: Callback) -> int:
        """Call ``callback(True)`` once the feed is beyond ``version``, ``callback(False)`` when the Store closes.

        It is called from any thread, maybe before this returns, and must be quick. The answer is a key for
        :meth:`discard`.
        """
        with self._condition:
            key = next(self._keys)
            if not (self._closed or self._version > version):
                self._waiting[key] = (version, callback)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="trainjob-feed", daemon=True)
                    self._thread.start()
                self._condition.notify_all()
                return key
            beyond = self._version > version
        callback(beyond)
        return key

    def discard(self, key: int) -> None:
        """Wait no longer."""
        with self._condition:
            self._waiting.pop(key, None)

    def moved(self, version: int) -> None:
        """The feed is at ``version`` at least."""
        with self._condition:
            self._version = max(self._version, version)
            ready = [key for key, (seen, _) in self._waiting.items() if seen < self._version]
            callbacks = [self._waiting.pop(key)[1] for key in ready]
        for callback in callbacks:
            callback(True)

    def close(self) -> None:
        """End the thread and answer those who wait."""
        with self._condition:
            self._closed = True
            callbacks = [callback for _, callback in self._waiting.values()]
            self._waiting.clear()
            self._condition.notify_all()
            thread = self._thread
        for callback in callbacks:
            callback(False)
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        source: Source | None = None
        while self._wanted():
            try:
                if source is None:
                    source = self._open_source()
                self.moved(source.version())
                if self._anyone():
                    source.pause()
            except Exception as error:  # a database that is away must not end the watch: said, and tried again
                log.warning("The feed can't be watched now, trying again in %s s: %s", self._retry_seconds, error)
                _close(source)
                source = None
                with self._condition:
                    self._condition.wait_for(lambda: self._closed, self._retry_seconds)
        _close(source)

    def _wanted(self) -> bool:
        """Sleep until somebody waits; False when it is over."""
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._closed)
            return not self._closed

    def _anyone(self) -> bool:
        with self._condition:
            return bool(self._waiting) and not self._closed


def _close(source: Source | None) -> None:
    if source is not None:
        try:
            source.close()
        except Exception as error:  # of a database that is away, and whatever it is, the watch goes on: said
            log.warning("The feed's connection did not close cleanly: %s", error)
