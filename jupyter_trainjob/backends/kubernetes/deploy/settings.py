"""What an operator says about the objects that ``deploy`` makes: checked once, with all findings at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ....resources.names import is_domain
from ....resources.quantity import parse
from ..settings import SettingsError

OBJECT = "trainjob"
"""What the service, its configuration, the quota and the limits are called."""
PARTS = {
    "namespace": "the namespace, with its Pod Security",
    "rights": "the server's account and its rights in the namespace",
    "cluster-rights": "its rights to read what is the cluster's: nodes, and the pods on them (see all_pods)",
    "limits": "ResourceQuota and LimitRange",
    "network": "NetworkPolicies",
    "volumes": "volumes for the NFS shares of profiles",
    "service": "the service that everybody's Jupyter server forwards to",
    "images": "a DaemonSet that pulls the images to every node",
}
"""What ``leave_out`` may name."""
KUBE_DNS: dict[str, Any] = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}


@dataclass(frozen=True)
class DeploySettings:
    """One installation in one namespace. Raises :class:`SettingsError` where it makes no sense."""

    leave_out: tuple[str, ...] = ()
    """Parts that somebody else makes, such as the namespace of a university's cluster."""
    account: str = "trainjob-server"
    kueue: bool = False
    all_pods: bool = True
    pod_security_version: str = "v1.35"
    quota: Mapping[str, str] = field(
        default_factory=lambda: {"pods": "200", "services.loadbalancers": "0", "services.nodeports": "0"}
    )
    container_defaults: Mapping[str, str] = field(default_factory=lambda: {"cpu": "500m", "memory": "512Mi"})
    store_peers: tuple[Mapping[str, Any], ...] = ()
    store_ports: tuple[int, ...] = ()
    dns_peers: tuple[Mapping[str, Any], ...] = (KUBE_DNS,)
    index_peers: tuple[Mapping[str, Any], ...] = ()
    index_ports: tuple[int, ...] = (443,)
    environments_storage_class: str = ""
    prepull_images: tuple[str, ...] = ()
    service_image: str = ""
    replicas: int = 1
    service_resources: Mapping[str, str] = field(
        default_factory=lambda: {"cpu": "200m", "cpu_limit": "2", "memory": "1Gi"}
    )
    storage: str = "10Gi"
    storage_class: str = ""
    port: int = 8890
    server_options: Mapping[str, Any] = field(default_factory=dict)
    store_secret: str = "trainjob-store"  # noqa: S105 - a name, not a secret
    token_secret: str = "trainjob-tokens"  # noqa: S105 - a name, not a secret
    database_secret: str = ""

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise SettingsError("What is to be deployed can't be: " + "; ".join(problems) + ".")

    def has(self, part: str) -> bool:
        """Whether ``deploy`` makes this part."""
        return part not in self.leave_out


def _problems(settings: DeploySettings) -> Iterator[str]:
    for part in settings.leave_out:
        if part not in PARTS:
            yield f"leave_out has the unknown part {part!r}; known: {', '.join(PARTS)}"
    for name in ("account", "store_secret", "token_secret", "database_secret"):
        value = getattr(settings, name)
        if (value or name != "database_secret") and not is_domain(value):
            yield f"{name} {value!r} is no name of an object in a cluster"
        if name != "account" and value == OBJECT:
            yield f"{name} {value!r} is what the Secret is called that deploy makes; choose another name"
    yield from _quantities(settings)
    if settings.replicas < 1:
        yield f"replicas {settings.replicas} is none; write at least 1"
    if settings.replicas > 1 and not settings.database_secret:
        yield (
            f"replicas {settings.replicas} need a record that they share: name the Secret with PostgreSQL's URL in "
            "database_secret, or write replicas 1"
        )
    if settings.has("service") and not settings.service_image:
        yield (
            "service_image is empty: name the image of the service (jupyter trainjob images build service --push …), "
            "or leave the part 'service' out"
        )
    for name in ("store_peers", "dns_peers", "index_peers"):
        for peer in getattr(settings, name):
            if not set(peer) or set(peer) - {"ipBlock", "namespaceSelector", "podSelector"}:
                yield f"{name}: {dict(peer)!r} is no peer; write {{'ipBlock': {{'cidr': '10.0.0.5/32'}}}} or selectors"


def _quantities(settings: DeploySettings) -> Iterator[str]:
    known = {"cpu", "cpu_limit", "memory"}
    if set(settings.service_resources) != known:
        yield f"service_resources {dict(settings.service_resources)!r} needs exactly {', '.join(sorted(known))}"
    given = {
        **{f"quota[{key!r}]": value for key, value in settings.quota.items()},
        **{f"container_defaults[{key!r}]": value for key, value in settings.container_defaults.items()},
        **{f"service_resources[{key!r}]": value for key, value in settings.service_resources.items()},
        "storage": settings.storage,
    }
    for name, value in given.items():
        try:
            parse(value)
        except ValueError as error:
            yield f"{name}: {error}"
