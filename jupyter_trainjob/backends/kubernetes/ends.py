"""Why an attempt ended, where it was not its code: evictions, deadlines, lost nodes, other hands. Pure.

The kubelet's word on the container goes before the pod's, that before the Job's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import holdups
from .containers import MAIN
from .holdups import short
from .objects import GAVE_UP, is_kueues
from .reading import Object, annotation, conditions, container, deletion_asked, meta, part, status, time, true

_VOLUME = re.compile(r'Usage of EmptyDir volume "(?P<name>[^"]+)" exceeds the limit "(?P<limit>[^"]+)"')
_CONTAINER_DISK = re.compile(r'Container (?P<name>\S+) exceeded its local ephemeral storage limit "(?P<limit>[^"]+)"')
_POD_DISK = re.compile(
    r"Pod ephemeral local storage usage exceeds the total limit of containers (?P<limit>\S+?)\.?\s*\Z"
)
_LOW = re.compile(r"The node was low on resource: (?P<what>[a-z-]+)")
_JOB_EXIT = re.compile(r"Container (?P<name>\S+) for pod \S+ failed with exit code (?P<code>[0-9]+)")
_JOBS_VOLUMES = {"work": "It wrote more into its folder", "out": "It left more results and log"}
_MORE = "Ask for more with --disk, or write less."
_CANT_START = {"StartError", "ContainerCannotRun"}
_LOST = {"DeletionByTaintManager", "DeletionByPodGC"}

_WORDS = {
    "nodefs": "disk",
    "ephemeral-storage": "disk",
    "imagefs": "disk for images",
    "pid": "process ids",
    "pids": "process ids",
}


@dataclass(frozen=True)
class Cause:
    """A Reason that outside is sure of, and what to say."""

    limit: str
    message: str


def cause(job: Object, pod: Object | None, *, cancelled: bool) -> Cause | None:
    """Why an attempt ended that has; None where nothing but its own exit tells."""
    if pod is None:
        return _of_job(job, started=False) if not cancelled else None
    found = _of_container(pod) or _of_pod(pod) or _of_deadline(job, pod, cancelled)
    if found is not None or cancelled:
        return found
    return _by_hand(job, pod) or _unknown(pod)


def exit_told_by_job(job: Object) -> int | None:
    """The main container's exit status as the Job's last word has it, for a pod that is gone."""
    if true(job, "Complete") or true(job, "SuccessCriteriaMet"):
        return 0
    told = _failure(job)
    match = _JOB_EXIT.search(str(told.get("message")))
    return int(match["code"]) if match and match["name"] == MAIN else None


def has_begun(job: Object, pod: Object | None) -> bool:
    """Whether the main container of an ended attempt may have run. A Job that failed had a pod, seen or not."""
    if pod is None:
        return bool(_failure(job) or true(job, "Complete"))
    return _has_run(pod) and part(container(pod, MAIN), "terminated").get("reason") not in _CANT_START


def lost_node(pod: Object) -> str:
    """What to say of a node that does not answer while it runs the pod; empty where it does."""
    found = conditions(pod)
    ready, containers = found.get("Ready", {}), found.get("ContainersReady", {})
    silent = ready.get("status") in ("False", "Unknown") and containers.get("status") == "True"
    taken = true(pod, "DisruptionTarget").get("reason") == "DeletionByTaintManager"
    if not (silent or taken or status(pod).get("reason") == "NodeLost" or status(pod).get("phase") == "Unknown"):
        return ""
    name = (pod.get("spec") or {}).get("nodeName") or "?"
    since = ready.get("lastTransitionTime") or ""
    return (
        f"The node {name} does not answer{f' since {since}' if since else ''}. The job keeps its place: it may still "
        "run there. It goes on when the node is back, and ends when an operator removes the node."
    )


def _of_container(pod: Object) -> Cause | None:
    found = container(pod, MAIN)
    told = part(found, "terminated")
    if told.get("reason") == "OOMKilled":
        return Cause("OutOfMemory", "")
    if told.get("reason") in _CANT_START:
        message = f"The image {found.get('image')} can't start our runner: {short(told.get('message'))}"
        return Cause("ImageError", message)
    return None


def _of_pod(pod: Object) -> Cause | None:
    told = status(pod)
    reason, text = str(told.get("reason") or ""), short(told.get("message"))
    disruption = true(pod, "DisruptionTarget")
    why = disruption.get("reason")
    if reason == "Evicted":
        return _evicted(text)
    if why == "PreemptionByScheduler" or reason == "Preempting":
        return Cause("Preempted", f"A more important pod took its place: {text or short(disruption.get('message'))}")
    if reason in ("Terminated", "NodeShutdown", "Shutdown"):
        return Cause("Evicted", f"The node was shut down: {text}")
    if why == "EvictionByEvictionAPI":
        return Cause("Evicted", "Its node was emptied, for maintenance for example.")
    if why in _LOST or reason == "NodeLost":
        return Cause(
            "NodeLost", f"The node {_node(pod)} did not answer any more, or was taken out of use. {text}".strip()
        )
    if why == "TerminationByKubelet":
        return _evicted(text or short(disruption.get("message")))
    if reason.startswith("OutOf"):
        return Cause("Unschedulable", f"The node {_node(pod)} had no room for it any more: {text or reason}")
    if reason and reason != "DeadlineExceeded" and not part(container(pod, MAIN), "terminated"):
        return Cause("Unschedulable", f"The node {_node(pod)} did not take it: {reason}. {text}".strip())
    return None


def _unknown(pod: Object) -> Cause | None:
    """A container that the node lost track of: its exit status is made up."""
    told = part(container(pod, MAIN), "terminated")
    text = short(told.get("message"))
    if told.get("reason") == "Unknown":
        return Cause("HostRestarted", f"The node {_node(pod)} was restarted while it ran. {text}".strip())
    if told.get("reason") == "ContainerStatusUnknown":
        return Cause("NodeLost", f"The node {_node(pod)} does not know any more what became of it. {text}".strip())
    return None


def _evicted(text: str) -> Cause:
    volume, single, whole = _VOLUME.search(text), _CONTAINER_DISK.search(text), _POD_DISK.search(text)
    if volume and volume["name"] in _JOBS_VOLUMES:
        return Cause("DiskLimit", f"{_JOBS_VOLUMES[volume['name']]} than the {volume['limit']} it may have. {_MORE}")
    if single and single["name"] == MAIN:
        return Cause("DiskLimit", f"It wrote more to disk than the {single['limit']} it may. {_MORE}")
    if whole:
        return Cause(
            "DiskLimit", f"It wrote more to disk than the {whole['limit']} that it and its inputs may. {_MORE}"
        )
    if volume or single:
        return Cause("StorageError", f"What brings its inputs and outputs ran out of disk: {text}")
    low = _LOW.search(text)
    if low:
        what = _WORDS.get(low["what"], low["what"])
        return Cause("Evicted", f"Its node ran out of {what} and gave it up. The cluster says: {text}")
    return Cause("Evicted", f"Its node gave it up: {text}" if text else "Its node gave it up.")


def _of_deadline(job: Object, pod: Object, cancelled: bool) -> Cause | None:
    by_pod = status(pod).get("reason") == "DeadlineExceeded"
    if cancelled or not (by_pod or _failure(job).get("reason") == "DeadlineExceeded"):
        return None
    ended = time(part(container(pod, MAIN), "terminated").get("finishedAt"))
    struck = time(_failure(job).get("lastTransitionTime"))
    if not by_pod and ended is not None and struck is not None and ended < struck and deletion_asked(pod) is None:
        return None  # it had ended by itself
    return _deadline(pod, started=_has_run(pod))


def _deadline(pod: Object | None, *, started: bool) -> Cause:
    if started:
        return Cause("TimeLimit", "It did not end with its time limit, and the cluster ended it (DeadlineExceeded).")
    held = holdups.of_pod(pod, ()) if pod is not None else None
    if held is not None:
        return Cause(held.limit, held.message)
    return Cause("StartupTimeout", "It did not start in the time that it and its start may take.")


def _of_job(job: Object, *, started: bool) -> Cause | None:
    """What the Job says of a pod that nobody has seen the end of."""
    told = _failure(job)
    text = short(told.get("message"))
    if told.get("reason") == "DeadlineExceeded":
        return _deadline(None, started=started)
    if "DisruptionTarget" in text:
        return Cause("Evicted", f"The cluster gave it up: {text}")
    if told and exit_told_by_job(job) is None:
        return Cause("DeletedExternally", "Its pod is gone, and not by our hand; nothing tells how far it came.")
    return None


def _by_hand(job: Object, pod: Object) -> Cause | None:
    """Deleted with kubectl, say: by somebody, before it had ended.

    The kubelet's own last deletion, without grace, replaces the time that somebody's had. So when it can't be told what
    came first, it is this; :func:`.evidence.settle` takes it back where the code is known to have ended by itself.
    """
    asked = deletion_asked(pod)
    ended = time(part(container(pod, MAIN), "terminated").get("finishedAt"))
    if asked is None and not pod.get("deleted"):
        return None
    if ended is not None and asked is not None and ended < asked and meta(pod).get("deletionGracePeriodSeconds"):
        return None
    if (taken := _taken_by_kueue(job, pod)) is not None:
        return taken
    what = "Job" if meta(job).get("deletionTimestamp") else "pod"
    return Cause(
        "DeletedExternally", f"Somebody deleted its {what} in the cluster while it ran, with kubectl for example."
    )


def _taken_by_kueue(job: Object, pod: Object) -> Cause | None:
    """Kueue suspended the Job, whose controller then deleted the pod; it may have released it again since."""
    if not is_kueues(job) or meta(job).get("deletionTimestamp") or annotation(job, GAVE_UP) is not None:
        return None
    told, made = conditions(job).get("Suspended", {}), time(meta(pod).get("creationTimestamp"))
    since = time(told.get("lastTransitionTime"))
    again = told.get("status") == "False" and since is not None and made is not None and since > made
    if not ((job.get("spec") or {}).get("suspend") or told.get("status") == "True" or again):
        return None
    evicted = true(job.get("workload"), "Evicted") or true(job.get("workload"), "Preempted")
    said = short(evicted.get("message")).rstrip(" .")
    return Cause("Preempted", f"Kueue took its place away: {said}." if said else "Kueue took its place away.")


def _failure(job: Object) -> Object:
    return true(job, "FailureTarget") or true(job, "Failed")


def _has_run(pod: Object) -> bool:
    found = container(pod, MAIN)
    return bool(part(found, "running") or part(found, "terminated").get("startedAt"))


def _node(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "?")
