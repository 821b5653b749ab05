"""What instructors do to queues and to the jobs in them, and what the audit log tells of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from jupyter_trainjob.api.services import Services
from jupyter_trainjob.controllers import gates
from jupyter_trainjob.controllers.snapshot import RecordCache
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.scheduling.decide import decide
from jupyter_trainjob.scheduling.model import Amount, NodeView

from .conftest import Caller, Run, Submit, cell

pytestmark = pytest.mark.asyncio


def at(job: dict[str, Any], verb: str = "") -> str:
    meta = job["metadata"]
    return f"/namespaces/{meta['namespace']}/trainjobs/{meta['name']}" + (f"/{verb}" if verb else "")


async def queue(operator: Caller, **spec: Any) -> None:
    await operator("POST", "/queues", json={"metadata": {"name": "gpu"}, "spec": spec}, expect=201)


def admitted(services: Services) -> list[str]:
    """The uids that start now, on one node of four CPUs."""
    cache = RecordCache(default_backend="local")
    services.store.read(lambda reader: cache.refresh(reader, datetime.now(timezone.utc).timestamp()))
    node = NodeView("local", "n", Amount(0, 4000, 64 * 2**30))
    return [one.uid for one in decide(cache.snapshot(0, (node,))).admissions]


async def test_a_job_is_moved_to_the_front(
    alice: Caller,
    bob: Caller,
    operator: Caller,
    instructor: Caller,
    submit: Submit,
    services: Services,
    run: Run,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "jupyter_trainjob.audit")
    await queue(operator, limits={"runningJobs": 1})
    first = await submit(alice, queue="gpu")
    last = await submit(bob, queue="gpu", priority=-5)
    refused = await bob.refused("POST", at(last, "front"), 403)
    assert refused["remedy"] == "That is for an instructor of its queue or an operator."
    moved = (await instructor("POST", at(last, "front"), json={"message": "exam"}, expect=200)).json()
    assert moved["spec"]["front"]["by"] == "ines"
    while (await alice("GET", at(first), expect=200)).json()["status"]["position"] != 2:
        await asyncio.sleep(0.05)  # on a busy machine positions may be some seconds old
    assert admitted(services) == [last["metadata"]["uid"]]
    told = [record.getMessage() for record in caplog.records if record.name == "jupyter_trainjob.audit"]
    assert told[1:] == [f"ines front TrainJob bob/{last['metadata']['name']} (of bob): exam"]
    await run(first)
    refused = await operator.refused("POST", at(first, "front"), 409)
    assert refused["message"].endswith("is Running; only a queued one can be moved to the front.")


async def test_a_queue_is_paused_drained_and_opened(
    alice: Caller, operator: Caller, instructor: Caller, submit: Submit, services: Services
) -> None:
    await queue(operator)
    job = await submit(alice, queue="gpu")
    await alice.refused("POST", "/queues/gpu/pause", 403)
    paused = (await instructor("POST", "/queues/gpu/pause", json={"message": "lecture"}, expect=200)).json()
    assert paused["spec"]["admission"] == "Paused"
    assert admitted(services) == []
    why = (await alice("GET", at(job, "why"), expect=200)).json()
    assert why["waitingFor"] == "Queue gpu is paused."
    drained = (await instructor("POST", "/queues/gpu/drain", expect=200)).json()
    assert drained["spec"]["admission"] == "Draining"
    assert admitted(services) == [job["metadata"]["uid"]]
    await alice.refused("POST", "/namespaces/alice/trainjobs", 422, json=cell(queue="gpu"))
    await instructor("POST", "/queues/gpu/open", expect=200)
    await submit(alice, queue="gpu")
    await operator.refused("POST", "/queues/nothing/open", 404)


BIG = {"cpu": "3"}


async def waits(alice: Caller, operator: Caller, submit: Submit) -> dict[str, Any]:
    await queue(operator, perUser={"cpu": "2"}, maxTimeLimitSeconds=600, approval={"withinSeconds": 3600})
    return await submit(alice, queue="gpu", resources=BIG, timeLimitSeconds=900)


async def test_a_job_beyond_the_limits_waits_for_an_instructor(
    alice: Caller, operator: Caller, instructor: Caller, submit: Submit, services: Services
) -> None:
    job = await waits(alice, operator, submit)
    (gate,) = job["spec"]["schedulingGates"]
    assert gate["type"] == "approval"
    until = datetime.fromisoformat(gate["until"].replace("Z", "+00:00"))
    assert timedelta(minutes=59) < until - datetime.now(timezone.utc) <= timedelta(hours=1)
    why = (await alice("GET", at(job, "why"), expect=200)).json()
    assert why["waitingFor"] == (
        "It waits for an instructor's approval: 3 CPUs is more than the queue 'gpu' gives one person, 2; "
        "900 s is more than the queue 'gpu' allows, 600 s."
    )
    assert why["blockers"][0]["remedy"] == "Ask an instructor of the queue; or ask for less, in a new job."
    assert admitted(services) == []
    await alice.refused("POST", at(job, "approve"), 403)
    await alice("POST", at(job, "release"), expect=200)
    assert admitted(services) == [], "a release takes holds away, and nothing else"
    done = (await instructor("POST", at(job, "approve"), json={"message": "contest"}, expect=200)).json()
    assert done["spec"]["schedulingGates"] == []
    assert (done["spec"]["approved"]["by"], done["spec"]["approved"]["message"]) == ("ines", "contest")
    assert admitted(services) == [job["metadata"]["uid"]]
    refused = await instructor.refused("POST", at(job, "approve"), 409)
    assert "does not wait for an approval; it can't be approved" in refused["message"]


async def test_what_no_instructor_can_give_is_refused(alice: Caller, operator: Caller) -> None:
    await queue(operator, limits={"cpu": "2"}, perUser={"cpu": "1"}, approval={})
    body = cell(queue="gpu", resources=BIG)
    (detail,) = (await alice.refused("POST", "/namespaces/alice/trainjobs", 422, json=body))["details"]
    assert detail["message"] == "3 CPUs is more than the queue 'gpu' has for all its jobs together, 2"


async def test_a_rejected_job_ends(alice: Caller, operator: Caller, instructor: Caller, submit: Submit) -> None:
    job = await waits(alice, operator, submit)
    done = (await instructor("POST", at(job, "reject"), json={"message": "too much"}, expect=200)).json()
    assert done["spec"]["cancel"]["message"] == "not approved: too much"
    assert done["spec"]["cancel"]["by"] == "ines"


async def test_nobody_answers_in_time(alice: Caller, operator: Caller, submit: Submit, services: Services) -> None:
    job = await waits(alice, operator, submit)
    later = datetime.now(timezone.utc) + timedelta(hours=2)

    def expire(writer: Any) -> None:
        fresh = writer.by_uid(TrainJob, job["metadata"]["uid"])
        assert not gates.expire(fresh, datetime.now(timezone.utc))
        assert gates.expire(fresh, later)
        writer.update(fresh)

    services.store.write(expire)
    ended = (await alice("GET", at(job), expect=200)).json()["status"]
    assert (ended["phase"], ended["reason"]) == (Phase.FAILED.value, "NotApproved")
    assert ended["message"].startswith("Nobody approved it in time. Ask for less")


async def test_an_owner_does_not_release_what_an_instructor_holds(
    alice: Caller, operator: Caller, instructor: Caller, submit: Submit
) -> None:
    await queue(operator)
    job = await submit(alice, queue="gpu")
    await alice("POST", at(job, "hold"), expect=200)
    await instructor("POST", at(job, "hold"), json={"message": "exam"}, expect=200)
    refused = await alice.refused("POST", at(job, "release"), 403)
    assert refused["message"] == f"ines put the job {job['metadata']['name']!r} on hold; alice may not release it."
    assert refused["remedy"] == "Ask ines, or another instructor of its queue or namespace, or an operator."
    await alice("POST", at(job, "hold"), expect=200)  # does not make it theirs
    await alice.refused("POST", at(job, "release"), 403)
    free = (await instructor("POST", at(job, "release"), expect=200)).json()
    assert free["spec"]["schedulingGates"] == []
    await alice("POST", at(job, "hold"), expect=200)
    assert (await alice("POST", at(job, "release"), expect=200)).json()["spec"]["schedulingGates"] == []


@pytest.fixture
def audited(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines of the audit log since it was last asked."""
    caplog.set_level(logging.INFO, "jupyter_trainjob.audit")

    def take() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.name == "jupyter_trainjob.audit"]
        caplog.clear()
        return found

    return take


