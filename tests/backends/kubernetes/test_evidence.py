"""Every way a pod can fail, and what is told of it: one line a case."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jupyter_trainjob.backends.base import AttemptRef, Observation
from jupyter_trainjob.backends.kubernetes.evidence import Sight, is_unexplained, look, settle
from jupyter_trainjob.backends.kubernetes.objects import CANCELLED
from jupyter_trainjob.controllers.ending import Ending, ending
from jupyter_trainjob.resources.trainjob import Phase, Reason, TrainJobSpec

from .attempts import request
from .told import (
    RUNNING,
    STARTED,
    T0,
    T1,
    T2,
    T3,
    at,
    condition,
    container,
    deletion,
    ended,
    event,
    gave_up,
    job,
    pod,
    waiting,
)

SPEC: TrainJobSpec = request().job.spec
OK: dict[str, Any] = {"claims": {"end": {"outcome": "ok"}, "started": T1}}
LATE = {"now": at(T0) + timedelta(hours=1), "startup_seconds": 600}
EARLY = {"now": at(T0) + timedelta(seconds=30), "startup_seconds": 600}
FAILED = condition("Failed", reason="PodFailurePolicy")


def told(sight: Sight, state: dict[str, Any] | None = None) -> Ending:
    """What the student reads, by the same way as the server goes."""
    assert sight.state == "ended"
    facts = settle(sight, state)
    claims = (state or {}).get("claims", {})
    return ending(SPEC, Observation(AttemptRef("u", 1), "ended", evidence=facts, claims=claims))


# Before the start: what holds it up

HOLDUPS = [
    (
        "no node has room",
        pod(
            "Pending",
            conditions=[
                condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.")
            ],
            node="",
        ),
        [],
        "Unschedulable",
        "No node of the cluster can take the job now: 0/3 nodes are available: 3 Insufficient cpu.",
        "",
        "Unschedulable",
    ),
    (
        "the image is not there",
        pod(
            "Pending",
            main=waiting(
                "ImagePullBackOff",
                'Back-off pulling image "x": ErrImagePull: failed to resolve reference: registry/x:1: not found',
            ),
            sidecar=RUNNING,
        ),
        [],
        "ImagePullBackOff",
        "The image registry.example.org/course/lab:2026 can't be pulled: Back-off pulling",
        "ImageError",
        "ImageError",
    ),
    (
        "the first try to pull it failed",
        pod("Pending", main=waiting("ErrImagePull", "registry/x:1: not found"), sidecar=RUNNING),
        [],
        "ErrImagePull",
        "can't be pulled: registry/x:1: not found.",
        "",
        "ImageError",
    ),
    (
        "the registry is slow",
        pod("Pending", main=waiting("ImagePullBackOff", "i/o timeout"), sidecar=RUNNING),
        [],
        "ImagePullBackOff",
        "can't be pulled: i/o timeout.",
        "",
        "ImageError",
    ),
    (
        "the registry wants a password",
        pod("Pending", main=waiting("ImagePullBackOff", "401 Unauthorized"), sidecar=RUNNING),
        [],
        "ImagePullBackOff",
        "401 Unauthorized",
        "ImageError",
        "ImageError",
    ),
    (
        "images are never pulled",
        pod(
            "Pending",
            main=waiting("ErrImageNeverPull", 'Container image "x" is not present with pull policy of Never'),
            sidecar=RUNNING,
        ),
        [],
        "ErrImageNeverPull",
        "The image registry.example.org/course/lab:2026 is not on the node, and this cluster pulls none.",
        "ImageError",
        "ImageError",
    ),
    (
        "the image has no name",
        pod("Pending", main=waiting("InvalidImageName", "invalid reference format"), sidecar=RUNNING),
        [],
        "InvalidImageName",
        "is no name of an image: invalid reference format.",
        "ImageError",
        "ImageError",
    ),
    (
        "our own image is not there",
        pod("Pending", main=waiting("PodInitializing"), sidecar=waiting("ErrImageNeverPull", "not present")),
        [],
        "ErrImageNeverPull",
        "The image of the service itself, docker.io/trainjob/python:1, can't be had: not present. Tell the operator.",
        "ImageError",
        "ImageError",
    ),
    (
        "the container can't be configured",
        pod("Pending", main=waiting("CreateContainerConfigError", 'secret "x" not found'), sidecar=RUNNING),
        [],
        "CreateContainerConfigError",
        "The job's container can't be started: secret \"x\" not found.",
        "",
        "BackendError",
    ),
    (
        "the container can't be run",
        pod("Pending", main=waiting("RunContainerError", "no runtime"), sidecar=RUNNING),
        [],
        "RunContainerError",
        "can't be started: no runtime.",
        "",
        "BackendError",
    ),
    (
        "a volume can't be mounted",
        pod("Pending", main=waiting("PodInitializing"), sidecar=waiting("PodInitializing")),
        [
            event("FailedMount", "old", T0),
            event("FailedMount", 'MountVolume.SetUp failed for volume "data": claim "d" not found'),
            event("Scheduled", "later", T2),
            event("FailedMount", "of another pod", T3, uid="other"),
        ],
        "FailedMount",
        'A volume of the job can\'t be mounted: MountVolume.SetUp failed for volume "data"',
        "",
        "StartupTimeout",
    ),
    (
        "the sandbox can't be made",
        pod("Pending", conditions=STARTED[:1]),
        [event("FailedCreatePodSandBox", "no runtime for gvisor is configured")],
        "FailedCreatePodSandBox",
        "The node can't make the job's sandbox: no runtime for gvisor is configured.",
        "",
        "StartupTimeout",
    ),
    (
        "the sidecar can't follow its orders",
        pod(
            "Running",
            main=RUNNING,
            sidecar={
                **waiting("CrashLoopBackOff"),
                "lastState": ended(2),
                "restartCount": 1,
            },
        ),
        [],
        "SidecarFails",
        "What brings the job's inputs and its log away ended with exit status 2, 1 times so far.",
        "BackendError",
        "BackendError",
    ),
    (
        "the runner can't be copied",
        pod("Pending", main=waiting("PodInitializing"), init=[container("runner", **ended(1))]),
        [],
        "RunnerNotCopied",
        "Our runner could not be copied beside the job's image: exit status 1.",
        "BackendError",
        "BackendError",
    ),
    (
        "the namespace's quota is used up",
        None,
        [
            event(
                "FailedCreate",
                'Error creating: pods "tj-x-1-abcde" is forbidden: exceeded quota: class, requested: limits.cpu=1, '
                "used: limits.cpu=4, limited: limits.cpu=4",
                uid="job-uid",
            )
        ],
        "QuotaExceeded",
        "The cluster's quota 'class' is used up (requested: limits.cpu=1, used: limits.cpu=4, limited: limits.cpu=4). "
        "The job starts when others have ended.",
        "",
        "Unschedulable",
    ),
    (
        "the namespace is new, and has no service account yet",
        None,
        [
            event(
                "FailedCreate",
                'Error creating: pods "x-" is forbidden: error looking up service account class/default: '
                'serviceaccount "default" not found',
                uid="job-uid",
            )
        ],
        "FailedCreate",
        "The cluster can't make the job's pod now: error looking up service account class/default: serviceaccount "
        '"default" not found. If that stays, an operator must make that account.',
        "",
        "BackendError",
    ),
    (
        "the pod is not admitted",
        None,
        [
            event(
                "FailedCreate",
                'Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged',
                uid="job-uid",
            )
        ],
        "Refused",
        'The cluster does not admit the job\'s pod: violates PodSecurity "restricted:latest": privileged.',
        "BackendError",
        "BackendError",
    ),
    (
        "the pod is larger than the namespace's limits",
        None,
        [
            event(
                "FailedCreate",
                'Error creating: pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 2',
                uid="job-uid",
            )
        ],
        "Refused",
        "The cluster does not admit a pod of this size: maximum cpu usage per Container is 1, but limit is 2. Ask for",
        "BackendError",
        "BackendError",
    ),
]


@pytest.mark.parametrize(
    ("seen", "events", "reason", "says", "at_once", "in_the_end"),
    [case[1:] for case in HOLDUPS],
    ids=[case[0] for case in HOLDUPS],
)
def test_what_holds_a_start_up_is_told(
    seen: Any, events: list[Any], reason: str, says: str, at_once: str, in_the_end: str
) -> None:
    early, late = look(job(), seen, events, **EARLY), look(job(), seen, events, **LATE)
    (remark,) = (item for item in early.conditions if item["status"] == "False")
    assert remark["reason"] == reason
    assert says in remark["message"]
    assert (early.give_up or {}).get("limit", "") == at_once
    if early.state == "starting":
        assert (late.give_up or {})["limit"] == in_the_end
        assert says in (late.give_up or {})["message"]


def test_only_events_can_tell_of_a_pod_that_is_not_made_or_not_set_up() -> None:
    creating = pod("Pending", main=waiting("ContainerCreating"), sidecar=waiting("PodInitializing"))
    assert look(job(), None, **EARLY).stuck and look(job(), creating, **EARLY).stuck
    fresh = {"now": at(T0) + timedelta(seconds=2), "startup_seconds": 600}
    assert not look(job(), None, **fresh).stuck and not look(job(), creating, **fresh).stuck
    assert not look(job(), HOLDUPS[0][1], **EARLY).stuck, "the scheduler's words stand in the pod"
    assert not look(job(), pod(main=RUNNING, sidecar=RUNNING), **EARLY).stuck


def test_a_start_that_says_nothing_and_takes_too_long_is_given_up() -> None:
    sight = look(job(), pod("Pending", conditions=STARTED[:1]), **LATE)
    assert sight.give_up == {"limit": "StartupTimeout", "message": "It did not start within 600 s."}
    assert look(job(), pod("Pending", conditions=STARTED[:1]), **EARLY).give_up is None


def test_what_was_given_up_ends_so_whatever_becomes_of_its_pod() -> None:
    noted = gave_up("ImageError", "The image x can't be pulled: not found.")
    stopped = job(annotations=noted, suspend=True)
    for seen in (HOLDUPS[1][1], None, pod("Pending", deleted=True, node="", meta=deletion(T2))):
        how = told(look(stopped, seen, **LATE))
        assert how.reason is Reason.IMAGE_ERROR
        assert how.message.startswith("The image x can't be pulled: not found. ")
        assert look(stopped, seen, **LATE).sidecar_over


def test_a_container_that_waited_for_inputs_in_vain_is_no_deletion_by_hand() -> None:
    stopped = job(annotations=gave_up("BackendError", "What brings the inputs fails."), suspend=True)
    waited = pod("Failed", main=ended(143, at=T3), sidecar=ended(2), meta=deletion(T2), deleted=True)
    how = told(look(stopped, waited))
    assert how.reason is Reason.BACKEND_ERROR and how.message == "What brings the inputs fails."
    assert look(stopped, pod(main=RUNNING, sidecar=RUNNING, meta=deletion(T2))).state == "running", "it still ends"


def test_a_slow_start_is_told_when_it_is_over() -> None:
    sight = look(job(), pod(main=RUNNING, sidecar=RUNNING))
    assert sight.state == "running" and sight.node == "node1" and sight.started == at(T1)
    assert sight.conditions == [
        {"type": "PodStarted", "status": "True", "reason": "Started", "message": "Its pod started after 60 s."}
    ]
    assert sight.image_id.endswith("@sha256:" + "d" * 64)


def test_a_sidecar_that_fails_now_and_then_does_not_end_the_job() -> None:
    failing = {**waiting("CrashLoopBackOff"), "lastState": ended(137, "OOMKilled"), "restartCount": 2}
    sight = look(job(), pod(main=RUNNING, sidecar=failing), **LATE)
    assert sight.give_up is None
    assert "ended for lack of memory, 2 times so far" in sight.conditions[0]["message"]
    failing["restartCount"] = 5
    assert look(job(), pod(main=RUNNING, sidecar=failing), **LATE).give_up is not None


# Ends: (what, job, pod, the sidecar's word, phase and reason, what is said)

ENDS: list[tuple[str, Any, Any, Any, Phase, Reason, str]] = [
    ("the code ran through", job(), pod(main=ended(0), sidecar=RUNNING), OK, Phase.SUCCEEDED, Reason.COMPLETED, ""),
    (
        "the code failed",
        job(),
        pod(main=ended(0), sidecar=RUNNING),
        {"claims": {"end": {"outcome": "error", "error": {"ename": "ValueError", "evalue": "no", "line": 3}}}},
        Phase.FAILED,
        Reason.CODE_ERROR,
        "ValueError: no (line 3)",
    ),
    (
        "the Job is complete and its pod gone",
        job(condition("Complete")),
        None,
        OK,
        Phase.SUCCEEDED,
        Reason.COMPLETED,
        "",
    ),
    (
        "killed for memory (cgroup v2: the whole container)",
        job(FAILED),
        pod("Failed", main=ended(137, "OOMKilled"), sidecar=ended(0)),
        None,
        Phase.FAILED,
        Reason.OUT_OF_MEMORY,
        "The job used more than its 1 GiB of memory. Files in its folder and in /tmp count as memory on this cluster. "
        "Ask for more with --memory, or hold less at once.",
    ),
    (
        "killed for memory (v1: the kernel process, and the container went on)",
        job(),
        pod(main=ended(0, "OOMKilled"), sidecar=RUNNING),
        {"claims": {"end": {"outcome": "kernelDied"}, "started": T1}},
        Phase.FAILED,
        Reason.OUT_OF_MEMORY,
        "more than its 1 GiB of memory",
    ),
    (
        "killed for memory (v1: nobody but our first process noticed)",
        job(),
        pod(main=ended(0), sidecar=RUNNING),
        {"claims": {"end": {"outcome": "kernelDied"}, "started": T1}, "main": {"oomKills": 1}},
        Phase.FAILED,
        Reason.OUT_OF_MEMORY,
        "more than its 1 GiB of memory",
    ),
    (
        "killed while it held all of its memory",
        job(FAILED),
        pod("Failed", main=ended(137), sidecar=ended(0)),
        {"usage": {"peakMemoryBytes": 2**30 - 2**20}},
        Phase.FAILED,
        Reason.OUT_OF_MEMORY,
        "more than its 1 GiB of memory",
    ),
    (
        "a helper was killed for memory and the code ran through",
        job(),
        pod(main=ended(0, "OOMKilled"), sidecar=RUNNING),
        OK,
        Phase.SUCCEEDED,
        Reason.COMPLETED,
        "",
    ),
    (
        "killed by nobody we know",
        job(FAILED),
        pod("Failed", main=ended(137), sidecar=ended(0)),
        {"main": {"lastWords": "Bus error"}},
        Phase.FAILED,
        Reason.RUNNER_LOST,
        "ended with signal 9 before it reported. Its last words: Bus error. Run it again with retry.",
    ),
    (
        "its folder grew too large",
        job(FAILED),
        pod(
            "Failed",
            main=ended(137),
            sidecar=ended(137),
            reason="Evicted",
            message='Usage of EmptyDir volume "work" exceeds the limit "2Gi". ',
        ),
        None,
        Phase.FAILED,
        Reason.DISK_LIMIT,
        "It wrote more into its folder than the 2Gi it may have. Ask for more with --disk, or write less.",
    ),
    (
        "it wrote too much to disk",
        job(FAILED),
        pod(
            "Failed",
            main=ended(137),
            reason="Evicted",
            message='Container main exceeded its local ephemeral storage limit "64Mi". ',
        ),
        None,
        Phase.FAILED,
        Reason.DISK_LIMIT,
        "It wrote more to disk than the 64Mi it may.",
    ),
    (
        "all its containers wrote too much to disk",
        job(FAILED),
        pod(
            "Failed",
            main=ended(137),
            reason="Evicted",
            message="Pod ephemeral local storage usage exceeds the total limit of containers 128Mi. ",
        ),
        None,
        Phase.FAILED,
        Reason.DISK_LIMIT,
        "than the 128Mi that it and its inputs may.",
    ),
    (
        "what ships ran out of disk",
        job(FAILED),
        pod(
            "Failed",
            main=ended(137),
            reason="Evicted",
            message='Usage of EmptyDir volume "buffer" exceeds the limit "320Mi". ',
        ),
        None,
        Phase.FAILED,
        Reason.STORAGE_ERROR,
        "What brings its inputs and outputs ran out of disk",
    ),
    (
        "its node ran out of memory",
        job(FAILED),
        pod(
            "Failed",
            main=ended(137),
            conditions=[*STARTED, condition("DisruptionTarget", reason="TerminationByKubelet")],
            reason="Evicted",
            message="The node was low on resource: memory. Threshold quantity: 100Mi, available: 7560Ki. ",
        ),
        None,
        Phase.FAILED,
        Reason.EVICTED,
        "Its node ran out of memory and gave it up. The cluster says: The node was low on resource: memory.",
    ),
    (
        "its node ran out of disk before anything started",
        job(FAILED),
        pod("Failed", conditions=[], reason="Evicted", message="The node had condition: [DiskPressure]. "),
        None,
        Phase.FAILED,
        Reason.EVICTED,
        "Its node gave it up: The node had condition: [DiskPressure].",
    ),
    (
        "its node was emptied",
        job(FAILED),
        pod(
            "Failed",
            main=ended(143),
            conditions=[*STARTED, condition("DisruptionTarget", reason="EvictionByEvictionAPI")],
            meta=deletion(T2),
        ),
        None,
        Phase.FAILED,
        Reason.EVICTED,
        "Its node was emptied, for maintenance for example.",
    ),
    (
        "its node was shut down",
        job(FAILED),
        pod(
            "Failed",
            main=ended(143),
            conditions=[*STARTED, condition("DisruptionTarget", reason="TerminationByKubelet")],
            reason="Terminated",
            message="Pod was terminated in response to imminent node shutdown.",
        ),
        None,
        Phase.FAILED,
        Reason.EVICTED,
        "The node was shut down: Pod was terminated in response",
    ),
    (
        "preempted by the scheduler",
        job(FAILED),
        pod(
            "Failed",
            main=ended(143),
            conditions=[
                *STARTED,
                condition(
                    "DisruptionTarget",
                    reason="PreemptionByScheduler",
                    message="default-scheduler: preempting to accommodate a higher priority pod",
                ),
            ],
            meta=deletion(T2),
        ),
        None,
        Phase.FAILED,
        Reason.PREEMPTED,
        "A more important pod took its place: default-scheduler: preempting",
    ),
    (
        "its node was lost and removed",
        job(FAILED),
        pod(
            "Failed",
            main=RUNNING,
            conditions=[*STARTED, condition("DisruptionTarget", reason="DeletionByPodGC")],
            meta=deletion(T2, 0),
            deleted=True,
        ),
        None,
        Phase.FAILED,
        Reason.NODE_LOST,
        "The node node1 did not answer any more, or was taken out of use.",
    ),
    (
        "its lost node came back and killed it",
        job(FAILED),
        pod(
            "Failed",
            main=ended(137, at=T3),
            conditions=[*STARTED, condition("DisruptionTarget", reason="DeletionByTaintManager")],
            meta=deletion(T2),
        ),
        None,
        Phase.FAILED,
        Reason.NODE_LOST,
        "Run it again with retry.",
    ),
    (
        "the node took another pod first",
        job(FAILED),
        pod("Failed", conditions=STARTED[:1], reason="OutOfcpu", message="Node didn't have enough resource: cpu"),
        None,
        Phase.FAILED,
        Reason.UNSCHEDULABLE,
        "The node node1 had no room for it any more: Node didn't have enough resource: cpu",
    ),
    (
        "the node did not take it",
        job(FAILED),
        pod("Failed", conditions=STARTED[:1], reason="UnexpectedAdmissionError", message="no devices left"),
        None,
        Phase.FAILED,
        Reason.UNSCHEDULABLE,
        "The node node1 did not take it: UnexpectedAdmissionError. no devices left",
    ),
    (
        "the cluster's deadline struck while it ran",
        job(condition("FailureTarget", reason="DeadlineExceeded", message="Job was active longer than deadline")),
        pod(main=ended(137, at=T3), meta=deletion(T2)),
        None,
        Phase.FAILED,
        Reason.TIME_LIMIT,
        "It did not end with its time limit, and the cluster ended it (DeadlineExceeded). Ask for more with",
    ),
    (
        "the cluster's deadline struck while no node had room",
        job(condition("Failed", reason="DeadlineExceeded")),
        {**HOLDUPS[0][1], "deleted": True},
        None,
        Phase.FAILED,
        Reason.UNSCHEDULABLE,
        "No node of the cluster can take the job now",
    ),
    (
        "the cluster's deadline struck before anything was seen",
        job(condition("Failed", reason="DeadlineExceeded")),
        None,
        None,
        Phase.FAILED,
        Reason.STARTUP_TIMEOUT,
        "It did not start in the time",
    ),
    (
        "the image has no Python to start our runner with",
        job(FAILED),
        pod(
            "Failed",
            main=ended(128, "StartError", 'exec: "python3": executable file not found in $PATH', started=None),
            sidecar=ended(0),
        ),
        None,
        Phase.FAILED,
        Reason.IMAGE_ERROR,
        'The image registry.example.org/course/lab:2026 can\'t start our runner: exec: "python3": executable file not',
    ),
    (
        "its node was restarted, and makes its exit status up",
        job(FAILED),
        pod("Failed", main=ended(255, "Unknown"), sidecar=ended(255, "Unknown")),
        {"usage": {"peakMemoryBytes": 2**40}},
        Phase.FAILED,
        Reason.HOST_RESTARTED,
        "The node node1 was restarted while it ran.",
    ),
    (
        "its node lost track of it",
        job(FAILED),
        pod("Failed", main=ended(137, "ContainerStatusUnknown", "The container could not be located"), sidecar=RUNNING),
        {"usage": {"peakMemoryBytes": 2**40}},
        Phase.FAILED,
        Reason.NODE_LOST,
        "The node node1 does not know any more what became of it. The container could not be located",
    ),
    (
        "its pod was deleted by hand",
        job(FAILED),
        pod("Failed", main=ended(143, at=T3), sidecar=ended(0), meta=deletion(T2), deleted=True),
        {"claims": {"end": {"outcome": "interrupted"}}},
        Phase.FAILED,
        Reason.DELETED_EXTERNALLY,
        "Somebody deleted its pod in the cluster while it ran, with kubectl for example. Run it again with retry.",
    ),
    (
        "its pod was deleted by hand, and it saved what it had and left well",
        job(),
        pod("Running", main=ended(0, at=T3), sidecar=RUNNING, meta=deletion(T2)),
        {"claims": {"end": {"outcome": "interrupted"}}},
        Phase.FAILED,
        Reason.DELETED_EXTERNALLY,
        "Somebody deleted its pod",
    ),
    (
        "its pod was deleted by hand, but its own error came first",
        job(condition("Complete")),
        pod("Succeeded", main=ended(0, at=T2), sidecar=ended(0), meta=deletion(T2)),
        {"claims": {"end": {"outcome": "error", "error": {"ename": "ValueError", "evalue": "no"}}}},
        Phase.FAILED,
        Reason.CODE_ERROR,
        "ValueError: no",
    ),
    (
        "its pod was deleted by force",
        job(FAILED),
        pod("Running", main=RUNNING, sidecar=RUNNING, meta=deletion(T2, 0), deleted=True),
        None,
        Phase.FAILED,
        Reason.DELETED_EXTERNALLY,
        "Somebody deleted its pod",
    ),
    (
        "its Job was deleted by hand",
        job(deletionTimestamp=T2),
        pod("Failed", main=ended(143, at=T3), meta=deletion(T2), deleted=True),
        None,
        Phase.FAILED,
        Reason.DELETED_EXTERNALLY,
        "Somebody deleted its Job",
    ),
    (
        "its pod is gone, and nobody saw how",
        job(condition("Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit")),
        None,
        None,
        Phase.FAILED,
        Reason.DELETED_EXTERNALLY,
        "Its pod is gone, and not by our hand",
    ),
    (
        "its pod is gone, and the Job tells the exit status",
        job(
            condition(
                "Failed",
                reason="PodFailurePolicy",
                message="Container main for pod t/tj-x-1-a failed with exit code 3 matching FailJob rule at index 1",
            )
        ),
        None,
        None,
        Phase.FAILED,
        Reason.RUNNER_LOST,
        "ended with exit status 3 before it reported",
    ),
    (
        "cancelled while it ran",
        job(annotations={CANCELLED: "enough"}),
        pod(main=ended(143, at=T3), sidecar=RUNNING, meta=deletion(T2)),
        {"claims": {"end": {"outcome": "interrupted"}}},
        Phase.CANCELLED,
        Reason.CANCELLED_BY_USER,
        "Cancelled: enough",
    ),
    (
        "cancelled, and killed for not listening",
        job(FAILED, annotations={CANCELLED: ""}),
        pod("Failed", main=ended(137, at=T3), meta=deletion(T2), deleted=True),
        None,
        Phase.CANCELLED,
        Reason.CANCELLED_BY_USER,
        "Cancelled.",
    ),
    (
        "cancelled before there was a pod",
        job(annotations={CANCELLED: "enough"}, suspend=True),
        None,
        None,
        Phase.CANCELLED,
        Reason.CANCELLED_BY_USER,
        "Cancelled: enough",
    ),
    (
        "cancelled before its pod had a node",
        job(annotations={CANCELLED: "enough"}),
        {**HOLDUPS[0][1], "deleted": True},
        None,
        Phase.CANCELLED,
        Reason.CANCELLED_BY_USER,
        "Cancelled: enough",
    ),
    (
        "cancelled too late",
        job(annotations={CANCELLED: "enough"}),
        pod(main=ended(0), sidecar=RUNNING, meta=deletion(T3)),
        OK,
        Phase.SUCCEEDED,
        Reason.COMPLETED,
        "",
    ),
    (
        "its inputs could not be brought",
        job(FAILED),
        pod("Failed", main=ended(64), sidecar=ended(0)),
        {"failed": {"limit": "StorageError", "message": "The input a.csv is gone from the store."}},
        Phase.FAILED,
        Reason.STORAGE_ERROR,
        "The input a.csv is gone from the store.",
    ),
    (
        "its time was up",
        job(),
        pod(main=ended(0), sidecar=RUNNING),
        {
            "claims": {"end": {"outcome": "interrupted"}, "started": T1},
            "main": {"limit": "TimeLimit", "message": "The job ran longer than its 300 s."},
        },
        Phase.FAILED,
        Reason.TIME_LIMIT,
        "The job ran longer than its 300 s. Ask for more with --time-limit.",
    ),
    (
        "its folder in memory was full",
        job(),
        pod(main=ended(0), sidecar=RUNNING),
        {
            "claims": {
                "end": {
                    "outcome": "error",
                    "error": {"ename": "OSError", "evalue": "[Errno 28] No space left on device", "traceback": ""},
                }
            },
            "main": {"full": ["work"]},
        },
        Phase.FAILED,
        Reason.DISK_LIMIT,
        "The job's folder was full: it holds 768 MiB, for files in it and in /tmp together. They lie in memory on this "
        "cluster: ask for more with --memory and --disk",
    ),
    (
        "what it leaves had no room",
        job(),
        pod(main=ended(0), sidecar=RUNNING),
        {
            "claims": {
                "end": {
                    "outcome": "error",
                    "error": {"ename": "OSError", "evalue": "[Errno 28] No space left on device", "traceback": ""},
                }
            },
            "main": {"full": ["out"]},
        },
        Phase.FAILED,
        Reason.DISK_LIMIT,
        "There was no room for what the job leaves beside its files: its notebook, named results and metrics may have "
        "768 MiB of its disk.",
    ),
    (
        "its shared memory was full, in R's words",
        job(),
        pod(main=ended(0), sidecar=RUNNING),
        {
            "claims": {
                "end": {
                    "outcome": "error",
                    "error": {"ename": "OSError", "evalue": "write error: No space left on device", "traceback": ""},
                }
            },
            "main": {"full": ["shm"]},
        },
        Phase.FAILED,
        Reason.DISK_LIMIT,
        "/dev/shm was full: the job has 64 MiB of it. Ask for more with --shm, or write less there.",
    ),
    (
        "the node's disk was full",
        job(),
        pod(main=ended(0), sidecar=RUNNING),
        {
            "claims": {
                "end": {
                    "outcome": "error",
                    "error": {"ename": "OSError", "evalue": "[Errno 28] No space left on device", "traceback": ""},
                }
            },
            "main": {"full": ["node"]},
        },
        Phase.FAILED,
        Reason.STORAGE_ERROR,
        "The disk of the node that ran the job is full. An operator must make room.",
    ),
    (
        "it asked for more room than there was",
        job(),
        pod(main=ended(0), sidecar=RUNNING),
        {
            "claims": {
                "end": {
                    "outcome": "error",
                    "error": {"ename": "OSError", "evalue": "[Errno 28] No space left on device", "traceback": ""},
                }
            },
            "main": {"full": []},
        },
        Phase.FAILED,
        Reason.DISK_LIMIT,
        "The job wanted more room at once than was free: it has 768 MiB for its files, and 64 MiB in /dev/shm.",
    ),
    (
        "it opened too many files",
        job(),
        pod(main=ended(0), sidecar=RUNNING),
        {
            "claims": {
                "end": {
                    "outcome": "error",
                    "error": {"ename": "OSError", "evalue": "[Errno 24] Too many open files", "traceback": ""},
                }
            }
        },
        Phase.FAILED,
        Reason.OPEN_FILES_LIMIT,
        "A process of the job had its 1024 files open and wanted another.",
    ),
    (
        "a job that claims to have never begun, to be run again for nothing, is not believed",
        job(),
        pod(main=ended(0), sidecar=RUNNING),
        {
            "claims": {"end": {"outcome": "error", "error": {"ename": "E", "evalue": ""}}, "started": T1},
            "main": {"limit": "BackendError", "message": "Poor me."},
            "failed": {"limit": "StorageError", "message": "Poor me."},
        },
        Phase.FAILED,
        Reason.CODE_ERROR,
        "E: ",
    ),
    (
        "a job that claims success over the kubelet's word is not believed",
        job(FAILED),
        pod("Failed", main=ended(137, "OOMKilled"), sidecar=ended(0)),
        OK,
        Phase.FAILED,
        Reason.OUT_OF_MEMORY,
        "more than its 1 GiB",
    ),
    (
        "the store was away, and the sidecar's last words tell the end",
        job(),
        pod(
            main=ended(0),
            sidecar=ended(3, message='{"protocol": 1, "claims": {"end": {"outcome": "ok"}}}'),
        ),
        None,
        Phase.SUCCEEDED,
        Reason.COMPLETED,
        "",
    ),
]


@pytest.mark.parametrize(
    ("work", "seen", "state", "phase", "reason", "says"), [case[1:] for case in ENDS], ids=[case[0] for case in ENDS]
)
def test_ends(work: Any, seen: Any, state: Any, phase: Phase, reason: Reason, says: str) -> None:
    sight = look(work, seen, **EARLY)
    if not (state or {}).get("claims") and sight.termination:
        state = {"claims": {"end": {"outcome": "ok"}}} if phase is Phase.SUCCEEDED else state
    how = told(sight, state)
    assert (how.phase, how.reason) == (phase, reason), how.message
    assert says in how.message


def test_a_node_that_is_lost_is_a_condition_and_no_end() -> None:
    silent = [*STARTED[:3], condition("Ready", "False", time=T2)]
    taken = [*silent, condition("DisruptionTarget", reason="DeletionByTaintManager")]
    for seen in (
        pod(main=RUNNING, sidecar=RUNNING, conditions=silent),
        pod(main=RUNNING, sidecar=RUNNING, conditions=taken, meta=deletion(T2)),
        pod("Unknown", main=RUNNING, sidecar=RUNNING),
        pod(main=RUNNING, sidecar=RUNNING, reason="NodeLost", meta=deletion(T2)),
    ):
        sight = look(job(), seen, **LATE)
        assert sight.state == "running" and not sight.sidecar_over and sight.give_up is None
        remark = next(item for item in sight.conditions if item["type"] == "NodeReachable")
        assert remark["status"] == "False"
        assert "The node node1 does not answer" in remark["message"]
        assert "The job keeps its place" in remark["message"]


def test_a_node_that_is_back_is_told() -> None:
    back = [*STARTED[:3], condition("Ready", "True", time=T3)]
    sight = look(job(), pod(main=RUNNING, sidecar=RUNNING, conditions=back))
    assert {"type": "NodeReachable", "status": "True", "reason": "Back", "message": "Its node answers again."} in (
        sight.conditions
    )


def test_the_sidecar_may_go_on_when_the_code_has_ended() -> None:
    shipping = look(job(), pod(main=ended(0), sidecar=RUNNING))
    assert (shipping.state, shipping.sidecar_over, shipping.ended) == ("ended", False, at(T2))
    gone = look(job(), pod(main=ended(0), sidecar=ended(3, message="{}")))
    assert gone.sidecar_over and gone.termination == "{}"


@pytest.mark.parametrize(
    ("code", "facts"), [(128, (128, None)), (139, (None, 11)), (193, (193, None)), (255, (255, None))]
)
def test_only_what_can_be_a_signal_is_taken_for_one(code: int, facts: tuple[int | None, int | None]) -> None:
    found = look(job(FAILED), pod("Failed", main=ended(code), sidecar=ended(0))).evidence
    assert (found["exitCode"], found["signal"]) == facts


def test_code_that_never_ran_is_told_from_code_that_did() -> None:
    cancelled = job(annotations={CANCELLED: "no"}, suspend=True)
    assert not look(cancelled, None).begun
    assert not look(cancelled, pod("Pending", main=waiting("ContainerCreating"), deleted=True)).begun
    assert not look(job(), pod("Failed", main=ended(128, "StartError", started="1970-01-01T00:00:00Z"))).begun
    assert look(job(), pod("Failed", main=ended(1))).begun
    assert look(job(), pod(main=RUNNING, deleted=True)).begun
    failed = "Container main for pod trainjob/tj-x-1-abcde failed with exit code 3 matching FailJob rule at index 1"
    assert look(job(condition("Failed", reason="PodFailurePolicy", message=failed)), None).begun


def test_what_is_not_there_is_gone() -> None:
    assert look(None, None).state == "gone"


@pytest.mark.parametrize(
    "state", [{"claims": []}, {"main": 3}, {"claims": {"end": {"outcome": "x"}}}, {"usage": "y"}, {"failed": []}]
)
def test_a_state_that_makes_no_sense_is_no_evidence(state: dict[str, Any]) -> None:
    facts = settle(look(job(), pod(main=ended(0), sidecar=RUNNING)), state)
    assert "message" not in facts and "limit" not in facts


# An end that nobody has owned up to

INTERRUPTED: dict[str, Any] = {"claims": {"end": {"outcome": "interrupted"}}, "main": {"terminated": True}}
EVICTED = {"reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."}


@pytest.mark.parametrize(
    ("name", "pod", "state", "waits"),
    [
        ("interrupted, its sidecar still runs", pod(main=ended(0), sidecar=RUNNING), INTERRUPTED, True),
        ("interrupted, its sidecar is over too", pod(main=ended(0), sidecar=ended(0)), INTERRUPTED, True),
        ("killed before it could say anything", pod(main=ended(137), sidecar=RUNNING), {}, True),
        ("the kubelet has spoken", pod("Failed", main=ended(0), sidecar=ended(0), **EVICTED), INTERRUPTED, False),
        ("the pod is gone", pod(main=ended(0), sidecar=ended(0), deleted=True), INTERRUPTED, False),
        ("somebody deleted it", pod(main=ended(0), sidecar=RUNNING, meta=deletion(T1)), INTERRUPTED, False),
        ("its own end came first", pod(main=ended(0), sidecar=RUNNING), {**OK, "main": {"terminated": True}}, False),
        ("its own limit", pod(main=ended(137), sidecar=RUNNING), {"main": {"limit": "TimeLimit"}}, False),
        ("killed for memory", pod(main=ended(137, "OOMKilled"), sidecar=RUNNING), {}, False),
        ("it crashed", pod(main=ended(139), sidecar=RUNNING), {}, False),
        ("it exited by itself", pod(main=ended(3), sidecar=RUNNING), {}, False),
    ],
)
def test_whose_hand_ended_it_is_waited_for(name: str, pod: dict[str, Any], state: dict[str, Any], waits: bool) -> None:
    sight = look(job(), pod)
    assert sight.state == "ended" and is_unexplained(sight, state) is waits, name


def test_a_cancelled_one_needs_no_word_of_the_cluster() -> None:
    sight = look(job(annotations={CANCELLED: "enough"}), pod(main=ended(0), sidecar=RUNNING))
    assert not is_unexplained(sight, INTERRUPTED)
