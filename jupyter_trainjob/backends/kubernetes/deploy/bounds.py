"""How much of the cluster the namespace may have, and what its pods may reach. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from kubernetes.aio import client as k

from ..environments_objects import BUILDING, BUILDS
from ..settings import KubernetesSettings
from .marks import (
    DENY_ALL,
    OBJECT,
    OF_BUILDERS,
    OF_SERVICE,
    SERVICE,
    TO_STORE,
    metadata,
    of_component,
    of_jobs,
)
from .settings import DeploySettings

NETWORKING = "networking.k8s.io/v1"
_SERVICE_WORDS = ("svc", "cluster", "local")


class NoPeer(ValueError):
    """Whom pods may reach can't be told; the text says what to set."""


@dataclass(frozen=True)
class StorePlace:
    """Where pods find the object store. ``addresses``: what its name stood for when this was planned."""

    host: str
    port: int
    addresses: tuple[str, ...] = ()

    @classmethod
    def of(cls, url: str, addresses: Sequence[str] = ()) -> StorePlace:
        """Of ``http(s)://host:port``."""
        parts = urlsplit(url)
        return cls(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), tuple(addresses))

    @property
    def named(self) -> bool:
        """Whether pods have to look up a name."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return True
        return False

    @property
    def namespace(self) -> str:
        """Of a name inside the cluster, such as ``minio.storage.svc``; empty for others."""
        words = self.host.split(".")
        return words[1] if len(words) > 2 and words[2] == _SERVICE_WORDS[0] else ""


def quota(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1ResourceQuota:
    """Of all pods of the namespace together."""
    return k.V1ResourceQuota(
        api_version="v1",
        kind="ResourceQuota",
        metadata=metadata(settings, OBJECT),
        spec=k.V1ResourceQuotaSpec(hard=dict(deploy.quota)),
    )


def limit_range(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1LimitRange:
    """For containers that say nothing: ours say all."""
    given = dict(deploy.container_defaults)
    item = k.V1LimitRangeItem(type="Container", default=given, default_request=given)
    return k.V1LimitRange(
        api_version="v1",
        kind="LimitRange",
        metadata=metadata(settings, OBJECT),
        spec=k.V1LimitRangeSpec(limits=[item]),
    )


def deny_all(settings: KubernetesSettings) -> k.V1NetworkPolicy:
    """Nobody reaches anybody; what follows opens what is needed."""
    return _policy(settings, DENY_ALL, k.V1LabelSelector(), types=["Ingress", "Egress"])


def to_store(settings: KubernetesSettings, deploy: DeploySettings, store: StorePlace) -> k.V1NetworkPolicy:
    """Pods of jobs reach the store, and a name server only where the store has a name. Raises :class:`NoPeer`."""
    peers = deploy.store_peers or _found(store, "object store", "store_peers")
    rules = [_rule(peers, deploy.store_ports or (store.port,))]
    if store.named:
        rules += _dns(deploy)
    selected = k.V1LabelSelector(match_labels=of_jobs(settings))
    return _policy(settings, TO_STORE, selected, types=["Egress"], egress=rules)


def of_service(settings: KubernetesSettings, deploy: DeploySettings) -> k.V1NetworkPolicy:
    """The service is reached at its port, and reaches the API server, the store and the database, wherever they are.

    Who comes has to show a token; pods of jobs can't come, since nothing lets them out.
    """
    port = k.V1NetworkPolicyPort(port=deploy.port, protocol="TCP")
    selected = k.V1LabelSelector(match_labels=of_component(settings, SERVICE))
    return _policy(
        settings,
        OF_SERVICE,
        selected,
        types=["Ingress", "Egress"],
        ingress=[k.V1NetworkPolicyIngressRule(ports=[port])],
        egress=[k.V1NetworkPolicyEgressRule()],
    )


def of_builders(
    settings: KubernetesSettings, deploy: DeploySettings, indexes: Sequence[StorePlace]
) -> k.V1NetworkPolicy:
    """Pods that build environments reach the package indexes beside the store, by name. Raises :class:`NoPeer`."""
    selected = k.V1LabelSelector(
        match_labels=of_jobs(settings),
        match_expressions=[k.V1LabelSelectorRequirement(key=BUILDS, operator="In", values=[BUILDING])],
    )
    if deploy.index_peers:
        rules = [_rule(deploy.index_peers, deploy.index_ports)]
    else:
        rules = [_rule(_found(index, "package index", "index_peers"), (index.port,)) for index in indexes]
    return _policy(settings, OF_BUILDERS, selected, types=["Egress"], egress=[*rules, *_dns(deploy)])


def index_places(urls: Sequence[str], addresses: Callable[[str], Sequence[str]]) -> tuple[StorePlace, ...]:
    """Where package indexes are; ``addresses`` looks a host up."""
    places = [StorePlace.of(url) for url in urls]
    return tuple(replace(one, addresses=tuple(addresses(one.host))) if one.named else one for one in places)


def index_urls(settings: KubernetesSettings) -> list[str]:
    """Those that the settings name; none where nothing is built in pods."""
    rules = settings.environments
    if not rules.claim or rules.builds == "none":
        return []
    named = [url for option in ("index-url", "extra-index-url") for url in rules.pip.get(option, "").split()]
    return [*named, *rules.r_repositories]


def _rule(peers: Sequence[Mapping[str, Any]], ports: Sequence[int]) -> k.V1NetworkPolicyEgressRule:
    opened = [k.V1NetworkPolicyPort(port=port, protocol="TCP") for port in ports]
    return k.V1NetworkPolicyEgressRule(to=_peers(peers), ports=opened)


def _found(place: StorePlace, what: str, option: str) -> list[Mapping[str, Any]]:
    if place.namespace:
        return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}}}]
    addresses = place.addresses if place.named else (place.host,)
    if not addresses:
        raise NoPeer(
            f"The {what} is named {place.host!r}, which can't be looked up from here: say where pods find it in "
            f"KubernetesDeploySettings.{option}, such as [{{'ipBlock': {{'cidr': '10.0.0.5/32'}}}}]."
        )
    found = [ipaddress.ip_address(address) for address in sorted(set(addresses))]
    return [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}} for address in found]


def _dns(deploy: DeploySettings) -> list[k.V1NetworkPolicyEgressRule]:
    """None without peers: a rule with an empty list would open the port to everybody."""
    ports = [k.V1NetworkPolicyPort(port=53, protocol=protocol) for protocol in ("UDP", "TCP")]
    return [k.V1NetworkPolicyEgressRule(to=_peers(deploy.dns_peers), ports=ports)] if deploy.dns_peers else []


def _peers(given: Sequence[Mapping[str, Any]]) -> list[k.V1NetworkPolicyPeer]:
    return [k.V1NetworkPolicyPeer.model_validate(dict(peer)) for peer in given]


def _policy(
    settings: KubernetesSettings,
    name: str,
    selected: k.V1LabelSelector,
    *,
    types: list[str],
    ingress: list[k.V1NetworkPolicyIngressRule] | None = None,
    egress: list[k.V1NetworkPolicyEgressRule] | None = None,
) -> k.V1NetworkPolicy:
    return k.V1NetworkPolicy(
        api_version=NETWORKING,
        kind="NetworkPolicy",
        metadata=metadata(settings, name),
        spec=k.V1NetworkPolicySpec(pod_selector=selected, policy_types=types, ingress=ingress, egress=egress),
    )
