"""Forwarding, from inside: what goes to the service before this server has said yes, and what stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from jupyter_server.auth import Authorizer
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import websocket_connect

from jupyter_trainjob.api.identity import IdentityService
from jupyter_trainjob.api.remote import handlers_for_remote

from .conftest import People

pytestmark = pytest.mark.asyncio

PREFIX = "/trainjob/api/v1"


class OnlyReading(Authorizer):
    """mona may read, alice may all, bob nothing."""

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        return user.username == "alice" or (user.username == "mona" and action == "read")


@dataclass
class Upstream:
    """Counts what comes, and answers when the body has come."""

    heads: list[str] = field(default_factory=list)
    gone: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head.partition("\r\n")[0])
            for line in head.splitlines():
                if line.lower().startswith("content-length:"):
                    await reader.readexactly(int(line.partition(":")[2]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone += 1
        finally:
            writer.close()


@dataclass
class Forwarder:
    url: str
    upstream: Upstream


@pytest_asyncio.fixture
async def forwarder() -> AsyncIterator[Forwarder]:
    upstream = Upstream()
    there = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{there.sockets[0].getsockname()[1]}"
    specs: list[Any] = list(handlers_for_remote(address, "t", IdentityService(local_user="alice")))
    app = Application(specs, base_url="/", identity_provider=People(), authorizer=OnlyReading(), xsrf_cookies=True,
                      cookie_secret="for tests", local_hostnames=["localhost"],
                      log_function=lambda _: None)  # fmt: skip
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(app)
    server.add_sockets(sockets)
    yield Forwarder(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", upstream)
    server.stop()
    await server.close_all_connections()
    await specs[0][2]["remote"].http().aclose()
    there.close()
    await there.wait_closed()


def sending() -> list[str]:
    """Requests to the service that are under way in this process."""
    names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
    return [name for name in names if "AsyncClient.send" in name or "Queue.put" in name]


async def none_is_left() -> None:
    for _ in range(100):
        if not sending():
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"still there: {sending()}")


@pytest.mark.parametrize(
    ("person", "method", "code"),
    [("bob", "GET", 403), ("mona", "POST", 403), ("mona", "DELETE", 403), ("mona", "GET", 200), ("alice", "PUT", 200)],
)
async def test_nothing_goes_to_the_service_before_this_servers_authorizer_was_asked(
    forwarder: Forwarder, person: str, method: str, code: int
) -> None:
    body = {"content": b"x" * 300_000} if method in ("POST", "PUT") else {}
    async with httpx.AsyncClient(trust_env=False, headers={"Authorization": f"token token-{person}"}) as client:
        answer = await client.request(method, forwarder.url + PREFIX + "/trainjobs", **body)  # type: ignore[arg-type]
    assert answer.status_code == code
    await none_is_left()
    assert forwarder.upstream.heads == ([f"{method} {PREFIX}/trainjobs HTTP/1.1"] if code == 200 else [])


async def test_nor_does_a_stream(forwarder: Forwarder) -> None:
    url = forwarder.url.replace("http", "ws") + PREFIX + "/changes/stream"
    with pytest.raises(HTTPClientError) as refused:
        await websocket_connect(HTTPRequest(url, headers={"Authorization": "token token-bob"}))
    assert refused.value.code == 403
    assert forwarder.upstream.heads == []


async def test_an_upload_that_breaks_off_ends_at_the_service_too(forwarder: Forwarder) -> None:
    url = urlsplit(forwarder.url)
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"PUT {PREFIX}/blobs/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: token token-alice\r\n"
    writer.write(f"{head}Content-Length: 10000000\r\n\r\n".encode() + b"y" * 1_000_000)
    await writer.drain()
    await asyncio.sleep(0.3)
    assert sending()
    writer.close()
    await writer.wait_closed()
    await none_is_left()
    for _ in range(100):
        if forwarder.upstream.gone:
            break
        await asyncio.sleep(0.02)
    assert forwarder.upstream.gone == 1
