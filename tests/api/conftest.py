"""A real server on a free loopback port, for the API's tests. An index:

- ``store``, ``objects``: the record on SQLite and the object store in a folder, both new
- ``config``: the API's limits; parametrize it for smaller ones
- ``services``: all parts wired as the application wires them, without controllers that would run jobs
- ``server``: Tornado with jupyter_server's base handlers and several people, each with a token
- ``alice``, ``bob``, ``instructor``, ``member``, ``operator``, ``nobody``: clients that check every request and
  response against ``openapi.yaml``
- ``submit``: makes a queued job through the API; ``run``: makes it look as if it ran, as a controller would
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from jupyter_server.auth import AllowAllAuthorizer
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.log import log_request
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from jupyter_trainjob.api import handlers_for
from jupyter_trainjob.api.identity import IdentityService
from jupyter_trainjob.api.roles import Roles
from jupyter_trainjob.api.services import ApiConfig, Services
from jupyter_trainjob.api.submission import Submission
from jupyter_trainjob.api.verbs import Verbs
from jupyter_trainjob.backends.base import BackendError, KernelInfo, NodeCapacity
from jupyter_trainjob.backends.kubernetes.choices import OFFERS, problems
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings
from jupyter_trainjob.controllers.bootstrap import ensure_defaults
from jupyter_trainjob.controllers.source import Ranking, SnapshotSource
from jupyter_trainjob.resources.errors import FieldError
from jupyter_trainjob.resources.profile import Profile
from jupyter_trainjob.resources.queue import Kueue
from jupyter_trainjob.resources.trainjob import Attempt, LogStatus, OutputStatus, Phase, TrainJob
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store

from .document import Document

PREFIX = "/base/trainjob/api/v1"
KERNEL_TOKEN = "kernels-own-token"
PEOPLE: dict[str, dict[str, Any]] = {
    "alice": {},
    "bob": {},
    "ines": {"roles": {"ml101": "instructor", "queue:gpu": "instructor"}},
    "nils": {"roles": {"ml101": "instructor"}},
    "carl": {"roles": {"queue:course": "instructor"}},
    "mona": {"roles": {"ml101": "member"}},
    "vera": {"roles": {"ml101": "viewer"}},
    "olga": {"operator": True},
}


def now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass
class Person(User):
    operator: bool = False
    roles: dict[str, str] = field(default_factory=dict)


class People(IdentityProvider):
    """Tokens are ``token-<name>``; browsers come with the cookie ``person=<name>``."""

    def get_user(self, handler: Any) -> User | None:
        text = handler.request.headers.get("Authorization", "")
        name = text.removeprefix("token token-") if text.startswith("token token-") else ""
        if not name and (token := handler.get_query_argument("token", "")):
            name = token.removeprefix("token-")
        if name in PEOPLE:
            handler._token_authenticated = True
            return Person(name, **PEOPLE[name])
        name = handler.get_cookie("person", "")
        return Person(name, **PEOPLE[name]) if name in PEOPLE else None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'record.sqlite'}", clock=now)
    opened.write(lambda writer: ensure_defaults(writer, "default", "default"))
    yield opened
    opened.close()


@pytest.fixture
def objects(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore(tmp_path / "objects")


@pytest.fixture
def config() -> ApiConfig:
    return ApiConfig()


@pytest.fixture
def services(store: Store, objects: FilesystemStore, config: ApiConfig) -> Iterator[Services]:
    made = make_services(store, objects, config)
    yield made
    made.close()


class OneBackend:
    """What the API knows of a machine with R and Python, and of a cluster that is called ``other``."""

    backend_names = ("local", "other")

    def __init__(self) -> None:
        self.nodes: list[NodeCapacity] = []
        self.cluster = KubernetesSettings(images={"python": "docker.io/trainjob/python:1"})

    def backend_of(self, named: str) -> str:
        return named or "local"

    async def capacity(self, backend: str) -> list[NodeCapacity]:
        return self.nodes if backend == "local" else []

    def offers(self, backend: str) -> frozenset[str]:
        return OFFERS if backend == "other" else frozenset()

    async def check_job(self, backend: str, job: TrainJob, profile: Profile) -> list[FieldError]:
        return problems(job, profile, self.cluster)

    async def check_kueue(self, backend: str, kueue: Kueue) -> None:
        if backend == "local":
            raise BackendError("the backend 'local' is no cluster and has no Kueue", remedy="Leave it.", permanent=True)
        if kueue.local_queue == "away":
            raise BackendError("the cluster does not answer")
        if kueue.local_queue != "jobs":
            raise BackendError(f"there is no LocalQueue {kueue.local_queue!r}", remedy="Make it.", permanent=True)

    async def check_requirements(self, backend: str, format: str, text: str) -> None:
        if backend == "local" and format == "renv.lock":
            raise BackendError("nothing is built from source", remedy="Leave the requirements out.", permanent=True)

    async def kernels(self, backend: str) -> list[KernelInfo] | None:
        return [KernelInfo("ir", "r", "R"), KernelInfo("python3", "python", "Python 3")] if backend == "local" else None


def make_services(store: Store, objects: FilesystemStore, config: ApiConfig) -> Services:
    roles = Roles(namespaces=["ml101"], store=store)
    ranking = Ranking(SnapshotSource(store, {}))
    backends = OneBackend()
    submission = Submission(store=store, objects=objects, roles=roles, ranking=ranking, backends=backends)
    return Services(
        store=store,
        objects=objects,
        identity=IdentityService(local_user="alice", kernel_token=KERNEL_TOKEN),
        roles=roles,
        submission=submission,
        verbs=Verbs(store=store, roles=roles, submission=submission, backends=backends),
        ranking=ranking,
        backends=backends,
        config=config,
    )


def make_app(services: Services) -> Application:
    provider = People()
    specs = [("/base" + pattern, handler, options) for pattern, handler, options in handlers_for(services)]
    return Application(
        specs,
        trainjob=services,
        base_url="/base/",
        identity_provider=provider,
        authorizer=AllowAllAuthorizer(identity_provider=provider),
        cookie_secret="for tests",
        xsrf_cookies=True,
        local_hostnames=["localhost"],
        log_function=lambda handler: log_request(handler, record_prometheus_metrics=False),
    )


@dataclass
class Server:
    """Where it listens, and what is behind it."""

    url: str
    services: Services

    def client(self, token: str | None = None, **options: Any) -> httpx.AsyncClient:
        headers = {"Authorization": f"token {token}"} if token else {}
        return httpx.AsyncClient(
            base_url=self.url, headers=headers | options.pop("headers", {}), timeout=40, trust_env=False, **options
        )


@pytest_asyncio.fixture
async def server(services: Services) -> AsyncIterator[Server]:
    sockets = bind_sockets(0, "127.0.0.1")
    http = HTTPServer(make_app(services))
    http.add_sockets(sockets)
    yield Server(f"http://127.0.0.1:{sockets[0].getsockname()[1]}{PREFIX}", services)
    http.stop()
    await http.close_all_connections()
    await asyncio.sleep(0)


@pytest.fixture(scope="session")
def document() -> Document:
    return Document.load()


class Caller:
    """One person's client. ``await caller("GET", "/me")`` answers the response, checked against the document."""

    def __init__(self, client: httpx.AsyncClient, document: Document, name: str) -> None:
        self.http = client
        self.name = name
        self._document = document

    async def __call__(self, method: str, path: str, *, expect: int | None = None, **options: Any) -> httpx.Response:
        response = await self.http.request(method, path, **options)
        self._document.check(response, PREFIX)
        if expect is not None:
            assert response.status_code == expect, (method, path, response.status_code, response.text[:2000])
        return response

    async def refused(self, method: str, path: str, code: int, **options: Any) -> dict[str, Any]:
        """The ``Status`` of a request that is refused with ``code``."""
        response = await self(method, path, expect=code, **options)
        status: dict[str, Any] = response.json()
        assert status["kind"] == "Status"
        assert status["code"] == code
        return status


