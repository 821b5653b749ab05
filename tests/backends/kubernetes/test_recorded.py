"""What a real cluster told of real Jobs (``record.py`` made them), and what is made of it."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st

from jupyter_trainjob.backends.base import AttemptRef, Observation
from jupyter_trainjob.backends.kubernetes.evidence import Sight, look, settle
from jupyter_trainjob.controllers.ending import Ending, ending
from jupyter_trainjob.resources.trainjob import Phase, Reason

from .attempts import request
from .told import at

FOLDER = Path(__file__).with_name("recorded")
OK = {"claims": {"end": {"outcome": "ok"}}}
INTERRUPTED = {"claims": {"end": {"outcome": "interrupted"}}}


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def seen(name: str, seconds: float = 30) -> Sight:
    """So long after the Job was made."""
    found = recorded(name)
    now = at(found["job"]["metadata"]["creationTimestamp"]) + timedelta(seconds=seconds)
    return look(found["job"], found["pod"], found["events"], now=now, startup_seconds=600)


def told(sight: Sight, state: Any) -> Ending:
    claims = (state or {}).get("claims", {})
    evidence = settle(sight, state)
    return ending(request().job.spec, Observation(AttemptRef("u", 1), "ended", evidence=evidence, claims=claims))


ENDS = [
    ("completed", OK, Phase.SUCCEEDED, Reason.COMPLETED, ""),
    ("failed", None, Phase.FAILED, Reason.RUNNER_LOST, "ended with exit status 3 before it reported"),
    ("out-of-memory", None, Phase.FAILED, Reason.OUT_OF_MEMORY, "The job used more than its 128 MiB of memory."),
    (
        "child-out-of-memory",
        {"claims": {"end": {"outcome": "kernelDied"}}},
        Phase.FAILED,
        Reason.OUT_OF_MEMORY,
        "more than its 128 MiB",
    ),
    ("child-out-of-memory", OK, Phase.SUCCEEDED, Reason.COMPLETED, ""),
    ("evicted-disk", None, Phase.FAILED, Reason.DISK_LIMIT, "It wrote more into its folder than the 64Mi it may have."),
    ("deadline", None, Phase.FAILED, Reason.TIME_LIMIT, "the cluster ended it (DeadlineExceeded)"),
    (
        "cannot-start",
        None,
        Phase.FAILED,
        Reason.IMAGE_ERROR,
        "can't start our runner: failed to create containerd task",
    ),
    ("drained", None, Phase.FAILED, Reason.EVICTED, "Its node was emptied"),
    ("preempted", None, Phase.FAILED, Reason.PREEMPTED, "A more important pod took its place"),
    ("tainted", None, Phase.FAILED, Reason.NODE_LOST, "did not answer any more, or was taken out of use"),
    ("deleted-pod", INTERRUPTED, Phase.FAILED, Reason.DELETED_EXTERNALLY, "Somebody deleted its pod in the cluster"),
    (
        "deleted-pod",
        {"claims": {"end": {"outcome": "error", "error": {"ename": "ValueError", "evalue": "no"}}}},
        Phase.FAILED,
        Reason.CODE_ERROR,
        "ValueError: no",
    ),
    ("deleted-pod", OK, Phase.SUCCEEDED, Reason.COMPLETED, ""),
    ("deleted-by-force", None, Phase.FAILED, Reason.DELETED_EXTERNALLY, "Somebody deleted its pod"),
    ("deleted-job", None, Phase.FAILED, Reason.DELETED_EXTERNALLY, "Somebody deleted its Job"),
    ("cancelled", INTERRUPTED, Phase.CANCELLED, Reason.CANCELLED_BY_USER, "Cancelled: enough"),
    ("cancelled-before-it-ran", None, Phase.CANCELLED, Reason.CANCELLED_BY_USER, "Cancelled: enough"),
    ("given-up", None, Phase.FAILED, Reason.UNSCHEDULABLE, "No node has room. Ask for less"),
]


@pytest.mark.parametrize(
    ("name", "state", "phase", "reason", "says"), ENDS, ids=[f"{case[0]}-{case[3].value}" for case in ENDS]
)
def test_ends(name: str, state: Any, phase: Phase, reason: Reason, says: str) -> None:
    sight = seen(name)
    assert sight.state == "ended" and sight.sidecar_over
    how = told(sight, state)
    assert (how.phase, how.reason) == (phase, reason), how.message
    assert says in how.message


HOLDUPS = [
    ("unschedulable", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.", "", "Unschedulable"),
    ("image-never-pulled", "ErrImageNeverPull", "is not on the node, and this cluster pulls none", "ImageError", ""),
    ("image-not-pulled", "ImagePullBackOff", "The image registry.invalid/lab:1 can't be pulled", "", "ImageError"),
    ("image-without-a-name", "InvalidImageName", "'Not/An:Image!' is no name of an image", "ImageError", ""),
    ("quota", "QuotaExceeded", "quota 'class' is used up (requested: pods=1, used: pods=0", "", "Unschedulable"),
    ("too-large", "Refused", "maximum memory usage per Container is 100Mi, but limit is 160Mi", "BackendError", ""),
    ("refused", "Refused", 'violates PodSecurity "restricted:latest": host namespaces', "BackendError", ""),
    ("no-secret", "FailedMount", 'MountVolume.SetUp failed for volume "orders"', "", "StartupTimeout"),
    ("sidecar-refuses", "SidecarFails", "ended with exit status 2", "BackendError", ""),
]


@pytest.mark.parametrize(("name", "reason", "says", "at_once", "later"), HOLDUPS, ids=[case[0] for case in HOLDUPS])
def test_holdups(name: str, reason: str, says: str, at_once: str, later: str) -> None:
    sight = seen(name)
    (remark,) = (item for item in sight.conditions if item["status"] == "False")
    assert remark["reason"] == reason and says in remark["message"]
    assert (sight.give_up or {}).get("limit", "") == at_once
    if later:
        assert (seen(name, 3600).give_up or {})["limit"] == later


def test_a_node_that_fell_silent_holds_the_job_and_its_return_is_told() -> None:
    silent, back = seen("node-silent", 3600), seen("node-back", 3600)
    assert silent.state == back.state == "running" and not silent.sidecar_over
    (remark,) = (item for item in silent.conditions if item["type"] == "NodeReachable")
    assert remark["status"] == "False" and "The node node1 does not answer since" in remark["message"]
    (remark,) = (item for item in back.conditions if item["type"] == "NodeReachable")
    assert remark["status"] == "True"


def test_the_volumes_of_a_real_pod_are_as_they_are_meant() -> None:
    """``record.completed`` looked from inside both containers, and would have ended otherwise."""
    sight = seen("completed")
    assert sight.evidence["exitCode"] == 0 and sight.termination == "all is well"
    assert sight.started is not None and sight.ended is not None and sight.started <= sight.ended
    assert sight.image_id.startswith("sha256:"), "an image that came without a registry has no other digest"


def prune(value: Any, chance: random.Random) -> Any:
    """``value`` without some of its parts, as an older or a newer cluster might tell it."""
    if isinstance(value, dict):
        kept = {key: prune(item, chance) for key, item in value.items() if chance.random() > 0.08}
        return None if chance.random() < 0.02 else kept
    if isinstance(value, list):
        return [found for item in value if (found := prune(item, chance)) is not None]
    return value


@rules(max_examples=300, deadline=None)
@given(st.integers(0, 10**9))
def test_what_is_missing_from_a_cluster_s_words_is_no_accident(seed: int) -> None:
    chance = random.Random(seed)
    found = recorded(chance.choice(sorted(path.stem for path in FOLDER.glob("*.json"))))
    job, pod = prune(found["job"], chance) or {}, prune(found["pod"], chance)
    sight = look(job, pod, prune(found["events"], chance), now=at("2026-11-23T00:00:00Z"), startup_seconds=600)
    assert sight.state in ("starting", "running", "ended")
    if sight.state == "ended":
        how = told(sight, None)
        assert how.phase in (Phase.FAILED, Phase.CANCELLED) and how.message


def test_every_recording_is_looked_at() -> None:
    names = {case[0] for case in (*ENDS, *HOLDUPS)} | {"node-silent", "node-back"}
    assert {path.stem for path in FOLDER.glob("*.json")} == names
