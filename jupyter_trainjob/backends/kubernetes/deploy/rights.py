"""What the server may do in a cluster, and what each right is for: one table for the Role, ``doctor`` and the docs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Right:
    """One verb on one kind of object. ``cluster``: in the whole cluster, else in the namespace of the jobs."""

    group: str
    """Of the API; empty for the core."""
    resource: str
    verb: str
    why: str
    cluster: bool = False
    only: str = ""
    """Needed only with this: ``kueue``."""
    lost: str = ""
    """What is lost without it, where the server does without; empty where it can't."""

    def __str__(self) -> str:
        group = f".{self.group}" if self.group else ""
        return f"{self.verb} {self.resource}{group}"


def _rights(
    group: str, resource: str, verbs: dict[str, str], *, cluster: bool = False, only: str = "", lost: str = ""
) -> Iterator[Right]:
    for verb, why in verbs.items():
        yield Right(group, resource, verb, why, cluster, only, lost)


RIGHTS: tuple[Right, ...] = (
    *_rights(
        "batch",
        "jobs",
        {
            "create": "start an attempt",
            "get": "tell an attempt that is there from another's Job of that name",
            "list": "find the attempts of an earlier life",
            "watch": "follow them without asking again and again",
            "patch": "note a cancellation, and why one can't start; claim a waiting one",
            "delete": "clear away what has ended, and what waits in the way",
        },
    ),
    *_rights(
        "",
        "pods",
        {
            "list": "find the pods of attempts",
            "watch": "see them start, fail and end",
            "delete": "end a cancelled attempt with its own grace",
        },
    ),
    *_rights(
        "",
        "secrets",
        {
            "create": "hand an attempt its orders and signed addresses",
            "get": "see that orders are those of the Job before they are signed anew",
            "list": "find Secrets whose Job was never made",
            "patch": "renew the signatures, and let the Secret go with its Job",
            "delete": "remove those without a Job",
        },
    ),
    *_rights("", "events", {"list": "tell why a pod does not start"}),
    *_rights(
        "",
        "resourcequotas",
        {"list": "admit no more than the quota gives", "watch": "see when somebody changes it"},
    ),
    *_rights(
        "",
        "nodes",
        {"list": "know how much the nodes have", "watch": "see them come, go and fill"},
        cluster=True,
        lost="only the namespace's quota and the limits of queues bound what is admitted, and a job that finds no room "
        "waits in the cluster, and ends if that takes too long",
    ),
    *_rights(
        "",
        "pods",
        {"list": "know what others have of the nodes", "watch": "see when that changes"},
        cluster=True,
        lost="what others have of the nodes is not known, and a job that finds no room on a node waits there instead "
        "of in our queue, and ends if that takes too long",
    ),
    *_rights(
        "kueue.x-k8s.io",
        "workloads",
        {"list": "tell why a job waits for Kueue", "watch": "see it admitted or preempted"},
        only="kueue",
    ),
    *_rights("kueue.x-k8s.io", "localqueues", {"get": "refuse a queue that names none"}, only="kueue"),
    *_rights(
        "visibility.kueue.x-k8s.io",
        "localqueues/pendingworkloads",
        {"get": "tell a job's place in Kueue's line"},
        only="kueue",
    ),
    *_rights(
        "kueue.x-k8s.io",
        "workloadpriorityclasses",
        {"get": "refuse a queue that names one that is not there"},
        cluster=True,
        only="kueue",
    ),
)
"""All of them. ``test_deploy_api`` and ``test_kueue_rights`` show what breaks without each."""


def wanted(*, kueue: bool = False, all_pods: bool = True) -> list[Right]:
    """Those that a server needs. ``kueue``: where queues hand their jobs over to it. ``all_pods``: whether it may read
    the pods of others.
    """
    return [
        right
        for right in RIGHTS
        if (not right.only or (kueue and right.only == "kueue")) and (all_pods or not is_of_all_pods(right))
    ]


def is_of_all_pods(right: Right) -> bool:
    """Whether it reads the pods of all namespaces."""
    return right.cluster and (right.group, right.resource) == ("", "pods")


def rules(rights: Iterable[Right], *, cluster: bool) -> list[tuple[str, str, list[str]]]:
    """``(group, resource, verbs)`` for a Role, or for a ClusterRole."""
    found: dict[tuple[str, str], list[str]] = {}
    for right in rights:
        if right.cluster == cluster:
            found.setdefault((right.group, right.resource), []).append(right.verb)
    return [(group, resource, verbs) for (group, resource), verbs in found.items()]


def table() -> str:
    """The rights as a table for people."""
    rows = [f"| {right.resource} | {right.verb} | {right.why} | {_where(right)} |" for right in RIGHTS]
    return "\n".join(["| object | verb | needed to | in |", "|---|---|---|---|", *rows])


def _where(right: Right) -> str:
    place = "cluster" if right.cluster else "namespace"
    return place + (f", with {right.only.capitalize()} only" if right.only else "")
