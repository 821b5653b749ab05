"""Why a pod does not start: what scheduler, kubelet and the Job's controller say, in words for a student. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .containers import MAIN, RUNNER, SIDECAR
from .reading import Object, conditions, container, meta, part, status, true
from .replies import PASSING, beyond_quota

MAX_TOLD = 800
"""Characters of somebody else's words."""
CRASHES = 5
"""So often the sidecar may die before the attempt is given up: by then five minutes have passed."""
CANT_FOLLOW = 2
"""The sidecar's exit status for orders that it can't follow; another try would end alike."""

_IMAGE = {
    *("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"),
    *("RegistryUnavailable", "SignatureValidationFailed"),
}
_IMAGE_FOR_GOOD = {"ErrImageNeverPull", "InvalidImageName", "SignatureValidationFailed"}
_NOT_THERE = re.compile(
    r"not found|manifest unknown|does not exist|name unknown|unauthorized|authentication required|denied|forbidden|"
    r"no match for platform|invalid reference",
    re.IGNORECASE,
)
_CONTAINER = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError"}
_CREATING = {"ContainerCreating", "PodInitializing"}
_POD_EVENTS = {
    "FailedMount": "A volume of the job can't be mounted",
    "FailedAttachVolume": "A volume of the job can't be attached",
    "FailedMapVolume": "A volume of the job can't be attached",
    "FailedCreatePodSandBox": "The node can't make the job's sandbox",
    "FailedSandboxReady": "The node can't make the job's sandbox",
    "NetworkNotReady": "The node's network is not ready",
}
_QUOTA = re.compile(r"exceeded quota: (?P<quota>[^,]+), (?P<rest>.*)", re.DOTALL)
_CREATING_PREFIX = re.compile(r'\AError creating: (pods "[^"]*" is forbidden: )?')


@dataclass(frozen=True)
class Holdup:
    """What holds a start up. ``limit``: the Reason it has, if the attempt is given up for it."""

    reason: str
    message: str
    limit: str
    for_good: bool = False
    """Whether waiting is of no use."""


def of_job(events: Iterable[Object]) -> Holdup | None:
    """Of a Job that has no pod: the latest ``FailedCreate``."""
    told = _latest(events, {"FailedCreate"})
    if told is None:
        return None
    text = _CREATING_PREFIX.sub("", _said(told.get("message")))
    quota = _QUOTA.search(text)
    if quota and (beyond := beyond_quota(text)):
        message = (
            f"The cluster's quota {quota['quota']!r} can never hold the job: {beyond}. Ask for less, or the operator "
            "for more."
        )
        return Holdup("QuotaExceeded", message, "Unschedulable", for_good=True)
    if quota:
        message = (
            f"The cluster's quota {quota['quota']!r} is used up ({quota['rest'].strip()}). The job starts when others "
            "have ended."
        )
        return Holdup("QuotaExceeded", message, "Unschedulable")
    if any(words in text for words in PASSING):
        stays = " If that stays, an operator must make that account."
        more = stays if "service account" in text else ""
        return Holdup("FailedCreate", f"The cluster can't make the job's pod now: {text}.{more}", "BackendError")
    refused = "is forbidden" in str(told.get("message")) or "is invalid" in text or "denied the request" in text
    if refused:
        message = f"The cluster does not admit the job's pod: {text}. An operator must change the cluster's settings."
        if re.search(r"(maximum|minimum) .* usage per|maximum .* is .*, but", text):
            message = f"The cluster does not admit a pod of this size: {text}. Ask for other resources."
        return Holdup("Refused", message, "BackendError", for_good=True)
    return Holdup("FailedCreate", f"The cluster can't make the job's pod now: {text}.", "BackendError")


def of_pod(pod: Object, events: Iterable[Object]) -> Holdup | None:
    """Of a pod whose main container has not begun, or waits for a sidecar that fails; None where all goes well."""
    return _unscheduled(pod) or _waiting(pod) or _sidecar(pod) or _creating(pod, events)


def suspended() -> Holdup:
    """Of a Job that somebody holds, and not for a queue of Kueue's that it bears the name of."""
    message = (
        "The cluster holds the job's Job back (suspend): somebody suspended it, or Kueue manages all Jobs there and "
        "this queue names no LocalQueue. An operator should set spec.kueue of the queue, or release the Job."
    )
    return Holdup("Suspended", message, "BackendError")


