"""A bucket as an object store, on two real servers: the contract, and what can go wrong on the way."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import minio.api
import pytest

from jupyter_trainjob.storage import s3client
from jupyter_trainjob.storage.base import CHUNK_BYTES, KeyMissing, KeyTaken, StoreError, open_store
from jupyter_trainjob.storage.s3 import PART_BYTES, S3Store
from jupyter_trainjob.storage.s3client import CredentialsFile, S3Address

from .contract import StoreContract
from .proxy import Proxy, before, once
from .servers import ACCESS, SECRET, Minio, S3Server, running, write_credentials


@pytest.fixture
def store(s3_server: S3Server) -> S3Store:
    return s3_server.store("some/prefix")


class TestS3Store(StoreContract):
    """The contract on MinIO and on versitygw."""


# Addresses and credentials


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://host/bucket", "begins neither with s3.https:// nor with s3.http://"),
        ("s3+https://host", "it is s3.https://host:port/bucket/prefix"),
        ("s3+https://host/B", "3 to 63 lower-case letters"),
        ("s3+https://key:secret@host/bucket", "credentials in it: they belong in a file of their own"),
        ("s3+https://host/bucket/a/../b", "the prefix is made of plain names"),
        ("s3+https://host/bucket/" + "p" * 100, "more than 99 bytes"),
    ],
)
def test_an_address_that_is_none_says_why(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        S3Address.parse(url)
    assert "secret" not in str(caught.value)


def test_an_address_is_what_was_read() -> None:
    address = S3Address.parse("s3+http://host:9000/bucket/a/b/", region="eu", public="http://pods:1/")
    assert (address.endpoint, address.bucket, address.prefix, address.secure) == ("host:9000", "bucket", "a/b/", False)
    assert address.public == "http://pods:1"
    assert S3Address.parse(address.url, region="eu", public="http://pods:1") == address


def test_keys_are_read_again_when_their_file_changes(minio: S3Server, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    bucket = minio.store().address.bucket
    store = S3Store(minio.address(bucket), CredentialsFile(write_credentials(path, "nobody", "wrong-wrong")))
    with pytest.raises(StoreError, match="does not know the access key"):
        store.put("k", b"v")
    path.unlink()
    time.sleep(1.1 * s3client.LOOK_SECONDS)
    with pytest.raises(StoreError, match=r"credentials' can't be read: .*No such file"):
        store.put("k", b"v")
    path.write_text("[default]\naws_access_key_id = me\nsecret = s3cr3t\n")
    with pytest.raises(
        StoreError, match=r"it has no section \[default\] with aws_access_key_id and aws_secret"
    ) as error:
        store.put("k", b"v")
    assert "s3cr3t" not in str(error.value)
    write_credentials(path)
    store.put("k", b"v")


def test_the_description_tells_no_secret(store: S3Store) -> None:
    assert SECRET not in str(store.describe())
    assert store.describe()["credentials"]


def test_stores_of_two_prefixes_share_nothing(minio: S3Server) -> None:
    one = minio.store("one")
    other = S3Store(minio.address(one.address.bucket, "onetwo"), one.client.credentials)
    whole = S3Store(minio.address(one.address.bucket), one.client.credentials)
    one.put("k", b"1")
    other.put("k", b"2")
    assert (one.get("k"), [info.key for info in one.list("")]) == (b"1", ["k"])
    assert [info.key for info in whole.list("")] == ["one/k", "onetwo/k"]
    with pytest.raises(KeyMissing):
        whole.get("k")


def test_what_other_tools_mark_as_folders_is_no_object(store: S3Store) -> None:
    store.client.request("mark a folder", "PUT", store.address.prefix + "folder/")
    store.put("folder/k", b"")
    assert [info.key for info in store.list("")] == ["folder/k"]


# Refusals, each told apart


def test_wrong_keys_are_told(s3_server: S3Server, store: S3Store, tmp_path: Path) -> None:
    for access, secret, words in (
        ("nobody", SECRET, "does not know the access key. Correct the credentials in"),
        (ACCESS, "not-the-secret", "refuses the secret key. Correct the credentials in"),
    ):
        wrong = S3Store(store.address, CredentialsFile(write_credentials(tmp_path / "wrong", access, secret)))
        calls = [wrong.get, wrong.stat, wrong.delete, lambda key, store=wrong: store.put(key, b"")]
        for call in calls:
            with pytest.raises(StoreError, match=words):
                call("k")


def test_a_missing_bucket_is_told_by_every_method(s3_server: S3Server, store: S3Store) -> None:
    lost = S3Store(s3_server.address("not-there"), store.client.credentials)
    for call in (
        lambda: lost.put("k", b""),
        lambda: lost.get("k"),
        lambda: lost.stat("k"),
        lambda: lost.exists("k"),
        lambda: list(lost.list("")),
    ):
        with pytest.raises(StoreError, match=r"has no bucket 'not-there'. Make it, or correct the store's URL"):
            call()


@pytest.mark.parametrize("minutes", [-20, 20])
def test_a_wrong_clock_is_told(store: S3Store, monkeypatch: pytest.MonkeyPatch, minutes: int) -> None:
    real = minio.api.time.utcnow
    monkeypatch.setattr(minio.api.time, "utcnow", lambda: real() + timedelta(minutes=minutes))
    for call in (lambda: store.put("k", b""), lambda: store.get("k"), lambda: store.stat("k")):
        with pytest.raises(StoreError, match=r"the clock of the object store .* Set the one that is wrong \(NTP\)"):
            call()


@pytest.mark.parametrize("minutes", [-2, 2])
def test_two_minutes_do_not_matter(store: S3Store, monkeypatch: pytest.MonkeyPatch, minutes: int) -> None:
    real = minio.api.time.utcnow
    monkeypatch.setattr(minio.api.time, "utcnow", lambda: real() + timedelta(minutes=minutes))
    store.put("k", b"v")
    assert store.get("k") == b"v"


def test_a_server_that_is_away_is_told_within_seconds(free_port: int, store: S3Store) -> None:
    away = S3Store(S3Address.parse(f"s3+http://127.0.0.1:{free_port}/bucket"), store.client.credentials)
    begin = time.monotonic()
    with pytest.raises(StoreError, match=r"can't be reached \(connection refused\). Check that it runs"):
        away.get("k")
    assert time.monotonic() - begin < 6
    nowhere = S3Store(S3Address.parse("s3+http://no-such-host.invalid/bucket"), store.client.credentials)
    with pytest.raises(StoreError, match="its name is unknown here"):
        nowhere.get("k")


def test_what_is_no_s3_server_is_told(store: S3Store, tmp_path: Path) -> None:
    import http.server

    handler = http.server.SimpleHTTPRequestHandler
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        wrong = S3Store(S3Address.parse(f"s3+http://127.0.0.1:{port}/bucket"), store.client.credentials)
        with pytest.raises(StoreError, match=r"does not speak S3 as it should .* Correct the store's URL"):
            wrong.get("k")
        tls = S3Store(S3Address.parse(f"s3+https://127.0.0.1:{port}/bucket"), store.client.credentials)
        with pytest.raises(StoreError, match="Is the URL's scheme right"):
            tls.get("k")
        server.shutdown()


def test_a_full_store_is_told_and_takes_again_when_there_is_room(full_minio: S3Server) -> None:
    store = full_minio.store()
    store.put("kept", b"old")
    with pytest.raises(StoreError, match=r"is full .* Delete old jobs, or give it more room or a larger quota"):
        for number in range(20):
            store.put(f"fill/{number}", os.urandom(7_000_000))
    assert store.get("kept") == b"old"
    assert store.delete_prefix("fill/") > 3
    store.put("fits", b"x" * 100_000)


# Faults on the way


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    with before(s3_server.port) as proxy:
        yield proxy


def through(proxy: Proxy, store: S3Store) -> S3Store:
    address = store.address
    return S3Store(
        S3Address.parse(f"s3+http://127.0.0.1:{proxy.port}/{address.bucket}/{address.prefix}"), store.client.credentials
    )


def test_an_answer_that_breaks_off_is_read_to_its_end(store: S3Store, proxy: Proxy) -> None:
    data = os.urandom(5 * CHUNK_BYTES)
    store.put("k", data)
    seen = 0

    def cut(piece: bytes) -> bytes | None:
        nonlocal seen
        seen += len(piece)
        if seen > 2 * CHUNK_BYTES:
            seen = -10 * CHUNK_BYTES
            return None
        return piece

    proxy.answered = cut
    assert through(proxy, store).get("k", 3) == data[3:]
    assert seen < 0, "nothing was cut"


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(store: S3Store, proxy: Proxy) -> None:
    store.put("k", b"o" * 5 * CHUNK_BYTES)
    with through(proxy, store).open("k") as chunks:
        next(chunks)
        store.put("k", b"n" * 5 * CHUNK_BYTES)
        proxy.answered = once(lambda piece: None)
        with pytest.raises(StoreError, match=r"to its end: it was replaced. Try again"):
            assert set(b"".join(chunks)) == {ord("o")}
            raise StoreError("to its end: it was replaced. Try again")  # all of the old was on its way already


def test_damaged_bytes_are_sent_again(store: S3Store, proxy: Proxy) -> None:
    proxy.sent = once(lambda piece: piece.replace(b"xxxxxxxx", b"xxxyxxxx", 1))
    through(proxy, store).put("k", b"x" * 100_000)
    assert store.get("k") == b"x" * 100_000


@pytest.mark.parametrize("size", [10, PART_BYTES + 10], ids=["whole", "in parts"])
def test_a_put_whose_answer_is_lost_does_not_take_itself_for_another(store: S3Store, proxy: Proxy, size: int) -> None:
    lost: list[bytes] = []

    def lose(piece: bytes) -> bytes | None:
        done = b"CompleteMultipartUploadResult" in piece if size > PART_BYTES else b"200 OK" in piece
        if done and not lost:
            lost.append(piece)
            return None
        return piece

    proxy.answered = lose
    assert through(proxy, store).put("k", b"x" * size, if_absent=True).size == size
    assert lost
    with pytest.raises(KeyTaken):
        through(proxy, store).put("k", b"y" * size, if_absent=True)
    assert store.get("k") == b"x" * size


def test_an_upload_that_breaks_off_leaves_no_parts(store: S3Store) -> None:
    class Breaks(io.RawIOBase):
        left = 2 * PART_BYTES

        def read(self, size: int = -1) -> bytes:
            if self.left <= 0:
                raise RuntimeError("the source broke")
            self.left -= size
            return b"x" * size

    with pytest.raises(RuntimeError, match="the source broke"):
        store.put("k", Breaks())
    query = {"uploads": "", "prefix": store.address.prefix + "k"}
    assert b"<UploadId>" not in store.client.request("list uploads", "GET", query=query).data
    assert not store.exists("k")


def test_what_a_killed_writer_left_is_swept(versitygw: S3Server) -> None:
    store = versitygw.store()
    store.client.request("begin an upload", "POST", "one/left", query={"uploads": ""})
    assert store.sweep(3600) == 0
    assert store.sweep(-5) == 1
    assert store.sweep(-5) == 0


def test_a_store_that_hangs_is_given_up_in_time(own_minio: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3client, "READ_SECONDS", 0.5)
    monkeypatch.setattr(s3client, "TRY_SECONDS", 2.0)
    store = own_minio.store()
    store.put("k", b"v")
    own_minio.signal(signal.SIGSTOP)
    begin = time.monotonic()
    with pytest.raises(StoreError, match="does not answer in time"):
        store.get("k")
    assert time.monotonic() - begin < 5
    own_minio.signal(signal.SIGCONT)
    assert store.get("k") == b"v"


def test_a_restart_of_the_server_is_not_noticed(own_minio: S3Server) -> None:
    store = own_minio.store()
    store.put("k", b"v")
    own_minio.kill()
    starting = threading.Timer(0.5, own_minio.start)
    starting.start()
    assert store.get("k") == b"v"
    starting.join()


def test_large_streams_go_through_in_bounded_memory(minio: S3Server) -> None:
    store = minio.store()
    code = """
