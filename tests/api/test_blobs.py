"""Uploads: by digest, each owner's own, within limits."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import os
import resource
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import psutil
import pytest

from jupyter_trainjob.api.blobs import BUFFER_BYTES
from jupyter_trainjob.api.identity import Identity
from jupyter_trainjob.api.services import ApiConfig, Services
from jupyter_trainjob.storage.base import ObjectInfo
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .conftest import PREFIX, Caller, Server

pytestmark = pytest.mark.asyncio


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def test_an_upload_is_kept_once_and_given_back(alice: Caller) -> None:
    data = os.urandom(3_000_000)
    path = f"/blobs/{digest_of(data)}"
    await alice("HEAD", path, expect=404)
    first = await alice("PUT", path, content=data, expect=201)
    assert first.json() == {"digest": digest_of(data), "size": len(data)}
    await alice("PUT", path, content=data, expect=200)
    head = await alice("HEAD", path, expect=200)
    assert head.headers["Content-Length"] == str(len(data))
    assert (await alice("GET", path, expect=200)).content == data
    assert (await alice("GET", path, headers={"Range": "bytes=5-9"}, expect=206)).content == data[5:10]
    assert (await alice("GET", "/me")).json()["storedBytes"] == len(data)


async def test_an_upload_is_stored_once(
    alice: Caller, objects: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second look whether it is still there must not write it again: 2 GB took twice their time."""
    data, stored, put_file = os.urandom(100_000), [], objects.put_file

    def counted(key: str, *arguments: Any, **options: Any) -> ObjectInfo:
        stored.append(key)
        return put_file(key, *arguments, **options)

    monkeypatch.setattr(objects, "put_file", counted)
    await alice("PUT", f"/blobs/{digest_of(data)}", content=data, expect=201)
    assert len(stored) == 1
    assert objects.get(stored[0]) == data


