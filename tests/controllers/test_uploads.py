"""Uploads that nobody uses go; those of waiting jobs stay."""

from __future__ import annotations

import hashlib
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from jupyter_trainjob.controllers.manager import utc_now
from jupyter_trainjob.controllers.uploads import UploadRetention
from jupyter_trainjob.resources import names
from jupyter_trainjob.resources.trainjob import Gate, UploadInput
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store

from .conftest import make_job


def upload(store: Store, objects: FilesystemStore, data: bytes, owner: str = "ada") -> str:
    digest = hashlib.sha256(data).hexdigest()
    objects.put(f"blobs/{owner}/{digest}", data)
    store.write(lambda writer: writer.put_blob(owner, f"sha256:{digest}", len(data)))
    return f"sha256:{digest}"


@pytest.mark.asyncio
async def test_unused_uploads_go_and_needed_ones_stay(store: Store, objects: FilesystemStore) -> None:
    needed, unused = upload(store, objects, b"needed"), upload(store, objects, b"unused")
    others = upload(store, objects, b"needed", owner="bob")
    job = make_job(
        inputs=[UploadInput(digest=needed, path="a.txt")], scheduling_gates=[Gate(type="hold", message="later")]
    )
    store.write(lambda writer: writer.create(job))
    retention = UploadRetention(store, objects, days=30)
    assert await retention.reconcile(utc_now() + timedelta(days=29)) == 0
    assert await retention.reconcile(utc_now() + timedelta(days=31)) == 2
    assert store.read(lambda reader: reader.blob("ada", needed)) is not None
    assert store.read(lambda reader: reader.blob("ada", unused)) is None
    assert store.read(lambda reader: reader.blob("bob", others)) is None
    assert [info.key for info in objects.list("blobs/")] == [f"blobs/ada/{needed.removeprefix('sha256:')}"]


@pytest.mark.asyncio
async def test_bytes_that_were_uploaded_again_meanwhile_stay(store: Store, objects: FilesystemStore) -> None:
    digest = upload(store, objects, b"x")
    key = f"blobs/ada/{digest.removeprefix('sha256:')}"
    await UploadRetention(store, objects, 1)._clear([key])
    assert objects.exists(key)


@pytest.mark.asyncio
async def test_bytes_without_a_row_go_at_the_second_sweep(store: Store, objects: FilesystemStore) -> None:
    """At the first they may be those of an upload whose row comes in a moment."""
    kept = upload(store, objects, b"kept")
    odd = names.blob_prefix("Odd Name")
    objects.put(f"{odd}{'c' * 64}", b"has one")
    store.write(lambda writer: writer.put_blob("Odd Name", f"sha256:{'c' * 64}", 7))
    for key in (f"blobs/ada/{'a' * 64}", f"blobs/nobody/{'b' * 64}", f"{odd}{'d' * 64}"):
        objects.put(key, b"left by a crash")
    retention, now = UploadRetention(store, objects, days=30), utc_now()
    await retention.reconcile(now)
    await retention.reconcile(now + timedelta(hours=1))
    assert len(list(objects.list("blobs/"))) == 5
    late = hashlib.sha256(b"late").hexdigest()
    objects.put(f"blobs/ada/{late}", b"late")
    store.write(lambda writer: writer.put_blob("ada", f"sha256:{'a' * 64}", 15))  # its row came after all
    await retention.reconcile(now + timedelta(hours=7))
    left = {info.key for info in objects.list("blobs/")}
    assert left == {f"blobs/ada/{kept[7:]}", f"blobs/ada/{'a' * 64}", f"blobs/ada/{late}", f"{odd}{'c' * 64}"}
    await retention.reconcile(now + timedelta(hours=14))
    assert f"blobs/ada/{late}" not in {info.key for info in objects.list("blobs/")}


@pytest.mark.asyncio
async def test_no_write_waits_for_bytes_to_be_removed(store: Store, tmp_path: Path) -> None:
    class Watched(FilesystemStore):
        def delete(self, key: str) -> None:
            writes = threading.Thread(target=lambda: store.write(lambda writer: writer.put_blob("eve", "sha256:e", 1)))
            writes.start()
            writes.join(10)
            assert not writes.is_alive(), "a write stood still"
            super().delete(key)

    objects = Watched(tmp_path / "watched")
    upload(store, objects, b"old")
    assert await UploadRetention(store, objects, days=1).reconcile(utc_now() + timedelta(days=2)) == 1
    assert list(objects.list("blobs/")) == []
