"""A server that sends us on to its object store for a file, and others that send us elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_trainjob.client import Client, ServerError

from .broken import Broken, Handler, broken

FILES = {"files": [{"path": name, "size": 4} for name in ("a", "b")]}


@pytest.fixture
def server() -> Iterator[Broken]:
    with broken() as made:
        yield made


def send_on(server: Broken, location: str, mark: str = "store") -> None:
    """Who prefers that is sent on for each file; the answer sets a cookie, as jupyter_server's do."""
    job = server.job("bob", FILES)

    def answer(handler: Handler) -> None:
        if handler.headers.get("Prefer") != "redirect":
            handler.send(b"here")
            return
        name = handler.path.rpartition("/")[2]
        more = {"X-TrainJob-Moved": mark} if mark else {}
        handler.send(b"", 307, **{"Location": f"{location}{name}?signed=1", "Set-Cookie": "login=secret", **more})

    for name in ("a", "b"):
        server.answers["GET", f"{job}/outputs/files/{name}"] = answer


def test_the_store_is_told_nothing_of_who_we_are(server: Broken, tmp_path: Path) -> None:
    with broken() as store, Client(server.url, "the-token") as client:
        send_on(server, store.url)
        for name in ("a", "b"):
            store.answers["GET", f"/{name}"] = lambda handler: handler.send(b"kept", **{"Set-Cookie": "store=1"})
        written = client.job("j").download(None, tmp_path)
        assert [path.read_text() for path in written] == ["kept", "kept"]
        sent = [{name.lower(): value for name, value in headers.items()} for _, _, headers in store.asked]
        assert len(sent) == 2
        assert not any({"authorization", "prefer"} & set(headers) for headers in sent)
        assert not any("login" in headers.get("cookie", "") for headers in sent)
        assert any("login=secret" in headers.get("Cookie", "") for _, _, headers in server.asked)  # it was ours to give


@pytest.mark.parametrize("refuses", [True, False])
def test_a_store_that_is_not_reached_is_tried_once(server: Broken, tmp_path: Path, refuses: bool) -> None:
    with broken() as store, socket.socket() as nobody, Client(server.url, "t") as client:
        nobody.bind(("127.0.0.1", 0))
        send_on(server, store.url if refuses else f"http://127.0.0.1:{nobody.getsockname()[1]}/")
        written = client.job("j").download(None, tmp_path)
        assert [path.read_text() for path in written] == ["here", "here"]
        asked = [path.rpartition("/")[2] for method, path, _ in server.asked if "/files/" in path]
        assert asked == ["a", "a", "b"] and len(store.asked) == refuses


def test_whoever_else_sends_us_on_is_not_followed(server: Broken, tmp_path: Path) -> None:
    with Client(server.url, "t") as client:
        send_on(server, "https://login.example/", mark="")
        with pytest.raises(ServerError, match=r"one is sent on to 'https://login.example/a\?signed=1'.*login page"):
            client.job("j").download("a", tmp_path)
        assert list(tmp_path.iterdir()) == []
