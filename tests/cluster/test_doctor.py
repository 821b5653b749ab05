"""``jupyter trainjob doctor`` on a real cluster: what is broken is found by trying, and nothing is left behind."""

from __future__ import annotations

import json

import pytest

from tests.storage.servers import S3Server, versitygw

from .installations import Installation, installation

__all__ = ["installation", "versitygw"]

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def left(installation: Installation) -> str:
    """What is there of a doctor's own."""
    found = installation.kubectl("get", "pods,networkpolicies", "-o", "name")
    return "\n".join(line for line in found.splitlines() if "probe" in line)


def test_what_is_broken_is_found_and_how_to_mend_it(installation: Installation) -> None:
    installation.set("KubernetesDeploySettings", leave_out=["service", "images", "network", "cluster-rights"])
    assert installation.run("deploy", "--no-doctor").status == 0
    too_much = {"type": "Container", "min": {"cpu": "75m"}}
    limits = {"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": [too_much]}}
    installation.cluster.apply({**limits, "metadata": {"name": "theirs", "namespace": installation.namespace}})
    installation.set(
        "KubernetesBackendSettings",
        images={**installation.options["KubernetesBackendSettings"]["images"], "r": "localhost/none:1"},
        sidecar={"cpu": "70m"},
    )
    done = installation.run("doctor")
    assert done.status == 1, done
    for line in (
        "WARN  rights: The ServiceAccount trainjob-server may not list and watch nodes in the whole cluster: only the",
        "WARN  rights: The ServiceAccount trainjob-server may not list and watch pods in the whole cluster: what",
        "FAIL  limit range: The namespace's LimitRange refuses every job: a container has to ask for 75m CPU at least",
        "FAIL  network policies: Missing in the namespace: trainjob-deny-all, trainjob-store.",
    ):
        assert line in done.out, done.out
    installation.kubectl("delete", "limitrange", "theirs")
    done = installation.run("doctor")
    for line in (
        "FAIL  network: Pods of jobs reach each other: NetworkPolicies are missing, or open too much.",
        "FAIL  network: Pods of jobs reach the API server.",
        "ok    store from a pod: ",
        "FAIL  image of r: A pod of localhost/none:1 does not run: ErrImageNeverPull",
        "      → Run `jupyter trainjob deploy`.",
    ):
        assert line in done.out, done.out
    assert left(installation) == ""


def test_a_store_that_pods_can_not_reach_and_one_that_leaks_are_told_apart(
    installation: Installation, versitygw: S3Server
) -> None:
    nowhere = [{"ipBlock": {"cidr": "192.0.2.1/32"}}]
    installation.set("KubernetesDeploySettings", store_peers=nowhere)
    deployed = installation.run("deploy")
    assert deployed.status == 1, deployed
    assert "FAIL  store from a pod: A pod can't use the store at https://" in deployed.out
    assert (
        "ok    network: Tried: two pods can't reach each other, and can as soon as a policy lets them." in deployed.out
    )

    leaky = versitygw.store("one")
    installation.set("ObjectStoreSettings", url=leaky.address.url, credentials_file=versitygw.credentials, ca_file="")
    installation.set("KubernetesBackendSettings", kubeconfig=str(installation.as_account()))
    done = installation.run("doctor", "-o", "json")
    assert done.status == 1
    found = {(one["check"], one["level"]): one for one in json.loads(done.out)}
    assert found["store", "fail"]["message"].startswith("What is signed for one job is good for no other")
    assert "refuses it" in found["store", "fail"]["remedy"]
    assert found["pods", "warn"]["message"] == "You may make no pods there: what jobs reach was not tried."
    assert found["rights", "warn"]["message"] == "You may not ask what trainjob-server may do."
