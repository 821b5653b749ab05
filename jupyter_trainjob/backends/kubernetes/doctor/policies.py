"""Whether a namespace's NetworkPolicies open and close what ``deploy``'s would, whatever they are called. Pure.

Policies add up: a pod may reach what any of those that select it opens, and nothing else as soon as one bounds that
direction. So what all of them together mean for a pod of each kind is compared, and each difference is told with the
policy that makes it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...findings import Finding, fail, ok, warn
from ..deploy.marks import DENY_ALL, OF_BUILDERS, SERVICE, of_component, of_jobs
from ..environments_objects import BUILDING, BUILDS
from ..objects import ATTEMPT, NAMESPACE, OWNER, QUEUE, RECORD, UID
from ..reading import Object, meta
from ..settings import KubernetesSettings

CHECK = "network policies"
ANY = "anything"
_OWN = frozenset({UID, ATTEMPT, OWNER, NAMESPACE, QUEUE, RECORD})
"""Labels of which each job has values of its own: a policy that asks for one may select some job."""
_SAYS = "KubernetesDeploySettings (store_peers, store_ports, dns_peers, index_peers)"


@dataclass(frozen=True)
class Way:
    """One peer at one port. ``first`` to ``last``; a port with a name is both."""

    peer: str
    protocol: str
    first: int | str
    last: int | str

    def __str__(self) -> str:
        ports = "all ports" if self.first == ANY else f"{self.protocol} {self.first}"
        return f"{self.peer} at {ports}" + (f" to {self.last}" if self.first != self.last else "")

    def within(self, other: Way) -> bool:
        """Whether ``other`` opens this as well."""
        return _peer_within(self.peer, other.peer) and (
            other.first == ANY
            or (
                self.protocol == other.protocol
                and (
                    (self.first, self.last) == (other.first, other.last)
                    or (
                        isinstance(self.first, int)
                        and isinstance(self.last, int)
                        and isinstance(other.first, int)
                        and isinstance(other.last, int)
                        and other.first <= self.first <= self.last <= other.last
                    )
                )
            )
        )


@dataclass(frozen=True)
class Kind:
    """Pods of one kind. ``varies``: labels that they have with values of their own."""

    name: str
    labels: Mapping[str, str]
    varies: frozenset[str] = frozenset()


def judge(
    found: Sequence[Object], wanted: Sequence[Object], settings: KubernetesSettings, *, ours: bool = True
) -> list[Finding]:
    """``wanted``: what ``deploy`` would write. ``ours``: whether it writes them, or somebody else does."""
    there = {str(meta(policy).get("name")) for policy in found}
    missing = [name for name in settings.network_policies if name not in there]
    if missing:
        text = f"Missing in the namespace: {', '.join(missing)}. Jobs may reach what the cluster reaches."
        return [fail(CHECK, text, _remedy(ours, force=False))]
    findings = [
        (fail if opens and ours else warn)(CHECK, text, _remedy(ours))
        for text, opens in _differences(found, wanted, settings)
    ]
    if settings.environments.claim and settings.environments.builds != "none" and not _builders([*found, *wanted]):
        text = f"There is no {OF_BUILDERS}: pods that build environments reach no package index."
        mend = "Say where it is in KubernetesDeploySettings.index_peers. Run `jupyter trainjob deploy`."
        findings.append(warn(CHECK, text, mend))
    if findings:
        return findings
    names = ", ".join(settings.network_policies) or "none by name, as configured"
    return [
        ok(CHECK, f"There are {names}" + (", and what they open is what the configuration says." if wanted else "."))
    ]


def _remedy(ours: bool, *, force: bool = True) -> str:
    if not ours:
        return (
            "Have whoever makes the policies apply what `jupyter trainjob deploy --dry-run -o yaml --only network` "
            f"prints, or say in {_SAYS} what is meant."
        )
    if not force:
        return "Run `jupyter trainjob deploy`."
    return (
        f"Run `jupyter trainjob deploy --force`, or say in {_SAYS} what is meant. A policy that is none of deploy's "
        "is changed by whoever made it."
    )


def _builders(policies: Iterable[Object]) -> bool:
    return any(meta(policy).get("name") == OF_BUILDERS for policy in policies)


def _differences(
    found: Sequence[Object], wanted: Sequence[Object], settings: KubernetesSettings
) -> Iterator[tuple[str, bool]]:
    """What differs, and whether it opens more than it should."""
    jobs = of_jobs(settings)
    kinds = [
        Kind("jobs", jobs, _OWN),
        Kind("environments that are built", {**jobs, BUILDS: BUILDING}, _OWN),
        Kind("the service", of_component(settings, SERVICE)),
        Kind("others", {}),
    ]
    told: set[tuple[str, str]] = set()
    for kind in kinds if wanted else ():
        for direction in ("Egress", "Ingress"):
            yield from _compared(found, wanted, kind, direction, told)


def _compared(
    found: Sequence[Object], wanted: Sequence[Object], kind: Kind, direction: str, told: set[tuple[str, str]]
) -> Iterator[tuple[str, bool]]:
    """``told``: what was said already, of pods of another kind."""
    out = direction == "Egress"
    meant = [policy for policy in wanted if _selects(policy, kind.labels)]
    if not any(_bounds(policy, direction) for policy in meant):
        return
    if not any(_bounds(policy, direction) for policy in found if _selects(policy, kind.labels)):
        what = "whom pods of {} may reach" if out else "who may reach pods of {}"
        yield f"Nothing bounds {what.format(kind.name)}: {DENY_ALL} does not select them, or not for that.", True
        return
    should = {way: str(meta(policy).get("name")) for policy in meant for way in _ways(policy, direction)}
    may: set[Way] = set()
    for policy in found:
        if not _selects(policy, kind.labels, kind.varies):
            continue
        ways = set(_ways(policy, direction))
        may |= ways if _selects(policy, kind.labels) else set()
        name = str(meta(policy).get("name"))
        open_too = {
            (f"{direction} by {name}", str(way)) for way in ways if not any(way.within(one) for one in should)
        } - told
        told |= open_too
        if more := sorted(way for _, way in open_too):
            who = f"{'Pods' if _selects(policy, kind.labels) else 'Some pods'} of {kind.name}"
            what = f"{who} may reach" if out else f"{who} may be reached by"
            yield f"{name} opens more than is meant: {what} {'; '.join(more)}.", True
    lacking: dict[str, list[str]] = {}
    for way, name in should.items():
        if not any(way.within(one) for one in may):
            lacking.setdefault(name, []).append(str(way))
    for name, ways_of in lacking.items():
        what = "reach" if out else "be reached by"
        text = f"Pods of {kind.name} can't {what} {'; '.join(sorted(ways_of))}"
        yield f"{name} does not open what is meant, or does not select whom it should: {text}.", False


def _selects(policy: Object, labels: Mapping[str, str], varies: frozenset[str] = frozenset()) -> bool:
    """Whether it selects pods with these labels; with ``varies``: or may select some of them."""
    selector = (policy.get("spec") or {}).get("podSelector") or {}
    rules = [{"key": key, "operator": "In", "values": [value]} for key, value in _labels(selector).items()]
    return all(
        rule["key"] in varies or _holds(rule, labels) for rule in [*rules, *(selector.get("matchExpressions") or [])]
    )


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = rule["key"], rule["operator"], rule.get("values") or []
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return key not in labels or labels[key] not in values
    return bool((key in labels) == (operator == "Exists"))


def _labels(selector: Mapping[str, Any]) -> Mapping[str, str]:
    return selector.get("matchLabels") or {}


def _bounds(policy: Object, direction: str) -> bool:
    spec = policy.get("spec") or {}
    usual = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    return direction in (spec.get("policyTypes") or usual)


def _ways(policy: Object, direction: str) -> Iterator[Way]:
    if not _bounds(policy, direction):
        return
    end = "to" if direction == "Egress" else "from"
    for rule in (policy.get("spec") or {}).get(direction.lower()) or []:
        for peer in [_peer(one) for one in rule.get(end) or []] or [ANY]:
            for port in rule.get("ports") or [{}]:
                first = port.get("port", ANY)
                protocol = port.get("protocol") or "TCP"
                if first == ANY and port:  # a protocol, whatever the port
                    yield Way(peer, protocol, 1, 65535)
                else:
                    yield Way(peer, protocol if port else ANY, first, port.get("endPort") or first)


def _peer(given: Mapping[str, Any]) -> str:
    block = given.get("ipBlock")
    if block:
        but = sorted(block.get("except") or [])
        return str(ipaddress.ip_network(block["cidr"], strict=False)) + (f" without {', '.join(but)}" if but else "")
    pods, spaces = given.get("podSelector"), given.get("namespaceSelector")
    said = f"pods {_selected(pods)}" if pods is not None else "all pods"
    return said + (f" of namespaces {_selected(spaces)}" if spaces is not None else " of this namespace")


def _selected(selector: Mapping[str, Any]) -> str:
    rules = [f"{key}={value}" for key, value in _labels(selector).items()]
    for rule in selector.get("matchExpressions") or []:
        values = sorted(rule.get("values") or [])
        one = rule["operator"] == "In" and len(values) == 1
        rules.append(
            f"{rule['key']}={values[0]}" if one else f"{rule['key']} {rule['operator']} {','.join(values)}".rstrip()
        )
    return ",".join(sorted(rules)) or "of any kind"


def _peer_within(peer: str, other: str) -> bool:
    if other in (peer, ANY):
        return True
    try:
        one, two = ipaddress.ip_network(peer), ipaddress.ip_network(other)
    except ValueError:
        return False
    return one.version == two.version and one.subnet_of(two)  # type: ignore[arg-type]
