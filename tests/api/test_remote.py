"""A student's server that only forwards, before a real service: two processes, nothing in between."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import tornado.websocket
from tornado.httpclient import HTTPClientError, HTTPRequest

from jupyter_trainjob.api.identity import IdentityService
from jupyter_trainjob.api.remote import Remote, _without_token, handlers_for_remote
from jupyter_trainjob.api.tokens import Person, TokenFile
from jupyter_trainjob.client import Client, Unauthorized
from jupyter_trainjob.client.errors import Unavailable

from . import processes
from .processes import PREFIX, Running

CELL = {"metadata": {"generateName": "digits"}, "spec": {"source": {"type": "cell", "code": "print(1)"}}}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("remote")


@pytest.fixture(scope="module")
def tokens(folder: Path) -> dict[str, str]:
    file = TokenFile(folder / "tokens.yaml")
    return {name: file.add(Person(name)) for name in ("sam", "tess")}


@pytest.fixture(scope="module")
def service(folder: Path, tokens: dict[str, str]) -> Iterator[Running]:
    with processes.service(
        folder / "service", folder / "tokens.yaml", "--TrainJobExtension.default_queue=main"
    ) as found:
        yield found


@pytest.fixture(scope="module")
def sam(folder: Path, service: Running, tokens: dict[str, str]) -> Iterator[Running]:
    with processes.student(folder / "sam", service.url, tokens["sam"]) as found:
        yield found


def test_me_is_who_the_token_says_at_the_service_not_the_local_user(sam: Running) -> None:
    with sam.client("local-secret") as client:
        answer = client.get("/me")
    assert answer.status_code == 200
    assert answer.json()["username"] == "sam"
    assert answer.json()["operator"] is False


def test_asking_for_an_upload_that_is_not_there_leaves_no_warning_at_either_server(
    sam: Running, service: Running
) -> None:
    path = f"/blobs/sha256:{hashlib.sha256(b'not sent yet').hexdigest()}"
    with sam.client("local-secret") as client:
        assert [client.request(method, path).status_code for method in ("HEAD", "GET")] == [404, 404]
    for server in (sam, service):
        assert until(server, f"404 GET {PREFIX}{path}"), "jupyter_server warns of what is asked for and not there"
        assert "404 HEAD" not in server.log.read_text()


def test_a_job_sent_through_is_in_the_service_and_errors_come_back_as_they_are(
    sam: Running, service: Running, tokens: dict[str, str]
) -> None:
    with sam.client("local-secret") as here, service.client(tokens["sam"]) as there:
        made = here.post("/namespaces/sam/trainjobs", json=CELL)
        assert made.status_code == 201, made.text
        name = made.json()["metadata"]["name"]
        assert (
            there.get(f"/namespaces/sam/trainjobs/{name}").json()["metadata"]["uid"] == made.json()["metadata"]["uid"]
        )
        assert here.get("/namespaces/sam/trainjobs/digits").headers["X-TrainJob-Resolved"] == name
        bad = here.post("/namespaces/sam/trainjobs", json={**CELL, "spec": {"source": {"type": "cell", "code": " "}}})
        assert bad.status_code == 422
        assert bad.json()["details"][0]["field"] == "spec.source.code"
        assert here.patch(f"/namespaces/sam/trainjobs/{name}", json={"metadata": {"labels": {"a": "b"}}}).is_success
        assert here.delete(f"/namespaces/sam/trainjobs/{name}").status_code in (200, 202)
        assert here.get("/namespaces/tess/trainjobs").status_code == 404


def test_local_credentials_stay_here(sam: Running, tokens: dict[str, str]) -> None:
    with sam.client("") as client:
        refused = client.get("/me")
        assert refused.status_code == 401
        assert "carries no token" in refused.json()["message"]
    with sam.client(tokens["sam"]) as client:  # the service's token opens nothing here
        assert client.get("/me").status_code == 401


def test_a_large_upload_streams_through_and_comes_back_by_range(sam: Running) -> None:
    data = os.urandom(1024 * 1024) * 24
    digest = "sha256:" + hashlib.sha256(data).hexdigest()

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(data), 65536):
            yield data[start : start + 65536]

    before = _rss(sam.process.pid)
    with sam.client("local-secret") as client:
        put = client.put(f"/blobs/{digest}", content=chunks(), headers={"Content-Length": str(len(data))})
        assert put.status_code == 201, put.text
        assert client.put(f"/blobs/{digest}", content=data).status_code == 200
        assert client.head(f"/blobs/{digest}").headers["Content-Length"] == str(len(data))
        part = client.get(f"/blobs/{digest}", headers={"Range": "bytes=100-199"})
        assert part.status_code == 206
        assert part.content == data[100:200]
        assert part.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in part.headers["Content-Security-Policy"]
        with client.stream("GET", f"/blobs/{digest}") as stream:
            assert b"".join(stream.iter_bytes()) == data
        wrong = client.put("/blobs/sha256:" + "0" * 64, content=chunks())
        assert wrong.status_code == 422
    assert _rss(sam.process.pid) - before < 20 * 2**20


def test_a_long_poll_waits_at_the_service_and_ends_when_something_happens(
    sam: Running, service: Running, tokens: dict[str, str]
) -> None:
    with sam.client("local-secret") as here, service.client(tokens["sam"]) as there:
        version = here.get("/trainjobs").json()["metadata"]["resourceVersion"]
        timer = threading.Timer(0.7, lambda: there.post("/namespaces/sam/trainjobs", json=CELL).raise_for_status())
        timer.start()
        began = time.monotonic()
        answer = here.get("/changes", params={"since": version, "wait": 20})
        took = time.monotonic() - began
        timer.join()  # the news may be here before the answer to the one who made it
    assert answer.json()["changes"]
    assert 0.5 < took < 10


@pytest.mark.asyncio
async def test_the_websocket_of_the_feed_goes_through(sam: Running, service: Running, tokens: dict[str, str]) -> None:
    url = sam.url.replace("http", "ws") + PREFIX + "/changes/stream?since=0"
    request = HTTPRequest(url, headers={"Authorization": "token local-secret"})
    stream = await tornado.websocket.websocket_connect(request)
    try:
        with service.client(tokens["sam"]) as there:
            uid = there.post("/namespaces/sam/trainjobs", json=CELL).json()["metadata"]["uid"]
        seen: set[str] = set()
        while uid not in seen:
            message = await stream.read_message()
            assert isinstance(message, str)
            seen |= {change["object"]["metadata"]["uid"] for change in json.loads(message)["changes"]}
    finally:
        stream.close()


@pytest.mark.asyncio
async def test_the_websocket_wants_a_login_here(sam: Running) -> None:
    with pytest.raises(HTTPClientError) as caught:
        await tornado.websocket.websocket_connect(sam.url.replace("http", "ws") + PREFIX + "/changes/stream")
    assert caught.value.code == 401


def test_what_lies_outside_our_prefix_is_not_forwarded(sam: Running) -> None:
    with sam.client("local-secret") as client:
        answer = client.request("GET", sam.url + PREFIX + "/%2e%2e/%2e%2e/api/status")
        assert answer.status_code == 404
        assert answer.json()["message"].startswith("There is nothing at")


def test_a_token_that_the_service_does_not_know_is_told_with_its_setting(folder: Path, service: Running) -> None:
    with (
        processes.student(folder / "wrong", service.url, "tj_00000000_nonsense") as found,
        found.client("local-secret") as c,
    ):
        answer = c.get("/me")
        with pytest.raises(Unauthorized) as caught, Client(found.url, "local-secret") as theirs:
            theirs.me()
        assert until(found, "Jobs can't be sent now. The job service at")
    assert answer.status_code == 401
    assert answer.json()["reason"] == "RemoteUnauthorized"
    assert answer.json()["message"] == f"The job service at {service.url} does not know this server's token."
    assert "TrainJobExtension.remote_token" in answer.json()["remedy"]
    assert str(caught.value) == f"{answer.json()['message']} {answer.json()['remedy']}", "not our token is to blame"


def test_a_server_without_a_token_for_the_service_says_so_at_the_start_and_to_who_asks(
    folder: Path, service: Running
) -> None:
    with processes.student(folder / "without", service.url, "") as found:
        problem = f"The job service at {service.url} wants a token, and this server has none. Set "
        assert until(found, f"Jobs can't be sent now. {problem}TrainJobExtension.remote_token")
        with pytest.raises(Unauthorized) as caught, Client(found.url, "local-secret") as theirs:
            theirs.me()
    assert str(caught.value).startswith(problem)


def test_a_service_that_is_away_is_503_and_comes_back(folder: Path, tokens: dict[str, str]) -> None:
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}"
    with processes.student(folder / "early", url, tokens["sam"]) as found, found.client("local-secret") as client:
        away = client.get("/me")
        assert away.status_code == 503
        assert away.json()["message"].startswith(f"The job service at {url} can't be reached: ")
        assert away.json()["reason"] == "RemoteUnavailable"
        assert "check the address in TrainJobExtension.remote_url" in away.json()["remedy"]
        with pytest.raises(Unavailable) as caught, Client(found.url, "local-secret") as theirs:
            theirs.me()
        assert str(caught.value).startswith(f"The job service at {url} can't be reached: ")
        assert until(found, f"Jobs can't be sent now. The job service at {url} can't be reached: ")
        assert away.headers["Retry-After"] == "5"
        assert client.post("/namespaces/sam/trainjobs", json=CELL).status_code == 503
        with processes.service(folder / "late", folder / "tokens.yaml", port=port):
            assert client.get("/me").json()["username"] == "sam"
        assert client.get("/me").status_code == 503
        data = folder / "early" / "data"
        assert not list(data.rglob("*.sqlite")), "a server that forwards keeps no record"


def until(server: Running, text: str, seconds: float = 10) -> bool:
    """Whether the server's log has it in time."""
    deadline = time.monotonic() + seconds
    while text not in server.log.read_text():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


