"""Jobs over HTTP: submitted, listed, read, changed, and what is refused."""

from __future__ import annotations

import pytest

from jupyter_trainjob.resources.trainjob import Phase

from .conftest import Caller, Run, Submit, cell

pytestmark = pytest.mark.asyncio


async def test_a_submitted_job_is_there_with_a_full_name_and_a_place_in_the_queue(alice: Caller) -> None:
    response = await alice("POST", "/namespaces/alice/trainjobs", json=cell(), expect=201)
    job = response.json()
    assert job["metadata"]["owner"] == "alice"
    assert job["metadata"]["name"].startswith("digits-")
    assert job["status"]["phase"] == "Queued"
    assert job["status"]["position"] == 1
    assert response.headers["Location"].endswith(f"/namespaces/alice/trainjobs/{job['metadata']['name']}")
    again = await alice("GET", f"/namespaces/alice/trainjobs/{job['metadata']['name']}", expect=200)
    assert again.json()["spec"] == job["spec"]
    assert again.json()["status"]["waitingFor"]


async def test_a_dry_run_says_what_would_be_and_leaves_nothing(alice: Caller) -> None:
    response = await alice("POST", "/namespaces/alice/trainjobs?dryRun=true", json=cell(), expect=200)
    assert response.json()["status"]["position"] == 1
    assert response.json()["spec"]["resources"]["memory"] == "1Gi"
    assert (await alice("GET", "/trainjobs")).json()["items"] == []


async def test_a_bad_job_is_refused_with_every_field_and_a_remedy(alice: Caller) -> None:
    body = cell(resources={"memory": "2 Gib", "cpu": "-1"})
    status = await alice.refused("POST", "/namespaces/alice/trainjobs", 422, json=body)
    assert {detail["field"] for detail in status["details"]} == {"spec.resources.memory", "spec.resources.cpu"}
    assert "'-1'" in str(status) or "-1 is not more than nothing" in str(status)


async def test_a_name_means_a_uid_a_full_name_or_the_latest_of_a_short_one(alice: Caller, submit: Submit) -> None:
    first, second = await submit(alice), await submit(alice)
    for text, meant in (
        (first["metadata"]["uid"], first),
        (first["metadata"]["name"], first),
        ("digits", second),
    ):
        response = await alice("GET", f"/namespaces/alice/trainjobs/{text}", expect=200)
        assert response.json()["metadata"]["name"] == meant["metadata"]["name"]
        assert response.headers["X-TrainJob-Resolved"] == meant["metadata"]["name"]


async def test_a_short_name_means_ones_own_latest_among_those_one_may_see(
    member: Caller, instructor: Caller, submit: Submit
) -> None:
    mine = await submit(member, "ml101")
    theirs = await submit(instructor, "ml101")
    found = await member("GET", "/namespaces/ml101/trainjobs/digits", expect=200)
    assert found.json()["metadata"]["uid"] == mine["metadata"]["uid"]
    found = await instructor("GET", "/namespaces/ml101/trainjobs/digits", expect=200)
    assert found.json()["metadata"]["uid"] == theirs["metadata"]["uid"]


async def test_what_is_not_there_and_what_is_not_ones_own_look_the_same(
    alice: Caller, bob: Caller, submit: Submit
) -> None:
    job = await submit(alice)
    missing = await bob.refused("GET", "/namespaces/alice/trainjobs/nothing", 404)
    theirs = await bob.refused("GET", f"/namespaces/alice/trainjobs/{job['metadata']['name']}", 404)
    assert missing["reason"] == theirs["reason"] == "NotFound"
    assert "alice may" not in theirs["message"]
    await bob.refused("GET", "/namespaces/alice/trainjobs", 404)


async def test_a_list_is_filtered_by_label_phase_owner_queue_and_text(alice: Caller, submit: Submit, run: Run) -> None:
    old = await submit(alice, name="old")
    await submit(alice, name="new")
    await run(old, Phase.SUCCEEDED)

    async def names(query: str) -> list[str]:
        items = (await alice("GET", f"/namespaces/alice/trainjobs?{query}", expect=200)).json()["items"]
        return [item["metadata"]["labels"]["jupyter-trainjob/name"] for item in items]

    assert await names("") == ["new", "old"]
    assert await names("labelSelector=jupyter-trainjob/name%3Dold") == ["old"]
    assert await names("labelSelector=jupyter-trainjob/name+notin+(old)") == ["new"]
    assert await names("phase=Succeeded") == ["old"]
    assert await names("phase=Succeeded&phase=Queued") == ["new", "old"]
    assert await names("owner=bob") == []
    assert await names("queue=default&q=NEW") == ["new"]
    bad = await alice.refused("GET", "/namespaces/alice/trainjobs?labelSelector=a%20in%20b", 400)
    assert "a in b" in bad["message"]


async def test_a_list_comes_in_pages_that_miss_and_repeat_nothing(alice: Caller, submit: Submit) -> None:
    made = [(await submit(alice))["metadata"]["uid"] for _ in range(5)]
    found: list[str] = []
    query = "limit=2"
    while True:
        page = (await alice("GET", f"/trainjobs?{query}", expect=200)).json()
        assert page["kind"] == "TrainJobList"
        found += [item["metadata"]["uid"] for item in page["items"]]
        if not page["metadata"]["continue"]:
            break
        query = f"limit=2&continue={page['metadata']['continue']}"
    assert found == made[::-1]


