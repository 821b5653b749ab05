"""What can be done to a job, by whom, in which phase."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_trainjob.api.services import Services
from jupyter_trainjob.resources.trainjob import Phase, TrainJob

from .conftest import Caller, Run, Submit, cell

pytestmark = pytest.mark.asyncio


def at(job: dict[str, Any], verb: str = "") -> str:
    meta = job["metadata"]
    return f"/namespaces/{meta['namespace']}/trainjobs/{meta['name']}" + (f"/{verb}" if verb else "")


async def test_cancel_is_written_once_with_who_and_why(alice: Caller, submit: Submit) -> None:
    job = await submit(alice)
    first = (await alice("POST", at(job, "cancel"), json={"message": "wrong data"}, expect=200)).json()
    again = (await alice("POST", at(job, "cancel"), json={"message": "other"}, expect=200)).json()
    assert first["spec"]["cancel"]["by"] == "alice"
    assert first["spec"]["cancel"]["message"] == "wrong data"
    assert again["spec"]["cancel"] == first["spec"]["cancel"]
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


@pytest.mark.parametrize("verb", ["cancel", "hold", "release"])
async def test_on_a_final_job_the_verbs_say_what_it_ended_as(
    alice: Caller, submit: Submit, run: Run, verb: str
) -> None:
    job = await submit(alice)
    await run(job, Phase.SUCCEEDED)
    status = await alice.refused("POST", at(job, verb), 409)
    done = {"cancel": "cancelled", "hold": "held", "release": "released"}[verb]
    name = job["metadata"]["name"]
    assert status["message"] == f"The job {name!r} has ended already: Succeeded. It can't be {done} any more."
    assert status["remedy"] == "Retry it to run it again, or delete it."
    assert status["data"]["phase"] == "Succeeded"


async def test_hold_and_release(alice: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice)
    held = (await alice("POST", at(job, "hold"), json={}, expect=200)).json()
    assert held["spec"]["schedulingGates"][0] == {
        "type": "hold", "job": "", "condition": "succeeded", "message": "", "by": "alice",
    }  # fmt: skip
    assert len((await alice("POST", at(job, "hold"), expect=200)).json()["spec"]["schedulingGates"]) == 1
    free = (await alice("POST", at(job, "release"), expect=200)).json()
    assert free["spec"]["schedulingGates"] == []
    assert free["status"]["queued"] > job["status"]["queued"]
    await alice("POST", at(job, "release"), expect=200)
    await run(job, Phase.RUNNING)
    status = await alice.refused("POST", at(job, "hold"), 409)
    assert status["message"].endswith("is Running; only a queued one can be held.")


async def test_a_message_too_long_or_of_another_kind(alice: Caller, submit: Submit) -> None:
    job = await submit(alice)
    status = await alice.refused("POST", at(job, "cancel"), 422, json={"message": "x" * 501})
    assert status["details"][0]["message"] == "it has 501 characters, the limit is 500"


async def test_retry_makes_a_new_job_of_the_same_spec(alice: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice, code="print(lr)", parameters={"lr": 2}, priority=-3, resources={"cpu": "500m"})
    status = await alice.refused("POST", at(job, "retry"), 409)
    assert status["message"].endswith("is Queued; only one that has ended can be retried.")
    labels = {"course": "ml", "jupyter-trainjob/keep": "true"}
    await alice("PATCH", at(job), json={"metadata": {"labels": labels}}, expect=200)
    await alice("POST", at(job, "cancel"), expect=200)
    await run(job, Phase.CANCELLED)
    new = (await alice("POST", at(job, "retry"), expect=201)).json()
    assert new["metadata"]["labels"]["course"] == "ml"
    assert "jupyter-trainjob/keep" not in new["metadata"]["labels"], "what was to be kept is the old one"
    assert new["metadata"]["uid"] != job["metadata"]["uid"]
    assert new["metadata"]["labels"]["jupyter-trainjob/retry-of"] == job["metadata"]["name"]
    assert new["metadata"]["labels"]["jupyter-trainjob/name"] == "digits"
    assert "cancel" not in new["spec"]
    assert new["spec"] == job["spec"]
    assert new["status"]["phase"] == "Queued"


async def test_an_operators_retry_stays_the_owners(alice: Caller, operator: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice, environment={"env": [{"name": "KEY", "value": "secret"}]})
    await run(job, Phase.FAILED)
    new = (await operator("POST", at(job, "retry"), expect=201)).json()
    assert new["metadata"]["owner"] == "alice"
    assert new["spec"]["environment"]["env"] == [{"name": "KEY", "value": "***"}]
    seen = (await alice("GET", at(new), expect=200)).json()
    assert seen["spec"]["environment"]["env"] == [{"name": "KEY", "value": "secret"}]


async def test_delete_of_one_that_has_not_ended_cancels_it(alice: Caller, submit: Submit) -> None:
    job = await submit(alice)
    gone = (await alice("DELETE", at(job), expect=202)).json()
    assert gone["metadata"]["deletionTimestamp"]
    assert gone["spec"]["cancel"]["message"] == "deleted by alice"
    assert (await alice("DELETE", at(job), expect=202)).json()["metadata"]["resourceVersion"] == (
        gone["metadata"]["resourceVersion"]
    )


async def test_delete_of_a_final_one_leaves_it_to_the_controller_until_its_objects_are_gone(
    alice: Caller, submit: Submit, run: Run, services: Services
) -> None:
    job = await submit(alice)
    await run(job, Phase.SUCCEEDED)
    gone = (await alice("DELETE", at(job), expect=202)).json()
    assert "cancel" not in gone["spec"]

    def cleaned(writer: Any) -> None:
        fresh = writer.by_uid(TrainJob, job["metadata"]["uid"])
        assert fresh.metadata.deletion_timestamp
        fresh.metadata.finalizers = []
        writer.update(fresh)

    await services.store.awrite(cleaned)


async def test_delete_of_a_final_one_that_nothing_has_to_be_cleaned_of_is_at_once(
    alice: Caller, submit: Submit, run: Run, services: Services
) -> None:
    parent = await submit(alice)
    reference = {"kind": "TrainJob", "name": parent["metadata"]["name"], "uid": parent["metadata"]["uid"]}
    body = {**cell(), "metadata": {"generateName": "child", "ownerReferences": [reference]}}
    child = (await alice("POST", "/namespaces/alice/trainjobs", json=body, expect=201)).json()
    for job in (parent, child):
        await run(job, Phase.SUCCEEDED)

        def cleaned(writer: Any, uid: str = job["metadata"]["uid"]) -> None:
            fresh = writer.by_uid(TrainJob, uid)
            fresh.metadata.finalizers = []
            writer.update(fresh)

        await services.store.awrite(cleaned)
    await alice("DELETE", at(parent), expect=202)  # the controller sees to the child as well
    await alice("DELETE", at(child), expect=200)
    await alice.refused("GET", at(child), 404)


async def test_the_owner_and_operators_say_that_retention_shall_keep_a_job(
    alice: Caller, instructor: Caller, member: Caller, operator: Caller, submit: Submit
) -> None:
    keep = {"metadata": {"labels": {"jupyter-trainjob/keep": "true"}}}
    away = {"metadata": {"labels": {"jupyter-trainjob/keep": None}}}
    job = await submit(member, "ml101")
    assert "keep" not in str((await member("GET", at(job))).json()["metadata"]["labels"])
    kept = (await member("PATCH", at(job), json=keep, expect=200)).json()
    assert kept["metadata"]["labels"]["jupyter-trainjob/keep"] == "true"
    await instructor.refused("PATCH", at(job), 403, json=away)
    gone = (await operator("PATCH", at(job), json=away, expect=200)).json()
    assert "jupyter-trainjob/keep" not in gone["metadata"]["labels"]
    body = {**cell(), "metadata": {"generateName": "born", **keep["metadata"]}}
    born = (await alice("POST", "/namespaces/alice/trainjobs", json=body, expect=201)).json()
    assert born["metadata"]["labels"]["jupyter-trainjob/keep"] == "true"


async def test_orphans_lose_the_reference_and_stay(alice: Caller, submit: Submit, services: Services) -> None:
    parent = await submit(alice)
    reference = {"kind": "TrainJob", "name": parent["metadata"]["name"], "uid": parent["metadata"]["uid"]}
    body = {**cell(), "metadata": {"generateName": "child", "ownerReferences": [reference]}}
    child = (await alice("POST", "/namespaces/alice/trainjobs", json=body, expect=201)).json()
    assert child["metadata"]["ownerReferences"][0]["uid"] == parent["metadata"]["uid"]
    await alice("DELETE", at(parent) + "?propagation=orphan", expect=202)
    seen = (await alice("GET", at(child), expect=200)).json()
    assert seen["metadata"]["ownerReferences"] == []
    assert "deletionTimestamp" not in seen["metadata"]


async def test_patch_merges_labels_annotations_and_priority(alice: Caller, submit: Submit) -> None:
    job = await submit(alice)
    change = {"metadata": {"labels": {"team": "a", "x": "1"}, "annotations": {"note": "hi"}}, "spec": {"priority": -2}}
    one = (await alice("PATCH", at(job), json=change, expect=200)).json()
    assert one["spec"]["priority"] == -2
    assert one["metadata"]["labels"]["jupyter-trainjob/name"] == "digits"
    two = (await alice("PATCH", at(job), json={"metadata": {"labels": {"x": None}}}, expect=200)).json()
    ours = {key: value for key, value in two["metadata"]["labels"].items() if key != "jupyter-trainjob/code"}
    assert ours == {"jupyter-trainjob/name": "digits", "team": "a"}
    assert two["metadata"]["annotations"] == {"note": "hi"}


async def test_a_stale_resource_version_is_409_and_changes_nothing(alice: Caller, submit: Submit) -> None:
    job = await submit(alice)
    version = job["metadata"]["resourceVersion"]
    body = {"metadata": {"labels": {"a": "1"}, "resourceVersion": version}}
    await alice("PATCH", at(job), json=body, expect=200)
    status = await alice.refused(
        "PATCH", at(job), 409, json={"metadata": {"labels": {"a": "2"}, "resourceVersion": version}}
    )
    assert status["reason"] == "Conflict"
    assert "was changed meanwhile" in status["message"]
    assert (await alice("GET", at(job))).json()["metadata"]["labels"]["a"] == "1"


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"spec": {"source": {}}}, "spec.source", "it can't be changed"),
        ({"status": {}}, "status", "it can't be changed"),
        ({"metadata": {"owner": "bob"}}, "metadata.owner", "it can't be changed"),
        ({"metadata": {"labels": {"jupyter-trainjob/name": "x"}}}, "metadata.labels.jupyter-trainjob/name",
         "keys that start with jupyter-trainjob/ are the server's"),
        ({"metadata": {"labels": {"a": "b c"}}}, "metadata.labels.a",
         "a label value has up to 63 letters, digits, '-', '_' or '.', and starts and ends with a letter or digit"),
        ({"metadata": {"annotations": {"a": 1}}}, "metadata.annotations.a", "it is no text"),
        ({"spec": {"priority": 1}}, "spec.priority", "1 is not in the range of the queue 'default', -100 to 0"),
        ({"spec": {"priority": True}}, "spec.priority", "it is no whole number"),
        ({"spec": {"priority": None}}, "spec.priority", "it is no whole number"),
        ({"kind": "Queue"}, "kind", "it is 'TrainJob' and can't be changed"),
        ({"metadata": []}, "metadata", "it is no JSON object"),
        ({"metadata": {"annotations": {"big": "x" * 300_000}}}, "metadata.annotations",
         "annotations of 300003 characters are more than the 262144 an object may have"),
    ],
)  # fmt: skip
async def test_what_may_not_be_patched(
    alice: Caller, submit: Submit, change: dict[str, Any], field: str, message: str
) -> None:
    job = await submit(alice)
    status = await alice.refused("PATCH", at(job), 422, json=change)
    assert [(detail["field"], detail["message"]) for detail in status["details"]] == [(field, message)]


async def test_a_priority_matters_only_while_queued(alice: Caller, submit: Submit, run: Run) -> None:
    job = await submit(alice)
    await run(job, Phase.RUNNING)
    status = await alice.refused("PATCH", at(job), 409, json={"spec": {"priority": -1}})
    assert status["message"].endswith("is Running; a priority only matters while it is queued.")


# Queues and profiles


async def test_lowering_a_limit_advances_the_scheduler_epoch_and_raising_does_not(
    operator: Caller, services: Services
) -> None:
    async def epoch() -> int:
        return await services.store.aread(lambda reader: reader.scheduler_epoch())

    await operator("POST", "/queues", json={"metadata": {"name": "q"}, "spec": {"limits": {"cpu": "4"}}}, expect=201)
    steps = [
        ({"limits": {"cpu": "8"}}, False),
        ({"limits": {"cpu": "7"}}, True),
        ({"limits": {"cpu": "7", "runningJobs": 3}}, True),
        ({"limits": {"cpu": "7"}, "description": "x"}, False),
        ({"limits": {"cpu": "7"}, "perUser": {"memory": "1Gi"}}, True),
        ({}, False),
        ({"admission": "Paused"}, True),
        ({}, False),
        ({"backend": "other"}, True),
    ]
    for spec, advances in steps:
        before = await epoch()
        await operator("PUT", "/queues/q", json={"spec": spec}, expect=200)
        assert (await epoch() > before) is advances, spec


async def test_an_instructor_sets_the_limits_of_their_queue_and_nothing_else(
    instructor: Caller, alice: Caller, operator: Caller
) -> None:
    for name in ("gpu", "other"):
        await operator("POST", "/queues", json={"metadata": {"name": name}, "spec": {"backend": "local"}}, expect=201)
    body = {"spec": {"limits": {"runningJobs": 2}, "perUser": {"cpu": "2"}, "description": "for the course"}}
    changed = (await instructor("PUT", "/queues/gpu", json=body, expect=200)).json()
    assert changed["spec"]["limits"] == {"runningJobs": 2}
    status = await instructor.refused("PUT", "/queues/gpu", 403, json={"spec": {"backend": "x", "users": ["ines"]}})
    assert status["message"] == "ines may change the limits of the Queue 'gpu', but not backend, users."
    status = await instructor.refused("PUT", "/queues/other", 403, json=body)
    assert status["message"] == "ines may not update the Queue 'other'."
    assert status["remedy"] == "That is for an instructor of it or an operator."
    await instructor.refused("DELETE", "/queues/gpu", 403)
    await alice.refused("PUT", "/queues/gpu", 403, json=body)


async def test_a_queue_in_use_is_not_deleted(alice: Caller, operator: Caller, submit: Submit) -> None:
    await operator("POST", "/queues", json={"metadata": {"name": "busy"}, "spec": {}}, expect=201)
    await submit(alice, queue="busy")
    status = await operator.refused("DELETE", "/queues/busy", 409)
    assert status["message"] == "1 job waits or runs in the queue 'busy'; it can't be deleted."


@pytest.mark.parametrize(
    ("path", "body", "field", "message"),
    [
        ("/queues", {"spec": {}}, "metadata.name", "this field is needed"),
        ("/queues", {"metadata": {"name": "a", "namespace": "b"}, "spec": {}}, "metadata.namespace",
         "a Queue is for the whole server and has no namespace"),
        ("/queues", {"metadata": {"name": "a"}, "spec": {"priorities": {"minimum": 1, "maximum": 0}}},
         "spec.priorities.minimum", "it is more than the maximum"),
        ("/queues", {"metadata": {"name": "a"}, "spec": {"limits": {"cpus": "4"}}}, "spec.limits.cpus",
         "there is no such field"),
        ("/profiles", {"metadata": {"name": "a"}, "spec": {"timeLimitSeconds": 60, "maxTimeLimitSeconds": 30}},
         "spec.timeLimitSeconds", "the default of 60 s is more than maxTimeLimitSeconds, 30"),
    ],
)  # fmt: skip
async def test_declarations_that_can_not_be(
    operator: Caller, path: str, body: dict[str, Any], field: str, message: str
) -> None:
    status = await operator.refused("POST", path, 422, json=body)
    assert [(detail["field"], detail["message"]) for detail in status["details"]] == [(field, message)]


async def test_replacing_checks_name_and_version(operator: Caller) -> None:
    made = (await operator("POST", "/queues", json={"metadata": {"name": "q"}, "spec": {}}, expect=201)).json()
    status = await operator.refused("PUT", "/queues/q", 422, json={"metadata": {"name": "p"}, "spec": {}})
    assert status["details"][0]["message"] == "the address says 'q'"
    version = made["metadata"]["resourceVersion"]
    body = {"metadata": {"resourceVersion": version}, "spec": {"description": "one"}}
    await operator("PUT", "/queues/q", json=body, expect=200)
    body["spec"]["description"] = "two"
    await operator.refused("PUT", "/queues/q", 409, json=body)
