"""Requests to a real API server, through a proxy that breaks, refuses and says nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest

from jupyter_trainjob.backends.base import BackendError
from jupyter_trainjob.backends.kubernetes import connect
from jupyter_trainjob.backends.kubernetes.connect import MERGE_PATCH, Access, Connection, Expired, Refused

from .apiserver import ApiServer, Fault, Proxy, free_port

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def a_map(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@pytest.mark.asyncio
async def test_objects_are_made_changed_and_removed_and_what_is_there_or_not_is_a_value(api: Connection) -> None:
    made = await api.request("POST", CONFIGMAPS, body=a_map("one", a="1"))
    assert made.code == 201 and made.body["data"] == {"a": "1"}
    again = await api.request("POST", CONFIGMAPS, body=a_map("one"))
    assert (again.code, again.ok, again.body["reason"]) == (409, False, "AlreadyExists")
    patched = await api.request("PATCH", f"{CONFIGMAPS}/one", body={"data": {"b": "2"}}, content_type=MERGE_PATCH)
    assert patched.body["data"] == {"a": "1", "b": "2"}
    stale = {**a_map("one"), "metadata": {"name": "one", "resourceVersion": "1"}}
    assert (await api.request("PUT", f"{CONFIGMAPS}/one", body=stale)).body["reason"] == "Conflict"
    assert (await api.request("DELETE", f"{CONFIGMAPS}/one")).ok
    assert (await api.request("DELETE", f"{CONFIGMAPS}/one")).code == 404
    assert (await api.request("GET", f"{CONFIGMAPS}/one")).code == 404


@pytest.mark.asyncio
async def test_what_passes_is_tried_again_until_it_has_passed(proxy: Proxy, api: Connection) -> None:
    def on_maps(method: str, path: str) -> bool:
        return "configmaps" in path

    proxy.faults = [
        Fault(on_maps, status=500, body={"message": "etcd sneezed"}),
        Fault(on_maps, status=503),
        Fault(on_maps, cut_after=10),
    ]
    assert (await api.request("GET", CONFIGMAPS)).ok
    assert proxy.count("configmaps") == 4


@pytest.mark.asyncio
async def test_a_create_whose_answer_was_lost_is_seen_as_already_there(proxy: Proxy, api: Connection) -> None:
    proxy.faults = [Fault(lambda method, path: method == "POST", lost=True)]
    reply = await api.request("POST", CONFIGMAPS, body=a_map("lost"))
    assert reply.code == 409 and (await api.request("GET", f"{CONFIGMAPS}/lost")).ok


@pytest.mark.asyncio
async def test_a_busy_server_is_left_alone_for_as_long_as_it_says(proxy: Proxy, api: Connection) -> None:
    proxy.faults = [Fault(lambda method, path: True, status=429, headers={"Retry-After": "1"})]
    began = time.monotonic()
    assert (await api.request("GET", CONFIGMAPS)).ok
    assert 1.0 <= time.monotonic() - began < 5 and len(proxy.seen) == 2


@pytest.mark.asyncio
async def test_patience_ends_with_what_the_server_said_last(proxy: Proxy, api: Connection) -> None:
    proxy.faults = [Fault(lambda method, path: True, times=100, status=429, body={"message": "too many requests"})]
    with pytest.raises(
        Refused, match=rf"The Kubernetes API server at {proxy.url} is too busy \(429\): too many"
    ) as told:
        await api.request("GET", CONFIGMAPS, patience=0.5)
    assert told.value.status == 429 and not told.value.permanent and 2 <= len(proxy.seen) <= 8


@pytest.mark.asyncio
async def test_a_server_that_says_nothing_is_given_up(
    proxy: Proxy, api: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_trainjob.backends.kubernetes.connect.REQUEST_SECONDS", 0.5)
    proxy.faults = [Fault(lambda method, path: True, times=100, silence=30)]
    with pytest.raises(BackendError, match=rf"at {proxy.url} does not answer in time.*overloaded or cut off"):
        await api.request("GET", CONFIGMAPS, patience=0.0)


@pytest.mark.asyncio
async def test_a_wrong_object_is_refused_for_good_and_the_servers_words_are_told(api: Connection) -> None:
    with pytest.raises(Refused, match=r"refuses the object \(422\): ConfigMap \"Bad Name\" is invalid") as told:
        await api.request("POST", CONFIGMAPS, body=a_map("Bad Name"))
    assert told.value.permanent


@pytest.mark.asyncio
async def test_a_right_that_is_missing_is_named(apiserver: ApiServer) -> None:
    api = await Connection.open(Access(apiserver.kubeconfig("student")))
    try:
        with pytest.raises(Refused, match=r"forbids it \(403\): jobs\.batch is forbidden: User \"student\"") as told:
            await api.request("POST", "/apis/batch/v1/namespaces/default/jobs", body={})
    finally:
        await api.close()
    assert 'cannot create resource "jobs" in API group "batch" in the namespace "default"' in str(told.value)
    assert "jupyter trainjob deploy --dry-run" in str(told.value)


@pytest.mark.asyncio
async def test_a_token_that_is_not_known_is_told_and_read_anew(apiserver: ApiServer, tmp_path: Path) -> None:
    config = json.loads(Path(apiserver.kubeconfig("admin")).read_text())
    good, config["users"][0]["user"] = config["users"][0]["user"], {"token": "wrong"}
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    api = await Connection.open(Access(str(path)))
    try:
        with pytest.raises(Refused, match=r"does not accept our credentials \(401\).*log in again"):
            await api.request("GET", CONFIGMAPS)
        config["users"][0]["user"] = good
        path.write_text(json.dumps(config))
        api._loaded = 0.0  # as if that had been a while ago
        assert (await api.request("GET", CONFIGMAPS)).ok
    finally:
        await api.close()


@pytest.mark.asyncio
async def test_credentials_that_are_half_written_are_read_another_time(apiserver: ApiServer, tmp_path: Path) -> None:
    text = Path(apiserver.kubeconfig("admin")).read_text()
    config = json.loads(text)
    config["users"][0]["user"] = {"token": "wrong"}
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    api = await Connection.open(Access(str(path)))
    try:
        path.write_text("{")
        api._loaded = 0.0
        with pytest.raises(BackendError, match=r"can't be used") as told:
            await api.request("GET", CONFIGMAPS)
        assert not told.value.permanent and api._old == []
        path.write_text(text)
        for _ in range(3):
            api._loaded = 0.0
            await api._reload()
            assert len(api._old) == 1, "one is kept for what is under way"
            assert (await api.request("GET", CONFIGMAPS)).ok
    finally:
        await api.close()


@pytest.mark.asyncio
async def test_a_foreign_certificate_is_told_at_once(apiserver: ApiServer, tmp_path: Path) -> None:
    config = json.loads(Path(apiserver.kubeconfig("admin")).read_text())
    cluster = config["clusters"][0]["cluster"]
    del cluster["certificate-authority-data"]
    cluster["certificate-authority"] = str(apiserver.folder / "other.crt")
    (tmp_path / "config").write_text(json.dumps(config))
    api = await Connection.open(Access(str(tmp_path / "config")))
    began = time.monotonic()
    try:
        with pytest.raises(
            BackendError, match=r"shows a certificate that can't be trusted.*certificate-authority"
        ) as told:
            await api.request("GET", CONFIGMAPS)
    finally:
        await api.close()
    assert told.value.permanent and time.monotonic() - began < 3


@pytest.mark.asyncio
async def test_nobody_at_the_address_is_told(apiserver: ApiServer) -> None:
    port = free_port()
    api = await Connection.open(Access(apiserver.kubeconfig("admin", f"https://127.0.0.1:{port}")))
    try:
        with pytest.raises(
            BackendError, match=rf"127\.0\.0\.1:{port} can't be reached: the connection was refused"
        ) as told:
            await api.request("GET", CONFIGMAPS, patience=0.3)
    finally:
        await api.close()
    assert not told.value.permanent


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("text", "context", "message"),
    [
        (None, "", r"The kubeconfig .*config can't be used: .*Name a kubeconfig and a context"),
        ("{", "", r"can't be used"),
        ('{"clusters": []}', "", r"can't be used"),
        ("good", "elsewhere", r"\(context 'elsewhere'\) can't be used: .*elsewhere"),
    ],
)
async def test_a_kubeconfig_that_is_none_is_told(
    apiserver: ApiServer, tmp_path: Path, text: str | None, context: str, message: str
) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(Path(apiserver.kubeconfig("admin")).read_text() if text == "good" else text)
    with pytest.raises(BackendError, match=message) as told:
        await Connection.open(Access(str(path), context))
    assert told.value.permanent


@pytest.mark.asyncio
async def test_a_stream_tells_that_its_place_is_gone(proxy: Proxy, api: Connection) -> None:
    proxy.faults = [Fault(lambda method, path: True, status=410, body={"message": "too old"})]
    with pytest.raises(Expired, match="too old"):
        async with api.stream(CONFIGMAPS, {"watch": "1"}, 5.0):
            pass


@pytest.mark.asyncio
async def test_many_at_once_share_connections(api: Connection) -> None:
    replies = await asyncio.gather(*(api.request("GET", CONFIGMAPS) for _ in range(50)))
    assert all(reply.ok for reply in replies)


@pytest.mark.asyncio
@pytest.mark.parametrize("minutes", [2, -2])
async def test_the_time_is_that_of_the_cluster(proxy: Proxy, api: Connection, minutes: int) -> None:
    there = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    proxy.faults.append(Fault(lambda *_: True, status=404, headers={"Date": format_datetime(there, usegmt=True)}))
    await api.request("GET", "/api/v1/nodes/none")
    assert abs(api.now() - there) < timedelta(seconds=30)
    await api.request("GET", "/api/v1/nodes/none")
    assert abs(api.now() - datetime.now(timezone.utc)) < timedelta(seconds=30), "as it was told last"


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that names none, and none to be passed by."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"https_proxy": "http://ada:secret@proxy.example.org:3128"}, "http://ada:secret@proxy.example.org:3128"),
        ({"HTTPS_PROXY": "proxy.example.org:3128"}, "http://proxy.example.org:3128"),
        ({"http_proxy": "http://proxy.example.org:3128"}, None),
        ({"https_proxy": "http://proxy.example.org", "no_proxy": "10.0.0.7,.example.com"}, "http://proxy.example.org"),
        ({"https_proxy": "http://proxy.example.org", "NO_PROXY": ".example.net"}, None),
    ],
)
@pytest.mark.usefixtures("no_proxy")
def test_a_proxy_of_the_environment_is_gone_through(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert connect._proxy("https://cluster.example.net:6443") == expected


@pytest.mark.parametrize("kind", ["https", "socks5"])
@pytest.mark.usefixtures("no_proxy")
def test_a_proxy_that_can_not_be_used_is_passed_over_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    monkeypatch.setenv("https_proxy", f"{kind}://ada:secret@proxy.example.org")
    with caplog.at_level(logging.WARNING):
        assert connect._proxy("https://cluster.example.net") is None
    assert f"{kind}://, which can't be used; https://cluster.example.net is asked without one" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.asyncio
@pytest.mark.usefixtures("no_proxy")
async def test_the_server_is_reached_through_a_proxy_that_wants_a_password(
    apiserver: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    ways: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        there, back = await asyncio.open_connection("127.0.0.1", apiserver.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        ways.update({asyncio.create_task(carry(reader, back)), asyncio.create_task(carry(there, writer))})

    server = await asyncio.start_server(on_client, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://ada:secret@127.0.0.1:{port}")
    connection = await Connection.open(Access(apiserver.kubeconfig("admin")))
    try:
        assert (await connection.request("GET", CONFIGMAPS)).ok
    finally:
        await connection.close()
        await asyncio.wait_for(asyncio.gather(*ways, return_exceptions=True), 10)
        server.close()
        await server.wait_closed()
    assert asked[0].startswith(b"CONNECT 127.0.0.1:%d " % apiserver.port)
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"ada:secret") in asked[0]