async def test_all_of_an_approval_is_in_the_audit_log(
    alice: Caller, operator: Caller, submit: Submit, audited: Callable[[], list[str]]
) -> None:
    job = await waits(alice, operator, submit)
    name = f"TrainJob alice/{job['metadata']['name']} (of alice)"
    until = job["spec"]["schedulingGates"][0]["until"][:16].replace("T", " ")
    created, asked = audited()
    assert created.startswith("olga create Queue gpu: ")
    assert asked == (
        f"alice ask {name}: it waits for an instructor's approval: 3 CPUs is more than the queue 'gpu' gives one "
        f"person, 2; 900 s is more than the queue 'gpu' allows, 600 s (until {until} UTC)"
    )
    body = cell(queue="gpu", resources=BIG)
    await alice("POST", "/namespaces/alice/trainjobs?dryRun=true", json=body, expect=200)
    assert audited() == [], "nothing asked for anything"
    sweep = {"template": body, "points": [{"parameters": {}}, {"parameters": {}}]}
    await alice("POST", "/namespaces/alice/batches", json=sweep, expect=201)
    assert [line.split("/")[0] for line in audited()] == ["alice ask TrainJob alice"] * 2
    await alice("POST", at(job, "cancel"), expect=200)
    assert audited() == [f"alice cancel {name}"]


