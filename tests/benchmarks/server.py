"""A real server in a process of its own, on loopback, with a data folder of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

NO_POOL = "--LocalBackendSettings.warm_memory=0"
"""A benchmark measures cold starts unless it says otherwise."""


@dataclass
class RunningServer:
    """Where it is, and how to watch it."""

    url: str
    token: str
    data_dir: Path
    process: psutil.Process
    log: Path

    def log_text(self) -> str:
        """What the server wrote."""
        return self.log.read_text(errors="replace")

    def http(self) -> httpx.Client:
        """A bare HTTP client of the API."""
        return httpx.Client(
            base_url=f"{self.url}/trainjob/api/v1/", headers={"Authorization": f"token {self.token}"}, timeout=60
        )

    def memory_bytes(self) -> int:
        """Resident memory of the server process."""
        return int(self.process.memory_info().rss)


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running_server(*options: str, prepare: object = None) -> Iterator[RunningServer]:
    """Start a server, wait until it is ready, stop it in the end. ``prepare(data_dir)`` may fill the folder before."""
    with tempfile.TemporaryDirectory(prefix="trainjob-bench-", ignore_cleanup_errors=True) as folder:
        data_dir = Path(folder) / "data"
        data_dir.mkdir()
        if callable(prepare):
            prepare(data_dir)
        port, token = free_port(), secrets.token_hex(16)
        environment = {
            **os.environ,
            "JUPYTER_CONFIG_DIR": str(Path(folder) / "config"),
            "JUPYTER_DATA_DIR": str(Path(folder) / "share"),
            "JUPYTER_RUNTIME_DIR": str(Path(folder) / "runtime"),
        }
        log = (Path(folder) / "server.log").open("wb")
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyter_server",
                "--allow-root",
                "--no-browser",
                "--ServerApp.ip=127.0.0.1",
                f"--ServerApp.port={port}",
                "--ServerApp.port_retries=0",
                f"--IdentityProvider.token={token}",
                f"--ServerApp.root_dir={folder}",
                "--ServerApp.jpserver_extensions=jupyter_trainjob=True",
                *(
                    []
                    if any("data_dir" in option for option in options)
                    else [f"--TrainJobExtension.data_dir={data_dir}"]
                ),
                *([] if any("warm_memory" in option for option in options) else [NO_POOL]),
                *options,
            ],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        server = RunningServer(
            f"http://127.0.0.1:{port}", token, data_dir, psutil.Process(process.pid), Path(folder) / "server.log"
        )
        try:
            _wait_until_ready(server, process, Path(folder) / "server.log")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise RuntimeError(f"the server did not end when told to:\n{server.log_text()[-4000:]}") from None
            finally:
                log.close()


def _wait_until_ready(server: RunningServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    with server.http() as http:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            try:
                answer = http.get("readyz")
                if answer.status_code == 200:
                    return
                if answer.status_code == 503 and "could not start" in answer.text:
                    raise RuntimeError(answer.json()["message"])
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    raise RuntimeError("the server did not come up:\n" + log.read_text(errors="replace")[-4000:])
