"""Many small uploads in one request: kept one by one, or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from typing import Any

import pytest

from jupyter_trainjob.api import bundles
from jupyter_trainjob.api.services import ApiConfig
from jupyter_trainjob.storage.filesystem import FilesystemStore

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