def _caller_fixture(person: str | None) -> Any:
    @pytest_asyncio.fixture
    async def caller(server: Server, document: Document) -> AsyncIterator[Caller]:
        async with server.client(f"token-{person}" if person else None) as client:
            yield Caller(client, document, person or "")

    return caller


alice = _caller_fixture("alice")
bob = _caller_fixture("bob")
instructor = _caller_fixture("ines")
member = _caller_fixture("mona")
viewer = _caller_fixture("vera")
operator = _caller_fixture("olga")
nobody = _caller_fixture(None)


def cell(code: str = "print(1)", name: str = "digits", **spec: Any) -> dict[str, Any]:
    """A job's JSON, as clients send it."""
    return {"metadata": {"generateName": name}, "spec": {"source": {"type": "cell", "code": code}, **spec}}


Submit = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def submit() -> Submit:
    async def make(caller: Caller, namespace: str = "", **job: Any) -> dict[str, Any]:
        response = await caller(
            "POST", f"/namespaces/{namespace or caller.name}/trainjobs", json=cell(**job), expect=201
        )
        made: dict[str, Any] = response.json()
        return made

    return make


Run = Callable[..., Awaitable[TrainJob]]


@pytest.fixture
def run(services: Services) -> Run:
    """``await run(job, phase)``: puts an attempt and a phase into the record, as a controller does."""

    async def change(
        job: dict[str, Any], phase: Phase = Phase.RUNNING, outputs: OutputStatus | None = None
    ) -> TrainJob:
        def write(writer: Any) -> TrainJob:
            fresh = writer.by_uid(TrainJob, job["metadata"]["uid"])
            if not fresh.status.attempts:
                fresh.status.attempts.append(Attempt(number=1, backend="local", admitted=now(), start=now()))
            fresh.status.phase = phase
            if phase.final:
                fresh.status.attempts[-1].end = now()
                fresh.status.finished = now()
                fresh.status.log = LogStatus(complete=True)
                fresh.status.outputs = outputs
            return writer.update(fresh)

        changed: TrainJob = await services.store.awrite(write)
        return changed

    return change


def pretty(response: httpx.Response) -> str:
    return json.dumps(response.json(), indent=2)
