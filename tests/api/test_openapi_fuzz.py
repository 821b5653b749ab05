"""Schemathesis over a running server: what the document allows, and much that it does not, is answered as documented.

Half of the generated names are replaced by those of things that are there, so that the verbs do more than miss.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from jupyter_trainjob.api.openapi import DOCUMENT
from jupyter_trainjob.api.services import ApiConfig, Services
from jupyter_trainjob.controllers.bootstrap import ensure_defaults
from jupyter_trainjob.resources.trainjob import Attempt, Phase, TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store

from .conftest import PREFIX, Server, cell, make_app, make_services, now

pytestmark = pytest.mark.slow

UPLOAD = b"upload"
DIGEST = f"sha256:{hashlib.sha256(UPLOAD).hexdigest()}"
THERE: dict[str, list[str]] = {
    "namespace": ["olga", "ml101", "olga"],
    "name": ["digits", "default", "ended"],
    "digest": [DIGEST],
    "path": ["score", "a/b.csv"],
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in a thread, with a job that runs, one that has ended, and an upload."""
    folder: Path = tmp_path_factory.mktemp("fuzz")
    store = Store.open(f"sqlite:///{folder / 'record.sqlite'}", clock=now)
    store.write(lambda writer: ensure_defaults(writer, "default", "default"))
    services = make_services(store, FilesystemStore(folder / "objects"), ApiConfig(max_wait_seconds=0.05))
    found: list[Server] = []
    ready, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve(services, found, ready, stop)))
    thread.start()
    assert ready.wait(20)
    yield found[0]
    stop.set()
    thread.join(20)
    services.close()
    store.close()


async def serve(services: Services, found: list[Server], ready: threading.Event, stop: threading.Event) -> None:
    sockets = bind_sockets(0, "127.0.0.1")
    http = HTTPServer(make_app(services))
    http.add_sockets(sockets)
    server = Server(f"http://127.0.0.1:{sockets[0].getsockname()[1]}{PREFIX}", services)
    await fill(server)
    found.append(server)
    ready.set()
    while not stop.is_set():
        await asyncio.sleep(0.05)
    http.stop()
    await http.close_all_connections()


async def fill(server: Server) -> None:
    async with server.client("token-olga") as client:
        for name, phase in (("digits", Phase.RUNNING), ("ended", Phase.SUCCEEDED)):
            made = (await client.post("/namespaces/olga/trainjobs", json=cell(name=name))).json()

            def run(writer: Any, uid: str = made["metadata"]["uid"], phase: Phase = phase) -> None:
                job = writer.by_uid(TrainJob, uid)
                job.status.phase = phase
                job.status.attempts = [Attempt(number=1, start=now(), end=now() if phase.final else None)]
                writer.update(job)

            await server.services.store.awrite(run)
            prefix = f"jobs/{made['metadata']['uid']}/1/"
            server.services.objects.put(f"{prefix}notebook.ipynb", b"{}")
            server.services.objects.put(f"{prefix}results/score", b"1")
            server.services.objects.put(f"{prefix}files/a/b.csv", b"1,2")
        assert (await client.put(f"/blobs/{DIGEST}", content=UPLOAD)).status_code == 201


schema = schemathesis.openapi.from_dict(yaml.safe_load(DOCUMENT.read_text(encoding="utf-8")))


@schemathesis.serializer("application/x-tar")
def as_archive(context: Any, value: Any) -> bytes:
    """Bytes that are no archive, or, every other time, one with a file of that text."""
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
    if len(data) % 2:
        return data
    with io.BytesIO() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            info = tarfile.TarInfo(f"sha256:{hashlib.sha256(data).hexdigest()}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        return archive.getvalue()


@schema.hook("map_path_parameters")
def use_what_is_there(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Every other value becomes one of :data:`THERE`."""
    for name, value in (path_parameters or {}).items():
        draw = sum(str(value).encode("utf-8", "replace")) + len(str(value))
        if name in THERE and draw % 2:
            path_parameters[name] = THERE[name][draw // 2 % len(THERE[name])]  # type: ignore[index]
    return path_parameters


@schema.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_documented(case: schemathesis.Case, running: Server) -> None:
    case.call_and_validate(
        base_url=running.url,
        headers={"Authorization": "token token-olga"},
        timeout=20,
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            response_headers_conformance,
            unsupported_method,
            ignored_auth,
        ],
    )
