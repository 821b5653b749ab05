"""The image of the shared service: it starts on a read-only root and answers those who have a token."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .archives import why_not
from .boxes import Box, box

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(why_not()), reason=f"images can't be built here: {why_not()}"),
]


@pytest.fixture(scope="module")
def service() -> Iterator[Box]:
    with box("service") as found:
        yield found


def get(port: int, path: str, token: str = "") -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/trainjob/api/v1{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_it_serves(service: Box, tmp_path: Path, free_port: int) -> None:
    [*entry] = service.config["Entrypoint"]
    made = service.run(
        tmp_path, *entry, "token", "create", "--user", "ada", "--file", "/data/tokens.yaml", places=("/data",)
    )
    token = made.stdout.decode().strip()
    assert token, made.stderr
    told = [word for word in service.config["Cmd"] if not word.startswith(("--ServerApp.ip", "--ServerApp.port"))]
    words = [
        *entry,
        *told,
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={free_port}",
        "--token-file=/data/tokens.yaml",
    ]
    process = subprocess.Popen(
        service.command(tmp_path, words, network=True, places=("/data",)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                assert get(free_port, "/healthz")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < until
                time.sleep(0.2)
        assert get(free_port, "/me", token)["username"] == "ada"
        with pytest.raises(urllib.error.HTTPError, match=r"40[13]"):
            get(free_port, "/me")
    finally:
        process.terminate()
        said = process.communicate(timeout=30)[0]
    assert "Read-only file system" not in said, said
    assert "Traceback" not in said, said
    assert [path.name for path in (tmp_path / "data").glob("*.sqlite*")] or (tmp_path / "data").glob("*.db"), said


def test_it_has_what_a_cluster_a_store_and_a_database_need(service: Box, tmp_path: Path) -> None:
    done = service.run(
        tmp_path,
        "python",
        "-c",
        "import kubernetes.aio, minio, psycopg, jupyter_trainjob, jupyter_trainjob.backends.kubernetes as found\n"
        "print(jupyter_trainjob.__version__, found.__file__)",
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.split()[1] == b"/opt/trainjob/jupyter_trainjob/backends/kubernetes/__init__.py"


def test_it_holds_no_one_elses_rights(service: Box, tmp_path: Path) -> None:
    assert service.config["User"] == "1000:1000"
    done = service.run(tmp_path, "find", "/", "-xdev", "-type", "f", "-perm", "/6000")
    assert done.stdout == b""
    assert not any((service.root / "run" / "secrets").glob("*"))
