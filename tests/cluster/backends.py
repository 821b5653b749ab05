"""The cluster's backend with what a test wants to do with it; its object store is the cluster's MinIO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_trainjob.backends.kubernetes.backend import KubernetesBackend
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings
from jupyter_trainjob.storage.s3 import S3Store
from jupyter_trainjob.storage.s3client import CredentialsFile, S3Address
from jupyter_trainjob.storage.s3setup import ensure_bucket
from tests.backends.place import Place
from tests.images.archives import archives, reference

from .cluster import Cluster

BUCKET = "trainjob"


def open_store(cluster: Cluster, folder: Path, prefix: str) -> S3Store:
    """A prefix of the cluster's MinIO. The bucket is made."""
    where = cluster.minio
    keys = folder / "keys"
    keys.write_text(f"[default]\naws_access_key_id = {where.access_key}\naws_secret_access_key = {where.secret_key}\n")
    keys.chmod(0o600)
    url = f"s3+{where.url}/{BUCKET}/{prefix}"
    store = S3Store(S3Address.parse(url, ca_file=where.ca_file, public=where.pod_url), CredentialsFile(str(keys)))
    ensure_bucket(store, create=True)
    return store


def settings(cluster: Cluster, namespace: str, **more: Any) -> KubernetesSettings:
    """As an operator of this cluster would write them."""
    ca = Path(cluster.minio.ca_file).read_text() if cluster.minio.ca_file else ""
    given: dict[str, Any] = {
        "namespace": namespace,
        "kubeconfig": str(cluster.kubeconfig),
        "images": {"python": reference("python")},
        "pull_policy": cluster.pull_policy,
        "dns_policy": "Default",
        "store_ca": ca,
    }
    return KubernetesSettings(**{**given, **more})


def bring_image(cluster: Cluster, name: str = "python") -> None:
    """Build it if need be, and let the node have it."""
    for archive in archives(name).values():
        cluster.import_image(archive)


class ClusterPlace(Place):
    """A backend on the cluster, started. ``options``: those of :class:`KubernetesBackend`."""

    def _make(self, **options: Any) -> Any:
        return KubernetesBackend(**options)

    async def until_seen(self, ref: Any, wanted: Any, *, seconds: float = 90) -> Any:
        return await super().until_seen(ref, wanted, seconds=max(seconds, 90))

    async def log_holds(self, ref: Any, text: bytes, *, seconds: float = 60) -> None:
        await super().log_holds(ref, text, seconds=max(seconds, 60))

    async def clear(self) -> None:
        if not self._up:
            self.backend = KubernetesBackend(**self.options)
            await self.start()
        for ref in await self.backend.attempts():
            await self.backend.delete(ref)
        await self.stop()
