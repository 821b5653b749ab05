"""What is made of an API server's refusals: which pass by themselves, and which end a job."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_trainjob.backends.kubernetes import holdups
from jupyter_trainjob.backends.kubernetes.replies import Reply, beyond_quota, refusal

from .told import event

POD = 'pods "tj-x-1-abcde" is forbidden: '
QUOTA = "exceeded quota: class, requested: limits.cpu={asked},pods=1, used: limits.cpu=3, limited: limits.cpu=4,pods=9"


def said(code: int, message: str, **more: Any) -> Reply:
    return Reply(code, {"message": message, **more}, 7.0 if code == 429 else None)


def about(name: str = "tj-x-1") -> dict[str, Any]:
    return {"details": {"name": name, "kind": "jobs", "group": "batch"}}


PASSES = [
    said(429, "too many requests, please try again later"),
    said(500, 'Internal error occurred: failed calling webhook "mjob.kb.io": connection refused'),
    said(503, "apiserver is shutting down"),
    said(401, "Unauthorized"),
    said(403, 'jobs.batch is forbidden: User "server" cannot create resource "jobs" in API group "batch"'),
    said(403, 'jobs.batch "tj-x-1" is forbidden: User "server" cannot get resource "jobs"', **about()),
    said(403, 'jobs.batch "tj-x-1" is forbidden: ' + QUOTA.format(asked=2), **about()),
    said(403, 'jobs.batch "tj-x-1" is forbidden: status unknown for quota: class, resources: pods', **about()),
    said(403, 'jobs.batch "tj-x-1" is forbidden: unable to create new content in namespace jobs because it is being '
         "terminated", **about()),
]  # fmt: skip
STAYS = [
    said(422, "Job.batch is invalid: spec.template.spec.containers[0].image: Required value"),
    said(400, "the body can't be read"),
    said(413, "Request entity too large: limit is 3145728"),
    said(403, 'admission webhook "policy.example.org" denied the request: images must come from our registry'),
    said(403, 'jobs.batch "tj-x-1" is forbidden: violates PodSecurity "restricted:latest": privileged', **about()),
    said(403, 'jobs.batch "tj-x-1" is forbidden: ' + QUOTA.format(asked=5), **about()),
]


@pytest.mark.parametrize("reply", PASSES, ids=lambda reply: f"{reply.code}-{reply.body['message'][:40]}")
def test_what_passes_by_itself_is_waited_for(reply: Reply) -> None:
    assert not refusal(reply, "https://cluster").permanent


@pytest.mark.parametrize("reply", STAYS, ids=lambda reply: f"{reply.code}-{reply.body['message'][:40]}")
def test_what_is_wrong_with_the_object_is_told_at_once(reply: Reply) -> None:
    error = refusal(reply, "https://cluster")
    assert error.permanent and str(reply.body["message"])[:60] in str(error)


def test_how_long_a_busy_server_wants_to_be_left_alone_is_handed_on() -> None:
    assert refusal(PASSES[0], "https://cluster").after == 7.0


def test_a_quota_that_can_never_hold_it_is_told_by_what_is_too_much() -> None:
    assert beyond_quota(QUOTA.format(asked=5)) == "limits.cpu: 5 of 4"
    assert beyond_quota(QUOTA.format(asked="4")) == "" and beyond_quota(QUOTA.format(asked="3900m")) == ""
    closed = "exceeded quota: class, requested: pods=1, used: pods=0, limited: pods=0"
    assert beyond_quota(closed) == "", "for now: no job asks for fewer pods"
    assert beyond_quota("exceeded quota: class, something new") == "" and beyond_quota("all is well") is None
    assert "It can never hold it: limits.cpu: 5 of 4. Ask for less" in str(refusal(STAYS[-1], "https://cluster"))


def test_a_pod_that_a_quota_can_never_hold_is_given_up_at_once_and_another_waits() -> None:
    never = holdups.of_job([event("FailedCreate", f"Error creating: {POD}{QUOTA.format(asked=5)}")])
    assert never is not None and never.for_good and never.limit == "Unschedulable"
    assert never.message.startswith("The cluster's quota 'class' can never hold the job: limits.cpu: 5 of 4.")
    later = holdups.of_job([event("FailedCreate", f"Error creating: {POD}{QUOTA.format(asked=2)}")])
    assert later is not None and not later.for_good and "is used up" in later.message


def test_a_quota_that_is_not_yet_counted_refuses_no_pod_for_good() -> None:
    text = f"Error creating: {POD}status unknown for quota: class, resources: pods"
    held = holdups.of_job([event("FailedCreate", text)])
    assert held is not None and not held.for_good and held.reason == "FailedCreate"
