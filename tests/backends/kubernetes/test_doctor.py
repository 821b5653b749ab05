"""What objects of a cluster mean for jobs: pure looks. The trials are in ``tests/cluster/test_doctor.py``."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from jupyter_trainjob.backends.findings import Finding, ok, warn, worst
from jupyter_trainjob.backends.kubernetes.doctor import examine, inpod, looks
from jupyter_trainjob.backends.kubernetes.doctor.trial import Seen
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings

SETTINGS = KubernetesSettings(namespace="ml", images={"python": "docker.io/trainjob/python:1"})
NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


def test_a_store_that_says_much_leaves_words_that_can_be_read() -> None:
    said = inpod.say({"reached": False, "store": "Can't store: " + "ü" * 5000, "ahead": None})
    assert len(said) <= 4000
    told = json.loads(said)
    assert told["store"].startswith("Can't store: üü") and told["store"].endswith("…")
    assert (told["reached"], told["ahead"]) == (False, None)


def test_a_pod_that_says_no_json_is_told_with_its_words() -> None:
    found = examine._unreadable(Seen(words='{"reached": false, "store": "' + "x" * 4000))
    assert found.level == "fail" and 'it said \'{"reached": false, "store": "xxx' in found.message
    assert len(found.message) < 600 and "Run it again" in found.remedy
    assert "it said nothing." in examine._unreadable(Seen()).message


def test_pod_security_is_read_from_the_labels() -> None:
    def of(level: str) -> Finding:
        return looks.pod_security({"metadata": {"name": "ml", "labels": {"pod-security.kubernetes.io/enforce": level}}})

    assert of("restricted").level == "ok"
    assert of("baseline").level == "warn" and "enforces baseline" in of("baseline").message
    assert "kubectl label namespace ml pod-security.kubernetes.io/enforce=restricted" in of("baseline").remedy
    assert "enforces nothing" in looks.pod_security({"metadata": {"name": "ml"}}).message


def test_a_quota_that_is_used_up_is_told() -> None:
    def quota(used: str) -> list[dict[str, Any]]:
        hard = {"pods": "10", "services.nodeports": "0"}
        return [{"metadata": {"name": "q"}, "status": {"hard": hard, "used": {"pods": used}}}]

    assert looks.quotas([]).level == "warn"
    assert looks.quotas(quota("3")) == ok("quota", "q: pods 3 of 10, services.nodeports 0 of 0.")
    assert "Used up: pods of q" in looks.quotas(quota("10")).message


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"min": {"cpu": "250m"}}, "a container has to ask for 250m CPU at least, and the sidecar asks for 100m"),
        ({"min": {"memory": "1Gi"}}, "a container has to ask for 1Gi at least, and the sidecar asks for 128Mi"),
        ({"maxLimitRequestRatio": {"cpu": "2"}}, "may be 2 times the request, and the sidecar's are 500m to 100m"),
    ],
)
def test_a_limit_range_that_refuses_every_job_is_told(limit: dict[str, Any], message: str) -> None:
    found = looks.limit_ranges([{"spec": {"limits": [{"type": "Container", **limit}]}}], SETTINGS)
    assert found.level == "fail" and message in found.message
    assert "KubernetesBackendSettings.sidecar" in found.remedy
    assert looks.limit_ranges([{"spec": {"limits": [{"type": "Pod", **limit}]}}], SETTINGS).level == "ok"


def lease(name: str, seconds: float) -> dict[str, Any]:
    renewed = (NOW + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    return {"metadata": {"name": name}, "spec": {"renewTime": renewed}}


def test_clocks_of_nodes_stand_in_their_leases() -> None:
    nodes = [
        {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}
        for name, ready in (("a", "True"), ("b", "True"), ("gone", "Unknown"))
    ]
    assert looks.clocks([lease("a", -8), lease("b", 1), lease("gone", -9000)], nodes, NOW).level == "ok"
    assert "b is 90 s ahead" in looks.clocks([lease("a", -8), lease("b", 90)], nodes, NOW).message
    assert "a is 300 s behind" in looks.clocks([lease("a", -300)], nodes, NOW).message


@pytest.mark.parametrize(("ahead", "level"), [(2, "ok"), (-45, "warn"), (1200, "fail"), (None, "warn")])
def test_a_clock_that_breaks_signatures_is_a_failure(ahead: float | None, level: str) -> None:
    assert looks.skew("clock", "the node a", ahead).level == level


def network(missing: bool = False, control: bool = True, **told: bool) -> list[Finding]:
    return list(looks.closed(told, control=control, store_named=False, missing=missing))


def test_what_a_pod_reached_is_told_and_not_guessed() -> None:
    assert [finding.level for finding in network(opened=True)] == ["ok"]
    [open_] = network(reached=True)
    assert open_.level == "fail" and "does not enforce NetworkPolicies" in open_.message and "Calico" in open_.remedy
    [absent] = network(reached=True, missing=True)
    assert "NetworkPolicies are missing" in absent.message and "deploy" in absent.remedy
    [mute] = network(opened=False)
    assert mute.level == "warn" and "not even where a policy lets them" in mute.message
    [blind] = network(control=False)
    assert blind.level == "warn" and "you may make no NetworkPolicy" in blind.message
    [early] = network(opened=True, early=True)
    assert early.level == "warn" and "while the pod started" in early.message
    more = network(opened=True, api=True, metadata=True, names=True)
    assert [finding.level for finding in more] == ["ok", "fail", "fail", "warn"]
    assert "169.254.169.254" in more[2].message


def test_pods_that_do_not_come_up_say_why() -> None:
    deployment = {"metadata": {"generation": 2}, "spec": {"replicas": 2}}
    coming = {**deployment, "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2}}
    assert looks.rollout("Deployment", coming, "service").level == "fail"
    there = {**coming, "status": {**coming["status"], "availableReplicas": 2}}  # type: ignore[dict-item]
    assert looks.rollout("Deployment", there, "service") == ok("service", "2 of 2 pods are ready.")
    stale = {**there, "metadata": {"generation": 3}}
    assert looks.rollout("Deployment", stale, "service").level == "fail"
    assert looks.rollout("Deployment", None, "service").message == "There is no Deployment."
    waiting = {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}
    ended = {"lastState": {"terminated": {"exitCode": 3, "message": "one\ntwo\n"}}}
    assert looks.why_not_ready({"status": {"containerStatuses": [{**waiting, **ended}]}}) == (
        "CrashLoopBackOff: back-off; it had ended with 3 and said: two"
    )
    unplaced = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    assert looks.why_not_ready({"status": {"conditions": [unplaced]}}) == "0/1 nodes are available"


def test_the_worst_counts() -> None:
    assert worst([ok("a", "b")]) == "ok"
    assert worst([ok("a", "b"), warn("c", "d", "e")]) == "warn"
