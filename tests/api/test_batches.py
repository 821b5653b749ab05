"""Many jobs in one request: sweeps, and jobs that depend on each other."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_trainjob.api.services import Services
from jupyter_trainjob.controllers.manager import utc_now
from jupyter_trainjob.controllers.sweeps import settle
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.store import Filter

from .conftest import Caller, Run, cell

pytestmark = pytest.mark.asyncio
HERE = "/namespaces/alice/batches"


def sweep(count: int, **more: Any) -> dict[str, Any]:
    points = [{"parameters": {"lr": number / 10}} for number in range(count)]
    return {"template": cell("print(lr, depth)", parameters={"depth": 2, "lr": 1}), "points": points, **more}


async def details(caller: Caller, body: Any) -> list[dict[str, Any]]:
    return list((await caller.refused("POST", HERE, 422, json=body))["details"])


def jobs(services: Services) -> list[TrainJob]:
    return services.store.read(lambda reader: reader.list(TrainJob, order="oldest", limit=2000).items)


async def test_a_sweep_is_one_job_a_point(alice: Caller, services: Services) -> None:
    made = (await alice("POST", HERE, json=sweep(3), expect=201)).json()
    assert made["sweep"].startswith("digits-")
    found = jobs(services)
    assert [job.metadata.name for job in found] == [item["name"] for item in made["items"]]
    assert [job.spec.parameters for job in found] == [{"depth": 2, "lr": number / 10} for number in range(3)]
    for index, job in enumerate(found):
        assert job.spec.sweep is not None
        assert (job.spec.sweep.index, job.spec.sweep.size, job.spec.sweep.point) == (index, 3, ["lr"])
        assert job.metadata.labels["jupyter-trainjob/sweep"] == made["sweep"]
        assert job.spec.scheduling_gates == [] and job.status.code_hash
    assert len({job.spec.seed for job in found}) == 3, "each begins elsewhere"
    label = Filter(labels=f"jupyter-trainjob/sweep={made['sweep']}")
    assert services.store.read(lambda reader: reader.count(TrainJob, label)) == 3


async def test_no_more_than_asked_for_at_once(alice: Caller, services: Services) -> None:
    made = (await alice("POST", HERE, json=sweep(4, maxParallel=3), expect=201)).json()
    *first, last = jobs(services)
    assert all(job.spec.scheduling_gates == [] for job in first)
    why = (await alice("GET", f"/namespaces/alice/trainjobs/{last.metadata.name}/why", expect=200)).json()
    assert why["waitingFor"] == f"3 jobs of the sweep {made['sweep']} may run at once, and it waits for its turn."
    assert why["blockers"][0]["remedy"] == "Nothing to do: it queues when one of the others ends."


async def test_the_same_seed_where_one_was_asked_for(alice: Caller, services: Services) -> None:
    body = sweep(2)
    body["template"]["spec"]["seed"] = 7
    await alice("POST", HERE, json=body, expect=201)
    assert [job.spec.seed for job in jobs(services)] == [7, 7]


async def test_all_or_none(alice: Caller, operator: Caller, services: Services) -> None:
    spec = {"spec": {"queuedPerUser": 3}}
    await operator("PUT", "/queues/default", json=spec, expect=200)
    late = await alice.refused("POST", HERE, 429, json=sweep(4))
    assert late["message"] == "alice has 0 jobs waiting in the queue 'default'; it allows 3, and these are 4."
    assert late["remedy"] == "Send fewer at a time."
    assert jobs(services) == []
    await alice("POST", HERE, json=sweep(3), expect=201)


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"points": []}, "points", "0 points; there may be 1 to 1000"),
        ({"points": [{"parameters": {"1x": 1}}]}, "points[0].parameters", "'1x'"),
        ({"points": [{"lr": 1}]}, "points[0]", "it is no {parameters: {name: value}}"),
        ({"maxParallel": 0}, "maxParallel", "it is no whole number from 1 on"),
        ({"items": []}, "(the whole object)", "it has neither points nor items, or both"),
    ],
)
async def test_what_can_not_be_is_told(alice: Caller, change: dict[str, Any], field: str, message: str) -> None:
    (found,) = await details(alice, {**sweep(2), **change})
    assert found["field"] == field
    assert message in found["message"]
    assert found["remedy"]


async def test_the_template_is_checked_as_a_job_is(alice: Caller) -> None:
    body = sweep(2)
    body["template"]["spec"]["resources"] = {"cpu": "4000"}
    body["template"]["spec"]["queue"] = "nowhere"
    found = {one["field"] for one in await details(alice, body)}
    assert found >= {"spec.queue"}
    body = sweep(2)
    body["template"]["metadata"] = {"name": "one"}
    assert (await details(alice, body))[0]["field"] == "template.metadata.name"


def item(name: str, *parents: str) -> dict[str, Any]:
    gates = [{"type": "dependency", "job": parent} for parent in parents]
    return {**cell(schedulingGates=gates), "metadata": {"name": name}}


async def test_jobs_of_one_request_depend_on_each_other(alice: Caller, services: Services) -> None:
    body = {"items": [item("report", "train", "clean"), item("train", "clean"), item("clean")]}
    made = (await alice("POST", HERE, json=body, expect=201)).json()
    assert made["sweep"] == ""
    assert [one["name"] for one in made["items"]] == ["report", "train", "clean"]
    uids = {one["name"]: one["uid"] for one in made["items"]}
    found = {job.metadata.name: job for job in jobs(services)}
    assert [gate.job for gate in found["report"].spec.scheduling_gates] == [uids["train"], uids["clean"]]
    assert found["train"].spec.scheduling_gates[0].message == "it waits until clean has succeeded"


async def test_a_circle_is_shown(alice: Caller, services: Services) -> None:
    body = {"items": [item("a", "b"), item("b", "c"), item("c", "a"), item("d")]}
    (found,) = await details(alice, body)
    assert found["message"] == "the jobs wait for each other: a → b → c → a"
    assert found["field"] == "items[2].spec.schedulingGates"
    (found,) = await details(alice, {"items": [item("a", "a")]})
    assert found["message"] == "the jobs wait for each other: a → a"
    (found,) = await details(alice, {"items": [item("a", "nobody")]})
    assert found["field"] == "items[0].spec.schedulingGates[0].job"
    assert jobs(services) == []


async def test_only_ones_own_namespace(alice: Caller) -> None:
    await alice.refused("POST", "/namespaces/bob/batches", 404, json=sweep(1))


async def test_points_that_are_retried_wait_for_each_other_as_before(
    alice: Caller, services: Services, run: Run
) -> None:
    await alice("POST", HERE, json=sweep(4, maxParallel=1), expect=201)
    for job in jobs(services):
        place = f"/namespaces/alice/trainjobs/{job.metadata.name}"
        await alice("POST", f"{place}/cancel", expect=200)
        await run((await alice("GET", place, expect=200)).json(), Phase.CANCELLED)
        await alice("POST", f"{place}/retry", expect=201)
    again = [job for job in jobs(services) if not job.status.phase.final]
    assert [[gate.type for gate in job.spec.scheduling_gates] for job in again] == [["sweep"]] * 4
    opened = services.store.write(lambda writer: settle(writer, again[0], utc_now()))
    assert opened == [again[0].metadata.uid]


async def test_a_job_is_no_point_by_itself(alice: Caller) -> None:
    body = cell()
    body["spec"]["sweep"] = {"name": "s", "index": 0, "size": 1}
    status = await alice.refused("POST", "/namespaces/alice/trainjobs", 422, json=body)
    assert status["details"][0]["remedy"] == "Leave it out; POST …/namespaces/NAMESPACE/batches with points makes one."
