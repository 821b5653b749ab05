"""Real S3 servers on loopback: MinIO, and versitygw with its posix backend.

The programs come from ``tests/cluster/build``, or lie in the folder that ``TRAINJOB_TEST_BIN`` names. Fixtures:

- ``minio``, ``versitygw``: a running server for the session
- ``s3_server``: each of them in turn
- ``full_minio``: one whose disk has room for a few objects
- ``own_minio``: one that a test may kill and start again
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from jupyter_trainjob.storage.s3 import S3Store
from jupyter_trainjob.storage.s3client import CredentialsFile, S3Address
from jupyter_trainjob.storage.s3setup import ensure_bucket

BUILD = Path(__file__).parents[1] / "cluster" / "build"
ACCESS, SECRET = "trainjob-tests", "a-secret-of-the-tests"


@cache
def program(name: str) -> str:
    """The path of a server's program; skips where it can't be had."""
    if folder := os.environ.get("TRAINJOB_TEST_BIN"):
        return str(Path(folder) / name)
    if shutil.which("go") is None:
        pytest.skip(f"{name} is built from source, and there is no Go here; or set TRAINJOB_TEST_BIN")
    done = subprocess.run([BUILD, name], stdout=subprocess.PIPE, text=True, check=True)
    return str(Path(done.stdout.split()[-1]) / name)


def a_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_credentials(path: Path, access: str = ACCESS, secret: str = SECRET) -> str:
    path.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
    path.chmod(0o600)
    return str(path)


class S3Server:
    """One server with its own folder. It may be killed and started again; the port stays."""

    kind = ""

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        self.folder, self.port, self.tls = folder, a_port(), tls
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").mkdir(exist_ok=True)
        self.credentials = write_credentials(folder / "credentials")

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://{self.endpoint}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), env={"PATH": os.environ["PATH"], **self.environment()}, stdout=log, stderr=log
            )
        end = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < end, (self.folder / "server.log").read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        if self.tls:
            return True
        try:
            urllib.request.urlopen(f"{self.url}/minio/health/ready", timeout=5)
        except urllib.error.HTTPError as error:
            return error.code != 503
        except OSError:
            return False
        return True

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        while number == signal.SIGSTOP and not self._stands_still():
            time.sleep(0.01)

    def _stands_still(self) -> bool:
        """All of its threads: each stops only when it comes by."""
        assert self.process is not None
        stats = [path.read_text() for path in Path(f"/proc/{self.process.pid}/task").glob("*/stat")]
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    def kill(self) -> None:
        """As a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def address(self, bucket: str, prefix: str = "", **options: str) -> S3Address:
        scheme = "s3+https" if self.tls else "s3+http"
        return S3Address.parse(f"{scheme}://{self.endpoint}/{bucket}/{prefix}", **options)

    def store(self, prefix: str = "one", *, bucket: str = "", **options: str) -> S3Store:
        """A store in a bucket of its own."""
        name = bucket or f"b-{secrets.token_hex(6)}"
        store = S3Store(self.address(name, prefix, **options), CredentialsFile(self.credentials))
        ensure_bucket(store, create=True)
        return store


class Minio(S3Server):
    kind = "minio"
    data = ""

    def command(self) -> list[str]:
        folder = self.data or str(self.folder / "data")
        options = ["--certs-dir", str(self.folder / "certs")]
        return [program("minio"), "server", folder, "--address", self.endpoint, *options]

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "MINIO_ROOT_USER": ACCESS,
            "MINIO_ROOT_PASSWORD": SECRET,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }


class Versitygw(S3Server):
    kind = "versitygw"

    def command(self) -> list[str]:
        options = ["--health", "/minio/health/ready", "--access", ACCESS, "--secret", SECRET, "--quiet"]
        return [program("versitygw"), "--port", self.endpoint, *options, "posix", str(self.folder / "data")]

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.folder)}


def running(server: S3Server) -> Iterator[S3Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from running(Minio(tmp_path_factory.mktemp("minio")))


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from running(Versitygw(tmp_path_factory.mktemp("versitygw")))


@pytest.fixture(scope="session", params=["minio", "versitygw"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def full_minio(tmp_path: Path) -> Iterator[S3Server]:
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"can't mount a small disk here: {done.stderr.strip()}")
    server = Minio(tmp_path / "server")
    server.data = str(place)
    try:
        yield from running(server)
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def own_minio(tmp_path: Path) -> Iterator[S3Server]:
    yield from running(Minio(tmp_path / "server"))