async def test_asking_for_an_upload_that_is_not_there_is_nothing_to_warn_of(
    alice: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"/blobs/{digest_of(b'not sent yet')}"
    with caplog.at_level(logging.DEBUG):
        for method in ("HEAD", "GET"):
            await alice(method, path, expect=404)

    def levels(method: str) -> list[str]:
        return [record.levelname for record in caplog.records if f"404 {method} {PREFIX}{path} " in record.message]

    assert (levels("HEAD"), levels("GET")) == (["DEBUG"], ["WARNING"])


async def test_an_empty_upload_and_one_without_a_length(alice: Caller) -> None:
    await alice("PUT", f"/blobs/{digest_of(b'')}", expect=201)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"abc" * 500_000

    data = b"abc" * 1_500_000
    response = await alice.http.put(f"/blobs/{digest_of(data)}", content=chunks())
    assert response.status_code == 201


async def test_an_upload_is_its_owners_alone(alice: Caller, bob: Caller, operator: Caller) -> None:
    data = b"secret data"
    path = f"/blobs/{digest_of(data)}"
    await alice("PUT", path, content=data, expect=201)
    for other in (bob, operator):
        await other("HEAD", path, expect=404)
        status = await other.refused("GET", path, 404)
        assert status["message"].startswith("You have no upload sha256:")
    await bob("PUT", path, content=data, expect=201)  # not "it is there already": that would tell
    assert (await bob("GET", "/me")).json()["storedBytes"] == len(data)


async def test_a_wrong_digest_is_refused_and_nothing_is_kept(alice: Caller, objects: FilesystemStore) -> None:
    path = f"/blobs/{digest_of(b'promised')}"
    status = await alice.refused("PUT", path, 422, content=b"sent instead")
    assert digest_of(b"sent instead") in status["message"]
    assert status["remedy"] == "Send the file again."
    assert list(objects.list("blobs/")) == []
    for bad in ("sha256:abc", "md5:" + "0" * 64, "sha256:" + "A" * 64):
        assert "64 hexadecimal digits" in (await alice.refused("GET", f"/blobs/{bad}", 400))["remedy"]
        await alice.refused("PUT", f"/blobs/{bad}", 400, content=b"x" * 1_000_000)


@pytest.mark.parametrize("config", [ApiConfig(max_blob_bytes=1_000_000)])
async def test_an_upload_that_is_too_large(alice: Caller) -> None:
    data = b"x" * 1_000_001
    status = await alice.refused("PUT", f"/blobs/{digest_of(data)}", 413, content=data)
    assert "1000001 bytes" in status["message"]

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    response = await alice.http.put(f"/blobs/{digest_of(data)}", content=chunks())
    assert response.status_code == 413


@pytest.mark.parametrize("config", [ApiConfig(stored_bytes_per_owner=2_097_152)])
async def test_a_full_quota_says_what_to_do_and_when(alice: Caller, bob: Caller, objects: FilesystemStore) -> None:
    first, second = b"1" * 1_500_000, b"2" * 1_000_000
    await alice("PUT", f"/blobs/{digest_of(first)}", content=first, expect=201)
    response = await alice("PUT", f"/blobs/{digest_of(second)}", content=second, expect=429)
    status = response.json()
    assert "2Mi of uploads that alice may keep" in status["message"]
    assert "no longer need" in status["remedy"]
    assert int(response.headers["Retry-After"]) > 0
    await alice("PUT", f"/blobs/{digest_of(first)}", content=first, expect=200)  # it is there already
    await bob("PUT", f"/blobs/{digest_of(second)}", content=second, expect=201)


@pytest.mark.parametrize("config", [ApiConfig(stored_bytes_per_owner=1_500_000)])
async def test_two_uploads_at_once_do_not_both_take_the_last_of_a_quota(
    alice: Caller, objects: FilesystemStore
) -> None:
    datas = [bytes([number]) * 1_000_000 for number in range(4)]
    responses = await asyncio.gather(*(alice.http.put(f"/blobs/{digest_of(data)}", content=data) for data in datas))
    assert sorted(response.status_code for response in responses) == [201, 429, 429, 429]
    assert len(list(objects.list("blobs/"))) == 1


async def test_one_file_sent_several_times_at_once(alice: Caller, objects: FilesystemStore) -> None:
    data = os.urandom(2_000_000)
    responses = await asyncio.gather(*(alice.http.put(f"/blobs/{digest_of(data)}", content=data) for _ in range(6)))
    assert sorted(response.status_code for response in responses) == [200, 200, 200, 200, 200, 201]
    assert len(list(objects.list("blobs/"))) == 1


async def test_an_upload_that_breaks_off_leaves_nothing(alice: Caller, server: Server, tmp_path: Path) -> None:
    url = urlsplit(server.url)
    assert url.hostname and url.port
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    head = (
        f"PUT {PREFIX}/blobs/{digest_of(b'x')} HTTP/1.1\r\nHost: localhost\r\n"
        "Authorization: token token-alice\r\nContent-Length: 10000000\r\n\r\n"
    )
    writer.write(head.encode() + b"y" * 2_000_000)
    await writer.drain()
    await asyncio.sleep(0.3)
    process = psutil.Process(os.getpid())
    deleted = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_open(name)]
    assert any("deleted" in path for path in deleted)
    writer.close()
    await writer.wait_closed()
    for _ in range(60):
        await asyncio.sleep(0.05)
        paths = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_open(name)]
        if sum("deleted" in path for path in paths) < sum("deleted" in path for path in deleted):
            break
    else:
        pytest.fail(f"the temporary file is still open in {process.pid}")
    assert (await alice("GET", "/me")).json()["storedBytes"] == 0


async def test_a_disk_that_is_full_in_mid_upload_is_told(alice: Caller, objects: FilesystemStore) -> None:
    """Not by a connection that is reset: nobody would know why."""
    data = os.urandom(8_000_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))  # writing fails as on a full disk
    try:
        response = await alice("PUT", f"/blobs/{digest_of(data)}", content=data, expect=503)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    status = response.json()
    assert status["message"].startswith("The server can't keep the upload: ")
    assert status["remedy"].startswith("Nothing is lost. Try again")
    assert response.headers["Retry-After"] == "60"
    await alice("PUT", f"/blobs/{digest_of(data)}", content=data, expect=201)


