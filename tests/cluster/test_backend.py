"""The contract of backends, on a real cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.backends.contract import BackendContract

from .backends import ClusterPlace, bring_image, open_store, settings
from .cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="session")
def python_image(cluster: Cluster) -> None:
    bring_image(cluster)


@pytest_asyncio.fixture
async def place(cluster: Cluster, namespace: str, python_image: None, tmp_path: Path) -> AsyncIterator[ClusterPlace]:
    store = open_store(cluster, tmp_path, namespace)
    made = ClusterPlace(store, name="cluster", settings=settings(cluster, namespace))
    await made.start()
    yield made
    await made.clear()


class TestKubernetes(BackendContract):
    """Everything that every backend keeps."""
