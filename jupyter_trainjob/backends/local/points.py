"""The points that the code logged (``out/metrics.tsv``), brought into the store while they come.

The file is the job's own and may be anything: it is opened anew each time, without following links, and what is in it
is bytes here. Who reads them leaves out what is no point.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

from ...storage.base import ObjectStore, StoreError
from ...storage.loglayout import as_found
from ...storage.logs import LogWriter
from .folder import Folder
from .openup import open_folder

NAME = "metrics.tsv"
CAP_BYTES = 256 * 2**20
"""Some five million points; beyond, the first and the last half are kept."""
INTERVAL_SECONDS = 0.5
READ_BYTES = 1024 * 1024
CLOSE_SECONDS = 30.0


class PointsPump:
    """Follows the file, from where an earlier one left off; on a thread: a slow store never holds up the watch."""

    def __init__(self, store: ObjectStore, prefix: str, folder: Folder) -> None:
        self._store, self._prefix = store, f"{prefix}metrics/"
        self._out, self._spool = folder.file("out"), Path(folder.file("metrics.spool"))
        self._writer: LogWriter | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._next = 0.0

    def look(self, now: float) -> None:
        """Begin to follow once there is something; called often."""
        if self._thread is None and now >= self._next:
            self._next = now + INTERVAL_SECONDS
            if os.path.lexists(os.path.join(self._out, NAME)):
                self._thread = threading.Thread(target=self._run, name="points-pump", daemon=True)
                self._thread.start()

    def finish(self) -> str:
        """Bring the rest and close; why not, or empty. Called when nothing writes into the file any more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self._follow()
            if self._writer is not None:
                self._writer.close(CLOSE_SECONDS)
        except Exception as error:  # whatever befell the writer's thread: the exit record is to come all the same
            what = str(error) if isinstance(error, StoreError | OSError) else repr(error)
            return f"The end of the logged metrics could not be stored: {what}"
        return ""

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            try:
                self._follow()
            except (StoreError, OSError):
                continue  # the end tries again, and tells

    def _follow(self) -> None:
        """Read on to the end that the file has now."""
        if self._writer is None:
            if not self._read(0) or (known := as_found(self._store, self._prefix)).complete:
                return
            make = LogWriter.resume if known.size else LogWriter
            self._writer = make(self._store, self._prefix, cap_bytes=CAP_BYTES, spool=self._spool)
        while data := self._read(self._writer.size):
            self._writer.write(data)

    def _read(self, offset: int) -> bytes:
        try:
            folder = open_folder(self._out)
        except FileNotFoundError:
            return b""
        try:
            descriptor = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            return b""
        finally:
            os.close(folder)
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                return b""
            if info.st_nlink > 1:  # a hard link could be another's file
                raise OSError(errno.EMLINK, f"{NAME} has several names (hard links)")
            return os.pread(descriptor, READ_BYTES, offset)
        finally:
            os.close(descriptor)


def remark(problem: str) -> dict[str, str] | None:
    """The standing remark about points that did not come home."""
    if not problem:
        return None
    return {"type": "MetricsComplete", "status": "False", "reason": "StoreAway", "message": problem}
