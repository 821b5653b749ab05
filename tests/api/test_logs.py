"""Logs by offset: pieces, waiting, attempts, gaps; and what a thousand polls cost."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from typing import Any

import psutil
import pytest

from jupyter_trainjob.api.services import Services
from jupyter_trainjob.resources.trainjob import Attempt, Phase, TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.storage.loglayout import segment_key
from jupyter_trainjob.storage.logs import LogWriter
from jupyter_trainjob.store import Writer

from .conftest import Caller, Run, Server, Submit

pytestmark = pytest.mark.asyncio


def writer_of(objects: FilesystemStore, job: dict, attempt: int = 1, **options: int) -> LogWriter:  # type: ignore[type-arg]
    return LogWriter(objects, f"jobs/{job['metadata']['uid']}/{attempt}/", **options)


def path_of(job: dict) -> str:  # type: ignore[type-arg]
    return f"/namespaces/alice/trainjobs/{job['metadata']['name']}/log"


async def test_a_log_is_read_piece_by_piece_to_its_end(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await submit(alice)
    await run(job)
    log = writer_of(objects, job)
    log.write(b"one\ntwo\n\xff\xfe")
    await asyncio.to_thread(log.close)
    await run(job, Phase.SUCCEEDED)
    first = await alice("GET", f"{path_of(job)}?limit=4", expect=200)
    assert first.content == b"one\n"
    assert first.headers["Content-Type"] == "application/octet-stream"
    assert first.headers["X-Log-Next-Offset"] == "4"
    assert first.headers["X-TrainJob-Resolved"] == job["metadata"]["name"]
    second = await alice("GET", f"{path_of(job)}?offset=4", expect=200)
    assert second.content == b"two\n\xff\xfe"
    assert second.headers["X-Log-Size"] == "10"
    end = await alice("GET", f"{path_of(job)}?offset=10&wait=20", expect=200)
    assert (end.content, end.headers["X-Log-Complete"]) == (b"", "true")


async def test_a_reader_waits_for_the_job_to_begin_and_for_its_first_line(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await submit(alice)
    waiting = asyncio.create_task(alice("GET", f"{path_of(job)}?wait=20", expect=200))
    await asyncio.sleep(0.3)
    await run(job)
    await asyncio.sleep(0.3)
    assert not waiting.done()
    log = writer_of(objects, job)
    begun = time.monotonic()
    log.write(b"hello\n")
    piece = await waiting
    assert time.monotonic() - begun < 1.0
    assert piece.content == b"hello\n"
    assert piece.headers["X-Log-Complete"] == "false"
    await asyncio.to_thread(log.close)


async def test_a_reader_of_a_job_that_waits_elsewhere_looks_at_the_record_and_not_for_its_log(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore, services: Services
) -> None:
    job = await submit(alice)

    def hand_over(writer: Writer) -> None:
        fresh = writer.by_uid(TrainJob, job["metadata"]["uid"])
        fresh.status.attempts.append(Attempt(number=1, local_queue="jobs"))
        writer.update(fresh)

    services.store.write(hand_over)
    log = writer_of(objects, job)
    log.write(b"of nobody yet\n")
    waiting = asyncio.create_task(alice("GET", f"{path_of(job)}?wait=20", expect=200))
    await asyncio.sleep(0.5)
    assert not waiting.done()

    def begin(writer: Writer) -> None:
        fresh = writer.by_uid(TrainJob, job["metadata"]["uid"])
        fresh.status.phase = Phase.RUNNING
        writer.update(fresh)

    services.store.write(begin)
    assert (await waiting).content == b"of nobody yet\n"


async def test_a_wait_is_over_when_it_is_and_when_the_job_is(alice: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice)
    begun = time.monotonic()
    nothing = await alice("GET", f"{path_of(job)}?wait=0.4", expect=200)
    assert 0.3 < time.monotonic() - begun < 2
    assert (nothing.content, nothing.headers["X-Log-Complete"]) == (b"", "false")
    await run(job)
    waiting = asyncio.create_task(alice("GET", f"{path_of(job)}?wait=20", expect=200))
    await asyncio.sleep(0.2)
    await run(job, Phase.FAILED)  # its supervisor is lost: no end record will ever come
    assert (await asyncio.wait_for(waiting, 5)).headers["X-Log-Complete"] == "true"


async def test_a_job_that_never_began_has_a_complete_empty_log(
    alice: Caller,
    submit: Submit,
    services,
    run: Run,  # type: ignore[no-untyped-def]
) -> None:
    job = await submit(alice)

    def cancel(writer):  # type: ignore[no-untyped-def]
        from jupyter_trainjob.resources.trainjob import TrainJob

        fresh = writer.by_uid(TrainJob, job["metadata"]["uid"])
        fresh.status.phase = Phase.CANCELLED
        return writer.update(fresh)

    waiting = asyncio.create_task(alice("GET", f"{path_of(job)}?wait=20", expect=200))
    await asyncio.sleep(0.2)
    await services.store.awrite(cancel)
    piece = await asyncio.wait_for(waiting, 5)
    assert (piece.content, piece.headers["X-Log-Complete"]) == (b"", "true")


async def test_an_attempt_that_never_was_is_not_found(alice: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice)
    assert "None has begun yet" in (await alice.refused("GET", f"{path_of(job)}?attempt=1", 404))["remedy"]
    assert "X-Log-Attempt" not in (await alice("GET", path_of(job), expect=200)).headers
    await run(job)
    assert (await alice("GET", path_of(job), expect=200)).headers["X-Log-Attempt"] == "1"
    assert "no attempt 2" in (await alice.refused("GET", f"{path_of(job)}?attempt=2", 404))["message"]


async def test_a_capped_log_tells_its_gap(alice: Caller, submit: Submit, run: Run, objects: FilesystemStore) -> None:
    job = await submit(alice)
    await run(job)
    log = writer_of(objects, job, cap_bytes=8192)
    for number in range(200):
        log.write(b"%0511d\n" % number)
        time.sleep(0.001)
    await asyncio.to_thread(log.close)
    await run(job, Phase.SUCCEEDED)
    piece = await alice("GET", path_of(job), expect=200)
    start, _, end = piece.headers["X-Log-Gap"].partition("-")
    assert 0 < int(start) < int(end) < 200 * 512
    inside = await alice("GET", f"{path_of(job)}?offset={int(start) + 1}", expect=200)
    assert inside.headers["X-Log-Offset"] == end


async def test_no_piece_is_larger_than_the_server_allows(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await submit(alice)
    await run(job)
    log = writer_of(objects, job)
    log.write(b"x" * 3_000_000)  # one line
    await asyncio.to_thread(log.close)
    piece = await alice("GET", f"{path_of(job)}?limit=100000000", expect=200)
    assert len(piece.content) == 2**20


async def test_a_client_that_hangs_up_is_no_longer_waited_for(
    alice: Caller, submit: Submit, run: Run, server: Server
) -> None:
    job = await submit(alice)
    await run(job)
    async with server.client("token-alice") as client:
        request = asyncio.create_task(client.get(f"{path_of(job)}?wait=30"))
        await asyncio.sleep(0.3)
        assert server.services.logs._waiting == 1
        request.cancel()
    for _ in range(50):
        await asyncio.sleep(0.05)
        if server.services.logs._waiting == 0:
            break
    assert server.services.logs._waiting == 0


async def test_a_text_is_looked_for_by_the_server(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await submit(alice)
    search = f"{path_of(job)}/search"
    nothing = {"attempt": None, "offsets": [], "count": 0, "nextOffset": None}
    assert (await alice("GET", f"{search}?text=x", expect=200)).json() == nothing
    await run(job)
    log = writer_of(objects, job)
    log.write("Grün\ngrün\nGRÜN 100%\n".encode())
    await asyncio.to_thread(log.close)
    await run(job, Phase.SUCCEEDED)

    async def found(**query: Any) -> list[int]:
        told = (await alice("GET", search, params=query, expect=200)).json()
        assert told["attempt"] == 1 and told["nextOffset"] is None
        assert told["count"] >= len(told["offsets"])
        return list(told["offsets"])

    assert await found(text="grün") == [6]
    assert await found(text="grün", ignoreCase=True) == [0, 6], "other letters than A to Z are as they are"
    assert await found(text="gr", ignoreCase=True, limit=2) == [0, 6]
    assert await found(text="gr", ignoreCase=True, offset=1, end=14) == [6, 12]
    assert await found(text="100%") == [18]


async def test_a_search_that_takes_long_is_answered_in_parts(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_trainjob.api.logs.SEARCH_SECONDS", 0.0)
    job = await submit(alice)
    await run(job)
    log = writer_of(objects, job)
    log.write(b"." * 2**20 + b"needle" + b"." * 2**21)
    await asyncio.to_thread(log.close)
    offset: int | None = 0
    offsets, answers = [], 0
    while offset is not None:
        told = (await alice("GET", f"{path_of(job)}/search?text=needle&offset={offset}", expect=200)).json()
        offsets, offset, answers = offsets + told["offsets"], told["nextOffset"], answers + 1
    assert offsets == [2**20]
    assert answers > 2, "a MiB each, and what is left"


async def test_searches_of_those_who_hung_up_hold_no_place(
    alice: Caller, submit: Submit, run: Run, server: Server, objects: FilesystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_trainjob.api.logs.SEARCH_SECONDS", 3600.0)
    job = await submit(alice)
    await run(job)
    for start in range(3000):  # 20 ms each: a minute a search
        objects.put(segment_key(f"jobs/{job['metadata']['uid']}/1/", start), b".", durable=False)
    looks, quick = threading.Semaphore(0), objects.get

    def slow(key: str, start: int = 0, end: int | None = None) -> bytes:
        looks.release()
        time.sleep(0.02)
        return quick(key, start, end)

    monkeypatch.setattr(objects, "get", slow)
    path = f"{path_of(job)}/search?text=needle"
    async with server.client("token-alice") as client:
        asked = [asyncio.create_task(client.get(path)) for _ in range(5)]
        while not server.services.logs._searches.locked():
            await asyncio.sleep(0.02)
        assert await asyncio.to_thread(looks.acquire, timeout=30)
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    monkeypatch.setattr("jupyter_trainjob.api.logs.SEARCH_SECONDS", 0.1)
    told = (await asyncio.wait_for(alice("GET", path, expect=200), 30)).json()
    assert told["offsets"] == [] and 0 < told["nextOffset"] < 3000


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "text"),
        ("text=", "text"),
        ("text=" + "x" * 1001, "text"),
        ("text=x&limit=10001", "10001 is more than 10000"),
        ("text=x&offset=-1", "-1 is less than 0"),
        ("text=x&regex=1", "there is none of this name here"),
    ],
)
async def test_a_search_that_can_not_be_is_refused_in_words(
    alice: Caller, submit: Submit, query: str, words: str
) -> None:
    job = await submit(alice)
    refusal = await alice.refused("GET", f"{path_of(job)}/search?{query}", 400)
    assert words in refusal["message"]


async def test_another_persons_log_is_not_found(alice: Caller, bob: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice)
    await run(job)
    await bob.refused("GET", path_of(job), 404)
    await bob.refused("GET", f"{path_of(job)}/search?text=x", 404)


@pytest.mark.slow
async def test_a_hundred_followers_leave_the_server_quick(
    alice: Caller, submit: Submit, run: Run, server: Server, objects: FilesystemStore
) -> None:
    jobs = [await submit(alice) for _ in range(20)]
    for job in jobs:
        await run(job)
    async with server.client("token-alice") as client:
        client._transport._pool._max_connections = 200  # type: ignore[attr-defined]
        followers = [asyncio.create_task(client.get(f"{path_of(jobs[i % 20])}?wait=8")) for i in range(100)]
        await asyncio.sleep(1)
        times = []
        for _ in range(50):
            begun = time.perf_counter()
            await alice("GET", f"/namespaces/alice/trainjobs/{jobs[0]['metadata']['name']}", expect=200)
            times.append(time.perf_counter() - begun)
        times.sort()
        assert times[-2] < 0.25, times[-5:]
        logs = [writer_of(objects, job) for job in jobs]
        begun = time.monotonic()
        for log in logs:
            log.write(b"now\n")
        pieces = await asyncio.gather(*followers)
        assert time.monotonic() - begun < 3
        assert {piece.content for piece in pieces} == {b"now\n"}
        for log in logs:
            await asyncio.to_thread(log.close)


@pytest.mark.slow
async def test_a_gigabyte_is_read_in_little_memory(
    alice: Caller, submit: Submit, run: Run, server: Server, objects: FilesystemStore
) -> None:
    job = await submit(alice)
    await run(job)
    size = 2**30
    uid = job["metadata"]["uid"]
    log = writer_of(objects, job, cap_bytes=4 * size)
    block = b"0123456789abcdef" * 65536
    for _ in range(size // len(block)):
        await asyncio.to_thread(log.write, block)
    await asyncio.to_thread(log.close)
    await run(job, Phase.SUCCEEDED)
    gc.collect()
    process = psutil.Process(os.getpid())
    before = peak = process.memory_info().rss
    offset, complete = 0, False
    async with server.client("token-alice") as client:
        while not complete:
            piece = await client.get(f"{path_of(job)}?offset={offset}&limit=1048576")
            offset = int(piece.headers["X-Log-Next-Offset"])
            complete = piece.headers["X-Log-Complete"] == "true" and offset == size
            peak = max(peak, process.memory_info().rss)
    assert offset == size, uid
    assert peak - before < 50 * 2**20
