"""What the runner's own code for Scala's kernels is compiled into, outside of the jobs, which only read it."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import threading
import time

from . import process
from .runtime import Runtime, package_folder
from .sandbox import LAUNCH_ENV

log = logging.getLogger(__name__)
LANGUAGES = ("scala",)
AGAIN_SECONDS = 600.0
"""After so long it is looked whether there is something to be made for kernels that are new, or were changed."""
_NICE = 10
_NOWHERE = "/nonexistent"
_TOLD_BYTES = 2000
_LOOK_SECONDS = 0.1
_END_SECONDS = 5.0
"""So long the maker has to end what it has started and to tidy up; then all of it is killed."""


class Compiled:
    """The folder ``path``, filled by the runner's ``languages/scalajar.py`` in a process of its own.

    No job waits for it: until it is done, the kernel compiles our code itself.
    """

    def __init__(self, path: str, runtime: Runtime) -> None:
        self.path = path
        self._runtime = runtime
        self._lock = threading.Lock()
        self._began: float | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._told = ""

    def place(self, language: str) -> str:
        """The folder to show to a job in ``language``, where that has one; what is missing there begins to be made."""
        if language.lower() not in LANGUAGES:
            return ""
        try:
            os.makedirs(self.path, mode=0o755, exist_ok=True)
        except OSError as error:
            self._tell(f"the folder {self.path} can't be made: {error.strerror}")
            return ""
        with self._lock:
            now = time.monotonic()
            busy = self._thread is not None and self._thread.is_alive()
            if not busy and not self._stopping.is_set() and (self._began is None or now - self._began > AGAIN_SECONDS):
                self._began = now
                self._thread = threading.Thread(target=self._make, name="compiled", daemon=True)
                self._thread.start()
        return self.path

    def stop(self) -> None:
        """Make no more, and leave nothing of it running. Blocks, for seconds at most. What is half made is not used."""
        with self._lock:
            self._stopping.set()
            thread = self._thread
        if thread is not None:
            thread.join(2 * _END_SECONDS)

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
            with tempfile.TemporaryFile() as out:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd="/",
                    start_new_session=True,
                )
                try:
                    while child.poll() is None and not self._stopping.wait(_LOOK_SECONDS):
                        pass
                finally:
                    _end(child)
                out.seek(max(0, os.fstat(out.fileno()).st_size - _TOLD_BYTES))
                told = out.read().decode("utf-8", "replace").strip()
        except OSError as error:
            told, failed = str(error), True
        else:
            failed = child.returncode != 0
        if failed and not self._stopping.is_set():
            self._tell(f"our code for their kernel can't be compiled beforehand: {told}")

    def _tell(self, problem: str) -> None:
        """The operator, once."""
        if problem != self._told:
            self._told = problem
            log.warning("Scala's jobs start slowly: %s", problem)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let the maker end its kernel and itself; if it does not, kill all that is below it."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        for pid in reversed(process.tree(child.pid)):
            process.kill_quietly(pid)
        child.wait()
