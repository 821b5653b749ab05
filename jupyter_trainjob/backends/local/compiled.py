"""What the runner's own code for Scala's kernels is compiled into, outside of the jobs, which only read it."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from . import process
from .folder import Folder, try_lock
from .runtime import Runtime, package_folder
from .sandbox import LAUNCH_ENV, RUNNER, Bwrap, confined_argv, outermost, parents
from .spawn import write_etc

log = logging.getLogger(__name__)
LANGUAGES = ("scala",)
AGAIN_SECONDS = 600.0
"""After so long it is looked whether there is something to be made for kernels that are new, or were changed."""
_NICE = 10
_NOWHERE = "/nonexistent"
_MAKER = os.path.join("languages", "scalajar.py")
_DRAFTS = "making-*"
_TOLD_BYTES = 2000
_LOOK_SECONDS = 0.1
_END_SECONDS = 5.0
"""So long the maker has to end what it has started and to tidy up; then all of it is killed."""


class Compiled:
    """The folder ``path``, filled by the runner's ``languages/scalajar.py`` in a process of its own.

    That runs no code but ours and the installed kernel's. Where there is a ``bwrap`` it sees no more than a job does,
    writes into ``path`` alone, and what listens of Spark can be reached by nobody.

    No job waits for it: until it is done, the kernel compiles our code itself.
    """

    def __init__(self, path: str, runtime: Runtime, bwrap: Bwrap | None = None) -> None:
        self.path = os.path.realpath(path)  # the JVM remembers where it lies
        self._runtime = runtime
        self._bwrap = bwrap
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
        environment = {
            **LAUNCH_ENV,
            "PATH": os.pathsep.join([os.path.dirname(self._runtime.python), LAUNCH_ENV["PATH"]]),
            "HOME": _NOWHERE,
            "JUPYTER_PATH": self._runtime.jupyter_path,
        }
        try:
            with tempfile.TemporaryFile() as out, tempfile.TemporaryDirectory(prefix="trainjob-") as own:
                command = self._command(environment, own)
                child = subprocess.Popen(
                    ["nice", "-n", str(_NICE), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=LAUNCH_ENV if self._bwrap else environment,
                    cwd="/",
                    start_new_session=True,
                )
                try:
                    while child.poll() is None and not self._stopping.wait(_LOOK_SECONDS):
                        pass
                finally:
                    _end(child)
                    if self._stopping.is_set():
                        self._tidy()
                out.seek(max(0, os.fstat(out.fileno()).st_size - _TOLD_BYTES))
                told = out.read().decode("utf-8", "replace").strip()
        except OSError as error:
            told, failed = str(error), True
        else:
            failed = child.returncode != 0
        if failed and not self._stopping.is_set():
            self._tell(f"our code for their kernel can't be compiled beforehand: {told}")

    def _command(self, environment: dict[str, str], own: str) -> list[str]:
        """The maker's; ``own`` is a folder for what only its sandbox needs."""
        if self._bwrap is None:
            return [self._runtime.python, "-I", os.path.join(package_folder(), "runner", _MAKER), self.path]
        write_etc(Folder(own), 1000)
        argv = [self._bwrap.path, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
        argv += ["--unshare-cgroup-try", "--hostname", "job", "--die-with-parent", "--new-session"]
        argv += confined_argv(self._bwrap, environment)
        argv += ["--tmpfs", "/tmp"]
        shown = outermost(list(self._runtime.binds))
        for folder in parents([*shown, RUNNER, self.path]):
            argv += ["--dir", folder]
        for path in shown:
            argv += ["--ro-bind", path, path]
        for name in ("passwd", "group", "hosts"):
            argv += ["--ro-bind", os.path.join(own, "etc", name), f"/etc/{name}"]
        for name in ("__init__.py", "_version.py", "runner"):
            argv += ["--ro-bind", os.path.join(package_folder(), name), os.path.join(os.path.dirname(RUNNER), name)]
        argv += ["--bind", self.path, self.path, "--chdir", "/", "--remount-ro", "/", "--"]
        return [*argv, self._runtime.python, "-I", os.path.join(RUNNER, _MAKER), self.path]

    def _tidy(self) -> None:
        """What a maker began that was ended with its sandbox, a moment ago; not while another server's has the lock."""
        until = time.monotonic() + _END_SECONDS
        while (lock := try_lock(os.path.join(self.path, "lock"))) is None and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        if lock is not None:
            try:
                for draft in Path(self.path).glob(_DRAFTS):
                    shutil.rmtree(draft, ignore_errors=True)
            finally:
                os.close(lock)

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
