"""Fixtures of tests on a real Kubernetes (mark ``cluster``); README.md beside this tells more.

- ``cluster``: the cluster, one for the session: kubeconfig, kubectl, object store, faults
- ``namespace``: a new one for the test, under Pod Security ``restricted``, taken away afterwards
- ``kueue``: Kueue installed, for the tests of one module
- ``python_image``: the node has our image for Python
- ``place``: a backend in ``namespace``, started, with a prefix of the cluster's MinIO as its object store
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from . import kueue as kueue_on
from . import objects
from .backends import ClusterPlace, bring_image, open_store, settings
from .cluster import Cluster, programs, why_not
from .given import KUBECONFIG, GivenCluster


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing before the first test: from nothing it takes longer than a test may.

    Where that fails, it fails again in :func:`cluster`, for those tests that need one.
    """
    wanted = any(item.get_closest_marker("cluster") for item in session.items)
    if wanted and KUBECONFIG not in os.environ and not session.config.option.collectonly and why_not() is None:
        with contextlib.suppress(subprocess.CalledProcessError, OSError):
            programs()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster | GivenCluster]:
    if KUBECONFIG in os.environ:
        yield GivenCluster()
        return
    if reason := why_not():
        pytest.skip(f"{reason}; or set {KUBECONFIG} to run this on another cluster")
    own = Cluster()
    own.start()
    yield own
    own.stop()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"tests-{secrets.token_hex(4)}"
    cluster.apply(objects.namespace(name))
    # Its account comes late where a test before this one ended the API server: no pod can be made until then.
    cluster.kubectl("-n", name, "wait", "--for=create", "serviceaccount/default", "--timeout=120s")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def kueue(cluster: Cluster) -> Iterator[None]:
    kueue_on.install(cluster)
    yield
    kueue_on.remove(cluster)


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
