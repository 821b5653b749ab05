"""How the server is found, and what is said when it is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jupyter_trainjob.client import AsyncClient, Client, InputError, ServerNotFound, Unauthorized
from jupyter_trainjob.client.discovery import api_root

from ..served import Served


@pytest.mark.parametrize(
    "url",
    [
        "http://h:1/base",
        "http://h:1/base/",
        "http://h:1/base/lab?token=x",
        "http://h:1/base/trainjob/api/v1",
        "http://h:1/base/trainjob/api/v1/",
        "h:1/base",
    ],
)
def test_any_url_of_the_server_will_do(url: str) -> None:
    assert api_root(url) == "http://h:1/base/trainjob/api/v1"


def runtime(served: Served) -> dict[str, str]:
    return {"JUPYTER_RUNTIME_DIR": str(served.folder / "runtime")}


def found(environ: dict[str, str]) -> str:
    with Client(environ=environ) as client:
        client.me()
        connection = client.session._connection
        assert connection is not None
        return connection.endpoint.source


def test_each_place_in_its_turn(served: Served) -> None:
    assert found(runtime(served)).startswith("the running-server file jpserver-")
    hub = {
        "JUPYTERHUB_API_TOKEN": served.token,
        "JUPYTERHUB_SERVICE_PREFIX": "/base/",
        "JUPYTERHUB_SERVICE_URL": f"http://0.0.0.0:{served.port}/base/",
    }
    assert found({**runtime(served), **hub}) == "the environment variable JUPYTERHUB_API_TOKEN"
    dead = {"JUPYTER_TRAINJOB_URL": "http://127.0.0.1:9/", "JUPYTER_TRAINJOB_TOKEN": "x"}
    assert found({**runtime(served), **hub, **dead}) == "the environment variable JUPYTERHUB_API_TOKEN"


def test_all_four_are_named_with_what_each_lacked(tmp_path: Path) -> None:
    dead = {"url": "http://127.0.0.1:9/", "token": "x", "pid": os.getpid()}
    (tmp_path / "jpserver-1.json").write_text(json.dumps(dead))
    (tmp_path / "jpserver-2.json").write_text("{half")
    (tmp_path / "jpserver-3.json").write_text(json.dumps({**dead, "pid": 2**22 + 1}))
    environ = {"JUPYTER_RUNTIME_DIR": str(tmp_path), "JUPYTER_TRAINJOB_URL": "x", "JUPYTERHUB_API_TOKEN": "t"}
    with pytest.raises(ServerNotFound) as caught:
        Client(environ=environ).me()
    text = str(caught.value)
    assert "arguments: no url was given" in text
    assert "the environment: JUPYTER_TRAINJOB_TOKEN not set" in text
    assert "JupyterHub: JUPYTERHUB_SERVICE_PREFIX not set" in text
    assert (
        "a running Jupyter server: http://127.0.0.1:9 (the running-server file jpserver-1.json) does not answer" in text
    )
    assert "jpserver-3" not in text and "Start JupyterLab with jupyter_trainjob installed" in text


def test_a_refused_token_says_where_it_came_from(served: Served) -> None:
    wrong = {"JUPYTER_TRAINJOB_URL": served.url, "JUPYTER_TRAINJOB_TOKEN": "secret-one", **runtime(served)}
    with pytest.raises(Unauthorized) as caught:
        Client(environ=wrong).me()
    assert "refused the token (401). It came from the environment variable JUPYTER_TRAINJOB_TOKEN." in str(caught.value)
    assert "restart the kernel" in str(caught.value) and "secret-one" not in str(caught.value)
    with pytest.raises(Unauthorized, match="came from the arguments, which have no token"):
        Client(served.url).me()


def test_a_token_without_a_server_is_not_thrown_away(served: Served) -> None:
    with pytest.raises(InputError, match=r"but no server's url \(--url\)\. Name the server as well, or set JUPYTER"):
        Client(token="another", environ=runtime(served)).me()


@pytest.mark.asyncio
async def test_the_other_face_finds_it_too(served: Served) -> None:
    async with AsyncClient(environ=runtime(served)) as client:
        assert (await client.me())["username"]


def test_a_server_without_the_extension_is_told(tmp_path: Path) -> None:
    from .broken import broken

    with broken() as other:
        del other.answers["GET", "/me"]
        with pytest.raises(ServerNotFound, match="answers, but has no jupyter_trainjob extension"):
            Client(other.url, "t").me()
