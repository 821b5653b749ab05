"""A server whose extension could not start: the same answer to everything, however often."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from jupyter_server.auth import AllowAllAuthorizer
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from jupyter_trainjob.api.broken import BrokenHandler, handlers_for_broken
from jupyter_trainjob.api.identity import IdentityService

from .conftest import People


@pytest.mark.asyncio
async def test_each_request_gets_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One object that is raised again and again would hold every request's frames for ever."""
    raised: list[BaseException] = []
    monkeypatch.setattr(BrokenHandler, "log_exception", lambda self, typ, value, tb: raised.append(value))
    provider = People()
    specs: list[Any] = list(handlers_for_broken(OSError("the disk is gone"), IdentityService(local_user="alice")))
    app = Application(specs, base_url="/", identity_provider=provider, authorizer=AllowAllAuthorizer(),
                      cookie_secret="for tests", local_hostnames=["localhost"],
                      log_function=lambda _: None)  # fmt: skip
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(app)
    server.add_sockets(sockets)
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/trainjob/api/v1/me"
    try:
        async with httpx.AsyncClient(trust_env=False, headers={"Authorization": "token token-alice"}) as client:
            for _ in range(3):
                answer = await client.get(url)
                assert answer.status_code == 503
                assert answer.json()["message"] == "The job service of this server could not start: the disk is gone"
                assert "at the top of its log" in answer.json()["remedy"]
    finally:
        server.stop()
        await server.close_all_connections()
    assert len({id(error) for error in raised}) == 3
