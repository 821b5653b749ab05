"""How much of a cluster our jobs may have."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st

from jupyter_trainjob.backends.base import NodeCapacity, SharedBound
from jupyter_trainjob.backends.kubernetes import capacity, objects
from jupyter_trainjob.backends.kubernetes.capacity import Amount
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings
from jupyter_trainjob.resources.profile import Toleration
from jupyter_trainjob.resources.quantity import byte_count
from jupyter_trainjob.scheduling import model
from jupyter_trainjob.scheduling.decide import decide

from .attempts import IMAGES, SETTINGS, UID, request
from .told import condition

MIB, GIB = 2**20, 2**30
EACH = capacity.overhead(SETTINGS)


def node(name: str = "node1", cpu: str = "8", memory: str = "32Gi", ready: str = "True", **more: Any) -> dict[str, Any]:
    allocatable = {"cpu": cpu, "memory": memory, "pods": "110", "ephemeral-storage": "100Gi", **more.pop("extra", {})}
    return {
        "metadata": {"name": name, "labels": more.pop("labels", {})},
        "spec": more,
        "status": {"allocatable": allocatable, "conditions": [condition("Ready", ready, message="kubelet is silent")]},
    }


def quota(name: str = "class", **hard: str) -> dict[str, Any]:
    told = {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}
    return {"metadata": {"name": name}, "spec": {"hard": told}, "status": {"hard": told}}


def pod(name: str, *requests: dict[str, str], init: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    found = [{"name": f"c{n}", "resources": {"requests": item}} for n, item in enumerate(requests)]
    return {
        "metadata": {"name": "x", "labels": more.pop("labels", {})},
        "spec": {"nodeName": name, "containers": found, "initContainers": init or [], **more},
        "status": {"phase": "Running"},
    }


def nodes(*found: dict[str, Any], quotas: tuple[Any, ...] = (), **more: Any) -> dict[str, NodeCapacity]:
    told = capacity.nodes(found, quotas, more.pop("settings", SETTINGS), **more)
    return {item.name: item for item in told}


def test_a_node_has_what_it_can_allocate_less_one_jobs_overhead() -> None:
    (found,) = nodes(node(cpu="3920m", memory="16Gi", extra={"nvidia.com/gpu": "2"})).values()
    assert found == NodeCapacity("node1", 3820, 16 * GIB - 192 * MIB, 2, 100, 192 * MIB, 110, called="the node node1")


def test_the_largest_job_that_is_told_makes_a_pod_that_fits() -> None:
    (found,) = nodes(node(cpu="2", memory="4Gi")).values()
    asked = request(resources={"cpu": f"{found.cpu_millis}m", "memory": str(found.memory_bytes)})
    spec = objects.job(asked, SETTINGS)["spec"]["template"]["spec"]
    total = capacity.requests(spec, SETTINGS)
    assert (total.cpu, total.memory) == (2000, 4 * GIB)


def test_a_node_with_little_disk_takes_few_pods() -> None:
    small = node(extra={"ephemeral-storage": "300Mi"})
    assert nodes(small)["node1"].jobs == 2
    requested = [
        one["resources"]["requests"]["ephemeral-storage"]
        for part in ("containers", "initContainers")
        for one in objects.job(request(), SETTINGS)["spec"]["template"]["spec"][part]
    ]
    assert sum(byte_count(one) for one in requested) == capacity.POD_DISK
    del small["status"]["allocatable"]["ephemeral-storage"]
    assert nodes(small)["node1"].jobs == 110, "who tells nothing of disk is not bounded by it"


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (node(unschedulable=True), "the node node1 takes no jobs: it is cordoned"),
        (node(ready="Unknown"), "it is not ready (kubelet is silent)"),
        (
            node(taints=[{"key": "team", "value": "x", "effect": "NoSchedule"}]),
            "it has the taint team=x:NoSchedule, which the settings don't tolerate",
        ),
    ],
)
def test_a_node_that_takes_no_jobs_is_left_out_and_told(found: dict[str, Any], says: str) -> None:
    assert nodes(found) == {}
    told = capacity.warnings([found], [], SETTINGS)
    assert says in told[0] and told[1] == "no node of the cluster takes jobs now: they wait until one does"


def test_taints_that_are_tolerated_or_soft_keep_nobody_out() -> None:
    soft = node(taints=[{"key": "a", "effect": "PreferNoSchedule"}])
    hard = node(taints=[{"key": "team", "value": "x", "effect": "NoSchedule"}])
    assert nodes(soft)
    for toleration in (
        Toleration(key="team", operator="Exists"),
        Toleration(key="team", value="x", effect="NoSchedule"),
        Toleration(operator="Exists"),
    ):
        assert nodes(hard, settings=KubernetesSettings(images=IMAGES, tolerations=(toleration,)))
    for toleration in (
        Toleration(key="team", value="y"),
        Toleration(key="team", operator="Exists", effect="NoExecute"),
    ):
        assert not nodes(hard, settings=KubernetesSettings(images=IMAGES, tolerations=(toleration,)))


def test_a_node_kept_for_gpus_is_there_for_jobs_with_gpus_only() -> None:
    taint = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
    (found,) = nodes(node(taints=[taint], extra={"nvidia.com/gpu": "1"})).values()
    assert found.gpu_only and found.gpu == 1


def test_only_nodes_with_the_selectors_labels_count() -> None:
    settings = KubernetesSettings(images=IMAGES, node_selector={"pool": "class"})
    found = nodes(node("a", labels={"pool": "class"}), node("b"), settings=settings)
    assert set(found) == {"a"}
    assert "it lacks the label pool=class" in capacity.warnings([node("b")], [], settings)[0]


def test_no_node_at_all_is_told() -> None:
    assert capacity.warnings([], [], SETTINGS) == ["the cluster tells of no node: may the server read them?"]


def test_what_others_request_of_a_node_is_not_ours() -> None:
    ours = {**objects.labels(request(), SETTINGS)}
    others = [
        pod("node1", {"cpu": "500m", "memory": "1Gi"}, {"cpu": "250m"}),
        pod("node1", {"cpu": "1"}, init=[{"resources": {"requests": {"cpu": "3", "memory": "64Mi"}}}]),
        pod("node2", {"cpu": "4"}),
        pod("", {"cpu": "4"}),
        pod("node1", {"cpu": "4"}, labels=ours),
        {**pod("node1", {"cpu": "4"}), "status": {"phase": "Succeeded"}},
    ]
    found = nodes(node(), others=others)["node1"]
    assert found.cpu_millis == 8000 - 750 - 3000 - EACH.cpu
    assert found.memory_bytes == 32 * GIB - GIB - 64 * MIB - EACH.memory
    assert found.jobs == 108


def test_an_attempt_of_another_record_takes_room_as_others_do() -> None:
    ours, theirs = replace(SETTINGS, record="1"), replace(SETTINGS, record="2")
    labels = [objects.labels(request(), one) for one in (ours, theirs, SETTINGS)]
    found = nodes(node(), others=[pod("node1", {"cpu": "1"}, labels=one) for one in labels], settings=ours)
    assert found["node1"].cpu_millis == 8000 - 1000 - EACH.cpu, "an older version's is ours"


def test_a_quota_bounds_all_nodes_together_and_keeps_large_jobs_possible() -> None:
    three = [node(name, cpu="4") for name in ("a", "b", "c")]
    found = nodes(*three, quotas=(quota(requests_cpu="6"),))
    assert found["a"].cpu_millis == 3900 and found["b"].cpu_millis == 1900 and found["c"].cpu_millis == 0
    assert "the quota class (requests.cpu: 6) bounds all jobs together to 6 CPU" in capacity.warnings(
        three, [quota(requests_cpu="6")], SETTINGS
    )


def test_who_waits_for_a_quota_can_be_told_its_name_and_what_it_gives() -> None:
    shared = counting(quota(requests_cpu="6", pods="9"), requests_cpu="2")
    told = nodes(node("a"), node("b"), quotas=(shared,))
    assert told["a"].shared == told["b"].shared
    assert set(told["a"].shared) == {
        SharedBound("cpu", 4000, 6000, "the quota class"),
        SharedBound("runningJobs", 9, 9, "the quota class"),
    }
    assert nodes(node())["node1"].shared == ()


def test_the_least_of_several_quotas_counts_and_scoped_ones_do_not() -> None:
    scoped = {**quota("scoped", pods="1"), "spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}}
    found = nodes(node(), quotas=(quota(limits_memory="4Gi"), quota("b", requests_memory="2Gi", pods="3"), scoped))
    assert found["node1"].memory_bytes == 2 * GIB - EACH.memory
    assert found["node1"].jobs == 3


def test_a_quota_on_limits_counts_what_the_sidecar_may_have() -> None:
    found = nodes(node(), quotas=(quota(limits_cpu="2"),))["node1"]
    assert (found.cpu_millis, found.per_job_cpu_millis) == (1500, 500)


def test_what_runs_keeps_its_place_when_a_quota_is_lowered() -> None:
    ours = capacity.Ours({"a": Amount(3000, GIB, 0, 1)})
    found = nodes(node("a"), node("b"), quotas=(quota(requests_cpu="2"),), ours=ours)
    assert found["a"].cpu_millis == 3000 + EACH.cpu and found["b"].cpu_millis == 0


def test_gpus_of_a_quota() -> None:
    found = nodes(node(extra={"nvidia.com/gpu": "4"}), quotas=(quota(**{"requests_nvidia_com__gpu": "1"}),))
    assert found["node1"].gpu == 1


def test_use_is_what_live_attempts_have_of_each_node() -> None:
    first, second, done = (objects.job(request(attempt=n), SETTINGS) for n in (1, 2, 3))
    done["status"] = {"conditions": [condition("Complete")]}
    found = capacity.use([first, second, done], {f"tj-{UID}-1": {"spec": {"nodeName": "a"}}, f"tj-{UID}-2": None})
    assert found == {"a": Amount(1000, GIB, 0, 1), "": Amount(1000, GIB, 0, 1)}


def counting(told: dict[str, Any], **used: str) -> dict[str, Any]:
    """A quota that counts so much."""
    told["status"] = {**told["status"], "used": {key.replace("_", "."): value for key, value in used.items()}}
    return told


def test_what_others_have_of_a_quota_is_not_ours_and_what_we_have_is() -> None:
    jobs = [objects.job(request(attempt=number), SETTINGS) for number in (1, 2)]
    pods = {f"tj-{UID}-1": {"spec": {"nodeName": "node1"}, "status": {"phase": "Running"}}, f"tj-{UID}-2": None}
    ours = capacity.ours(jobs, pods, SETTINGS)
    assert ours.nodes == {"node1": Amount(1000, GIB, 0, 1), "": Amount(1000, GIB, 0, 1)}
    each = capacity.overhead(SETTINGS, limits=True)
    assert ours.counted["cpu"] == 1000 + EACH.cpu and ours.counted["limits.cpu"] == 1000 + each.cpu
    assert (ours.counted["pods"], ours.counted["count/pods"], ours.counted["count/jobs.batch"]) == (1, 1, 2)
    alone = counting(quota(requests_cpu="6"), requests_cpu=f"{1000 + EACH.cpu}m")
    shared = counting(quota(requests_cpu="6"), requests_cpu=f"{3000 + EACH.cpu}m")
    behind = counting(quota(requests_cpu="6"), requests_cpu="0")
    alone_cpu, shared_cpu, behind_cpu = (
        nodes(node(), quotas=(one,), ours=ours)["node1"].cpu_millis for one in (alone, shared, behind)
    )
    assert alone_cpu - shared_cpu == 2000 and behind_cpu == alone_cpu


def test_what_a_job_may_ever_have_does_not_shrink_with_todays_use() -> None:
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    theirs = {"key": "team", "effect": "NoSchedule"}
    found = [node("a"), node("b", "64", unschedulable=True), node("c", "96", ready="False", taints=[taint])]
    found.append(node("d", "128", taints=[theirs]))
    busy = pod("a", {"cpu": "7"})
    proxy = {**pod("a", {"cpu": "500m"}), "stays": True}
    assert set(nodes(*found)) == {"a"} and nodes(*found, others=[busy])["a"].cpu_millis == 1000 - EACH.cpu
    sizes = {one.name: one for one in capacity.sizes(found, [], SETTINGS, others=[busy, proxy])}
    assert {name: one.cpu_millis + EACH.cpu for name, one in sizes.items()} == {"a": 7500, "b": 64000, "c": 96000}
    full = counting(quota(requests_cpu="6"), requests_cpu="6")
    assert nodes(*found, quotas=(full,))["a"].cpu_millis == 0
    bounded = capacity.sizes(found, [full, quota("b", requests_memory="2Gi")], SETTINGS)
    assert {(one.cpu_millis, one.memory_bytes) for one in bounded} == {(6000 - EACH.cpu, 2 * GIB - EACH.memory)}


@rules(max_examples=150, deadline=None)
@given(st.integers(0, 10**9))
def test_whatever_is_admitted_fits_the_nodes_and_the_quota(seed: int) -> None:
    chance = random.Random(seed)
    found = [
        node(f"n{n}", f"{chance.randint(1, 16)}", f"{chance.randint(1, 32)}Gi") for n in range(chance.randint(1, 5))
    ]
    key = chance.choice(["requests_cpu", "limits_cpu", "cpu"])
    bound, most = chance.randint(1, 30), chance.randint(1, 12)
    quotas = chance.choice([[], [quota(**{key: f"{bound}"}, memory="40Gi", pods=f"{most}")]])
    active: list[model.ActiveView] = []
    for turn in range(4):
        used: dict[str, Amount] = {}
        for one in active:
            amount = Amount(one.need.cpu_millis, one.need.memory_bytes, 0, 1)
            used[one.node] = used.get(one.node, Amount()) + amount
        views = tuple(
            model.NodeView(
                "k",
                item.name,
                model.Amount(0, item.cpu_millis, item.memory_bytes),
                model.Amount(0, item.per_job_cpu_millis, item.per_job_memory_bytes),
                item.jobs,
            )
            for item in capacity.nodes(found, quotas, SETTINGS, ours=capacity.Ours(used))
        )
        queued = tuple(
            model.QueuedView(
                f"{turn}-{n}",
                "ada",
                "q",
                model.Amount(1, chance.choice([250, 1000, 3000]), chance.randint(1, 8) * GIB // 2),
                float(n),
            )
            for n in range(6)
        )
        view = model.Snapshot(1, {"q": model.QueueView("q", "k")}, views, queued, tuple(active))
        needs = {item.uid: item.need for item in queued}
        for admission in decide(view).admissions:
            active.append(model.ActiveView(admission.uid, "ada", "q", "k", admission.node, needs[admission.uid], 0.0))
        chance.shuffle(active)
        del active[: chance.randint(0, len(active))]
        cpu = sum(one.need.cpu_millis for one in active) + EACH.cpu * len(active)
        memory = sum(one.need.memory_bytes for one in active) + EACH.memory * len(active)
        if quotas:
            limits = capacity.overhead(SETTINGS, limits=key == "limits_cpu")
            assert sum(one.need.cpu_millis for one in active) + limits.cpu * len(active) <= bound * 1000
            assert memory <= 40 * GIB and len(active) <= most
        for item in found:
            here = [one for one in active if one.node == item["metadata"]["name"]]
            has = item["status"]["allocatable"]
            assert sum(one.need.cpu_millis for one in here) + EACH.cpu * len(here) <= int(has["cpu"]) * 1000
        assert cpu >= 0
