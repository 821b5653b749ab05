"""Any Kubernetes cluster in the place of the tests' own: ``TRAINJOB_TEST_KUBECONFIG`` names its kubeconfig."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pytest

from .cluster import Cluster, ClusterError, ObjectStoreAddress

KUBECONFIG, STORE, IMAGE = "TRAINJOB_TEST_KUBECONFIG", "TRAINJOB_TEST_S3", "TRAINJOB_TEST_IMAGE"

OWN = {"api_url", "bin", "cgroup", "images", "listeners", "state"}
"""What :class:`Cluster` has from its start."""


class GivenCluster:
    """What every cluster can do. A test that asks for more, as to kill the API server, is skipped and says so."""

    pull_policy = "IfNotPresent"

    def __init__(self) -> None:
        self.kubeconfig = Path(os.environ[KUBECONFIG])
        self.python_image = os.environ.get(IMAGE, "docker.io/library/python:3-slim")

    @property
    def minio(self) -> ObjectStoreAddress:
        """The S3 server that ``TRAINJOB_TEST_S3`` names, as ``https://ACCESS:SECRET@HOST:PORT``."""
        if not (given := os.environ.get(STORE)):
            pytest.skip(f"on a given cluster this needs {STORE}: an S3 server that pods and this machine reach")
        parts = urlsplit(given)
        url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return ObjectStoreAddress(url, url, parts.username or "", parts.password or "")

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True)
        if done.returncode:
            raise ClusterError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *objects: object) -> None:
        documents = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=documents)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_") or not (hasattr(Cluster, name) or name in OWN):
            raise AttributeError(f"a cluster of the tests has no {name!r}", name=name, obj=self)
        pytest.skip(f"{name} is only to be had on the tests' own cluster, and {KUBECONFIG} names another")
