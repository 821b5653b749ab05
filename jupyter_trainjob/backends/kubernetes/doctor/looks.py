"""What objects of a cluster mean for jobs. Pure: raw JSON in, findings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from ....resources.quantity import byte_count, cpu_millis, parse
from ...findings import Finding, fail, ok, warn
from ..deploy.access import LEVEL, POD_SECURITY
from ..reading import Object, conditions, meta, status
from ..reading import time as read_time
from ..settings import KubernetesSettings

DEPLOY = "Run `jupyter trainjob deploy`."
SKEW_SECONDS, BROKEN_SECONDS = 30.0, 600.0
"""Signed addresses are refused by a store whose clock is a quarter of an hour away."""
LEASE_SECONDS = 60.0
"""Kubelets renew theirs every ten seconds."""


def pod_security(namespace: Object) -> Finding:
    """What pods the namespace takes."""
    labels = meta(namespace).get("labels") or {}
    level, version = labels.get(f"{POD_SECURITY}/enforce"), labels.get(f"{POD_SECURITY}/enforce-version", "latest")
    if level == LEVEL:
        return ok("pod security", f"The namespace enforces {LEVEL} ({version}).")
    return warn(
        "pod security",
        f"The namespace enforces {level or 'nothing'}: jobs run as {LEVEL} all the same, other pods there need not.",
        f"kubectl label namespace {meta(namespace).get('name')} {POD_SECURITY}/enforce={LEVEL}, or deploy it.",
    )


def quotas(found: Sequence[Object]) -> Finding:
    """Whether there is a bound to all jobs together."""
    if not found:
        return warn("quota", "The namespace has no ResourceQuota: only the nodes bound what jobs take.", DEPLOY)
    said = []
    for quota in found:
        hard, used = status(quota).get("hard") or {}, status(quota).get("used") or {}
        said.append(
            f"{meta(quota).get('name')}: " + ", ".join(f"{k} {used.get(k, '0')} of {v}" for k, v in hard.items())
        )
    full = [
        f"{name} of {meta(quota).get('name')}"
        for quota in found
        for name, most in (status(quota).get("hard") or {}).items()
        if parse(str(most)) > 0 and parse(str((status(quota).get("used") or {}).get(name, "0"))) >= parse(str(most))
    ]
    if full:
        return warn("quota", f"Used up: {', '.join(full)}. Jobs wait until others end.", "Raise it, if it stays so.")
    return ok("quota", f"{'; '.join(said)}.")


def limit_ranges(found: Sequence[Object], settings: KubernetesSettings) -> Finding:
    """Whether one would refuse the small container beside each job."""
    own = settings.sidecar
    problems = []
    for item in (item for ranges in found for item in (ranges.get("spec") or {}).get("limits") or []):
        if item.get("type") != "Container":
            continue
        least, ratio = item.get("min") or {}, item.get("maxLimitRequestRatio") or {}
        if "cpu" in least and cpu_millis(str(least["cpu"])) > cpu_millis(own.cpu):
            problems.append(
                f"a container has to ask for {least['cpu']} CPU at least, and the sidecar asks for {own.cpu}"
            )
        if "memory" in least and byte_count(str(least["memory"])) > byte_count(own.memory):
            problems.append(
                f"a container has to ask for {least['memory']} at least, and the sidecar asks for {own.memory}"
            )
        if "cpu" in ratio and cpu_millis(own.cpu_limit) > parse(str(ratio["cpu"])) * cpu_millis(own.cpu):
            problems.append(
                f"limits of CPU may be {ratio['cpu']} times the request, and the sidecar's are "
                f"{own.cpu_limit} to {own.cpu}"
            )
    if problems:
        return fail(
            "limit range",
            f"The namespace's LimitRange refuses every job: {'; '.join(problems)}.",
            "Set KubernetesBackendSettings.sidecar ({'cpu', 'cpu_limit', 'memory'}) so that it fits.",
        )
    if not found:
        return warn("limit range", "The namespace has no LimitRange; jobs don't need one, other pods may.", DEPLOY)
    return ok("limit range", "The namespace's LimitRange lets the containers of jobs be.")


def clocks(leases: Iterable[Object], nodes: Iterable[Object], now: datetime) -> Finding:
    """Whether a kubelet's clock is ahead of the API server's, or behind it. ``now``: by the API server's clock."""
    ready = {str(meta(node).get("name")) for node in nodes if conditions(node).get("Ready", {}).get("status") == "True"}
    wrong = []
    for lease in leases:
        name = str(meta(lease).get("name"))
        renewed = read_time((lease.get("spec") or {}).get("renewTime"))
        if renewed is None or name not in ready:
            continue
        ahead = (renewed - now).total_seconds()
        if ahead > SKEW_SECONDS or ahead < -LEASE_SECONDS:
            wrong.append(f"{name} is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}")
    if wrong:
        return warn("clocks of nodes", f"Clocks differ: {', '.join(wrong)}.", "Set them by NTP on each node.")
    return ok("clocks of nodes", f"Those of {len(ready)} nodes agree with the API server's.")