async def test_lists_across_namespaces_hold_what_one_may_see(
    alice: Caller, instructor: Caller, member: Caller, viewer: Caller, operator: Caller, submit: Submit
) -> None:
    await submit(alice, name="alices")
    await submit(member, "ml101", name="members")
    await submit(instructor, name="own")

    async def names(caller: Caller, query: str = "") -> set[str]:
        items = (await caller("GET", f"/trainjobs{query}", expect=200)).json()["items"]
        return {item["metadata"]["labels"]["jupyter-trainjob/name"] for item in items}

    assert await names(alice) == {"alices"}
    assert await names(member) == {"members"}
    assert await names(instructor) == {"members", "own"}
    assert await names(viewer) == {"members"}
    assert await names(operator) == {"alices", "members", "own"}
    assert await names(operator, "?namespace=ml101&namespace=alice") == {"alices", "members"}


async def test_environment_values_are_the_owners_alone(
    member: Caller, instructor: Caller, operator: Caller, submit: Submit
) -> None:
    environment = {"env": [{"name": "WANDB_KEY", "value": "very-secret"}]}
    job = await submit(member, "ml101", environment=environment)
    path = f"/namespaces/ml101/trainjobs/{job['metadata']['name']}"
    assert "very-secret" in (await member("GET", path)).text
    assert "very-secret" in (await member("GET", "/trainjobs")).text
    for other in (instructor, operator):
        for address in (path, "/trainjobs", "/namespaces/ml101/trainjobs", "/changes?since=0"):
            text = (await other("GET", address, expect=200)).text
            assert "WANDB_KEY" in text
            assert "very-secret" not in text
            assert '"***"' in text


async def test_a_queued_job_is_held_released_and_cancelled(alice: Caller, submit: Submit) -> None:
    path = f"/namespaces/alice/trainjobs/{(await submit(alice))['metadata']['name']}"
    held = await alice("POST", f"{path}/hold", json={"message": "not yet"}, expect=200)
    assert held.json()["spec"]["schedulingGates"][0]["type"] == "hold"
    why = (await alice("GET", f"{path}/why", expect=200)).json()
    assert why["position"] is None
    assert "not yet" in why["waitingFor"].lower()
    released = await alice("POST", f"{path}/release", expect=200)
    assert released.json()["spec"]["schedulingGates"] == []
    cancelled = await alice("POST", f"{path}/cancel", json={"message": "wrong data"}, expect=200)
    assert cancelled.json()["spec"]["cancel"]["message"] == "wrong data"


async def test_a_job_that_has_ended_can_be_retried_but_not_cancelled(alice: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice)
    path = f"/namespaces/alice/trainjobs/{job['metadata']['name']}"
    early = await alice.refused("POST", f"{path}/retry", 409)
    assert "only one that has ended" in early["message"]
    await run(job, Phase.FAILED)
    late = await alice.refused("POST", f"{path}/cancel", 409)
    assert late["reason"] == "Conflict"
    assert late["remedy"]
    again = (await alice("POST", f"{path}/retry", expect=201)).json()
    assert again["metadata"]["labels"]["jupyter-trainjob/retry-of"] == job["metadata"]["name"]


async def test_a_patch_needs_the_version_that_it_names(alice: Caller, submit: Submit) -> None:
    job = await submit(alice)
    path = f"/namespaces/alice/trainjobs/{job['metadata']['name']}"
    old = job["metadata"]["resourceVersion"]
    body = {"metadata": {"labels": {"team": "a"}, "resourceVersion": old}}
    changed = await alice("PATCH", path, json=body, expect=200)
    assert changed.json()["metadata"]["labels"]["team"] == "a"
    stale = await alice.refused("PATCH", path, 409, json=body | {"metadata": {"resourceVersion": old, "labels": {}}})
    assert stale["reason"] == "Conflict"
    refused = await alice.refused("PATCH", path, 422, json={"spec": {"queue": "gpu"}})
    assert refused["details"][0]["field"] == "spec.queue"


async def test_a_deleted_job_goes_when_its_objects_have_gone(alice: Caller, submit: Submit) -> None:
    path = f"/namespaces/alice/trainjobs/{(await submit(alice))['metadata']['name']}"
    going = await alice("DELETE", f"{path}?propagation=orphan", expect=202)
    assert going.json()["metadata"]["deletionTimestamp"]
    wrong = await alice.refused("DELETE", f"{path}?propagation=never", 400)
    assert wrong["message"] == "The query argument 'propagation' can't be used: 'never' is none of its values."
    assert wrong["remedy"] == "Allowed: 'cascade' or 'orphan'."


async def test_a_message_is_a_string_and_alone(alice: Caller, submit: Submit) -> None:
    path = f"/namespaces/alice/trainjobs/{(await submit(alice))['metadata']['name']}/cancel"
    assert "'reason'" in (await alice.refused("POST", path, 400, json={"reason": "x"}))["message"]
    assert "number" in (await alice.refused("POST", path, 400, json={"message": 3}))["message"]
