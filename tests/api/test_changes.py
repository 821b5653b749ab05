"""The feed: pages, waiting, streams; each person's own view of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from jupyter_server.auth import AllowAllAuthorizer
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from jupyter_trainjob.api import stream as stream_module
from jupyter_trainjob.resources.trainjob import Phase

from .conftest import PEOPLE, Caller, Run, Server, Submit
from .document import Document

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def stream(server: Server, person: str, query: str = "") -> AsyncIterator[WebSocketClientConnection]:
    url = server.url.replace("http", "ws", 1) + "/changes/stream" + query
    request = HTTPRequest(url, headers={"Authorization": f"token token-{person}"})
    connection = await websocket_connect(request)
    try:
        yield connection
    finally:
        connection.close()
        for _ in range(100):  # until the server has seen it
            if server.services.metrics.registry.get_sample_value("trainjob_feed_subscribers") == 0:
                break
            await asyncio.sleep(0.02)


async def message(connection: WebSocketClientConnection, timeout: float = 5) -> dict[str, Any]:
    text = await asyncio.wait_for(connection.read_message(), timeout)
    assert text is not None, (connection.close_code, connection.close_reason)
    data: dict[str, Any] = json.loads(text)
    Document.load()._valid({"$ref": "#/components/schemas/Changes"}, data, "a message") if "changes" in data else None
    return data


def names(page: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (change["type"], change["object"]["metadata"].get("labels", {}).get("jupyter-trainjob/name", ""))
        for change in page["changes"]
    ]


async def test_a_page_holds_what_came_after_a_version(alice: Caller, submit: Submit) -> None:
    start = (await alice("GET", "/changes", expect=200)).json()
    assert start["changes"] == []
    await submit(alice, name="one")
    await submit(alice, name="two")
    page = (await alice("GET", f"/changes?since={start['version']}", expect=200)).json()
    assert names(page) == [("ADDED", "one"), ("ADDED", "two")]
    assert "position" not in page["changes"][0]["object"]["status"], "computed for lists and single jobs only"
    rest = (await alice("GET", f"/changes?since={page['version']}", expect=200)).json()
    assert rest == {"changes": [], "version": page["version"]}


async def test_several_changes_of_one_object_are_one(alice: Caller, submit: Submit, run: Run) -> None:
    start = (await alice("GET", "/changes")).json()["version"]
    job = await submit(alice)
    await run(job)
    await run(job, Phase.SUCCEEDED)
    page = (await alice("GET", f"/changes?since={start}", expect=200)).json()
    assert names(page) == [("ADDED", "digits")]
    assert page["changes"][0]["object"]["status"]["phase"] == "Succeeded"


async def test_a_list_and_the_feed_fit_together(alice: Caller, submit: Submit) -> None:
    await submit(alice, name="before")
    version = (await alice("GET", "/trainjobs")).json()["metadata"]["resourceVersion"]
    await submit(alice, name="after")
    page = (await alice("GET", f"/changes?since={version}", expect=200)).json()
    assert names(page) == [("ADDED", "after")]


async def test_a_long_poll_answers_when_something_comes(alice: Caller, bob: Caller, submit: Submit) -> None:
    waiting = asyncio.create_task(alice("GET", "/changes?wait=20", expect=200))
    await asyncio.sleep(0.3)
    await submit(bob)  # nothing for alice
    await asyncio.sleep(0.3)
    assert not waiting.done()
    begun = time.monotonic()
    await submit(alice, name="mine")
    page = (await waiting).json()
    assert time.monotonic() - begun < 2
    assert names(page) == [("ADDED", "mine")]


async def test_a_long_poll_that_finds_nothing_ends_in_time_and_moves_on(
    alice: Caller, bob: Caller, submit: Submit
) -> None:
    start = (await alice("GET", "/changes")).json()["version"]
    await submit(bob)
    begun = time.monotonic()
    page = (await alice("GET", f"/changes?since={start}&wait=0.5", expect=200)).json()
    assert 0.4 < time.monotonic() - begun < 3
    assert page["changes"] == []
    assert page["version"] > start


async def test_the_feed_is_filtered_by_kind_and_namespace(instructor: Caller, operator: Caller, submit: Submit) -> None:
    start = (await operator("GET", "/changes")).json()["version"]
    await submit(instructor, name="own")
    await submit(instructor, "ml101", name="course")
    await operator("POST", "/queues", json={"metadata": {"name": "gpu"}}, expect=201)
    since = f"/changes?since={start}"
    both = (await instructor("GET", f"{since}&namespace=ml101", expect=200)).json()
    assert [change["object"]["kind"] for change in both["changes"]] == ["TrainJob", "Queue"]
    jobs = (await instructor("GET", f"{since}&kind=TrainJob&namespace=ml101", expect=200)).json()
    assert names(jobs) == [("ADDED", "course")]
    assert "somewhere" in (await instructor.refused("GET", f"{since}&namespace=somewhere", 404))["message"]


async def test_a_version_that_is_too_old_or_too_new_is_gone(alice: Caller, server: Server, submit: Submit) -> None:
    await submit(alice)
    await submit(alice)
    await server.services.store.awrite(lambda writer: writer.prune_changes(1))
    status = await alice.refused("GET", "/changes?since=0", 410)
    assert status["reason"] == "Expired"
    assert "List again" in status["remedy"]
    await alice.refused("GET", "/changes?since=99999", 410)


async def test_a_stream_says_where_it_stands_and_then_what_changes(
    alice: Caller, bob: Caller, server: Server, submit: Submit
) -> None:
    async with stream(server, "alice") as connection:
        first = await message(connection)
        assert first["changes"] == []
        await submit(bob, name="bobs")
        await submit(alice, name="mine")
        page = await message(connection)
        assert names(page) == [("ADDED", "mine")]
        assert page["version"] > first["version"]


async def test_a_stream_is_resumed_where_it_broke_off(alice: Caller, server: Server, submit: Submit) -> None:
    async with stream(server, "alice") as connection:
        version = (await message(connection))["version"]
    await submit(alice, name="meanwhile")
    async with stream(server, "alice", f"?since={version}") as connection:
        assert names(await message(connection)) == [("ADDED", "meanwhile")]


async def test_a_burst_comes_in_few_messages(alice: Caller, server: Server, submit: Submit, run: Run) -> None:
    async with stream(server, "alice") as connection:
        await message(connection)
        begun = time.monotonic()
        job = await submit(alice)
        for _ in range(20):
            await run(job)
            await run(job, Phase.QUEUED)
        version = (await alice("GET", "/changes")).json()["version"]
        count, last = 0, 0
        while last < version:
            last = (await message(connection))["version"]
            count += 1
        assert count <= 2 + (time.monotonic() - begun) / 0.25


async def test_a_stream_masks_what_is_not_ones_own(member: Caller, server: Server, submit: Submit) -> None:
    async with stream(server, "ines") as theirs, stream(server, "mona") as own:
        await message(theirs)
        await message(own)
        await submit(member, "ml101", environment={"env": [{"name": "K", "value": "very-secret"}]})
        assert "very-secret" not in json.dumps(await message(theirs))
        assert "very-secret" in json.dumps(await message(own))


async def test_a_stream_that_is_too_old_is_told_so_and_closed(alice: Caller, server: Server, submit: Submit) -> None:
    await submit(alice)
    await submit(alice)
    await server.services.store.awrite(lambda writer: writer.prune_changes(1))
    async with stream(server, "alice", "?since=0") as connection:
        told = await message(connection)
        assert told["error"]["reason"] == "Expired"
        assert await connection.read_message() is None
        assert connection.close_code == 4410


@pytest.mark.parametrize(
    ("person", "query", "code"), [("mallory", "", 401), ("alice", "?limit=3", 400), ("alice", "?namespace=bob", 404)]
)
async def test_a_stream_that_may_not_be_is_refused_in_plain_http(
    server: Server, person: str, query: str, code: int
) -> None:
    with pytest.raises(HTTPClientError) as caught:
        async with stream(server, person, query):
            pass
    assert caught.value.code == code
    assert json.loads(caught.value.response.body)["kind"] == "Status"


async def test_pages_of_other_origins_get_no_stream(server: Server) -> None:
    url = server.url.replace("http", "ws", 1) + "/changes/stream"
    headers = {"Cookie": "person=alice", "Origin": "http://evil.example"}
    with pytest.raises(HTTPClientError) as caught:
        await websocket_connect(HTTPRequest(url, headers=headers))
    assert caught.value.code == 403


async def test_a_browsers_stream_carries_its_token_in_the_address(server: Server, alice: Caller) -> None:
    url = server.url.replace("http", "ws", 1) + "/changes/stream?token=token-alice"
    connection = await websocket_connect(HTTPRequest(url))
    assert (await message(connection))["changes"] == []
    connection.close()
    await asyncio.sleep(0.1)


async def test_a_stream_ends_when_its_reader_is_no_longer_known_or_let(
    alice: Caller, server: Server, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it has stood: the provider is asked again and again, also while there is much news."""
    monkeypatch.setattr(stream_module, "IDLE_SECONDS", 0.3)
    async with stream(server, "mona") as revoked, stream(server, "vera") as refused, stream(server, "alice") as fine:
        for connection in (revoked, refused, fine):
            await message(connection)
        monkeypatch.delitem(PEOPLE, "mona")
        asked: list[tuple[str, str]] = []

        def judge(_: Any, handler: Any, user: Any, action: str, resource: str) -> bool:
            asked.append((action, resource))
            return bool(user.username != "vera")

        monkeypatch.setattr(AllowAllAuthorizer, "is_authorized", judge)
        for connection, code, reason in ((revoked, 4401, "Unauthorized"), (refused, 4403, "Forbidden")):
            told = await message(connection)
            assert told["error"]["reason"] == reason
            assert await connection.read_message() is None
            assert connection.close_code == code
        await submit(alice, name="later")
        assert names(await message(fine)) == [("ADDED", "later")]
        assert ("read", "trainjob") in asked


