"""A real Jupyter server whose jobs run in the test cluster, as an operator configures one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.images.archives import reference
from tests.magics.conftest import CONFIG
from tests.served import Served

from .backends import BUCKET
from .cluster import Cluster


class ClassServer(Served):
    """``say(name, value)`` writes one line of its configuration; what is said later counts from the next start."""

    def say(self, name: str, value: Any) -> None:
        folder = self.folder / "config"
        folder.mkdir(exist_ok=True)
        with (folder / "jupyter_server_config.py").open("a") as file:
            file.write(f"c.{name} = {value!r}\n")

    def start(self) -> None:
        try:
            super().start()
        except RuntimeError:
            asked = "GET /base/trainjob/api/v1/readyz"
            told = [line for line in self.log_text().splitlines() if asked not in line]
            raise RuntimeError("\n".join(told)) from None

    def log_text(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def kernel_environment(self) -> dict[str, str]:
        """Of a notebook's kernel beside the server: it has the magics, and finds the server itself."""
        profile = Path(self.environment["IPYTHONDIR"]) / "profile_default"
        profile.mkdir(parents=True, exist_ok=True)
        shutil.copy(CONFIG, profile)
        return self.environment


def say_store(server: ClassServer, cluster: Cluster, prefix: str) -> None:
    """Logs and outputs lie under ``prefix`` in the cluster's MinIO."""
    where, keys = cluster.minio, server.folder / "keys"
    keys.write_text(f"[default]\naws_access_key_id = {where.access_key}\naws_secret_access_key = {where.secret_key}\n")
    keys.chmod(0o600)
    for name, value in {
        "url": f"s3+{where.url}/{BUCKET}/{prefix}",
        "credentials_file": str(keys),
        "ca_file": where.ca_file,
        "pod_url": where.pod_url,
        "create_bucket": True,
    }.items():
        server.say(f"ObjectStoreSettings.{name}", value)


def cluster_backend(cluster: Cluster, namespace: str, *images: str, **more: Any) -> dict[str, Any]:
    """What ``TrainJobExtension.backends`` says of the cluster."""
    return {
        "type": "kubernetes",
        "namespace": namespace,
        "kubeconfig": str(cluster.kubeconfig),
        "images": {name: reference(name) for name in images or ("python",)},
        "pull_policy": cluster.pull_policy,
        "dns_policy": "Default",
        "store_ca_file": cluster.minio.ca_file,
        **more,
    }
