"""What every request has in common: who asks, what they sent, and answers that a person can use."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from jupyter_trainjob.resources.errors import TrainJobError
from jupyter_trainjob.storage.base import StoreError

from .conftest import KERNEL_TOKEN, Caller, Server, cell
from .document import Document

pytestmark = pytest.mark.asyncio
JOBS = "/namespaces/alice/trainjobs"


async def test_nobody_is_told_to_send_a_token(nobody: Caller) -> None:
    status = await nobody.refused("GET", "/me", 401)
    assert "Authorization: token" in status["remedy"]
    assert (await nobody("GET", "/me")).headers["WWW-Authenticate"].startswith("token")
    assert (await nobody.refused("POST", JOBS, 401, json=cell()))["reason"] == "Unauthorized"


async def test_a_wrong_token_is_told_apart_from_none(server: Server, document: Document) -> None:
    async with server.client("token-mallory") as client:
        status = await Caller(client, document, "mallory").refused("GET", "/me", 401)
    assert "not one that this server knows" in status["message"]


async def test_the_kernels_token_is_the_local_user_and_needs_no_cookie(server: Server) -> None:
    async with server.client(headers={"Authorization": f"trainjob {KERNEL_TOKEN}"}) as client:
        assert (await client.get("/me")).json()["username"] == "alice"
        assert (await client.post(JOBS, json=cell())).status_code == 201


async def test_a_browsers_cookie_needs_the_xsrf_token_to_change_things(server: Server) -> None:
    async with server.client(cookies={"person": "alice", "_xsrf": "2|b|c|1"}) as client:
        assert (await client.get("/me")).json()["username"] == "alice"
        refused = await client.post(JOBS, json=cell())
        assert refused.status_code == 403
        assert refused.json()["kind"] == "Status"
        assert "XSRF" in refused.json()["message"] or "_xsrf" in refused.json()["message"]
    async with server.client(cookies={"person": "alice", "_xsrf": "abcd"}, headers={"X-XSRFToken": "abcd"}) as client:
        assert (await client.post(JOBS, json=cell())).status_code == 201


async def test_pages_of_other_origins_are_kept_out(server: Server) -> None:
    async with server.client(cookies={"person": "alice"}, headers={"Origin": "http://evil.example"}) as client:
        refused = await client.get("/me")
        assert refused.status_code == 403
        assert "evil.example" in refused.json()["message"]


async def test_another_host_name_is_refused(server: Server) -> None:
    async with server.client("token-alice", headers={"Host": "rebound.example"}) as client:
        refused = await client.get("/me")
        assert refused.status_code == 403
        assert "rebound.example" in refused.json()["message"]


async def test_an_unknown_argument_is_named_with_those_there_are(alice: Caller) -> None:
    status = await alice.refused("GET", f"{JOBS}?labelselector=a&limit=1", 400)
    assert "'labelselector'" in status["message"]
    assert status["remedy"] == "Allowed: continue, labelSelector, limit, owner, phase, q, queue."
    assert "none" in (await alice.refused("GET", "/me?x=1", 400))["remedy"]
    assert "none" in (await alice.refused("POST", "/queues?dryRun=true", 400, json={}))["remedy"]


async def test_arguments_of_jupyter_and_of_its_caches_are_let_through(alice: Caller) -> None:
    response = await alice.http.get("/me?1732233600000&no_track_activity=1&token=token-alice")
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=ten", "'ten' is no whole number"),
        ("limit=0", "0 is less than 1"),
        ("limit=501", "501 is more than 500"),
        ("limit=1&limit=2", "it is given 2 times"),
        ("phase=Finished", "'Finished' is none of its values"),
        ("q=%FF", "it is not UTF-8"),
    ],
)
async def test_wrong_arguments_of_lists(alice: Caller, query: str, message: str) -> None:
    status = await alice.refused("GET", f"{JOBS}?{query}", 400)
    assert message in status["message"]
    assert status["details"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("log?offset=-1", "-1 is less than 0"),
        ("log?offset=99999999999999999999", "99999999999999999999 is more than"),
        ("log?wait=soon", "'soon' is no number"),
        ("log?wait=inf", "'inf' is no number of seconds"),
        ("log?attempt=0", "0 is less than 1"),
    ],
)
async def test_wrong_arguments_of_logs(alice: Caller, path: str, message: str) -> None:
    assert message in (await alice.refused("GET", f"{JOBS}/x/{path}", 400))["message"]


async def test_a_wrong_since_is_named(alice: Caller) -> None:
    assert "'now' is no whole number" in (await alice.refused("GET", "/changes?since=now", 400))["message"]
    assert "'Pod'" in (await alice.refused("GET", "/changes?kind=Pod", 400))["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body is empty."),
        (b"{", "The body is no JSON: Expecting property name"),
        (b"[1]", "The body is a JSON array, not an object."),
        (b'"text"', "a JSON string"),
        (b"null", "a JSON null"),
        (b'{"a": NaN}', "NaN, which is no JSON"),
        (b'{"a": "\xff"}', "not UTF-8: byte 7"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5001 + b"}", "holds a number that can't be read"),
    ],
)
async def test_a_body_that_is_no_json_object(alice: Caller, body: bytes, message: str) -> None:
    headers = {"Content-Type": "application/json"}
    status = await alice.refused("POST", JOBS, 400, content=body, headers=headers)
    assert message in status["message"]
    assert status["remedy"]


async def test_a_body_of_another_type_is_refused(alice: Caller) -> None:
    status = await alice.refused("POST", JOBS, 400, data={"a": "b"})
    assert "application/x-www-form-urlencoded" in status["message"]
    assert "Content-Type: application/json" in status["remedy"]


async def test_a_cell_of_50_mb_is_refused_with_what_to_do(alice: Caller) -> None:
    status = await alice.refused("POST", JOBS, 413, json=cell("x" * 50_000_000))
    assert "47.7 MiB, the limit is 8 MiB" in status["message"]
    assert "--files" in status["remedy"]


async def test_a_long_body_without_a_length_is_refused_too(alice: Caller) -> None:
    async def chunks():  # type: ignore[no-untyped-def]
        for _ in range(20):
            yield b" " * 2**20

    response = await alice.http.post(JOBS, content=chunks(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert "20.0 MiB" in response.json()["message"]


async def test_who_sends_much_with_a_wrong_token_is_told_so(server: Server) -> None:
    async with server.client("token-mallory") as client:
        for path in (JOBS, "/jobs"):
            assert (await client.post(path, json=cell("x" * 5_000_000))).status_code == 401
        assert (await client.put("/blobs/sha256:0", content=b"x" * 5_000_000)).status_code == 401


async def test_nobodys_gigabyte_is_not_waited_for(server: Server) -> None:
    """The refusal comes with the headers alone: 1 GiB is announced, none of it is sent."""
    url = urlsplit(server.url)
    assert url.hostname and url.port
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    path = f"{url.path}{JOBS}"
    writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2**30}\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
    assert head == b"HTTP/1.1 401 Unauthorized\r\n"
    writer.close()
    await writer.wait_closed()


async def test_what_is_not_there_is_said_in_json(alice: Caller, nobody: Caller) -> None:
    status = await alice.refused("GET", "/jobs", 404)
    assert "/jobs" in status["message"]
    assert "openapi.yaml" in status["message"]
    await alice.refused("GET", "/", 404)
    await nobody.refused("GET", "/jobs", 401)


async def test_a_method_that_is_not_possible_names_those_that_are(alice: Caller) -> None:
    response = await alice("PUT", JOBS, json={}, expect=405)
    assert response.json()["message"] == "PUT is not possible here."
    assert response.headers["Allow"] == "GET, POST, OPTIONS"
    assert (await alice.http.request("TRACE", "/me")).status_code == 405


async def test_an_accident_names_the_request_and_hides_the_rest(
    alice: Caller, monkeypatch: pytest.MonkeyPatch, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def explode(*_: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(server.services.about, "me", explode)
    with caplog.at_level(logging.ERROR):
        status = await alice.refused("GET", "/me", 500)
    assert status["reason"] == "InternalError"
    assert "hunter2" not in json.dumps(status)
    request_id = status["data"]["requestId"]
    assert request_id in status["message"]
    assert any(request_id in record.message and record.exc_info for record in caplog.records)


async def test_a_failing_object_store_is_no_accident_of_the_servers(
    alice: Caller, monkeypatch: pytest.MonkeyPatch, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError("No space left on device: /secret/path")

    monkeypatch.setattr(type(server.services.objects), "put_file", fail)
    digest = "sha256:" + "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    response = await alice("PUT", f"/blobs/{digest}", expect=503)
    assert "object store" in response.json()["message"]
    assert "/secret/path" not in response.text
    assert int(response.headers["Retry-After"]) >= 1
    assert "/secret/path" in caplog.text


async def test_a_retry_after_is_a_whole_number_of_seconds(
    alice: Caller, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    class Later(TrainJobError):
        code, reason = 503, "Unavailable"

    async def refuse(*_: object) -> None:
        raise Later("Not now.", retry_after_seconds=0.2)

    monkeypatch.setattr(server.services.about, "me", refuse)
    assert (await alice("GET", "/me", expect=503)).headers["Retry-After"] == "1"


async def test_answers_can_not_be_sniffed_framed_or_run(alice: Caller) -> None:
    headers: httpx.Headers = (await alice("GET", "/me")).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


async def test_many_connections_at_once_are_answered(server: Server) -> None:
    url = urlsplit(server.url)
    assert url.hostname and url.port
    with socket.create_connection((url.hostname, url.port)) as idle:
        idle.sendall(b"GET ")  # an unfinished request keeps nobody waiting
        async with server.client("token-alice") as client:
            assert (await client.get("/me")).status_code == 200
