"""Real server processes, for the tests of ``serve`` and ``remote_url``.

``service(folder, …)`` runs ``serve_main``; ``student(folder, …)`` runs a whole ``jupyter server`` that forwards. Both
wait until they answer, and are ended by a signal as an operator would end them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START_SECONDS = 60
PREFIX = "/trainjob/api/v1"


@dataclass
class Running:
    """A server that answers."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def client(self, token: str = "", **headers: str) -> httpx.Client:
        if token:
            headers["Authorization"] = f"token {token}"
        return httpx.Client(base_url=self.url + PREFIX, headers=headers, timeout=40, trust_env=False)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Nothing of the one who runs the tests gets in: no configuration, no tokens, no proxies."""
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
    folders = {
        name: str(folder / name.lower())
        for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    return kept | folders | {"JUPYTER_PREFER_ENV_PATH": "0", "PYTHONWARNINGS": "default"} | more


@contextmanager
def running(
    command: list[str], folder: Path, path: str, port: int, env: dict[str, str], until: str = ""
) -> Iterator[Running]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "home").mkdir(exist_ok=True)
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT)
    found = Running(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait(found, path, until)
        yield found
    finally:
        found.stop()


def _wait(server: Running, path: str, until: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise AssertionError(f"the server ended with {server.process.returncode}:\n{server.log.read_text()}")
        try:
            httpx.get(server.url + path, timeout=2, trust_env=False)
            if until in server.log.read_text():
                return
            time.sleep(0.05)
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not answer in {START_SECONDS} s:\n{server.log.read_text()}")


RUN = "import sys; from jupyter_trainjob.api.serve import serve_main; sys.exit(serve_main(sys.argv[1:]))"


def service(folder: Path, token_file: Path | None, *options: str, port: int = 0) -> AbstractContextManager[Running]:
    port = port or free_port()
    command = [
        sys.executable,
        "-c",
        RUN,
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--allow-root",
        *([f"--token-file={token_file}"] if token_file else []),
        "--LocalBackendSettings.warm_memory=0",
        f"--TrainJobExtension.data_dir={folder / 'data'}",
        *options,
    ]
    return running(command, folder, PREFIX + "/healthz", port, environment(folder), "runs the controllers")


def student(folder: Path, remote_url: str, remote_token: str, *options: str) -> AbstractContextManager[Running]:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "jupyter_server",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--allow-root",
        "--no-browser",
        "--ServerApp.jpserver_extensions={'jupyter_trainjob': True}",
        "--IdentityProvider.token=local-secret",
        f"--TrainJobExtension.remote_url={remote_url}",
        "--LocalBackendSettings.warm_memory=0",
        f"--TrainJobExtension.data_dir={folder / 'data'}",
        *options,
    ]
    env = environment(folder, JUPYTER_TRAINJOB_REMOTE_TOKEN=remote_token)
    return running(command, folder, "/api", port, env)
