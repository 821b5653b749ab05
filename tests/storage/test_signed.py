"""What a pod may do with its signatures, and what it may not, on real servers."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.storage import signed
from jupyter_trainjob.storage.base import CHUNK_BYTES, KeyMissing, StoreError, open_store
from jupyter_trainjob.storage.s3 import S3Store
from jupyter_trainjob.storage.signed import Expired, NotAllowed, SignedStore, open_reading, open_signed, post_form

from .proxy import before, once
from .servers import S3Server

PREFIX = "jobs/u/1/"


def credentials(store: S3Store, *reads: str, seconds: int = 60, max_bytes: int = 64 << 20) -> dict[str, Any]:
    expires = int(time.time()) + seconds
    gets = {key: {"url": store.sign_get(key, seconds), "expires": expires} for key in reads}
    return {"post": store.sign_post(PREFIX, seconds, max_bytes), "gets": gets}


@pytest.fixture
def store(s3_server: S3Server) -> S3Store:
    return s3_server.store("one")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "credentials.json"


@pytest.fixture
def pod(store: S3Store, path: Path) -> SignedStore:
    path.write_text(json.dumps(credentials(store)))
    return SignedStore(str(path))


class Unseekable:
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


def test_a_pod_puts_below_its_prefix_whatever_it_has(store: S3Store, pod: SignedStore, tmp_path: Path) -> None:
    data = os.urandom(3 * CHUNK_BYTES + 5)
    (tmp_path / "file").write_bytes(data)
    for key, source in (("bytes", data), ("empty", b""), ("stream", Unseekable(data)), ("ü/日本語 +%&;\"'.bin", data)):
        assert pod.put(PREFIX + key, source, durable=False).size == len(source if isinstance(source, bytes) else data)
        assert store.get(PREFIX + key) == (source if isinstance(source, bytes) else data)
    with (tmp_path / "file").open("rb") as file:
        file.seek(7)
        assert pod.put(f"{PREFIX}rest", file).size == len(data) - 7
    assert store.get(f"{PREFIX}rest") == data[7:]
    pod.put(f"{PREFIX}bytes", b"new")
    assert store.get(f"{PREFIX}bytes") == b"new"


def test_other_prefixes_are_refused_here_and_there(store: S3Store, pod: SignedStore) -> None:
    for key in ("jobs/u/2/log", "jobs/v/1/x", "blobs/ada/x"):
        with pytest.raises(NotAllowed, match="this job may store only below 'jobs/u/1/'"):
            pod.put(key, b"")
        with pytest.raises(NotAllowed, match=r"the object store at .* refuses it \(AccessDenied"):
            post_form(store.sign_post(PREFIX, 60, 1000), f"one/{key}", b"x")
    with pytest.raises(ValueError, match="is no object key"):
        pod.put(f"{PREFIX}../2/x", b"")
    assert list(store.list("")) == []


def test_minio_lets_no_key_leave_its_prefix(minio: S3Server) -> None:
    store = minio.store("one")
    form = store.sign_post(PREFIX, 60, 1000)
    for name in ("../2/x", "a/../../2/x", "./x", "..", "a//../../2/x"):
        with pytest.raises(NotAllowed, match="refuses it"):
            post_form(form, f"one/{PREFIX}{name}", b"x")
    assert list(store.list("")) == []


def test_too_many_bytes_are_refused_here_and_there(store: S3Store, path: Path) -> None:
    path.write_text(json.dumps(credentials(store, max_bytes=1000)))
    pod = SignedStore(str(path))
    pod.put(f"{PREFIX}fits", b"x" * 1000)
    with pytest.raises(NotAllowed, match="it has 1001 bytes; 1000 are allowed"):
        pod.put(f"{PREFIX}large", b"x" * 1001)
    for size in (1001, 5_000_000):
        with pytest.raises(NotAllowed, match=r"refuses it .*EntityTooLarge"):
            post_form(store.sign_post(PREFIX, 60, 1000), f"one/{PREFIX}large", b"x" * size)
    assert [info.key for info in store.list("")] == [f"{PREFIX}fits"]


def test_who_waits_for_an_object_asks_on_one_connection(minio: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store, opened, begin = minio.store("one"), [], signed._Line.__init__
    monkeypatch.setattr(signed._Line, "__init__", lambda self, *args: (opened.append(self), begin(self, *args))[1])
    signs = {"later": {"url": store.sign_get("later", 60), "expires": int(time.time()) + 60}}
    pod = open_reading(signs)
    for _ in range(5):
        with pytest.raises(KeyMissing):
            pod.get("later")
    store.put("later", b"now")
    assert pod.get("later") == b"now" and len(opened) == 1
    with pytest.raises(KeyMissing):
        pod.get("other")


def test_signatures_end_and_are_renewed(store: S3Store, path: Path) -> None:
    store.put("input", b"in")
    path.write_text(json.dumps(credentials(store, "input", seconds=1)))
    pod = SignedStore(str(path))
    time.sleep(2.1)
    for call in (lambda: pod.put(f"{PREFIX}k", b""), lambda: pod.get("input")):
        with pytest.raises(Expired, match=r"the signature for it is over .* The server renews it"):
            call()
    renewed = path.with_name("new")
    renewed.write_text(json.dumps(credentials(store, "input")))
    renewed.replace(path)
    pod.put(f"{PREFIX}k", b"")
    assert pod.get("input") == b"in"


def test_a_form_that_was_changed_is_refused(store: S3Store) -> None:
    form = store.sign_post(PREFIX, 60, 1000)
    other = store.sign_post("jobs/v/1/", 60, 1000)
    mixed = {**form, "fields": {**form["fields"], "policy": other["fields"]["policy"]}}
    with pytest.raises(NotAllowed, match="refuses it"):
        post_form(mixed, "one/jobs/v/1/x", b"x")


def test_a_pod_reads_what_was_signed_for_it_and_nothing_else(store: S3Store, path: Path) -> None:
    data = os.urandom(2 * CHUNK_BYTES + 5)
    store.put("blobs/a", data)
    store.put("blobs/b", b"secret")
    store.put("blobs/empty", b"")
    path.write_text(json.dumps(credentials(store, "blobs/a", "blobs/gone", "blobs/empty")))
    pod = open_store(SignedStore(str(path)).describe())
    assert pod.get("blobs/a") == data
    assert pod.get("blobs/a", 5, 10) == data[5:10]
    assert pod.get("blobs/a", len(data) - 3, len(data) + 9) == data[-3:]
    assert pod.get("blobs/a", len(data)) == pod.get("blobs/a", 7, 7) == pod.get("blobs/empty") == b""
    assert (pod.stat("blobs/a").size, pod.stat("blobs/empty").size) == (len(data), 0)
    with pod.open("blobs/a") as chunks:
        next(chunks)
    for key in ("blobs/b", "blobs/gone"):
        with pytest.raises(KeyMissing):
            pod.get(key)
    url = json.loads(path.read_text())["gets"]["blobs/a"]["url"]
    wrong = {"url": url.replace("blobs/a", "blobs/b"), "expires": 9e9}
    stolen = open_signed(store.sign_post(PREFIX, 60, 1), gets={"b": wrong})
    with pytest.raises(NotAllowed, match="SignatureDoesNotMatch"):
        stolen.get("b")


def test_pods_may_see_the_server_at_another_address(minio: S3Server) -> None:
    with before(minio.port) as proxy:
        store = minio.store("one", public=f"http://127.0.0.1:{proxy.port}")
        store.put("k", b"v")
        known = credentials(store, "k")
        assert f":{proxy.port}/" in known["post"]["url"] and f":{proxy.port}/" in known["gets"]["k"]["url"]
        pod = open_signed(known["post"], gets=known["gets"])
        assert pod.get("k") == b"v"
        pod.put(f"{PREFIX}k", b"w")
    assert store.get(f"{PREFIX}k") == b"w"


def test_what_breaks_on_the_way_is_sent_again(minio: S3Server) -> None:
    with before(minio.port) as proxy:
        store = minio.store("one", public=f"http://127.0.0.1:{proxy.port}")
        pod = open_signed(store.sign_post(PREFIX, 60, 64 << 20))
        data = os.urandom(5_000_000)
        for number, (sent, answered) in enumerate(
            [(once(lambda piece: None), proxy.answered), (proxy.sent, once(lambda piece: None))]
        ):
            proxy.sent, proxy.answered = sent, answered
            pod.put(f"{PREFIX}{number}", Unseekable(data))
            assert store.get(f"{PREFIX}{number}") == data


def test_a_file_that_shrinks_while_it_is_sent_is_told(store: S3Store, pod: SignedStore) -> None:
    class Shrinks(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(size)[:0] if self.tell() > 100_000 else super().read(size)

    with pytest.raises(NotAllowed, match=r"it became .* bytes shorter while it was sent"):
        pod.put(f"{PREFIX}k", Shrinks(bytes(1_000_000)))
    assert not store.exists(f"{PREFIX}k")


def test_a_server_that_is_away_is_told_and_waited_for(own_minio: S3Server) -> None:
    pod = open_signed(own_minio.store("one").sign_post(PREFIX, 60, 1000))
    pod.put(f"{PREFIX}k", b"x")
    own_minio.kill()
    with pytest.raises(StoreError, match=r"can't be reached|broke") as caught:
        pod.put(f"{PREFIX}k", b"y")
    assert not isinstance(caught.value, (Expired, NotAllowed))
    own_minio.start()
    pod.put(f"{PREFIX}k", b"y")


def test_credentials_that_are_none_are_told(path: Path) -> None:
    for text, problem in (("{", "Expecting property name"), ('{"post": {}, "gets": {}}', "KeyError.'url'")):
        path.write_text(text)
        with pytest.raises(StoreError, match=f"The credentials in .* can't be read: .*{problem}"):
            SignedStore(str(path)).put(f"{PREFIX}k", b"")


def test_what_a_pod_can_not_do_is_said(pod: SignedStore) -> None:
    for call in (lambda: pod.delete("k"), lambda: pod.list(""), lambda: pod.put(f"{PREFIX}k", b"", if_absent=True)):
        with pytest.raises(NotImplementedError, match="a pod can't"):
            call()


def test_it_needs_the_standard_library_only_and_little_memory(minio: S3Server, path: Path, tmp_path: Path) -> None:
    store = minio.store("one")
    path.write_text(json.dumps(credentials(store, max_bytes=1 << 30)))
    with (tmp_path / "large").open("wb") as file:
        file.truncate(200 << 20)
    code = """
