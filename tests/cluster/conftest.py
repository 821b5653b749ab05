"""Fixtures of tests on a real Kubernetes (mark ``cluster``); README.md beside this tells more.

- ``cluster``: the cluster, one for the session: kubeconfig, kubectl, object store, faults
- ``namespace``: a new one for the test, under Pod Security ``restricted``, taken away afterwards
- ``kueue``: Kueue installed, for the tests of one module
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator

import pytest

from . import kueue as kueue_on
from . import objects
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
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def kueue(cluster: Cluster) -> Iterator[None]:
    kueue_on.install(cluster)
    yield
    kueue_on.remove(cluster)
