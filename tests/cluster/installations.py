"""A namespace with the configuration that an operator deploys there, and the commands that they type."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.images.archives import reference

from .backends import BUCKET, open_store
from .cluster import Cluster


@dataclass
class Done:
    status: int
    out: str
    err: str


@dataclass
class Installation:
    """``set`` says something in the configuration, ``run`` types ``jupyter trainjob …``."""

    cluster: Cluster
    folder: Path
    namespace: str
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = open_store(self.cluster, self.folder, self.namespace)
        where = self.cluster.minio
        self.set("TrainJobExtension", backends={"cluster": {"type": "kubernetes"}})
        self.set(
            "KubernetesBackendSettings",
            namespace=self.namespace,
            kubeconfig=str(self.cluster.kubeconfig),
            images={"python": reference("python")},
            pull_policy=self.cluster.pull_policy,
            dns_policy="Default",
            store_ca_file=where.ca_file,
        )
        self.set(
            "ObjectStoreSettings",
            url=f"s3+{where.url}/{BUCKET}/{self.namespace}",
            pod_url=where.pod_url,
            ca_file=where.ca_file,
            credentials_file=str(self.folder / "keys"),
        )
        self.set("KubernetesDeploySettings", leave_out=["service", "images"])

    def set(self, name: str, **options: Any) -> None:
        self.options.setdefault(name, {}).update(options)

    def run(self, *words: str) -> Done:
        """The command, with this configuration."""
        config = self.folder / "operator.json"
        config.write_text(json.dumps(self.options))
        kept = {key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")}
        done = subprocess.run(
            [sys.executable, "-m", "jupyter_trainjob.cli", *words, "--config", str(config)],
            env={**kept, "JUPYTER_CONFIG_DIR": str(self.folder / "none"), "JUPYTER_PLATFORM_DIRS": "1"},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def kubectl(self, *words: str) -> str:
        return self.cluster.kubectl("-n", self.namespace, *words)

    def as_account(self, name: str = "trainjob-server") -> Path:
        """A kubeconfig of somebody who is nothing but this ServiceAccount."""
        token = self.kubectl("create", "token", name).strip()
        known = yaml.safe_load(self.cluster.kubeconfig.read_text())
        known["users"] = [{"name": known["users"][0]["name"], "user": {"token": token}}]
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(known))
        return path


@contextmanager
def installed(cluster: Cluster, folder: Path) -> Iterator[Installation]:
    """One whose namespace is not there yet; all that it makes is taken away."""
    made = Installation(cluster, folder, f"tests-{secrets.token_hex(4)}")
    yield made
    for kind in ("clusterrole", "clusterrolebinding"):
        cluster.kubectl("delete", kind, f"trainjob-server-{made.namespace}", "--ignore-not-found")
    cluster.kubectl("delete", "namespace", made.namespace, "--ignore-not-found", "--wait=false")


@pytest.fixture
def installation(cluster: Cluster, tmp_path: Path, python_image: None) -> Iterator[Installation]:
    with installed(cluster, tmp_path) as made:
        yield made