def skew(check: str, whose: str, ahead: float | None) -> Finding:
    """``whose`` clock is ``ahead`` seconds before the store's."""
    mend = "Set clocks by NTP: signed addresses are refused where they differ by a quarter of an hour."
    if ahead is None:
        return warn(check, "The store does not tell its time.", mend)
    text = f"The clock of {whose} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the store's."
    if abs(ahead) >= BROKEN_SECONDS:
        return fail(check, text, mend)
    if abs(ahead) >= SKEW_SECONDS:
        return warn(check, text, mend)
    return ok(check, f"The clocks of {whose} and of the store agree.")


def closed(told: Mapping[str, object], *, control: bool, store_named: bool, missing: bool) -> Iterator[Finding]:
    """What a pod of a job's kind reached. ``control``: its peer's port was opened then, to compare."""
    check = "network"
    if told.get("reached"):
        yield fail(
            check,
            "Pods of jobs reach each other: "
            + (
                "NetworkPolicies are missing, or open too much."
                if missing
                else "the cluster does not enforce NetworkPolicies."
            ),
            DEPLOY if missing else "Use a network plugin that does, such as Calico or Cilium (kind: kindnet does).",
        )
    elif told.get("opened"):
        early = bool(told.get("early"))
        text = "Tried: two pods can't reach each other, and can as soon as a policy lets them."
        if early:
            yield warn(
                check,
                f"{text} But it was open while the pod started.",
                "Have the network plugin hold pods until their policies are in force.",
            )
        else:
            yield ok(check, text)
    elif control:
        yield warn(
            check,
            "Two pods can't reach each other, not even where a policy lets them: whether policies are enforced can't "
            "be told.",
            "Look whether pods can reach each other at all.",
        )
    else:
        yield warn(
            check,
            "Two pods can't reach each other, but you may make no NetworkPolicy to compare with.",
            "Run it as somebody who may create networkpolicies.networking.k8s.io.",
        )
    if told.get("api"):
        yield fail(check, "Pods of jobs reach the API server.", "Close it: the policy trainjob-deny-all does.")
    if told.get("metadata"):
        yield fail(
            check,
            "Pods of jobs reach the metadata address 169.254.169.254, where a cloud gives out credentials of the node.",
            "Close it: the policy trainjob-deny-all does, where the network plugin enforces it for this address too.",
        )
    if told.get("names") and not store_named:
        yield warn(
            check,
            "Pods of jobs can ask name servers, by which data can leave, and the store needs none.",
            "Close port 53: our policies do.",
        )


def rollout(kind: str, found: Object | None, what: str) -> Finding:
    """Whether the pods of a Deployment or a DaemonSet are there."""
    if found is None:
        return fail(what, f"There is no {kind}.", DEPLOY)
    told = status(found)
    if kind == "Deployment":
        wanted, ready = (found.get("spec") or {}).get("replicas", 1), told.get("availableReplicas", 0)
        current = told.get("updatedReplicas", 0) >= wanted and told.get("replicas", 0) <= wanted
    else:
        wanted, ready = told.get("desiredNumberScheduled", 0), told.get("numberReady", 0)
        current = told.get("updatedNumberScheduled", 0) >= wanted
    seen = told.get("observedGeneration", 0) >= meta(found).get("generation", 0)
    if seen and current and ready >= wanted:
        return ok(what, f"{ready} of {wanted} pods are ready.")
    return fail(what, f"{ready} of {wanted} pods are ready.", "")


def why_not_ready(pod: Object) -> str:
    """Of a pod that is not ready, in a few words; empty where it says nothing."""
    told = [*(status(pod).get("initContainerStatuses") or []), *(status(pod).get("containerStatuses") or [])]
    for item in told:
        state = item.get("state") or {}
        waiting = state.get("waiting") or {}
        last = (item.get("lastState") or {}).get("terminated") or state.get("terminated") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            why = f"{waiting['reason']}: {waiting.get('message') or 'no reason given'}"
            said = str(last.get("message") or "").strip().splitlines()[-1:]
            end = f"; it had ended with {last['exitCode']}" + (f" and said: {said[0]}" if said else "")
            return why + end if last.get("exitCode") else why
    scheduled = conditions(pod).get("PodScheduled", {})
    return str(scheduled.get("message") or "") if scheduled.get("status") == "False" else ""
