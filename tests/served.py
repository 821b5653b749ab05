"""A real Jupyter server with the extension, in a process of its own, on loopback, that tests may stop and start again.

``served`` (a session fixture; import it in a conftest) runs one with its own folders. Jobs run for real.
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
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jupyter_trainjob.client import Client


class Served:
    """One server. ``environment`` is what a process of the same person would have."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.token = secrets.token_hex(16)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/base/"
        self.root = folder / "root"
        self.root.mkdir()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if key == "JUPYTER_PATH" or not key.startswith(("JUPYTER", "TRAINJOB", "IPYTHON"))
        }
        return {
            **kept,
            "JUPYTER_CONFIG_DIR": str(self.folder / "config"),
            "JUPYTER_DATA_DIR": str(self.folder / "share"),
            "JUPYTER_RUNTIME_DIR": str(self.folder / "runtime"),
            "IPYTHONDIR": str(self.folder / "ipython"),
            "JUPYTER_PLATFORM_DIRS": "1",
            "PYTHONWARNINGS": "default",
        }

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser"),
                    "--ServerApp.ip=127.0.0.1",
                    f"--ServerApp.port={self.port}",
                    "--ServerApp.port_retries=0",
                    "--ServerApp.base_url=/base/",
                    f"--IdentityProvider.token={self.token}",
                    f"--ServerApp.root_dir={self.root}",
                    "--ServerApp.jpserver_extensions=jupyter_trainjob=True",
                    "--LocalBackendSettings.warm_memory=0",
                    f"--TrainJobExtension.data_dir={self.folder / 'data'}",
                    "--TrainJobExtension.namespaces=course",
                    *self.options,
                ],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"{self.url}trainjob/api/v1/readyz", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()  # its fixture never got as far as to stop it
                raise RuntimeError((self.folder / "server.log").read_text()[-4000:])
            time.sleep(0.1)

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def client(self, **arguments: object) -> Client:
        return Client(self.url, self.token, **arguments)

    def info_file(self) -> dict[str, object]:
        """What the running-server file says."""
        found = list((self.folder / "runtime").glob("jpserver-*.json"))
        return dict(json.loads(found[0].read_text()))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("served"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with served.client() as made:
        yield made