def of_workload(workload: Object | None) -> Holdup | None:
    """Of a Job that waits for Kueue: that it waits in vain. None while it may be admitted."""
    told = true(workload, "Finished")
    if not told or told.get("reason") == "OutOfSync":  # Kueue makes another one, then
        return None
    message = f"Kueue closed its Workload before it started: {_said(told.get('message'))}."
    return Holdup("WorkloadClosed", message, "BackendError", for_good=True)


def is_creating(pod: Object) -> bool:
    """Whether its containers are being made: only events tell what is wrong there."""
    statuses = [container(pod, name) for name in (SIDECAR, RUNNER, MAIN)]
    told = [part(item, "waiting").get("reason") in _CREATING for item in statuses if item]
    return bool(status(pod).get("phase") == "Pending" and (all(told) if told else _node(pod)))


def short(text: object) -> str:
    """Somebody else's words in one line, not too long."""
    return " ".join(str(text or "").split())[:MAX_TOLD]


def _said(text: object) -> str:
    return short(text).rstrip(" .")


def _node(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _unscheduled(pod: Object) -> Holdup | None:
    told = conditions(pod).get("PodScheduled", {})
    if told.get("status") != "False":
        return None
    text = _said(told.get("message"))
    reason = str(told.get("reason") or "Unschedulable")
    message = f"No node of the cluster can take the job now: {text}." if text else "The job waits for a node."
    return Holdup(reason, message, "Unschedulable")


def _waiting(pod: Object) -> Holdup | None:
    for name in (SIDECAR, RUNNER, MAIN):
        found = container(pod, name)
        told = part(found, "waiting")
        reason, text = str(told.get("reason") or ""), _said(told.get("message"))
        if reason in _IMAGE:
            return _image(name, str(found.get("image")), reason, text)
        if reason in _CONTAINER:
            what = "The job's container" if name == MAIN else "The container that brings the job's inputs"
            return Holdup(reason, f"{what} can't be started: {text or reason}.", "BackendError")
    return None


def _image(name: str, image: str, reason: str, text: str) -> Holdup:
    missing = bool(_NOT_THERE.search(text))
    for_good = reason in _IMAGE_FOR_GOOD or (missing and reason == "ImagePullBackOff")
    if name != MAIN:
        message = f"The image of the service itself, {image}, can't be had: {text or reason}. Tell the operator."
        return Holdup(reason, message, "ImageError", for_good=for_good)
    if reason == "InvalidImageName":
        message = f"{image!r} is no name of an image: {text or reason}."
    elif reason == "ErrImageNeverPull":
        message = f"The image {image} is not on the node, and this cluster pulls none."
    else:
        message = f"The image {image} can't be pulled: {text or reason}."
    return Holdup(reason, message, "ImageError", for_good=for_good)


def _sidecar(pod: Object) -> Holdup | None:
    found = container(pod, SIDECAR)
    last = (found.get("lastState") or {}).get("terminated") or {}
    restarts = int(found.get("restartCount") or 0)
    runner = part(container(pod, RUNNER), "terminated")
    if runner.get("exitCode"):
        message = f"Our runner could not be copied beside the job's image: exit status {runner['exitCode']}."
        return Holdup("RunnerNotCopied", message, "BackendError", for_good=True)
    if part(found, "waiting").get("reason") != "CrashLoopBackOff" and last.get("exitCode") != CANT_FOLLOW:
        return None
    how = "for lack of memory" if last.get("reason") == "OOMKilled" else f"with exit status {last.get('exitCode')}"
    message = f"What brings the job's inputs and its log away ended {how}, {restarts} times so far. Tell the operator."
    for_good = restarts >= CRASHES or last.get("exitCode") == CANT_FOLLOW
    return Holdup("SidecarFails", message, "BackendError", for_good=for_good)


def _creating(pod: Object, events: Iterable[Object]) -> Holdup | None:
    if not is_creating(pod):
        return None
    uid = meta(pod).get("uid")
    own = [item for item in events if (item.get("involvedObject") or {}).get("uid") in (uid, None)]
    told = _latest(own, set(_POD_EVENTS))
    if told is None:
        return None
    what = _POD_EVENTS[told["reason"]]
    return Holdup(told["reason"], f"{what}: {_said(told.get('message'))}.", "StartupTimeout")


def _latest(events: Iterable[Object], reasons: set[str]) -> Object | None:
    found = [item for item in events if item.get("reason") in reasons]
    return max(found, key=_when, default=None)


def _when(event: Object) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((item for item in times if item), ""))
