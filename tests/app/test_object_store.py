"""A server whose logs and outputs lie in a bucket: what an operator configures, and a job that goes all the way."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from traitlets import TraitError
from traitlets.config import Config

from jupyter_trainjob.app import TrainJobExtension
from jupyter_trainjob.client import Client
from jupyter_trainjob.config import ACCESS_VARIABLE, SECRET_VARIABLE, SESSION_VARIABLE, ObjectStoreSettings
from jupyter_trainjob.storage.base import StoreError
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.storage.s3 import S3Store

from ..api import processes
from ..benchmarks.server import running_server
from ..storage.servers import ACCESS, SECRET, S3Server, a_port, minio  # noqa: F401
from .test_server import is_final, submit, text_of, wait_for

THEIRS = "local-secret"  # the token of a student's own server
URL = "s3+https://store.example.org:9000/jobs/ml"


def settings(**options: Any) -> ObjectStoreSettings:
    return ObjectStoreSettings(config=Config({"ObjectStoreSettings": options}))


def test_without_an_url_it_is_a_folder(tmp_path: Path) -> None:
    store = settings().make(tmp_path)
    assert store.describe() == {"type": "filesystem", "root": str(tmp_path / "objects")}
    assert isinstance(store, FilesystemStore)
    assert settings().prepare(store) == []


def test_what_is_wrong_in_the_settings_is_told_at_the_start(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("[other]\n")
    for options, problem in (
        ({"url": "https://store/bucket"}, "begins neither with s3"),
        ({"url": URL}, f"there are no keys for the store: name a credentials_file, or set {ACCESS_VARIABLE} and"),
        ({"url": URL, "credentials_file": "/not/there"}, "'/not/there' can't be read: .*No such file"),
        ({"url": URL, "credentials_file": str(keys)}, "it has no section .default."),
        ({"url": URL, "pod_url": "minio:9000"}, "'minio:9000' is no URL at which pods reach a store"),
        ({"url": URL, "download_url": "https://store/jobs"}, "'https://store/jobs' is no URL at which people reach a"),
    ):
        with pytest.raises(TraitError, match=problem):
            settings(**options).make(tmp_path)


def test_keys_in_the_environment_are_moved_where_kernels_do_not_inherit_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ((ACCESS_VARIABLE, "key"), (SECRET_VARIABLE, "secret"), (SESSION_VARIABLE, "session")):
        monkeypatch.setenv(name, value)
    store = settings(url=URL, pod_url="https://minio.trainjob:9000").make(tmp_path)
    assert isinstance(store, S3Store)
    assert not {ACCESS_VARIABLE, SECRET_VARIABLE, SESSION_VARIABLE} & set(os.environ)
    kept = tmp_path / "store-credentials"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    found = store.client.credentials.retrieve()
    assert (found.access_key, found.secret_key, found.session_token) == ("key", "secret", "session")
    assert store.describe()["credentials"] == str(kept)
    assert settings(url=URL).make(tmp_path).describe()["credentials"] == str(kept)


def test_a_missing_bucket_is_made_where_that_is_wanted(minio: S3Server, tmp_path: Path) -> None:  # noqa: F811
    options = {"url": f"s3+http://{minio.endpoint}/not-there-yet/ml", "credentials_file": minio.credentials}
    store = settings(**options).make(tmp_path)
    with pytest.raises(StoreError, match="has no bucket 'not-there-yet'"):
        settings(**options).prepare(store)
    assert settings(**options, create_bucket=True, expire_days=400).prepare(store) == []
    store.put("k", b"v")


def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
sys.modules["minio"] = None
from jupyter_trainjob.config import ObjectStoreSettings
ObjectStoreSettings(url=sys.argv[1]).make(Path(sys.argv[2]))
"""
    command = [sys.executable, "-c", code, URL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "needs the extra s3: pip install 'jupyter_trainjob[s3]'" in done.stderr


@pytest.mark.slow
def test_a_cell_goes_all_the_way_through_a_bucket(minio: S3Server) -> None:  # noqa: F811
    store = minio.store("ml")
    options = [
        f"--ObjectStoreSettings.url={store.address.url}",
        f"--ObjectStoreSettings.credentials_file={minio.credentials}",
    ]
    code = "print('hello')\nopen('made.bin', 'wb').write(bytes(range(256)) * 40_000)\nscore = 0.5"
    with running_server(*options) as server, server.http() as http:
        path = submit(http, code, outputs={"names": ["score"]})
        job = wait_for(http, path, is_final)
        assert job["status"]["phase"] == "Succeeded", job["status"]["message"]
        assert text_of(http, path) == "hello\n"
        found = {info.key.rpartition("/1/")[2]: info.size for info in store.list("jobs/")}
        assert {"log.bytes", "log.json", "notebook.ipynb", "files/made.bin", "usage.json"} <= set(found)
        assert found["files/made.bin"] == 256 * 40_000
        assert [key for key in found if key.startswith("results/score")]
        part = http.get(f"{path}/outputs/files/made.bin", headers={"Range": "bytes=250-261"})
        assert (part.status_code, part.content) == (206, bytes([*range(250, 256), *range(6)]))
        assert part.headers["Content-Range"] == "bytes 250-261/10240000"
        assert http.get(f"{path}/outputs/files/made.bin").content == bytes(range(256)) * 40_000
        assert not (server.data_dir / "objects").exists()
        secrets = [
            file for file in server.data_dir.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()
        ]
        assert secrets == []
        assert ACCESS in Path(minio.credentials).read_text()
        assert http.delete(path).status_code in (200, 202)
        deadline = time.monotonic() + 30
        while list(store.list("jobs/")):
            assert time.monotonic() < deadline, list(store.list("jobs/"))
            time.sleep(0.1)


def sent_by(http: httpx.Client) -> float:
    """Bytes of outputs that came through the server itself."""
    (line,) = re.findall(r"^trainjob_output_served_bytes_total (\S+)$", http.get("metrics").text, re.MULTILINE)
    return float(line)


@pytest.mark.parametrize("reached", [True, False])
def test_who_may_read_a_job_is_sent_on_to_the_store_for_its_files(
    minio: S3Server,  # noqa: F811
    tmp_path: Path,
    reached: bool,
) -> None:
    store = minio.store("ml")
    people = f"http://localhost:{minio.port if reached else a_port()}"
    options = [
        f"--ObjectStoreSettings.url={store.address.url}",
        f"--ObjectStoreSettings.credentials_file={minio.credentials}",
        f"--ObjectStoreSettings.download_url={people}",
    ]
    with running_server(*options) as server, server.http() as http:
        job = wait_for(http, submit(http, "open('made.txt', 'w').write('kept')"), is_final)
        path = f"namespaces/{job['metadata']['namespace']}/trainjobs/{job['metadata']['name']}/outputs/files/made.txt"
        for headers in ({}, {"Sec-Fetch-Mode": "cors"}):
            assert http.get(path, headers=headers).text == "kept"
        assert http.head(path, headers={"Prefer": "redirect"}).headers["Content-Length"] == "4"
        assert http.get(path.replace("made", "other"), headers={"Prefer": "redirect"}).status_code == 404
        with (
            processes.student(tmp_path / "student", server.url, server.token) as student,
            student.client(THEIRS) as beyond,
        ):
            for one in (http, beyond):
                answer = one.get(path.lstrip("/"), headers={"Sec-Fetch-Mode": "navigate"})
                assert (answer.status_code, answer.headers["Referrer-Policy"]) == (307, "no-referrer")
                assert answer.headers["Location"].startswith(f"{people}/")
                if reached:
                    assert httpx.get(answer.headers["Location"], trust_env=False).text == "kept"
        before = sent_by(http)
        with Client(server.url, server.token) as client:
            (got,) = client.job(job["metadata"]["name"]).download("made.txt", to=tmp_path / "got")
            assert got.read_text() == "kept"
        assert sent_by(http) - before == (0 if reached else 4)


def test_the_records_url_in_the_environment_is_taken_where_kernels_do_not_inherit_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JUPYTER_TRAINJOB_DB_URL", "postgresql+psycopg://ada:secret@db/jobs")
    extension = TrainJobExtension(data_dir=str(tmp_path))
    assert extension.db_url == "postgresql+psycopg://ada:secret@db/jobs"
    assert "JUPYTER_TRAINJOB_DB_URL" not in os.environ
    assert TrainJobExtension(data_dir=str(tmp_path)).db_url == f"sqlite:///{tmp_path}/record.sqlite"