@pytest.mark.parametrize("config", [ApiConfig(stored_bytes_per_owner=2_000_000)])
@pytest.mark.parametrize("announced", [True, False])
async def test_uploads_under_way_count_in_the_quota(
    alice: Caller, bob: Caller, server: Server, services: Services, announced: bool
) -> None:
    """Else many at once fill the disk, though each of them would fit alone."""
    url = urlsplit(server.url)
    assert url.hostname and url.port
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    length = "Content-Length: 1500000" if announced else "Transfer-Encoding: chunked"
    head = (
        f"PUT {PREFIX}/blobs/{digest_of(b'x')} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: token token-alice\r\n{length}\r\n\r\n"
    )
    body = b"y" * 10 if announced else b"%x\r\n" % 1_400_000 + b"y" * 1_400_000
    writer.write(head.encode() + body)
    await writer.drain()
    await asyncio.sleep(0.5)
    data = b"z" * 1_000_000
    status = await alice.refused("PUT", f"/blobs/{digest_of(data)}", 429, content=data)
    assert "of uploads that alice may keep" in status["message"]

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    assert (await alice.http.put(f"/blobs/{digest_of(data)}", content=chunks())).status_code == 429
    await bob("PUT", f"/blobs/{digest_of(data)}", content=data, expect=201)
    writer.close()
    await writer.wait_closed()
    for _ in range(100):
        await asyncio.sleep(0.02)
        if not services.blobs.keeping.under_way:
            break
    await alice("PUT", f"/blobs/{digest_of(data)}", content=data, expect=201)
    assert not services.blobs.keeping.under_way


def _is_open(name: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{name}")


async def test_a_large_upload_takes_little_memory(alice: Caller, server: Server) -> None:
    block = os.urandom(2**20)
    digest = hashlib.sha256()
    for _ in range(150):
        digest.update(block)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(150):
            yield block

    gc.collect()
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    headers = {"Content-Length": str(150 * 2**20)}
    response = await alice.http.put(f"/blobs/sha256:{digest.hexdigest()}", content=chunks(), headers=headers)
    assert response.status_code == 201
    assert process.memory_info().rss - before < 50 * 2**20


class SlowDisk:
    """A file whose writes wait until they may go on, and that notes in what order it was used."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.go, self.writing, self.seen = file, threading.Event(), threading.Event(), list[str]()

    def write(self, data: memoryview) -> int:
        self.writing.set()
        assert self.go.wait(30)
        self.seen.append("written")
        return self.file.write(data)

    def fileno(self) -> int:
        return self.file.fileno()

    def close(self) -> None:
        self.seen.append("closed")
        self.file.close()


@pytest.mark.parametrize("kind", ["blobs", "bundles"])
async def test_a_file_is_not_closed_while_a_thread_writes_into_it(services: Services, kind: str) -> None:
    """Its client goes away in the middle: the descriptor's number may be another upload's the moment it is closed."""
    room, who = getattr(services, kind), Identity("alice")
    begun = room.begin(who, digest_of(b"x"), None) if kind == "blobs" else room.begin(who, None)
    upload = await begun
    disk = upload.file = SlowDisk(upload.file)
    for _ in range(2):  # the second waits for the first to be written
        adding = asyncio.ensure_future(room.add(upload, bytes(BUFFER_BYTES)))
        await asyncio.to_thread(disk.writing.wait, 30)
    await asyncio.sleep(0.05)
    room.abandon(upload)
    await asyncio.sleep(0.05)
    disk.go.set()
    await adding
    while "closed" not in disk.seen:
        await asyncio.sleep(0.01)
    assert disk.seen[-1] == "closed" and disk.seen.count("closed") == 1 and "written" in disk.seen