async def test_a_stream_follows_a_change_of_roles(
    member: Caller, server: Server, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "IDLE_SECONDS", 0.2)
    async with stream(server, "vera") as connection:
        await message(connection)
        monkeypatch.setitem(PEOPLE, "vera", {"roles": {}})
        await asyncio.sleep(0.6)
        job = await submit(member, "ml101", name="unseen")
        monkeypatch.setitem(PEOPLE, "vera", {"roles": {"ml101": "viewer"}})
        await asyncio.sleep(0.6)
        await member("POST", f"/namespaces/ml101/trainjobs/{job['metadata']['name']}/hold", expect=200)
        assert [change["type"] for change in (await message(connection))["changes"]] == ["MODIFIED"]


async def test_a_reader_that_does_not_read_holds_one_message(
    alice: Caller, server: Server, submit: Submit, run: Run
) -> None:
    """It gets what it missed in few messages, later: nothing is queued up for it meanwhile."""
    job = await submit(alice, code="x = 1  # " + "y" * 400_000)
    url = server.url.replace("http", "ws", 1) + "/changes/stream?since=0"
    request = HTTPRequest(url, headers={"Authorization": "token token-alice"})
    connection = await websocket_connect(request)
    connection.stream = None
    for number in range(40):
        await run(job, Phase.RUNNING if number % 2 else Phase.QUEUED)
        await asyncio.sleep(0.02)
    version = (await alice("GET", "/changes")).json()["version"]
    count, last = 0, 0
    while last < version:
        last = (await message(connection, 20))["version"]
        count += 1
    assert count < 20
    connection.close()
    await asyncio.sleep(0.1)
