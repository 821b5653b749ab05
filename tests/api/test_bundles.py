"""Many small uploads in one request: kept one by one, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import os
import tarfile
from typing import Any

import pytest

from jupyter_trainjob.api import bundles
from jupyter_trainjob.api.identity import Identity
from jupyter_trainjob.api.services import ApiConfig, Services
from jupyter_trainjob.resources import names
from jupyter_trainjob.storage.base import StoreError
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import clearing

from .conftest import Caller, Server

pytestmark = pytest.mark.asyncio


def hex_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def bundle(*datas: bytes, name: str = "", **change: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for data in datas:
            info = tarfile.TarInfo(name or hex_of(data))
            info.size = len(data)
            for key, value in change.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


async def test_a_bundles_members_are_blobs_like_any_other(alice: Caller, bob: Caller, objects: FilesystemStore) -> None:
    datas = [os.urandom(size) for size in (0, 1, 511, 512, 513, 100_000)] + [b"twice", b"twice"]
    digests = [f"sha256:{hex_of(data)}" for data in datas]
    asked = {"digests": digests}
    assert (await alice("POST", "/bundles/missing", json=asked, expect=200)).json() == {
        "missing": list(dict.fromkeys(digests))
    }
    for _ in range(2):  # the second time nothing is new
        answer = await alice("PUT", "/bundles", content=bundle(*datas), expect=200)
        assert answer.json() == {"count": 7, "size": sum(map(len, datas[:-1]))}
    for data, digest in zip(datas, digests, strict=True):
        assert (await alice("GET", f"/blobs/{digest}", expect=200)).content == data
    assert (await alice("POST", "/bundles/missing", json=asked, expect=200)).json() == {"missing": []}
    assert (await bob("POST", "/bundles/missing", json=asked, expect=200)).json()["missing"] == list(
        dict.fromkeys(digests)
    )
    await bob("HEAD", f"/blobs/{digests[0]}", expect=404)
    assert (await alice("GET", "/me")).json()["storedBytes"] == sum(map(len, datas[:-1]))


@pytest.mark.parametrize(
    ("bad", "because"),
    [
        (bundle(b"x", name="0" * 64), "its bytes have another digest"),
        (bundle(b"x", name="../x"), "'../x': it is no plain file that is called by the 64 digits"),
        (bundle(b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "it is no plain file"),
        (bundle(b"x" * 5000)[:2000], "it is no whole tar"),
        (b"nothing of the kind", "it is no whole tar"),
    ],
)
async def test_one_bad_member_refuses_all(alice: Caller, objects: FilesystemStore, bad: bytes, because: str) -> None:
    good = bundle(b"good")[:1024]
    status = await alice.refused("PUT", "/bundles", 422, content=good + bad)
    assert because in status["message"]
    assert "none of this bundle was kept" in status["message"] + status["remedy"] + str(status["details"])
    assert list(objects.list("blobs/")) == []


async def test_limits_of_a_bundle(alice: Caller, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAX_BUNDLE_BYTES", 100_000)
    monkeypatch.setattr(bundles, "MAX_MEMBERS", 3)
    status = await alice.refused("PUT", "/bundles", 413, content=bytes(100_001))
    assert "100001 bytes" in status["message"]
    assert "PUT /blobs/<digest>" in status["remedy"]

    async def unannounced() -> Any:
        for _ in range(20):
            yield bytes(10_000)

    assert (await alice.http.put("/bundles", content=unannounced())).status_code == 413
    status = await alice.refused("PUT", "/bundles", 422, content=bundle(b"1", b"2", b"3", b"4"))
    assert "more than 3" in status["message"]
    for body in ({"digests": ["sha256:x"]}, {"digests": "x"}, {"digests": [1]}, {"hashes": []}, {}):
        assert (await alice.http.post("/bundles/missing", json=body)).status_code == 400


@pytest.mark.parametrize("config", [ApiConfig(stored_bytes_per_owner=2500)])
async def test_a_bundle_beyond_the_quota_leaves_what_was_there(alice: Caller, objects: FilesystemStore) -> None:
    first, second = b"1" * 1000, b"2" * 1000
    await alice("PUT", "/bundles", content=bundle(first, second), expect=200)
    status = await alice.refused("PUT", "/bundles", 429, content=bundle(first, b"3" * 600))
    assert "600 more bytes would be more than" in status["message"]
    assert sorted(info.size for info in objects.list("blobs/")) == [1000, 1000]
    await alice("PUT", "/bundles", content=bundle(first, b"4" * 400), expect=200)


@pytest.mark.parametrize("config", [ApiConfig(stored_bytes_per_owner=2500)])
async def test_what_is_under_way_has_its_room_and_nothing_is_put_without(
    alice: Caller, objects: FilesystemStore, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    puts: list[str] = []
    real = objects.put
    monkeypatch.setattr(objects, "put", lambda key, *rest, **more: (puts.append(key), real(key, *rest, **more))[1])
    upload = await services.blobs.begin(Identity("alice"), f"sha256:{hex_of(b'-')}", 2000)
    status = await alice.refused("PUT", "/bundles", 429, content=bundle(b"1" * 300, b"2" * 300))
    assert "600 more bytes would be more than" in status["message"] and puts == []
    await services.blobs.drop(upload)
    bodies = [bundle(bytes([number]) * 1000) for number in range(5)]
    answers = await asyncio.gather(*(alice.http.put("/bundles", content=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429]
    assert len(puts) == 2 and len(list(objects.list("blobs/"))) == 2
    assert not services.blobs.keeping.under_way


async def test_a_store_that_fails_in_the_middle_keeps_nothing_of_it(
    alice: Caller, objects: FilesystemStore, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alice("PUT", "/bundles", content=bundle(b"was there"), expect=200)
    puts, real = itertools.count(), objects.put

    def put(*arguments: Any, **more: Any) -> Any:
        if next(puts) >= 10:
            raise StoreError("the disk is full")
        return real(*arguments, **more)

    body = bundle(b"was there", *(bytes([number]) for number in range(40)))
    with monkeypatch.context() as patch:
        patch.setattr(objects, "put", put)
        await alice.refused("PUT", "/bundles", 503, content=body)
    assert [info.size for info in objects.list("blobs/")] == [len(b"was there")]
    assert (await alice("GET", "/me")).json()["storedBytes"] == len(b"was there")
    assert not services.blobs.keeping.under_way
    await alice("PUT", "/bundles", content=body, expect=200)
    assert len(list(objects.list("blobs/"))) == 41


async def test_nothing_is_noted_while_somebody_removes(
    alice: Caller, objects: FilesystemStore, services: Services
) -> None:
    """Else its bytes could go after they were found there."""
    key = names.blob_key("alice", f"sha256:{hex_of(b'x')}")
    objects.put(key, b"x")
    sent: list[asyncio.Future[Any]] = []

    async def remove(keys: list[str]) -> None:
        sent.append(asyncio.ensure_future(alice.http.put("/bundles", content=bundle(b"x"))))
        await asyncio.sleep(0.5)
        assert not sent[0].done()
        for key in keys:
            objects.delete(key)

    store = services.store
    assert await clearing.clear(store, names.blob_prefix("alice"), lambda reader: [key], remove) == 1
    assert (await sent[0]).status_code == 200
    assert objects.get(key) == b"x"


async def test_bytes_that_can_not_be_put_again_leave_no_row(services: Services, objects: FilesystemStore) -> None:
    """A retention took them before they were noted, and now the disk is full."""
    digest = f"sha256:{hex_of(b'x')}"

    async def put(again: bool) -> None:
        if again:
            raise StoreError("the disk is full")
        objects.put(names.blob_key("alice", digest), b"x")

    with pytest.raises(StoreError, match="full"):
        await services.blobs.keeping.keep(Identity("alice"), {digest: 1}, put)
    assert await services.store.aread(lambda reader: reader.blob("alice", digest)) is None
    assert list(objects.list("blobs/")) == []
