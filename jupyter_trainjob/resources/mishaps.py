"""Errors that come again until somebody acts: a full disk is one line a minute in the log, not a flood of tracebacks.

Standard library only.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

EVERY_SECONDS = 60.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SQLITE_FULL = (13, 4874)
"""SQLITE_FULL, and what a shared-memory file that can't grow is told as."""
_POSTGRESQL_FULL = "53100"


class _Told:
    """When a full disk was last told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = float("-inf")

    def due(self) -> bool:
        """Whether it is time to tell it again; then the time begins anew."""
        with self._lock:
            now = time.monotonic()
            if now - self._at < EVERY_SECONDS:
                return False
            self._at = now
            return True

    def forget(self) -> None:
        """As if it had never been told."""
        with self._lock:
            self._at = float("-inf")


told = _Told()


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk (or a used-up disk quota) is behind ``error``, whoever wrapped it."""
    return any(_is_full(one) for one in _chain(error))


def tell(log: logging.Logger | logging.LoggerAdapter[Any], what: str, error: BaseException) -> None:
    """Log that ``what`` failed and will be tried again: with the traceback, but a full disk as its line a minute."""
    if not is_disk_full(error):
        log.error("%s", what, exc_info=error)
    elif told.due():
        log.error("%s: the disk is full. Free some space; this is told once a minute while it lasts. (%s)", what, error)


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    if getattr(error, "sqlstate", None) == _POSTGRESQL_FULL or getattr(error, "sqlite_errorcode", None) in _SQLITE_FULL:
        return True
    return "database or disk is full" in str(error)  # Python 3.10 hides SQLite's codes


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