import resource, sys
from jupyter_trainjob.storage.signed import SignedStore
pod = SignedStore(sys.argv[1])
pod.put("jobs/u/1/small", b"x")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[2], "rb") as file:
    assert pod.put("jobs/u/1/large", file).size == 200 << 20
assert not {"minio", "urllib3", "requests", "httpx"} & set(sys.modules), sys.modules
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "large")]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 16, f"{grown} MiB"
    assert store.stat(f"{PREFIX}large").size == 200 << 20


def test_patience_is_bounded() -> None:
    assert signed.TRIES * signed.READ_SECONDS <= 300


def test_outputs_are_collected_into_it_without_a_copy(
    store: S3Store, pod: SignedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_trainjob.backends.local import collect

    monkeypatch.setattr(signed, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(tempfile, "tempdir", "/not/there")
    data = os.urandom(2_000_000)
    (tmp_path / "work" / "deep").mkdir(parents=True)
    (tmp_path / "work" / "deep" / "model.bin").write_bytes(data)
    os.symlink("/etc/passwd", tmp_path / "work" / "link")
    found = collect.files(pod, PREFIX, str(tmp_path / "work"), ["**"], [])
    assert found.files == [{"path": "deep/model.bin", "size": len(data)}]
    assert store.get(f"{PREFIX}files/deep/model.bin") == data