SEEN: dict[str, str] = {}


class _Elsewhere(BaseHTTPRequestHandler):
    """What a login page in front of the service does."""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", "https://login.example/")
        self.send_header("Set-Cookie", "session=1")
        self.end_headers()
        SEEN.update({name.lower(): value for name, value in self.headers.items()}, path=self.path)

    def log_message(self, *_: object) -> None:
        pass


def test_what_goes_out_and_what_a_redirect_becomes(folder: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        headers = {"Cookie": "a=b", "Referer": "https://x.example/", "Accept": "application/json"}
        with (
            processes.student(folder / "moved", url + PREFIX + "/", "the-token") as found,
            found.client(**headers) as c,
        ):
            answer = c.get("/me?token=local-secret&wait=1")
    finally:
        server.shutdown()
        server.server_close()
    seen = SEEN
    assert seen["path"] == PREFIX + "/me?wait=1"
    assert seen["authorization"] == "token the-token"
    assert not {"cookie", "referer", "origin", "x-xsrftoken"} & set(seen)
    assert "local-secret" not in json.dumps(seen)
    assert answer.status_code == 503
    assert "it sends one on to 'https://login.example/'" in answer.json()["message"]
    assert "session" not in answer.headers.get("Set-Cookie", "")


def test_addresses() -> None:
    identity = IdentityService(local_user="sam")
    assert Remote("https://jobs.example/base/trainjob/api/v1/", "t", identity).url == "https://jobs.example/base"
    assert _without_token("/a?token=x&since=1&token=y") == "/a?since=1"
    assert _without_token("/a?token=x") == "/a"
    with pytest.raises(ValueError, match=r"'jobs\.example' is no http or https address"):
        handlers_for_remote("jobs.example", "t", identity)


def _rss(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
