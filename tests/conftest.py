"""Fixtures for all rooms.

- ``jp_server_config``: pytest-jupyter's server has our extension enabled
- ``free_port``: a TCP port on loopback that was free a moment ago
- ``jupyter_servers``: starts real Jupyter servers with the installed extension, each in a home of its own
- ``soak``: whether ``--soak`` was asked for: seeded tests then try more, or for longer
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def soak(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("--soak"))


@pytest.fixture
def jp_server_config(jp_server_config: dict[str, object]) -> dict[str, object]:
    return {"ServerApp": {"jpserver_extensions": {"jupyter_trainjob": True}}}


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def free_port() -> int:
    return a_free_port()


@dataclass
class JupyterServer:
    """A ``jupyter lab`` (or ``notebook``) as a user starts it: own process, own home, the extension as installed."""

    home: Path
    port: int
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    options: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    application: str = "jupyterlab"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def root(self) -> Path:
        """The folder that it shows."""
        return self.home / "notebooks"

    @property
    def environment(self) -> dict[str, str]:
        """Of the server, and of a kernel or terminal beside it: the user's own folders lie in ``home``."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if key == "JUPYTER_PATH" or not key.startswith(("JUPYTER", "IPYTHON", "XDG_"))
        }
        return {
            **kept,
            "HOME": str(self.home),
            "JUPYTER_CONFIG_DIR": str(self.home / "config"),
            "JUPYTER_DATA_DIR": str(self.home / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.home / "runtime"),
            "IPYTHONDIR": str(self.home / "ipython"),
        }

    def start(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", self.application, "--no-browser", "--allow-root", f"--port={self.port}"]
        command += [
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self.token}",
            f"--notebook-dir={self.root}",
        ]
        command += ["--LocalBackendSettings.warm_memory=0"]  # what these tests watch shall not start more than they ask
        command += ["--LabApp.expose_app_in_browser=True", *self.options]
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, cwd=self.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                self.get("trainjob/api/v1/me")
            except urllib.error.HTTPError:
                break  # the server is there, the extension is not
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"the server did not come up:\n{self.log()[-6000:]}")

    def get(self, path: str) -> dict[str, object]:
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, object] = json.load(answer)
            return found

    def log(self) -> str:
        return (self.home / "server.log").read_text("utf-8", "replace")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)


@pytest.fixture(scope="session")
def jupyter_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., JupyterServer]]:
    """Call it for a new server (options as on the command line); all are stopped at the end.

    ``application``: the module to start, ``jupyterlab`` or ``notebook``.
    """
    started: list[JupyterServer] = []

    def start(*options: str, application: str = "jupyterlab") -> JupyterServer:
        home = tmp_path_factory.mktemp("jupyter")
        server = JupyterServer(home, a_free_port(), options=list(options), application=application)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()
