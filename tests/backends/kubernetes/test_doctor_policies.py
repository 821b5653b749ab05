"""Whether policies that are there open and close what ``deploy``'s would. With real pods: ``tests/cluster``."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from jupyter_trainjob.backends.findings import Finding
from jupyter_trainjob.backends.kubernetes.deploy.bounds import StorePlace
from jupyter_trainjob.backends.kubernetes.deploy.plan import Plan, manifests
from jupyter_trainjob.backends.kubernetes.deploy.settings import DeploySettings
from jupyter_trainjob.backends.kubernetes.doctor.policies import judge
from jupyter_trainjob.backends.kubernetes.environments_rules import EnvironmentRules
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings
from jupyter_trainjob.backends.kubernetes.volumes import Manifest

SETTINGS = KubernetesSettings(namespace="ml", images={"python": "docker.io/trainjob/python:1"})
DEPLOY = DeploySettings(
    service_image="docker.io/trainjob/service:1", index_peers=({"ipBlock": {"cidr": "10.9.0.0/24"}},)
)


def wanted() -> list[Manifest]:
    return manifests(Plan(SETTINGS, DEPLOY, StorePlace.of("https://10.1.2.3:9000"), parts=["network"]))


def there(name: str = "", **spec: Any) -> list[Manifest]:
    """As wanted, but that the spec of the policy ``name`` is another."""
    found = deepcopy(wanted())
    for policy in found:
        if policy["metadata"]["name"] == name:
            policy["spec"] |= spec
    return found


def more(name: str, selector: Manifest, **spec: Any) -> list[Manifest]:
    return [*there(), {"metadata": {"name": name}, "spec": {"podSelector": selector, **spec}}]


def told(found: list[Manifest], **how: Any) -> list[Finding]:
    return judge(found, wanted(), SETTINGS, **how)


def to(cidr: str, *ports: dict[str, Any]) -> dict[str, Any]:
    return {"to": [{"ipBlock": {"cidr": cidr}}], "ports": list(ports)}


STORE = {"port": 9000, "protocol": "TCP"}
JOBS = {"matchLabels": {"app.kubernetes.io/managed-by": "jupyter-trainjob"}}


def test_the_same_said_otherwise_is_the_same() -> None:
    assert [finding.level for finding in told(there())] == ["ok"]
    words = {"key": "app.kubernetes.io/managed-by", "operator": "In", "values": ["jupyter-trainjob"]}
    selector = {"matchExpressions": [words]}
    same = there(
        "trainjob-store", podSelector=selector, egress=[to("10.1.2.3/32", {"port": 9000}), to("10.1.2.3/32", STORE)]
    )
    assert [finding.level for finding in told(same)] == ["ok"]
    renamed = [{**policy, "metadata": {"name": f"their-{number}"}} for number, policy in enumerate(wanted())]
    theirs = replace(SETTINGS, network_policies=("their-0",))
    assert [finding.level for finding in judge(renamed, wanted(), theirs)] == ["ok"], "names are nobody's matter"
    assert [finding.level for finding in told(more("narrow", {"matchLabels": {"app": "shop"}}, egress=[{}]))] == ["ok"]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            there("trainjob-store", egress=[to("10.0.0.0/8", STORE)]),
            "trainjob-store opens more than is meant: Pods of jobs may reach 10.0.0.0/8 at TCP 9000.",
        ),
        (
            there("trainjob-store", egress=[to("10.1.2.3/32", STORE, {"port": 9000, "endPort": 9999})]),
            "trainjob-store opens more than is meant: Pods of jobs may reach 10.1.2.3/32 at TCP 9000 to 9999.",
        ),
        (
            there("trainjob-store", egress=[{}]),
            "trainjob-store opens more than is meant: Pods of jobs may reach anything at all ports.",
        ),
        (
            there("trainjob-deny-all", policyTypes=["Ingress"]),
            "Nothing bounds whom pods of others may reach: trainjob-deny-all does not select them, or not for that.",
        ),
        (
            there("trainjob-deny-all", podSelector={"matchLabels": {"app": "shop"}}),
            "Nothing bounds who may reach pods of jobs: trainjob-deny-all does not select them, or not for that.",
        ),
        (
            there("trainjob-builders", podSelector={}),
            "trainjob-builders opens more than is meant: Pods of jobs may reach 10.9.0.0/24 at TCP 443",
        ),
        (
            more("metrics", {}, ingress=[{"ports": [{"port": 9100}]}], policyTypes=["Ingress"]),
            "metrics opens more than is meant: Pods of jobs may be reached by anything at TCP 9100.",
        ),
        (
            more("friends", {"matchLabels": {"jupyter-trainjob/queue": "gpu"}}, egress=[to("0.0.0.0/0")]),
            "friends opens more than is meant: Some pods of jobs may reach 0.0.0.0/0 at all ports.",
        ),
    ],
)
def test_what_opens_more_is_a_failure_and_told_with_its_name(found: list[Manifest], message: str) -> None:
    findings = told(found)
    assert any(message in finding.message for finding in findings), findings
    assert {finding.level for finding in findings} == {"fail"}
    assert "jupyter trainjob deploy --force" in findings[0].remedy and "store_peers" in findings[0].remedy
    assert {finding.level for finding in told(found, ours=False)} == {"warn"}, "somebody else may have meant it"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            there("trainjob-store", egress=[to("10.1.2.4/32", STORE)]),
            "trainjob-store does not open what is meant, or does not select whom it should: "
            "Pods of jobs can't reach 10.1.2.3/32 at TCP 9000.",
        ),
        (
            there("trainjob-store", podSelector={"matchLabels": {"app": "old"}}),
            "Pods of jobs can't reach 10.1.2.3/32 at TCP 9000.",
        ),
        (there("trainjob-service", ingress=[]), "Pods of the service can't be reached by anything at TCP 8890."),
    ],
)
def test_what_opens_less_is_told(found: list[Manifest], message: str) -> None:
    findings = told(found)
    assert any(message in finding.message and finding.level == "warn" for finding in findings), findings


def test_what_is_open_wider_leaves_nothing_closed() -> None:
    findings = told(there("trainjob-store", egress=[to("10.1.0.0/16", {"port": 8000, "endPort": 9999})]))
    assert ["can't" in finding.message for finding in findings] == [False]


def test_policies_that_must_be_there_are_missed() -> None:
    [missed] = told([policy for policy in there() if policy["metadata"]["name"] != "trainjob-deny-all"])
    assert missed.level == "fail" and "Missing in the namespace: trainjob-deny-all." in missed.message
    assert missed.remedy == "Run `jupyter trainjob deploy`."
    [theirs] = told([], ours=False)
    assert "--dry-run -o yaml --only network" in theirs.remedy


def test_environments_without_an_index_are_told() -> None:
    settings = replace(SETTINGS, environments=EnvironmentRules(claim="envs"))
    found = [policy for policy in wanted() if policy["metadata"]["name"] != "trainjob-builders"]
    [finding] = judge(found, found, settings)
    assert finding.level == "warn" and "reach no package index" in finding.message


def test_where_nothing_is_known_they_are_looked_for_by_name() -> None:
    [finding] = judge(there("trainjob-store", egress=[{}]), [], SETTINGS)
    assert finding.level == "ok" and finding.message == "There are trainjob-deny-all, trainjob-store."