async def test_what_is_done_to_somebody_elses_job_is_in_the_audit_log(
    alice: Caller, operator: Caller, submit: Submit, run: Run, audited: Callable[[], list[str]]
) -> None:
    job = await submit(alice)
    name = f"TrainJob alice/{job['metadata']['name']} (of alice)"
    for caller, told in ((alice, []), (operator, [f"olga update {name}: labels, priority -5"])):
        change = {"metadata": {"labels": {"seen": "yes"}}, "spec": {"priority": -5}}
        await caller("PATCH", at(job), json=change, expect=200)
        assert audited() == told
    await run(job, Phase.SUCCEEDED)
    again = (await operator("POST", at(job, "retry"), expect=201)).json()["metadata"]["name"]
    rerun = (await operator("POST", at(job, "rerun"), expect=201)).json()["metadata"]["name"]
    await alice("POST", at(job, "retry"), expect=201)
    assert audited() == [f"olga retry {name}: as {again}", f"olga rerun {name}: as {rerun}"]
    await operator("DELETE", at(job))
    await operator("DELETE", at(job))
    assert audited() == [f"olga delete {name}"]


async def test_what_is_done_to_queues_is_in_the_audit_log(
    operator: Caller, instructor: Caller, audited: Callable[[], list[str]]
) -> None:
    await queue(operator, limits={"cpu": "8"})
    assert audited() == ["olga create Queue gpu: limits.cpu none → 8"]
    body = {"spec": {"limits": {"cpu": "64"}, "admission": "Paused", "shares": {"ada": 3}}}
    await instructor("PUT", "/queues/gpu", json=body, expect=200)
    assert audited() == ["ines update Queue gpu: admission Open → Paused, limits.cpu 8 → 64, shares.ada none → 3"]
    await instructor("PUT", "/queues/gpu", json=body, expect=200)
    assert audited() == [], "nothing changed"
    await operator("DELETE", "/queues/gpu", expect=200)
    assert audited() == ["olga delete Queue gpu"]
    secret = {"environment": {"env": [{"name": "KEY", "value": "s3cret"}]}}
    await operator("POST", "/profiles", json={"metadata": {"name": "lic"}, "spec": secret}, expect=201)
    assert audited() == ["olga create Profile lic: environment"]


@pytest.mark.parametrize("field", ["front", "approved"])
async def test_nobody_writes_it_into_their_own_job(alice: Caller, field: str) -> None:
    value = {"by": "ines", "at": "2026-01-01T00:00:00Z", "requestedAt": "2026-01-01T00:00:00Z"}
    body = cell(**{field: value})
    status = await alice.refused("POST", "/namespaces/alice/trainjobs", 422, json=body)
    assert status["details"][0]["field"] == f"spec.{field}"
    body = cell(schedulingGates=[{"type": "approval"}])
    status = await alice.refused("POST", "/namespaces/alice/trainjobs", 422, json=body)
    assert status["details"][0]["field"] == "spec.schedulingGates[0].type"
