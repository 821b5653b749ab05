"""Slots of the pool: what fits, what is to be made and removed, who makes way. Pure."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.api.defaults import complete
from jupyter_trainjob.api.kernels import Choice
from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest, NodeCapacity
from jupyter_trainjob.backends.kubernetes import delivery, objects, slots
from jupyter_trainjob.backends.kubernetes.capacity import Amount
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings, SettingsError
from jupyter_trainjob.resources.base import ObjectMeta
from jupyter_trainjob.resources.profile import Profile
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.trainjob import FIRST_CHOSEN_SEED, TrainJob, TrainJobSpec

from .attempts import DIGEST, IMAGES, SETTINGS
from .restricted import violations

TERMS = delivery.terms("cluster", SETTINGS)
NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
PROFILE = Profile.model_validate({"metadata": {"name": "default"}, "spec": {"defaults": {"memory": "512Mi"}}})


def asked(profile: Profile = PROFILE, owner: str = "ada", **spec: Any) -> AttemptRequest:
    """A job as the API completes it."""
    wanted = TrainJobSpec.model_validate(
        {"source": {"type": "cell", "code": "print(1)"}, "seed": FIRST_CHOSEN_SEED + 5, **spec}
    )
    queue = Queue.model_validate({"metadata": {"name": "default"}})
    language = wanted.environment.language or profile.spec.environment.language or "python"
    job = TrainJob(
        metadata=ObjectMeta(name="digits", namespace=owner, uid="u1"),
        spec=complete(wanted, profile, queue, Choice(language, wanted.environment.kernel)),
    )
    job.metadata.owner = owner
    return AttemptRequest(AttemptRef("u1", 1), job, profile, "blobs/ada/")


def fits(request: AttemptRequest, setup: KubernetesSettings = SETTINGS) -> str:
    return slots.digest(request, setup, delivery.terms("cluster", setup))


WARM = fits(slots.blank(PROFILE))


# What fits


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"parameters": {"lr": 1}},
        {"outputs": {"names": ["model"]}},
        {"timeLimitSeconds": 77},
        {"resources": {"memory": "512Mi", "log": "1Mi"}},
        {"queue": "other", "priority": 5},
    ],
    ids=json.dumps,
)
def test_a_job_that_asks_for_no_more_than_its_profile_gives_fits(spec: dict[str, Any]) -> None:
    assert fits(asked(**spec)) == WARM != ""


@pytest.mark.parametrize("owner", ["ada", "Bob Ödel", ""])
def test_whose_it_is_does_not_matter(owner: str) -> None:
    assert fits(asked(owner=owner)) == WARM


@pytest.mark.parametrize(
    "spec",
    [
        {"resources": {"memory": "513Mi"}},
        {"resources": {"cpu": "2"}},
        {"resources": {"gpu": 1}},
        {"resources": {"disk": "1Gi"}},
        {"resources": {"openFiles": 100}},
        {"environment": {"env": [{"name": "A", "value": "1"}]}},
        {"environment": {"image": IMAGES["r"]}},
        {"environment": {"language": "r"}},
        {"environment": {"language": "scala"}},
        {"environment": {"kernel": "python3"}},
        {"environment": {"requirements": {"format": "requirements.txt", "digest": DIGEST}}},
        {"seed": 7},
        {"seed": None},
    ],
    ids=json.dumps,
)
def test_a_job_that_asks_for_something_else_does_not(spec: dict[str, Any]) -> None:
    assert fits(asked(**spec)) != WARM


def test_a_job_that_another_admits_or_mounts_something_does_not() -> None:
    assert fits(replace(asked(), local_queue="class")) == ""
    allowed = {"volumes": [{"name": "data", "claim": "course"}], "defaults": {"memory": "512Mi"}}
    profile = Profile.model_validate({"metadata": {"name": "default"}, "spec": allowed})
    plain, mounting = asked(profile), asked(profile, volumes=[{"name": "data"}])
    assert fits(plain) == WARM, "what may be mounted is no matter where nothing is"
    assert fits(mounting) != WARM


@pytest.mark.parametrize(
    "change",
    [
        {"images": {**IMAGES, "python": "docker.io/trainjob/python:2"}},
        {"digests": {IMAGES["python"]: DIGEST}},
        {"scratch": "disk"},
        {"host_users": False},
        {"reserve": "128Mi"},
        {"warm_priority_class": "idle"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_slots_of_another_configuration_fit_nothing(change: dict[str, Any]) -> None:
    assert fits(asked(), replace(SETTINGS, **change)) not in ("", WARM)


def test_what_cant_wait_has_no_slots() -> None:
    for environment in (
        {"language": "scala"},
        {"requirements": {"format": "requirements.txt", "digest": DIGEST}},
    ):
        profile = Profile.model_validate({"metadata": {"name": "x"}, "spec": {"environment": environment}})
        assert fits(slots.blank(profile)) == ""


def test_how_many_must_make_sense() -> None:
    with pytest.raises(SettingsError, match=r"warm\['default'\] 101 is no number of slots; write 0 to 100"):
        KubernetesSettings(images=IMAGES, warm={"default": 101})


# What it is made of


def made(profile: Profile = PROFILE, token: str = "abc") -> dict[str, Any]:
    request = slots.blank(profile, token)
    return slots.manifest(request, SETTINGS, fits(request))


def test_an_idle_slot_is_nobodys_has_no_deadline_and_is_restricted() -> None:
    job = made()
    assert job["metadata"]["name"] == "tj-warm-abc-0"
    assert objects.ref_of(job) is None and slots.is_idle(job) and slots.is_slot(job)
    for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        assert labels == {
            "app.kubernetes.io/managed-by": "jupyter-trainjob",
            "jupyter-trainjob/installation": SETTINGS.installation_label,
            "jupyter-trainjob/slot": WARM,
        }
    assert "activeDeadlineSeconds" not in job["spec"] and job["spec"]["backoffLimit"] == 0
    pod = job["spec"]["template"]["spec"]
    assert violations(pod) == []
    cold = objects.job(asked(outputs={"names": ["model"]}), SETTINGS)["spec"]["template"]["spec"]
    resources = [one["resources"] for one in (*pod["initContainers"], *pod["containers"])]
    assert resources == [one["resources"] for one in (*cold["initContainers"], *cold["containers"])]
    main = pod["containers"][0]
    assert main["startupProbe"]["exec"]["command"] == ["test", "-e", "/trainjob/out/warm"]
    assert "orders" not in [mount["name"] for mount in main["volumeMounts"]]


def test_it_has_a_priority_of_its_own_where_the_operator_names_one() -> None:
    request = slots.blank(PROFILE, "abc")
    for chosen, priority in (({}, "jobs"), ({"warm_priority_class": "idle"}, "idle")):
        settings = replace(SETTINGS, priority_class="jobs", **chosen)
        pod = slots.manifest(request, settings, "fits")["spec"]["template"]["spec"]
        assert pod["priorityClassName"] == priority and violations(pod) == []
    with pytest.raises(SettingsError, match=r"warm_priority_class 'Very low' is no name of an object in a cluster"):
        replace(SETTINGS, warm_priority_class="Very low")


def test_its_sidecar_is_told_one_place_to_read_from_and_nothing_of_a_job() -> None:
    request = slots.blank(PROFILE, "abc")
    told = slots.told(request, {"url": "https://store/x", "expires": 1}, TERMS)
    assert told["key"] == "pool/tj-warm-abc-0/orders.json" and told["get"] == {"url": "https://store/x", "expires": 1}
    assert told["job"]["uid"] == "warm-abc" and told["job"]["parameters"] == {} and told["job"]["inputs"] == []
    assert set(told) == {"protocol", "slot", "key", "get", "job"}


def test_a_claim_makes_it_the_attempts_and_gives_it_a_deadline_from_now_on() -> None:
    job = {**made(), "status": {"startTime": (NOW - timedelta(seconds=1000)).isoformat()}}
    job["metadata"] |= {"resourceVersion": "17", "creationTimestamp": (NOW - timedelta(seconds=1001)).isoformat()}
    request = asked(timeLimitSeconds=60)
    patch = slots.claim_patch(request, SETTINGS, job, "d" * 64, NOW)
    assert patch["metadata"]["resourceVersion"] == "17"
    cold = objects.job(request, SETTINGS, orders_digest="d" * 64)
    assert patch["metadata"]["labels"] == cold["metadata"]["labels"]
    assert patch["metadata"]["annotations"] == cold["metadata"]["annotations"]
    assert patch["spec"] == {"activeDeadlineSeconds": 1000 + cold["spec"]["activeDeadlineSeconds"]}


# What it is worth


def pod(*, started: bool = True, ready: str = "True", phase: str = "Running", **main: Any) -> dict[str, Any]:
    state = main or {"running": {"startedAt": NOW.isoformat()}}
    return {
        "metadata": {"name": "p", "labels": {"batch.kubernetes.io/job-name": "tj-warm-abc-0"}},
        "spec": {"nodeName": "node"},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "main", "started": started, "state": state}],
        },
    }


@pytest.mark.parametrize(
    ("job", "its_pod", "state"),
    [
        ({}, None, "warming"),
        ({}, pod(started=False), "warming"),
        ({}, pod(), "warm"),
        ({}, pod(ready="False"), "warming"),
        ({}, pod(terminated={"exitCode": 64}), "over"),
        ({}, pod(phase="Failed"), "over"),
        ({}, {**pod(), "deleted": True}, "over"),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, None, "over"),
        ({"conditions": [{"type": "FailureTarget", "status": "True"}]}, pod(), "over"),
    ],
)
def test_what_a_slot_is_worth(job: dict[str, Any], its_pod: Any, state: str) -> None:
    found = made()
    found["metadata"]["creationTimestamp"] = (NOW - timedelta(seconds=30)).isoformat()
    slot = slots.seen({**found, "status": job}, its_pod, NOW)
    assert (slot.state, slot.age_seconds, slot.fits) == (state, 30, WARM)
    assert slot.amount == (Amount() if job.get("conditions", [{}])[0].get("type") == "Failed" else slot.amount)


# What there should be


def a_slot(name: str, fits: str = "a", state: Any = "warm", age: float = 10.0, node: str = "n1") -> slots.Slot:
    return slots.Slot(name, fits, state, age, node, Amount(1000, 100, 0, 1))


def planned(wanted: dict[str, int], *there: slots.Slot) -> slots.Plan:
    return slots.plan(wanted, there, oldest_seconds=7200, slowest_seconds=600)


def test_what_is_missing_is_made_and_what_is_over_old_or_of_another_kind_goes() -> None:
    assert planned({"a": 2, "b": 0}) == slots.Plan((), {"a": 2})
    assert planned({"a": 1}, a_slot("x")) == slots.Plan((), {})
    for gone in (
        a_slot("x", state="over"),
        a_slot("x", age=7300),
        a_slot("x", fits="other"),
        a_slot("x", state="warming", age=700),
    ):
        assert planned({"a": 1}, gone) == slots.Plan(("x",), {"a": 1})
    assert planned({}, a_slot("x")) == slots.Plan(("x",), {})


def test_of_too_many_the_warm_and_the_old_stay() -> None:
    there = [a_slot("young", age=1), a_slot("old", age=9), a_slot("cold", state="warming", age=50)]
    assert planned({"a": 1}, *there) == slots.Plan(("young", "cold"), {})


@given(st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)), st.data())
def test_after_a_plan_nothing_is_left_to_do(wanted: dict[str, int], data: st.DataObject) -> None:
    there = [
        a_slot(str(number), data.draw(st.sampled_from("abcd")), data.draw(st.sampled_from(["warm", "warming", "over"])))
        for number in range(data.draw(st.integers(0, 8)))
    ]
    todo = planned(wanted, *there)
    left = [slot for slot in there if slot.name not in todo.remove]
    for kind, count in todo.make.items():
        left += [a_slot(f"new-{kind}-{number}", kind, "warming", 0) for number in range(count)]
    assert planned(wanted, *left) == slots.Plan((), {})
    assert {kind: sum(slot.fits == kind for slot in left) for kind in wanted} == wanted


def test_an_attempt_gets_the_slot_that_waited_longest() -> None:
    there = [a_slot("b", age=5), a_slot("a", age=7), a_slot("c", state="warming"), a_slot("d", fits="z")]
    assert slots.choose("a", there) == ["a", "b"]
    assert slots.choose("", [a_slot("x", fits="")]) == []


# Whether there is room


def node(name: str, cpu: int, jobs: int | None = None) -> NodeCapacity:
    return NodeCapacity(name, cpu, 10_000, 0, 100, 0, jobs)


def test_room_counts_what_each_pod_takes_beside_its_job() -> None:
    need = Amount(1000, 100, 0, 1)
    assert slots.has_room([node("n1", 1000)], {}, need)
    assert not slots.has_room([node("n1", 2000)], {"n1": need}, need)
    assert slots.has_room([node("n1", 2100)], {"n1": need}, need)
    assert not slots.has_room([node("n1", 5000, jobs=1)], {"n1": need}, need)
    assert not slots.has_room([node("n1", 1500)], {"": need}, need), "what has no node yet may go to any"


def test_as_few_slots_as_will_do_make_way() -> None:
    there = [a_slot("x1"), a_slot("x2"), a_slot("y1", node="n2")]
    nodes = [node("n1", 2100), node("n2", 1000)]
    assert slots.in_the_way(nodes, {}, there, Amount(1000, 100, 0, 1)) == ["x1"]
    assert slots.in_the_way(nodes, {}, there, Amount(2000, 100, 0, 1)) == ["x1", "x2"]
    assert slots.in_the_way(nodes, {}, there, Amount(100, 100, 0, 1)) == ["x1"]
    assert slots.in_the_way([node("n1", 9000)], {}, there, Amount(100, 100, 0, 1)) == []
    assert slots.in_the_way(nodes, {}, there, Amount(9000, 100, 0, 1)) == ["x1", "x2", "y1"], "who knows"
