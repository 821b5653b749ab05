"""What the runner's own code for Scala's kernels is compiled into, outside of the jobs, which only read it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time

from .runtime import Runtime, package_folder
from .sandbox import LAUNCH_ENV

log = logging.getLogger(__name__)
LANGUAGES = ("scala",)
AGAIN_SECONDS = 600.0
"""After so long it is looked whether there is something to be made for kernels that are new, or were changed."""
_NICE = 10
_NOWHERE = "/nonexistent"
_TOLD_CHARACTERS = 2000


class Compiled:
    """The folder ``path``, filled by the runner's ``languages/scalajar.py`` in a process of its own.

    No job waits for it: until it is done, the kernel compiles our code itself.
    """

    def __init__(self, path: str, runtime: Runtime) -> None:
        self.path = path
        self._runtime = runtime
        self._lock = threading.Lock()
        self._began: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def place(self, language: str) -> str:
        """The folder to show to a job in ``language``, where that has one; what is missing there begins to be made.

        Raises ``OSError`` where the folder can't be made.
        """
        if language.lower() not in LANGUAGES:
            return ""
        os.makedirs(self.path, mode=0o755, exist_ok=True)
        with self._lock:
            now = time.monotonic()
            if not self._stopped and (self._began is None or now - self._began > AGAIN_SECONDS):
                self._began = now
                threading.Thread(target=self._make, name="compiled", daemon=True).start()
        return self.path

    def stop(self) -> None:
        """Make no more. What is half made is never used."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(signal.SIGTERM)

    def _make(self) -> None:
        script = os.path.join(package_folder(), "runner", "languages", "scalajar.py")
        environment = {
            **LAUNCH_ENV,
            "PATH": os.pathsep.join([os.path.dirname(self._runtime.python), LAUNCH_ENV["PATH"]]),
            "HOME": _NOWHERE,
            "JUPYTER_PATH": self._runtime.jupyter_path,
        }
        command = ["nice", "-n", str(_NICE), self._runtime.python, "-I", script, self.path]
        try:
            with self._lock:
                if self._stopped:
                    return
                process = self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd="/",
                    start_new_session=True,
                )
            out, _ = process.communicate()
        except OSError as error:
            log.warning("Our code for Scala is not compiled beforehand: %s", error)
            return
        finally:
            self._process = None
        if process.returncode and not self._stopped:
            told = out.decode("utf-8", "replace")[-_TOLD_CHARACTERS:].strip()
            log.warning("Scala's jobs start slowly: our code for their kernel can't be compiled beforehand: %s", told)