import json, resource, sys
from jupyter_trainjob.storage.base import open_store
store = open_store(json.loads(sys.argv[1]))
store.put("first", b"x")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
class Zeros:
    left = 256 << 20
    def read(self, size):
        size = min(size, self.left)
        self.left -= size
        return bytes(size)
assert store.put("k", Zeros()).size == 256 << 20
count = 0
with store.open("k") as chunks:
    for chunk in chunks:
        count += len(chunk)
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    import json

    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(store.describe())], capture_output=True, text=True, check=True
    )
    count, grown = map(int, done.stdout.split())
    assert count == 256 << 20
    assert grown < 64, f"{grown} MiB"


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority of its own, and a certificate for loopback that it signed."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("certs")
    config = "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n"
    (folder / "ext").write_text(config)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=tests", *usage)
    openssl("req", *new, "-keyout", "private.key", "-out", "request", "-subj", "/CN=store")
    sign = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext")
    openssl("x509", "-req", "-in", "request", *sign, "-out", "public.crt")
    return folder


@pytest.fixture(scope="module")
def tls_minio(certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = Minio(tmp_path_factory.mktemp("tls"), tls=True)
    shutil.copytree(certificate, server.folder / "certs", ignore=shutil.ignore_patterns("ca.*", "ext", "request"))
    yield from running(server)


def test_an_authority_of_ones_own_is_trusted_when_it_is_named(tls_minio: S3Server, certificate: Path) -> None:
    store = tls_minio.store(ca_file=str(certificate / "ca.crt"))
    data = os.urandom(PART_BYTES + 5)
    store.put("k", data)
    assert store.get("k") == data
    assert open_store(store.describe()).get("k", 1, 3) == data[1:3]
    with pytest.raises(StoreError, match=r"certificate of .* is not trusted"):
        S3Store(tls_minio.address(store.address.bucket), store.client.credentials).get("k")
    with pytest.raises(StoreError, match="'/not/there' of the object store's certificate authority is not there"):
        tls_minio.store(ca_file="/not/there")


def test_people_fetch_what_they_may_at_the_address_that_is_theirs(s3_server: S3Server) -> None:
    store = s3_server.store("one")
    store.put("jobs/u/1/files/a", b"<script>alert(1)</script>")
    assert store.download_url("jobs/u/1/files/a", "a") == ""
    theirs = s3_server.url.replace("127.0.0.1", "localhost")
    outside = S3Store(replace(store.address, downloads=theirs), store.client.credentials)
    url = outside.download_url("jobs/u/1/files/a", "é.html")
    assert url.startswith(theirs) and outside.sign_get("jobs/u/1/files/a", 60).startswith(s3_server.url)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"<script>alert(1)</script>"
        assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''%C3%A9.html"
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Cache-Control"] == "private, no-store"
    for other in (url.replace("files/a", "files/b"), url.replace("X-Amz-Expires=300", "X-Amz-Expires=3000")):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(other)
