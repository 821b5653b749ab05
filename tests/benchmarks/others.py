"""What people use today for the same: papermill and jupyter-scheduler, in an environment of their own."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .server import free_port

WAITS = ("CREATED", "QUEUED", "IN_PROGRESS", "STOPPED")
"""What a job of jupyter-scheduler may say before it says how it ended; STOPPED is what it begins with."""
WAIT_SECONDS = 120.0
PINS = ("papermill>=2.6,<3", "jupyter-scheduler>=2.11,<3", "ipykernel>=6.29")


def environment(pins: tuple[str, ...] = PINS) -> Path:
    """Its ``bin``; made once, in the cache folder."""
    key = hashlib.sha256(repr((sys.version, pins)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "jupyter-trainjob"
    place = cache / f"others-{key}"
    if not (place / "ready").exists():
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([place / "bin/python", "-m", "pip", "install", "-q", *pins], check=True)
        (place / "ready").touch()
    return place / "bin"


def papermill_once(folder: Path, notebook: Path) -> float:
    """Wall seconds of papermill on the notebook."""
    command = [environment() / "papermill", notebook, folder / "out.ipynb", "--kernel", "python3"]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return time.perf_counter() - began


class Scheduler:
    """A server with jupyter-scheduler."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request; the answer's JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def once(self, notebook: str) -> float:
        """Seconds from creating a job to COMPLETED."""
        began = time.perf_counter()
        until = began + WAIT_SECONDS
        made = self.ask(
            "POST",
            "scheduler/jobs",
            {
                "input_uri": notebook,
                "runtime_environment_name": "others",
                "name": "one",
                "output_formats": ["ipynb"],
                "compute_type": None,
            },
        )
        while True:
            status = self.ask("GET", f"scheduler/jobs/{made['job_id']}")["status"]
            if status == "COMPLETED":
                return time.perf_counter() - began
            if status not in WAITS or time.perf_counter() > until:
                raise RuntimeError(f"jupyter-scheduler says {status}")
            time.sleep(0.02)


@contextmanager
def scheduler(folder: Path) -> Iterator[Scheduler]:
    """A server of the other environment that serves ``folder``."""
    port, token = free_port(), secrets.token_hex(16)
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "HOME")
    given = {name: str(folder / name.lower()) for name in names}
    (folder / "home").mkdir()
    for path in given.values():
        Path(path).mkdir(exist_ok=True)
    command = [environment() / "python", "-m", "jupyter_server", "--allow-root", "--no-browser"]
    command += [f"--ServerApp.port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    command += ["--ServerApp.jpserver_extensions=jupyter_scheduler=True"]
    command += [
        "--SchedulerApp.environment_manager_class=jupyter_scheduler.environments.StaticEnvironmentManager",
    ]
    with (folder / "scheduler.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **given}, cwd=folder, stdout=log, stderr=log)
        found = Scheduler(f"http://127.0.0.1:{port}", token)
        try:
            until = time.monotonic() + 60
            while True:
                try:
                    found.ask("GET", "scheduler/jobs")
                    break
                except OSError:
                    if time.monotonic() > until or process.poll() is not None:
                        raise
                    time.sleep(0.2)
            yield found
        finally:
            process.terminate()
            process.wait(30)
