"""Outputs: listed and downloaded, whole and in part, and never run by a browser."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx
import psutil
import pytest

from jupyter_trainjob.api import archive
from jupyter_trainjob.api.ranges import attachment, parse_range
from jupyter_trainjob.resources import names
from jupyter_trainjob.resources.errors import RangeNotSatisfiable
from jupyter_trainjob.resources.trainjob import OutputFile, OutputStatus, Phase, Result
from jupyter_trainjob.storage.base import StoreError
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .conftest import Caller, Run, Server, Submit

ODD = 'données/ünï "quote"; x=1 ☃ %2F.csv'


def path_of(job: dict[str, Any], rest: str = "") -> str:
    return f"/namespaces/alice/trainjobs/{job['metadata']['name']}/outputs{rest}"


async def finished(submit: Submit, run: Run, alice: Caller, objects: FilesystemStore) -> dict[str, Any]:
    job = await submit(alice)
    await run(job)
    prefix = f"jobs/{job['metadata']['uid']}/1/"
    objects.put(f"{prefix}notebook.ipynb", b'{"cells": []}')
    objects.put(f"{prefix}results/score", b"pickled")
    objects.put(f"{prefix}files/model.bin", bytes(range(100)))
    objects.put(f"{prefix}files/empty", b"")
    objects.put(f"{prefix}files/{ODD}", b"odd")
    return job


@pytest.mark.asyncio
async def test_what_a_running_job_left_so_far_is_listed(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await finished(submit, run, alice, objects)
    told = (await alice("GET", path_of(job), expect=200)).json()
    assert told["attempt"] == 1
    assert told["notebook"] is True
    assert [result["name"] for result in told["results"]] == ["score"]
    assert {file["path"]: file["size"] for file in told["files"]} == {"model.bin": 100, "empty": 0, ODD: 3}
    assert (told["filesTotal"], told["bytesTotal"]) == (3, 103)


@pytest.mark.asyncio
async def test_of_an_ended_job_the_record_is_told_with_types_and_reasons(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await finished(submit, run, alice, objects)
    outputs = OutputStatus(
        notebook=True,
        results=[Result(name="f", error="it can't be pickled: it is a generator")],
        files=[OutputFile(path="model.bin", size=100)],
        files_total=5000,
        bytes_total=10**9,
    )
    await run(job, Phase.SUCCEEDED, outputs)
    told = (await alice("GET", path_of(job), expect=200)).json()
    assert told["results"][0]["error"].endswith("generator")
    assert told["filesTotal"] == 5000


@pytest.mark.asyncio
async def test_what_is_not_there_is_told_to_a_person(alice: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice)
    name = job["metadata"]["name"]
    await run(job)
    status = await alice.refused("GET", path_of(job, "/notebook"), 404)
    assert status["message"] == f"The job {name} has not saved its notebook yet; it does so after each cell."
    status = await alice.refused("GET", path_of(job, "/results/score"), 404)
    assert (status["message"], status["remedy"]) == (
        f"The job {name} has no result 'score'.",
        "The list of its outputs names those there are.",
    )
    await run(job, Phase.FAILED)
    status = await alice.refused("GET", path_of(job, "/notebook"), 404)
    assert status["message"] == f"The job {name} has no executed notebook."
    assert status["remedy"] == "It ended before its first cell did; its log may say why."


@pytest.mark.asyncio
async def test_a_job_that_has_not_begun_left_nothing(alice: Caller, submit: Submit) -> None:
    job = await submit(alice)
    assert (await alice("GET", path_of(job), expect=200)).json()["attempt"] is None
    status = await alice.refused("GET", path_of(job, "/notebook"), 404)
    assert "no executed notebook" in status["message"]
    assert "not begun" in status["remedy"]


@pytest.mark.asyncio
async def test_downloads_are_attachments_that_nothing_runs(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await finished(submit, run, alice, objects)
    for rest, body, name in (
        ("/notebook", b'{"cells": []}', f"{job['metadata']['name']}.ipynb"),
        ("/results/score", b"pickled", "score"),
        ("/files/empty", b"", "empty"),
    ):
        response = await alice("GET", path_of(job, rest), expect=200)
        assert response.content == body
        assert response.headers["Content-Disposition"].startswith(f'attachment; filename="{name}"')
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"].startswith("sandbox;")
        assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.asyncio
async def test_odd_names_arrive_as_they_are(alice: Caller, submit: Submit, run: Run, objects: FilesystemStore) -> None:
    job = await finished(submit, run, alice, objects)
    for address in (quote(ODD, safe=""), quote(ODD, safe="/")):
        response = await alice("GET", path_of(job, f"/files/{address}"), expect=200)
        assert response.content == b"odd"
        header = response.headers["Content-Disposition"]
        assert unquote(header.partition("filename*=UTF-8''")[2]) == ODD.rsplit("/", 1)[1]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("header", "code", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=90-", 206, 90, 100),
        ("bytes=90-500", 206, 90, 100),
        ("bytes=-7", 206, 93, 100),
        ("bytes=-500", 206, 0, 100),
        ("bytes=0-1,5-6", 200, 0, 100),
        ("bytes=9-5", 200, 0, 100),
        ("lines=1-2", 200, 0, 100),
    ],
)
async def test_ranges(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore, header: str, code: int, start: int, end: int
) -> None:
    job = await finished(submit, run, alice, objects)
    path = path_of(job, "/files/model.bin")
    response = await alice("GET", path, headers={"Range": header}, expect=code)
    assert response.content == bytes(range(start, end))
    if code == 206:
        assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/100"
    head = await alice("HEAD", path, headers={"Range": header}, expect=code)
    assert head.content == b""
    assert head.headers["Content-Length"] == str(end - start)


@pytest.mark.asyncio
async def test_a_range_is_of_the_bytes_that_the_reader_began_with(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await finished(submit, run, alice, objects)
    path, prefix = path_of(job, "/files/model.bin"), names.attempt_prefix(job["metadata"]["uid"], 1)
    first = await alice("GET", path, expect=200)
    rest = {"Range": "bytes=50-", "If-Range": first.headers["ETag"]}
    same = await alice("GET", path, headers=rest, expect=206)
    assert same.content == first.content[50:] and same.headers["ETag"] == first.headers["ETag"]
    await asyncio.to_thread(objects.put, f"{prefix}files/model.bin", b"other bytes")
    other = await alice("GET", path, headers=rest, expect=200)
    assert other.content == b"other bytes" and other.headers["ETag"] != first.headers["ETag"]


@pytest.mark.asyncio
async def test_a_range_behind_the_end_is_refused(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await finished(submit, run, alice, objects)
    for rest, header, size in (
        ("model.bin", "bytes=100-", 100),
        ("empty", "bytes=-1", 0),
        ("model.bin", "bytes=-0", 100),
    ):
        status = await alice.refused("GET", path_of(job, f"/files/{rest}"), 416, headers={"Range": header})
        assert status["data"] == {"size": size}
        assert status["remedy"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "rest",
    [
        "/files/nothing",
        "/files/..%2Fnotebook.ipynb",
        "/files/..%2F..%2F..%2F..%2Fetc%2Fpasswd",
        "/files/%2Fetc%2Fpasswd",
        "/files/a%00b",
        "/files/a%5Cb",
        "/files/" + "x" * 3000,
        "/results/..%2Fnotebook.ipynb",
        "/logs/x",
    ],
)
async def test_nothing_but_outputs_can_be_reached(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore, rest: str
) -> None:
    job = await finished(submit, run, alice, objects)
    await alice.refused("GET", path_of(job, rest), 404)


@pytest.mark.asyncio
async def test_another_persons_outputs_are_not_found(
    alice: Caller, bob: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await finished(submit, run, alice, objects)
    await bob.refused("GET", path_of(job), 404)
    await bob.refused("GET", path_of(job, "/files/model.bin"), 404)


@pytest.mark.asyncio
async def test_a_large_file_is_sent_in_little_memory_to_a_slow_reader(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore, server: Server
) -> None:
    job = await finished(submit, run, alice, objects)
    key = f"jobs/{job['metadata']['uid']}/1/files/large.bin"
    block = os.urandom(2**20)
    (objects.root / "objects" / key).write_bytes(b"")
    with (objects.root / "objects" / key).open("wb") as file:
        for _ in range(200):
            file.write(block)
    gc.collect()
    process = psutil.Process(os.getpid())
    before = peak = process.memory_info().rss
    digest, count = hashlib.sha256(), 0
    async with server.client("token-alice") as client, client.stream("GET", path_of(job, "/files/large.bin")) as body:
        await asyncio.sleep(0.5)  # the server may not read ahead meanwhile
        peak = max(peak, process.memory_info().rss)
        async for piece in body.aiter_raw():
            digest.update(piece)
            count += len(piece)
            peak = max(peak, process.memory_info().rss)
    assert count == 200 * 2**20
    assert digest.digest() == hashlib.sha256(block * 200).digest()
    assert peak - before < 50 * 2**20


@pytest.mark.asyncio
async def test_a_reader_that_hangs_up_lets_the_file_go(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore, server: Server
) -> None:
    job = await finished(submit, run, alice, objects)
    objects.put(f"jobs/{job['metadata']['uid']}/1/files/large.bin", b"x" * 50_000_000)
    process = psutil.Process(os.getpid())
    async with server.client("token-alice") as client, client.stream("GET", path_of(job, "/files/large.bin")) as body:
        await anext(body.aiter_raw())
    for _ in range(100):
        if not any("large.bin" in file.path for file in process.open_files()):
            return
        await asyncio.sleep(0.05)
    pytest.fail("the file is still open")


def test_a_range_of_nothing() -> None:
    assert parse_range("", 5) is None
    assert parse_range("bytes=-", 5) is None
    with pytest.raises(RangeNotSatisfiable, match="there are 0 bytes"):
        parse_range("bytes=0-", 0)


def test_a_name_of_nothing() -> None:
    assert attachment("a/") == "attachment; filename=\"file\"; filename*=UTF-8''file"
    assert "\n" not in attachment("a\nb") and '"a_b"' in attachment("a\nb")


@pytest.mark.asyncio
async def test_all_at_once_as_a_tar_with_plain_names(
    alice: Caller, bob: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await finished(submit, run, alice, objects)
    long = "/".join(["folder" * 10] * 5) + "/file"
    objects.put(f"jobs/{job['metadata']['uid']}/1/files/{long}", b"x" * 2_000_000)
    ended = await run(job, Phase.SUCCEEDED)
    response = await alice("GET", path_of(job, "/archive"), expect=200)
    assert response.headers["Content-Disposition"].startswith(f'attachment; filename="{job["metadata"]["name"]}-1.tar"')
    with tarfile.open(fileobj=io.BytesIO(response.content)) as archive:
        contents = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
        made = {entry.mtime for entry in archive}
    assert contents == {
        "notebook.ipynb": b'{"cells": []}',
        "results/score": b"pickled",
        "files/model.bin": bytes(range(100)),
        "files/empty": b"",
        f"files/{ODD}": b"odd",
        f"files/{long}": b"x" * 2_000_000,
    }
    assert ended.status.attempts[-1].end is not None
    assert made == {int(ended.status.attempts[-1].end.timestamp())}
    await bob.refused("GET", path_of(job, "/archive"), 404)
    await alice.refused("GET", path_of(job, "/archive?attempt=2"), 404)
    waiting = await submit(alice)
    assert "has left nothing" in (await alice.refused("GET", path_of(waiting, "/archive"), 404))["message"]


@pytest.mark.asyncio
async def test_an_archive_of_nothing_is_an_empty_one(alice: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice)
    await run(job)
    with tarfile.open(
        fileobj=io.BytesIO((await alice("GET", path_of(job, "/archive"), expect=200)).content)
    ) as archive:
        assert archive.getnames() == []


@pytest.mark.asyncio
async def test_an_archive_that_can_not_be_finished_breaks_off(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await submit(alice)
    await run(job)
    prefix = f"jobs/{job['metadata']['uid']}/1/"
    objects.put(f"{prefix}files/big", bytes(40_000_000))
    place = objects.root / "objects" / prefix / "files" / "big"
    with pytest.raises(httpx.RemoteProtocolError):
        async with alice.http.stream("GET", path_of(job, "/archive")) as response:
            async for _ in response.aiter_bytes():
                os.truncate(place, 20_000_000)


def test_what_vanishes_before_its_turn_is_left_out_and_what_vanishes_in_it_is_an_error(tmp_path: Path) -> None:
    class Remote(FilesystemStore):
        """As where each chunk is a request of its own: an object that was opened may be gone at the next."""

        @contextmanager
        def open(self, key: str, start: int = 0, end: int | None = None) -> Iterator[Iterator[bytes]]:
            size = self.stat(key).size
            yield (self.get(key, at, at + 2) for at in range(0, size, 2))

        def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
            with FilesystemStore.open(self, key, start, end) as chunks:
                return b"".join(chunks)

    store, made = Remote(tmp_path), datetime.now(timezone.utc)
    for name in "abc":
        store.put(f"x/files/{name}", b"1234")
    members = archive._members(store, "x/", made)
    assert (next(members)[:7], next(members)) == (b"files/a", b"12")
    store.delete("x/files/b")
    rest = b"".join(members)
    assert rest.startswith(b"34\0") and b"files/c" in rest and b"files/b" not in rest

    members = archive._members(store, "x/", made)
    next(members)
    store.delete("x/files/a")
    with pytest.raises(StoreError, match="'x/files/a' was removed while it was sent"):
        list(members)


@pytest.mark.asyncio
async def test_an_archive_takes_no_memory_however_large_and_slow(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore, server: Server
) -> None:
    job = await submit(alice)
    await run(job)
    prefix = f"jobs/{job['metadata']['uid']}/1/"
    for number in range(6):
        objects.put(f"{prefix}files/{number}", bytes(40_000_000))
    process = psutil.Process()
    gc.collect()
    before, most, size = process.memory_info().rss, 0, 0
    async with alice.http.stream("GET", path_of(job, "/archive")) as response:
        async for piece in response.aiter_bytes(1_000_000):
            size += len(piece)
            most = max(most, process.memory_info().rss - before)
    assert size > 240_000_000
    assert most < 60_000_000
