"""Move the job's output into its log, on a thread: a slow store slows the printing, never the watch."""

from __future__ import annotations

import os
import threading

from ...storage.logs import LogWriter

READ_BYTES = 256 * 1024


class Pump:
    """Reads ``descriptor`` to its end."""

    def __init__(self, descriptor: int, log: LogWriter) -> None:
        self._descriptor, self._log = descriptor, log
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="log-pump", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while data := os.read(self._descriptor, READ_BYTES):
            with self._lock:
                if self._stopped:
                    return
                self._log.write(data)

    def drain(self, seconds: float) -> bool:
        """Wait for the end of the output; False when it does not come (a process that can't be killed holds it)."""
        self._thread.join(seconds)
        with self._lock:
            self._stopped = True
        return not self._thread.is_alive()
