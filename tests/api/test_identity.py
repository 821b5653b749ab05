"""Who is behind a request: a real jupyter_server with its stock provider, and providers that know people."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass, field
from typing import Any

import pytest
from jupyter_server.auth.identity import (
    IdentityProvider,
    LegacyIdentityProvider,
    PasswordIdentityProvider,
    User,
)
from tornado.httpclient import HTTPClientError
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application, RequestHandler

from jupyter_trainjob.api.identity import IdentityService, _told, default_local_user, is_stock
from jupyter_trainjob.api.serve import FileIdentityProvider
from jupyter_trainjob.resources.errors import Unauthorized

ME = ("trainjob", "api", "v1", "me")


def local() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


# A whole server with the extension. No token: pytest-jupyter's own is in jp_fetch.


@pytest.fixture
def jp_server_config(jp_server_config: dict[str, Any], tmp_path: Any) -> dict[str, Any]:
    return {**jp_server_config, "TrainJobExtension": {"data_dir": str(tmp_path / "trainjob")}}


async def test_with_the_stock_token_every_request_is_the_local_user(jp_fetch: Any) -> None:
    first, second = [await jp_fetch(*ME) for _ in range(2)]
    assert first.body == second.body
    assert f'"username": "{local()}"'.encode() in first.body
    assert b'"operator": true' in first.body


async def refused(fetch: Any, *path: str, **options: Any) -> HTTPClientError:
    with pytest.raises(HTTPClientError) as caught:
        await fetch(*path, **options)
    return caught.value


async def test_the_kernels_token_opens_our_routes_and_no_others(jp_fetch: Any, jp_serverapp: Any) -> None:
    token = jp_serverapp.web_app.settings["trainjob"].identity._kernel_token.decode()
    assert len(token) >= 43
    for scheme in ("trainjob", "token", "Bearer"):
        answer = await jp_fetch(*ME, headers={"Authorization": f"{scheme} {token}"})
        assert f'"username": "{local()}"'.encode() in answer.body
    for path in (("api", "status"), ("api", "contents"), ("api", "kernels"), ("api", "me")):
        error = await refused(jp_fetch, *path, headers={"Authorization": f"token {token}"})
        assert error.code == 403
    error = await refused(jp_fetch, "api", "status", headers={"Authorization": f"trainjob {token}"})
    assert error.code == 403


async def test_the_kernels_token_may_write_without_xsrf(jp_fetch: Any, jp_serverapp: Any) -> None:
    await jp_serverapp.extension_manager.start_all_extensions()
    token = jp_serverapp.web_app.settings["trainjob"].identity._kernel_token.decode()
    body = '{"spec": {"source": {"type": "cell", "code": "print(1)"}}}'
    answer = await jp_fetch(
        "trainjob", "api", "v1", "namespaces", local(), "trainjobs",
        method="POST", body=body, params={"dryRun": "true"},
        headers={"Authorization": f"trainjob {token}", "Content-Type": "application/json"},
    )  # fmt: skip
    assert answer.code == 200


async def test_a_wrong_and_a_missing_token_say_what_to_do(jp_fetch: Any) -> None:
    wrong = await refused(jp_fetch, *ME, headers={"Authorization": "trainjob from-yesterday"})
    assert wrong.code == 401
    assert b"The token is not one that this server knows." in wrong.response.body
    assert b"restart the kernel, or set JUPYTER_TRAINJOB_TOKEN anew" in wrong.response.body
    none = await refused(jp_fetch, *ME, headers={"Authorization": ""})
    assert none.code == 401
    assert b"The request carries no token, and no one is logged in." in none.response.body
    assert b"or log in with the browser" in none.response.body
    assert "login" not in (none.response.effective_url or "")


async def test_a_page_of_another_origin_can_not_write_with_a_cookie(jp_fetch: Any) -> None:
    login = await jp_fetch("api", "me")
    cookie = "; ".join(part.partition(";")[0] for part in login.headers.get_list("Set-Cookie"))
    assert cookie
    error = await refused(
        jp_fetch, "trainjob", "api", "v1", "queues",
        method="POST", body="{}", headers={"Authorization": "", "Cookie": cookie, "Origin": "https://evil.example"},
    )  # fmt: skip
    assert error.code in (403, 404)


# Providers


@dataclass
class Known(User):
    groups: tuple[str, ...] = ()
    roles: dict[str, str] = field(default_factory=dict)


class Hub(IdentityProvider):
    """Knows people, and tells their rights by functions of its own, one of them a coroutine."""

    def get_user(self, handler: Any) -> User | None:
        return User("ada", display_name="Ada")

    async def trainjob_groups(self, user: User) -> list[str]:
        return ["course", user.username]

    trainjob_operator = False

    def trainjob_roles(self, user: User) -> dict[str, str]:
        return {"ml": "instructor", "gpu": "emperor"}


def make_handler(app: Application, headers: dict[str, str]) -> Any:
    connection = type("Connection", (), {"set_close_callback": lambda self, callback: None})()
    line = RequestStartLine("GET", "/me", "HTTP/1.1")
    request = HTTPServerRequest(
        headers=HTTPHeaders({"Host": "localhost", **headers}), start_line=line, connection=connection
    )
    return RequestHandler(app, request)


def handler_for(provider: IdentityProvider | None, user: User | None, **headers: str) -> Any:
    handler = make_handler(Application(), headers)
    handler.identity_provider = provider
    handler.current_user = user
    return handler


@pytest.mark.asyncio
async def test_a_provider_that_knows_people_is_asked_for_all_it_knows(caplog: pytest.LogCaptureFixture) -> None:
    service = IdentityService(local_user="root", operators=["boss"])
    ada = await service.identity_for(handler_for(Hub(), User("ada", display_name="Ada")))
    assert (ada.username, ada.display_name, ada.operator) == ("ada", "Ada", False)
    assert ada.groups == {"course", "ada"}
    assert dict(ada.roles) == {"ml": "instructor"}
    assert "calls ada 'emperor' in gpu; known roles are viewer, member, instructor. Ignored." in caplog.text
    boss = await service.identity_for(handler_for(Hub(), User("boss")))
    assert boss.operator
    known = Known("eve", groups=("a",), roles={"queue:gpu": "viewer"})
    eve = await service.identity_for(handler_for(Hub(), known))
    assert eve.groups == {"a"}
    assert dict(eve.roles) == {"queue:gpu": "viewer"}


@pytest.mark.asyncio
async def test_only_true_makes_an_operator() -> None:
    class Sloppy(Hub):
        trainjob_operator = "yes"  # type: ignore[assignment]

    found = await IdentityService(local_user="root").identity_for(handler_for(Sloppy(), User("ada")))
    assert found.operator is False


@pytest.mark.asyncio
async def test_nobody_is_unauthorized() -> None:
    with pytest.raises(Unauthorized, match="carries no token"):
        await IdentityService(local_user="root").identity_for(handler_for(Hub(), None))


def test_which_providers_are_stock() -> None:
    class Renamed(PasswordIdentityProvider):
        """Overrides nothing that says who."""

    class Anonymous(PasswordIdentityProvider):
        def generate_anonymous_user(self, handler: Any) -> User:
            return User("shared")

    assert is_stock(IdentityProvider())
    assert is_stock(PasswordIdentityProvider())
    assert is_stock(LegacyIdentityProvider())
    assert is_stock(Renamed())
    assert not is_stock(Hub())
    assert not is_stock(Anonymous())
    assert not is_stock(FileIdentityProvider.__new__(FileIdentityProvider))


def test_the_kernels_token_is_compared_whole() -> None:
    service = IdentityService(local_user="me", kernel_token="abcdef")
    for text, fits in (
        ("trainjob abcdef", True),
        ("trainjob abcde", False),
        ("trainjob abcdefg", False),
        ("trainjob ", False),
        ("basic abcdef", False),
        ("abcdef", False),
        ("trainjob äbcdef", False),
    ):
        user = service.kernel_user(handler_for(None, None, Authorization=text))
        assert (user is not None) is fits, text
    without = IdentityService(local_user="me", kernel_token="")
    assert without.kernel_user(handler_for(None, None, Authorization="trainjob ")) is None


def test_the_local_user_comes_from_the_uid_not_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "someone-else")
    assert default_local_user() == local()
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    assert default_local_user() == "uid-4000000000"


@pytest.mark.asyncio
async def test_told_prefers_the_user_over_the_provider() -> None:
    assert await _told(Hub(), Known("eve", groups=("x",)), "groups") == ("x",)
    assert await _told(Hub(), User("eve"), "groups") == ["course", "eve"]
    assert await _told(Hub(), User("eve"), "nothing") is None
