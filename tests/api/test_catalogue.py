"""Queues and profiles over HTTP: one generic handler, whatever the kind."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_trainjob.api.services import Services
from jupyter_trainjob.resources.trainjob import Attempt, TrainJob
from jupyter_trainjob.store import Writer

from .conftest import Caller, Run, Submit

pytestmark = pytest.mark.asyncio

KINDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("queues", {"description": "graphics"}, {"description": "graphics cards", "limits": {"gpu": 4}}),
    ("profiles", {"description": "small"}, {"description": "smaller", "timeLimitSeconds": 60}),
]


@pytest.mark.parametrize(("plural", "spec", "changed"), KINDS)
async def test_a_kind_is_made_read_listed_replaced_and_deleted(
    operator: Caller, alice: Caller, plural: str, spec: dict[str, Any], changed: dict[str, Any]
) -> None:
    made = await operator("POST", f"/{plural}", json={"metadata": {"name": "gpu"}, "spec": spec}, expect=201)
    assert made.headers["Location"].endswith(f"/{plural}/gpu")
    assert (await alice("GET", f"/{plural}/gpu", expect=200)).json()["spec"]["description"] == spec["description"]
    listed = (await alice("GET", f"/{plural}?limit=1", expect=200)).json()
    assert [item["metadata"]["name"] for item in listed["items"]] == ["gpu"]
    rest = await alice("GET", f"/{plural}?limit=1&continue={listed['metadata']['continue']}", expect=200)
    assert [item["metadata"]["name"] for item in rest.json()["items"]] == ["default"]
    old = made.json()
    new = (await operator("PUT", f"/{plural}/gpu", json={**old, "spec": changed}, expect=200)).json()
    assert new["metadata"]["generation"] == 2
    stale = await operator.refused("PUT", f"/{plural}/gpu", 409, json=old)
    assert stale["reason"] == "Conflict"
    await operator("DELETE", f"/{plural}/gpu", expect=200)
    gone = await operator.refused("GET", f"/{plural}/gpu", 404)
    assert "'gpu'" in gone["message"]
    await operator.refused("PUT", f"/{plural}/gpu", 404, json={"spec": changed})
    await operator.refused("DELETE", f"/{plural}/gpu", 404)


@pytest.mark.parametrize("plural", ["queues", "profiles"])
async def test_only_those_who_may_change_a_kind(alice: Caller, plural: str) -> None:
    status = await alice.refused("POST", f"/{plural}", 403, json={"metadata": {"name": "mine"}})
    assert "operator" in status["remedy"]
    await alice.refused("PUT", f"/{plural}/default", 403, json={})
    await alice.refused("DELETE", f"/{plural}/default", 403)


async def test_a_name_that_is_taken_or_can_not_be(operator: Caller) -> None:
    taken = await operator.refused("POST", "/queues", 409, json={"metadata": {"name": "default"}})
    assert taken["reason"] == "AlreadyExists"
    bad = await operator.refused("POST", "/queues", 422, json={"metadata": {"name": "../etc"}})
    assert bad["details"][0]["field"] == "metadata.name"


async def test_a_queue_names_a_backend_that_is_there(operator: Caller) -> None:
    body = {"metadata": {"name": "gpu"}, "spec": {"backend": "cluster"}}
    for method, path in (("POST", "/queues"), ("PUT", "/queues/default")):
        status = await operator.refused(method, path, 422, json={**body, "metadata": {"name": path[8:] or "gpu"}})
        (detail,) = status["details"]
        assert (detail["field"], detail["message"]) == (
            "spec.backend",
            "there is no backend 'cluster'; there are: local, other",
        )
        assert detail["remedy"] == "Name one of these; TrainJobExtension.backends says which there are."


async def test_a_queue_is_handed_to_a_kueue_that_is_there(operator: Caller, instructor: Caller) -> None:
    def body(local_queue: str, **spec: Any) -> dict[str, Any]:
        spec = {"backend": "other", "kueue": {"localQueue": local_queue}, **spec}
        return {"metadata": {"name": "gpu"}, "spec": spec}

    for spec, field, message in (
        (body("nothing"), "spec.kueue", "there is no LocalQueue 'nothing'"),
        (body("jobs", backend="local"), "spec.kueue", "the backend 'local' is no cluster and has no Kueue"),
        (body("jobs", limits={"cpu": "4"}), "spec.limits", "Kueue says how much of this queue runs at once"),
    ):
        detail = (await operator.refused("POST", "/queues", 422, json=spec))["details"][0]
        assert detail["field"] == field
        assert message in detail["message"]
        assert detail["remedy"]
    await operator("POST", "/queues", json=body("away"), expect=201)  # nobody can tell now: its jobs will
    await operator.refused("PUT", "/queues/gpu", 422, json=body("nothing"))
    refused = await instructor.refused("PUT", "/queues/gpu", 403, json=body("jobs"))
    assert "kueue" in refused["message"]
    done = await operator("PUT", "/queues/gpu", json=body("jobs", perUser={"runningJobs": 2}), expect=200)
    assert done.json()["spec"]["kueue"] == {"localQueue": "jobs", "priorityClasses": []}


async def test_what_kueue_has_is_not_held_and_keeps_its_priority(
    alice: Caller, operator: Caller, submit: Submit, services: Services
) -> None:
    job = await submit(alice)
    path = f"/namespaces/alice/trainjobs/{job['metadata']['name']}"

    def hand_over(writer: Writer) -> None:
        fresh = writer.by_uid(TrainJob, job["metadata"]["uid"])
        fresh.status.attempts.append(Attempt(number=1, backend="other", local_queue="jobs"))
        writer.update(fresh)

    services.store.write(hand_over)
    held = await alice.refused("POST", f"{path}/hold", 409)
    assert "has been handed to Kueue (LocalQueue jobs): it can't be held" in held["message"]
    assert held["remedy"].startswith("Cancel it and send it again")
    ranked = await alice.refused("PATCH", path, 409, json={"spec": {"priority": -5}})
    assert "its priority there stays what it was" in ranked["message"]
    told = (await alice("GET", f"{path}/why", expect=200)).json()
    assert told["waitingFor"] == "Its backend 'other' is not configured on this server."
    cancelled = (await alice("POST", f"{path}/cancel", expect=200)).json()
    assert cancelled["status"]["phase"] == "Queued", "a controller ends it, for there is an attempt"


async def test_a_profile_says_what_its_jobs_may_reach(operator: Caller) -> None:
    body = {"metadata": {"name": "net"}, "spec": {"network": {"mode": "host"}}}
    made = (await operator("POST", "/profiles", json=body, expect=201)).json()
    assert made["spec"]["network"] == {"mode": "host"}
    body["spec"]["network"]["mode"] = "profile"  # type: ignore[index]
    status = await operator.refused("PUT", "/profiles/net", 422, json=body)
    assert status["details"][0]["field"] == "spec.network.mode"


async def test_why_names_the_limit_as_people_write_it_and_what_to_do(
    alice: Caller, operator: Caller, submit: Submit, run: Run
) -> None:
    spec = {"perUser": {"memory": "1536Mi"}}
    await operator("PUT", "/queues/default", json={"metadata": {"name": "default"}, "spec": spec}, expect=200)
    await run(await submit(alice))
    job = await submit(alice, resources={"memory": "768Mi"})
    why = (await alice("GET", f"/namespaces/alice/trainjobs/{job['metadata']['name']}/why", expect=200)).json()
    assert why["blockers"] == [
        {
            "limit": "memory", "scope": "user", "queue": "default",
            "requested": "768Mi", "used": "1Gi", "maximum": "1536Mi",
            "message": "queue default allows you 1536Mi memory and you use 1Gi",
            "remedy": "Wait until jobs of yours in this queue end, or cancel one.",
        }
    ]  # fmt: skip
    await alice("POST", f"/namespaces/alice/trainjobs/{job['metadata']['name']}/hold", expect=200)
    why = (await alice("GET", f"/namespaces/alice/trainjobs/{job['metadata']['name']}/why", expect=200)).json()
    held = why["blockers"][0]
    assert (held["scope"], held["requested"], held["used"], held["maximum"]) == ("gate", "", "", "")
    assert (held["limit"], held["message"]) == ("hold", "alice put it on hold")
    assert held["remedy"] == "Release it: %trainjob release NAME (in Python job.release())."
    await operator("POST", f"/namespaces/alice/trainjobs/{job['metadata']['name']}/hold", expect=200)
    why = (await alice("GET", f"/namespaces/alice/trainjobs/{job['metadata']['name']}/why", expect=200)).json()
    held = why["blockers"][0]
    assert (held["limit"], held["message"]) == ("hold", "olga put it on hold")
    assert held["remedy"] == "Ask who put it on hold, or an instructor of the queue, to release it."


async def test_a_queue_tells_its_use_of_all_and_of_oneself(alice: Caller, bob: Caller, submit: Submit) -> None:
    await submit(alice)
    await submit(bob)
    await submit(bob)
    status = (await alice("GET", "/queues/default", expect=200)).json()["status"]
    assert status["use"]["queuedJobs"] == 3
    assert status["mine"]["queuedJobs"] == 1


async def test_a_queue_that_jobs_wait_in_stays(alice: Caller, operator: Caller, submit: Submit) -> None:
    await submit(alice)
    status = await operator.refused("DELETE", "/queues/default", 409)
    assert "1 job waits or runs" in status["message"]
    assert "Draining" in status["remedy"]


async def test_an_instructor_of_a_queue_sets_its_limits(operator: Caller, instructor: Caller) -> None:
    await operator("POST", "/queues", json={"metadata": {"name": "gpu"}}, expect=201)
    done = await instructor("PUT", "/queues/gpu", json={"spec": {"perUser": {"runningJobs": 1}}}, expect=200)
    assert done.json()["spec"]["perUser"] == {"runningJobs": 1}
    refused = await instructor.refused("PUT", "/queues/gpu", 403, json={"spec": {"users": ["ines"]}})
    assert "users" in refused["message"]
    await instructor.refused("PUT", "/queues/default", 403, json={})
