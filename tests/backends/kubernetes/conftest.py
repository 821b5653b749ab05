"""Fixtures: ``apiserver`` (real, one a session), ``proxy`` before it, ``api`` (a connection through the proxy)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.kubernetes.connect import Access, Connection

from .apiserver import ApiServer, Proxy, programs


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    bin: Path | None = programs()
    if bin is None:
        pytest.skip("kube-apiserver can't be built here: it takes Go ≥ 1.26 and openssl")
    server = ApiServer(tmp_path_factory.mktemp("apiserver"), bin)
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest_asyncio.fixture
async def proxy(apiserver: ApiServer) -> AsyncIterator[Proxy]:
    async with Proxy(apiserver).run() as running:
        yield running


@pytest_asyncio.fixture
async def api(apiserver: ApiServer, proxy: Proxy) -> AsyncIterator[Connection]:
    connection = await Connection.open(Access(apiserver.kubeconfig("admin", proxy.url)))
    yield connection
    await connection.close()
