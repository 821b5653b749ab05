"""Queues form a tree: what of it can't be, and what a job can never get because of what lies above its queue."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_trainjob.api.services import Services
from jupyter_trainjob.api.subtrees import spread
from jupyter_trainjob.resources.queue import Queue

from .conftest import Caller, Submit, cell

pytestmark = pytest.mark.asyncio


async def make(operator: Caller, name: str, **spec: Any) -> None:
    await operator("POST", "/queues", json={"metadata": {"name": name}, "spec": spec}, expect=201)


async def detail(caller: Caller, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    (found,) = (await caller.refused(method, path, 422, json=body))["details"]
    return dict(found)


async def test_a_parent_that_is_not_there(operator: Caller) -> None:
    found = await detail(operator, "POST", "/queues", {"metadata": {"name": "ml"}, "spec": {"parent": "school"}})
    assert (found["field"], found["message"]) == ("spec.parent", "there is no queue 'school'")
    assert found["remedy"] == "Make it first, or name one of these: default."
    await make(operator, "school")
    await make(operator, "ml", parent="school")


async def test_a_circle_is_shown(operator: Caller) -> None:
    await make(operator, "a")
    await make(operator, "b", parent="a")
    await make(operator, "c", parent="b")
    found = await detail(operator, "PUT", "/queues/a", {"spec": {"parent": "c"}})
    assert found["field"] == "spec.parent"
    assert found["message"] == "the queues would go round in a circle: a → c → b → a"
    found = await detail(operator, "PUT", "/queues/a", {"spec": {"parent": "a"}})
    assert found["message"] == "the queues would go round in a circle: a → a"


async def test_no_more_is_guaranteed_than_there_is(operator: Caller) -> None:
    await make(operator, "school", limits={"cpu": "16"}, guaranteed={"cpu": "8"})
    await make(operator, "ml", parent="school", guaranteed={"cpu": "6"})
    body = {"metadata": {"name": "nlp"}, "spec": {"parent": "school", "guaranteed": {"cpu": "2500m"}}}
    found = await detail(operator, "POST", "/queues", body)
    assert found["field"] == "spec.guaranteed.cpu"
    assert found["message"] == (
        "8500m CPUs would be guaranteed below 'school', which is guaranteed 8 CPUs: ml 6 CPUs, nlp 2500m CPUs"
    )
    assert found["remedy"] == "Guarantee at most 2 CPUs here, or raise spec.guaranteed of the queue 'school' first."
    await make(operator, "nlp", parent="school", guaranteed={"cpu": "2"})
    lower = {"spec": {"limits": {"cpu": "16"}, "guaranteed": {"cpu": "7"}}}
    found = await detail(operator, "PUT", "/queues/school", lower)
    assert found["field"] == "spec.guaranteed.cpu"
    assert found["remedy"].startswith("Write at least 8 CPUs")


async def test_what_is_guaranteed_fits_into_the_limits(operator: Caller) -> None:
    await make(operator, "lab", limits={"memory": "8Gi"})
    body = {"metadata": {"name": "x"}, "spec": {"parent": "lab", "guaranteed": {"memory": "9Gi"}}}
    found = await detail(operator, "POST", "/queues", body)
    assert found["message"] == "9Gi memory would be guaranteed below 'lab', which may use 8Gi memory: x 9Gi memory"
    body = {"metadata": {"name": "y"}, "spec": {"limits": {"gpu": 1}, "guaranteed": {"gpu": 2}}}
    found = await detail(operator, "POST", "/queues", body)
    assert found["message"] == "2 GPUs is more than the queue's own limit, 1 GPU"


async def test_a_queue_with_queues_below_it_stays(operator: Caller) -> None:
    await make(operator, "school")
    await make(operator, "ml", parent="school")
    refused = await operator.refused("DELETE", "/queues/school", 409)
    assert refused["message"] == "Below the queue 'school' is ml; it can't be deleted."
    await operator("DELETE", "/queues/ml", expect=200)
    await operator("DELETE", "/queues/school", expect=200)


async def test_a_job_above_what_an_ancestor_has(alice: Caller, operator: Caller) -> None:
    await make(operator, "school", limits={"cpu": "2"})
    await make(operator, "ml", parent="school")
    await make(operator, "group", parent="ml", limits={"cpu": "64"})
    body = cell(queue="group", resources={"cpu": "3"})
    found = await detail(alice, "POST", "/namespaces/alice/trainjobs", body)
    assert found["field"] == "spec.resources.cpu"
    assert (
        found["message"] == "3 CPUs is more than the queue 'school', which this one is below, has for all jobs "
        "together, 2"
    )
    assert found["remedy"] == "Ask for at most 2, or choose another queue."


async def test_a_job_that_no_window_of_a_budget_pays_for(alice: Caller, operator: Caller) -> None:
    await make(operator, "school", budget={"coreHours": 2})
    await make(operator, "ml", parent="school")
    body = cell(queue="ml", resources={"cpu": "2"}, timeLimitSeconds=3660)
    found = await detail(alice, "POST", "/namespaces/alice/trainjobs", body)
    assert found["field"] == "spec.timeLimitSeconds"
    assert found["message"] == (
        "2 CPUs for 3660 s may take 2.033 CPU-hours, more than the queue 'school' has in each window, 2"
    )
    assert found["remedy"] == "Ask for at most 3600 s, or for fewer CPUs."
    body["spec"]["timeLimitSeconds"] = 3600
    await alice("POST", "/namespaces/alice/trainjobs", json=body, expect=201)


async def test_a_drained_queue_drains_all_below_it(alice: Caller, operator: Caller) -> None:
    await make(operator, "school", admission="Draining")
    await make(operator, "ml", parent="school")
    found = await detail(alice, "POST", "/namespaces/alice/trainjobs", cell(queue="ml"))
    assert found["message"] == "the queue 'school', which 'ml' is below, is being emptied and takes no new jobs"


async def test_another_place_in_the_tree_drops_the_pass_that_saw_the_old_one(
    operator: Caller, alice: Caller, submit: Submit, services: Services
) -> None:
    await make(operator, "school", limits={"cpu": "1"})
    await make(operator, "ml")
    epoch = services.store.read(lambda reader: reader.scheduler_epoch())
    await operator("PUT", "/queues/ml", json={"spec": {"parent": "school"}}, expect=200)
    moved = services.store.read(lambda reader: reader.scheduler_epoch())
    assert moved > epoch
    budget = {"spec": {"parent": "school", "budget": {"coreHours": 1}}}
    await operator("PUT", "/queues/ml", json=budget, expect=200)
    assert services.store.read(lambda reader: reader.scheduler_epoch()) > moved


async def test_who_instructs_a_queue_instructs_those_below(
    operator: Caller, bob: Caller, instructor: Caller, submit: Submit
) -> None:
    """At once, and no longer than they are below it."""
    await make(operator, "gpu")
    await make(operator, "gpu-ml", parent="gpu")
    await make(operator, "gpu-ml-a", parent="gpu-ml")
    await make(operator, "other")
    uids = {}
    for queue in ("gpu-ml-a", "other"):
        job = await submit(bob, queue=queue)
        uids[queue] = job["metadata"]["uid"]
    await instructor("POST", f"/namespaces/bob/trainjobs/{uids['gpu-ml-a']}/hold", expect=200)
    await instructor.refused("POST", f"/namespaces/bob/trainjobs/{uids['other']}/hold", 404)
    listed = await instructor("GET", "/trainjobs", expect=200)
    assert [one["metadata"]["uid"] for one in listed.json()["items"]] == [uids["gpu-ml-a"]]
    await instructor("POST", "/queues/gpu-ml/pause", expect=200)
    await instructor.refused("POST", "/queues/other/pause", 403)
    body = {"spec": {"parent": "other"}}
    await operator("PUT", "/queues/gpu-ml", json=body, expect=200)
    await instructor.refused("POST", "/queues/gpu-ml/open", 403)
    await instructor.refused("POST", f"/namespaces/bob/trainjobs/{uids['gpu-ml-a']}/release", 404)


async def test_the_nearest_role_counts_unless_one_above_instructs() -> None:
    queues = {
        name: Queue.model_validate({"metadata": {"name": name}, "spec": {"parent": parent}})
        for name, parent in (("a", ""), ("b", "a"), ("c", "b"), ("d", ""))
    }
    roles = {"ml": "member", "queue:a": "viewer", "queue:b": "member"}
    assert spread(roles, queues) == {**roles, "queue:c": "member"}
    roles = {"queue:a": "instructor", "queue:c": "viewer"}
    assert spread(roles, queues) == {"queue:a": "instructor", "queue:b": "instructor", "queue:c": "instructor"}


async def test_how_many_may_wait_below_a_queue(operator: Caller, alice: Caller, bob: Caller, submit: Submit) -> None:
    await make(operator, "school", queuedPerUser=3)
    await make(operator, "ml", parent="school")
    await make(operator, "nlp", parent="school", queuedPerUser=2)
    await submit(alice, queue="ml")
    await submit(alice, queue="nlp")
    body = {"template": cell(queue="ml"), "points": [{"parameters": {}}] * 2}
    found = await alice.refused("POST", "/namespaces/alice/batches", 429, json=body)
    told = "alice has 2 jobs waiting in the queue 'school' and those below it; it allows 3, and these are 2."
    assert found["message"] == told
    await submit(alice, queue="nlp")
    found = await alice.refused("POST", "/namespaces/alice/trainjobs", 429, json=cell(queue="nlp"))
    assert found["message"] == "alice has 2 jobs waiting in the queue 'nlp'; it allows 2."
    found = await alice.refused("POST", "/namespaces/alice/trainjobs", 429, json=cell(queue="ml"))
    assert found["message"] == "alice has 3 jobs waiting in the queue 'school' and those below it; it allows 3."
    await submit(bob, queue="ml")
