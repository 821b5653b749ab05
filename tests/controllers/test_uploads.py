"""Uploads that nobody uses go; those of waiting jobs stay."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from jupyter_trainjob.controllers.manager import utc_now
from jupyter_trainjob.controllers.uploads import UploadRetention
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
    row = store.read(lambda reader: reader.blob("ada", digest))
    assert row is not None
    store.write(lambda writer: UploadRetention(store, objects, 1)._drop_bytes(writer, row))
    assert objects.exists(f"blobs/ada/{digest.removeprefix('sha256:')}")
