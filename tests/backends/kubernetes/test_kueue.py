"""Jobs that Kueue admits: how they are made, what is seen of them, and what is said of their waiting. Pure parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jupyter_trainjob.backends.base import AttemptRef, Observation
from jupyter_trainjob.backends.kubernetes import capacity, objects
from jupyter_trainjob.backends.kubernetes.evidence import Sight, look, settle
from jupyter_trainjob.backends.kubernetes.kueue import why
from jupyter_trainjob.backends.kubernetes.report import observation
from jupyter_trainjob.controllers.ending import Ending, ending
from jupyter_trainjob.resources.trainjob import Phase, Reason

from .attempts import SETTINGS, request
from .test_evidence import EARLY, LATE
from .told import RUNNING, T0, T1, T2, T3, condition, deletion, ended, gave_up, job, pod

LABELS = {objects.KUEUE_QUEUE: "jobs"}


def kueues(*conditions: dict[str, Any], suspend: bool = True, **more: Any) -> dict[str, Any]:
    found = job(*conditions, suspend=suspend, **more)
    found["metadata"]["labels"] |= LABELS
    if suspend:
        del found["status"]["startTime"]
    return found


def told(sight: Sight, state: dict[str, Any] | None = None) -> Ending:
    assert sight.state == "ended"
    seen = Observation(
        AttemptRef("u", 1), "ended", evidence=settle(sight, state), claims=(state or {}).get("claims", {})
    )
    return ending(request().job.spec, seen)


def workload(*conditions: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "job-tj-1"}, "spec": spec, "status": {"conditions": list(conditions)}}


# How they are made


def test_the_job_is_born_suspended_with_its_queue_and_its_class_and_its_pod_bears_neither() -> None:
    asked = replace(request(), local_queue="jobs", priority_class="high")
    made = objects.job(asked, SETTINGS)
    assert made["spec"]["suspend"] is True
    assert made["metadata"]["labels"].items() >= {objects.KUEUE_QUEUE: "jobs", objects.KUEUE_PRIORITY: "high"}.items()
    assert not {objects.KUEUE_QUEUE, objects.KUEUE_PRIORITY} & set(made["spec"]["template"]["metadata"]["labels"])
    plain = objects.job(replace(request(), priority_class="high"), SETTINGS)
    assert "suspend" not in plain["spec"]
    assert objects.KUEUE_PRIORITY not in plain["metadata"]["labels"]


def test_what_is_stopped_has_no_room_for_pods_where_kueue_may_release_it() -> None:
    assert objects.halt(kueues()) == {"suspend": True, "parallelism": 0}
    assert objects.halt(job()) == {"suspend": True}


# What is seen of them


def test_it_waits_however_long_and_its_time_to_start_begins_with_its_admission() -> None:
    waits = look(kueues(), None, **LATE)
    assert (waits.state, waits.stuck, waits.give_up, waits.conditions) == ("queued", False, None, [])
    assert observation(AttemptRef("u", 1), kueues(), waits, {}, None, "x").state == "queued"
    released = kueues(suspend=False)
    del released["status"]["startTime"]  # the Job's controller has not seen it yet
    assert look(released, None, **LATE).state == "starting"
    assert look(released, None, **LATE).give_up is None
    assert look(kueues(suspend=False), None, **LATE).give_up is not None, "started long ago, and no pod"


def test_it_waits_for_kueue_while_its_inputs_are_fetched_though_kueue_does_not_know_it_yet() -> None:
    asked = replace(request(), local_queue="jobs")
    made = objects.job(asked, SETTINGS, fetching=True)
    assert not objects.is_kueues(made)
    assert look(made, None, **LATE).state == "queued"
    made["metadata"]["resourceVersion"] = "7"
    released = objects.fetched_patch(made, "3 files")
    assert released["metadata"]["labels"] == LABELS
    assert released["spec"] == {"suspend": True}, "it is Kueue that lets it start"


def test_the_time_to_start_begins_when_what_was_fetched_is_there() -> None:
    """The Job controller writes ``startTime`` a moment after the release."""
    released = job(suspend=False)
    released["metadata"]["annotations"] = {objects.FETCHED: "in/words: sha256:0 (4 bytes)"}
    late = look(released, None, **LATE)
    assert late.give_up is not None, "it began long ago"
    del released["status"]["startTime"]
    assert look(released, None, **LATE).give_up is None


def test_a_job_that_is_held_for_no_queue_is_told_of_and_given_up() -> None:
    held = look(job(suspend=True), None, **EARLY)
    assert held.state == "starting"
    assert not held.stuck
    assert "Kueue manages all Jobs there and this queue names no LocalQueue" in held.conditions[0]["message"]
    late = look(job(suspend=True), None, **LATE)
    assert late.give_up is not None
    assert late.give_up["limit"] == "BackendError"


@pytest.mark.parametrize("stopped", [{"suspend": True}, {"suspend": False, "parallelism": 0}])
def test_one_that_was_cancelled_while_it_waited_has_ended_though_kueue_released_it(stopped: dict[str, Any]) -> None:
    noted = kueues(annotations={objects.CANCELLED: "wrong data"})
    noted["spec"] |= stopped
    sight = look(noted, None, **EARLY)
    assert told(sight).phase is Phase.CANCELLED
    assert not sight.begun
    assert sight.sidecar_over


EVICTED = condition("Evicted", reason="Preempted", message="Preempted to accommodate a workload (UID: x).")
SUSPENDED = condition("Suspended", reason="JobSuspended", time=T2)
RESUMED = condition("Suspended", "False", reason="JobResumed", time=T3)
ENDED_143 = pod("Failed", main=ended(143, at=T3), sidecar=ended(0), meta=deletion(T2))
INTERRUPTED = {"claims": {"end": {"outcome": "interrupted"}, "started": T1}}


@pytest.mark.parametrize(
    ("work", "seen", "state"),
    [
        (kueues(SUSPENDED), ENDED_143, None),
        (kueues(SUSPENDED), {**ENDED_143, "deleted": True}, None),
        (kueues(RESUMED, condition("Failed", reason="PodFailurePolicy"), suspend=False), ENDED_143, None),
        (
            kueues(SUSPENDED, condition("Complete")),
            pod("Succeeded", main=ended(0, at=T3), sidecar=ended(0), meta=deletion(T2)),
            INTERRUPTED,
        ),
        (kueues(SUSPENDED), pod("Pending", deleted=True, node="", meta=deletion(T2)), None),
    ],
    ids=["suspended", "gone", "released again", "saved what it had", "before it started"],
)
def test_one_that_was_sent_away_by_kueue_ends_as_preempted(work: Any, seen: Any, state: Any) -> None:
    how = told(look({**work, "workload": workload(EVICTED)}, seen, **EARLY), state)
    assert how.reason is Reason.PREEMPTED
    assert how.message == (
        "Kueue took its place away: Preempted to accommodate a workload (UID: x). Run it again with retry."
    )
    assert told(look(work, seen, **EARLY), state).message.startswith("Kueue took its place away. ")


def test_while_it_is_being_sent_away_it_still_runs() -> None:
    assert look(kueues(SUSPENDED), pod(main=RUNNING, sidecar=RUNNING, meta=deletion(T2)), **EARLY).state == "running"


@pytest.mark.parametrize(
    ("work", "seen", "state", "reason"),
    [
        (job(suspend=True), ENDED_143, None, Reason.DELETED_EXTERNALLY),
        (
            kueues(condition("Suspended", "False", time=T0), suspend=False),
            {**ENDED_143, "metadata": {**ENDED_143["metadata"], "creationTimestamp": T1}},
            None,
            Reason.DELETED_EXTERNALLY,
        ),
        (
            kueues(SUSPENDED, annotations=gave_up("ImageError", "No such image.")),
            pod("Pending", deleted=True, node="", meta=deletion(T2)),
            None,
            Reason.IMAGE_ERROR,
        ),
        (
            kueues(SUSPENDED),
            ENDED_143,
            {"claims": {"end": {"outcome": "ok"}, "started": T1}},
            Reason.COMPLETED,
        ),
    ],
    ids=["no queue of Kueue's", "only released, and deleted by hand", "given up by us", "done by then"],
)
def test_not_all_that_ends_there_was_sent_away(work: Any, seen: Any, state: Any, reason: Reason) -> None:
    seen_by = look(work, seen, **EARLY)
    if reason is Reason.COMPLETED:
        seen_by = replace(seen_by, evidence={**seen_by.evidence, "exitCode": 0, "signal": None})
    assert told(seen_by, state).reason is reason


def test_what_waits_uses_nothing_of_a_quota() -> None:
    assert capacity.use([kueues()], {}) == {}
    assert capacity.use([kueues(suspend=False)], {})[""].jobs == 1


# What is said of their waiting


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (workload(), "it waits for its turn"),
        (
            workload(condition("QuotaReserved", "False", "Pending", "couldn't assign flavors to pod set main: x. ")),
            "couldn't assign flavors to pod set main: x",
        ),
        (
            workload(condition("QuotaReserved", "False", "Inadmissible", "LocalQueue jobs doesn't exist")),
            "LocalQueue jobs doesn't exist",
        ),
        (
            workload(condition("QuotaReserved"), condition("Admitted", "False", "NoReservation", "check x is pending")),
            "its quota is reserved, and it waits for the admission checks: check x is pending",
        ),
        (
            workload(condition("Evicted", "True", "Deactivated", "exceeding the maximum number"), active=False),
            "it is set aside until an operator activates its Workload again: exceeding the maximum number",
        ),
        (
            workload(active=False),
            "it is set aside until an operator activates its Workload again: somebody deactivated it",
        ),
        (workload(condition("Finished", "True", "FailedToStart", "in conflict")), "it is closed: in conflict"),
    ],
)
def test_why_it_waits(found: dict[str, Any], says: str) -> None:
    assert why(found) == says


def test_a_workload_that_was_closed_before_its_job_started_ends_the_attempt() -> None:
    def give_up(*conditions: dict[str, Any]) -> dict[str, str] | None:
        return look({**kueues(), "workload": workload(*conditions)}, None, **EARLY).give_up

    assert give_up() is None
    assert give_up(condition("Finished", reason="OutOfSync")) is None
    assert give_up(condition("Finished", reason="FailedToStart", message="invalid node selector")) == {
        "limit": "BackendError",
        "message": "Kueue closed its Workload before it started: invalid node selector.",
    }
