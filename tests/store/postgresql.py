"""A real PostgreSQL for a test run, from the binaries that Debian's ``postgresql`` package brings.

``TRAINJOB_TEST_POSTGRES_URL`` names a server (a database that the tests may fill) to use instead.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

OVERRIDE = "TRAINJOB_TEST_POSTGRES_URL"
START_SECONDS = 60


@contextmanager
def running_server() -> Iterator[str]:
    """The URL of a server that is stopped, and whose folder is removed, at the end."""
    if url := os.environ.get(OVERRIDE):
        yield url
        return
    programs = binaries()
    identity = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="trainjob-pg-"))  # short: a socket's path has 107 characters at most
    try:
        if identity:
            os.chown(folder, identity["user"], identity["group"])
        data = folder / "data"
        initdb = [programs / "initdb", "-D", data, "-U", "trainjob", "-A", "trust", "-E", "UTF8", "--no-sync"]
        _run([*initdb, "--locale=C.UTF-8"], folder, identity)
        port = _free_port()
        options = {
            "unix_socket_directories": folder,
            "listen_addresses": "127.0.0.1",
            "port": port,
            "fsync": "off",
            "max_connections": 200,
        }
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *settings], cwd=folder, stdout=log, stderr=log, **identity
            )
        try:
            _wait_until_ready(programs, folder, port, server)
            yield f"postgresql+psycopg://trainjob@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(30)
    finally:
        shutil.rmtree(folder)


def binaries() -> Path:
    """The folder of its programs; skips where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip(f"no PostgreSQL: install Debian's 'postgresql' package, or set {OVERRIDE}")
    return found[-1].parent


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: arguments for Popen that make it somebody else."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return pytest.skip("PostgreSQL can't run as root, and there is neither a user 'postgres' nor 'nobody'")


def _run(command: list[Any], folder: Path, identity: dict[str, Any]) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, **identity)
    assert done.returncode == 0, done.stdout + done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_until_ready(programs: Path, folder: Path, port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    ask = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ask).returncode != 0:
        assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.1)
