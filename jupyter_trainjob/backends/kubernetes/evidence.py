"""From what a cluster tells of an attempt to the evidence of how it ended. Pure, over raw JSON as it was recorded.

:func:`look` is what Job, pod and events say. :func:`settle` adds what the sidecar and the main container's first
process told, and so makes :attr:`..base.Observation.evidence`. In that order they are believed: the kubelet saw the
container; our first process in it measured, but shares a folder with the job; the runner's claims are the job's word.

Whether a process was killed for memory: with cgroup v2 the kernel kills the whole container, which the kubelet calls
``OOMKilled``. With v1 (or ``singleProcessOOMKill``) it kills one process, and the container may go on: then the kubelet
may say ``OOMKilled`` of a container that ended well, or nothing of one whose kernel was killed; our first process has
the counter of the control group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ..base import State
from ..local.limits import Limits, Outside, verdict
from ..rules import past_shm, size
from . import ends, holdups
from .containers import MAIN, SIDECAR
from .objects import CANCELLED, FETCHED, FETCHING, GAVE_UP, LIMITS, SLOT, is_kueues
from .reading import (
    Object,
    annotation,
    conditions,
    container,
    is_done,
    meta,
    part,
    seconds_between,
    status,
    time,
    told_as_json,
    true,
)

SLOW_SECONDS = 5.0
"""A start that took longer is told of, and a pod that takes longer is asked why."""
NEARLY = 0.95
"""Of its memory: a container that held so much and was killed (SIGKILL) with nobody to own up was killed for it."""
_OUTCOMES = ("ok", "error", "kernelDied", "interrupted")
_MAINS = {"TimeLimit", "OutOfMemory", "ProcessLimit", "DiskLimit", "FileSizeLimit", "OpenFilesLimit"}
_BEFORE_THE_CODE = {"StartupTimeout", "BackendError", "StorageError"}
_FROM_OUTSIDE = {"DeletedExternally", "Evicted", "HostRestarted", "NodeLost", "Preempted"}
"""What ends code with a signal, so that the runner says ``interrupted`` and nothing else."""
_ENDING = (9, 15)
"""The signals by which kubelets end containers."""
_SHM = "/dev/shm"  # noqa: S108 - as the job sees it
_NO_SPACE = ("[Errno 28]", "No space left on device")


@dataclass(frozen=True)
class Sight:
    """What the cluster tells of an attempt now. ``ended``: the main container's word, or the pod's, is final."""

    state: State
    node: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    begun: bool = True
    """False: it ended, and its main container never ran."""
    final: bool = True
    """Whether the pod's word is the last: a kubelet tells why it ended one only when all its containers are over."""
    sidecar_over: bool = False
    """Whether the sidecar can say no more."""
    stuck: bool = False
    """Whether only the events of pod and Job can tell why it does not start."""
    termination: str = ""
    """The sidecar's last words."""
    conditions: list[dict[str, str]] = field(default_factory=list)
    give_up: dict[str, str] | None = None
    """``{"limit", "message"}``: it can't start, or has not for too long. Note it on the Job, and look again."""
    image_id: str = ""
    """What the container runs in, by digest."""
    limits: dict[str, Any] = field(default_factory=dict)
    """What the attempt may use, as the Job bears it."""


def look(
    job: Object | None,
    pod: Object | None,
    events: Iterable[Object] = (),
    *,
    now: datetime | None = None,
    startup_seconds: float = 0,
) -> Sight:
    """``pod``: the last that was seen, with ``"deleted": True`` once it is gone. Without ``now`` no time runs out."""
    if job is None:
        return Sight("gone", sidecar_over=True)
    told = _Told(job, pod, list(events), annotation(job, CANCELLED), told_as_json(annotation(job, GAVE_UP)))
    sight = Sight(
        "starting",
        node=str(((pod or {}).get("spec") or {}).get("nodeName") or ""),
        termination=_last_words(pod),
        image_id=_image_id(pod),
        limits=told_as_json(annotation(job, LIMITS)),
    )
    if told.is_over():
        return _ended(sight, told)
    if pod is not None and part(container(pod, MAIN), "running"):
        return _running(sight, told)
    return _starting(sight, told, now, startup_seconds)


def left(state: Mapping[str, Any]) -> Sight:
    """What the sidecar's last word is worth where the cluster has forgotten the attempt: it is all there is."""
    main, end = _below(state, "main"), _end(_below(state, "claims"))
    facts: dict[str, Any] = {"exitCode": main.get("exitCode"), "signal": main.get("signal")}
    if end is not None and main:
        facts = {"exitCode": 0, "signal": None}
    if not main or main.get("terminated"):
        facts["limit"] = "DeletedExternally"
        facts["message"] = "Its Job was deleted in the cluster, and not by our hand, before its end was seen."
    return Sight("ended", ended=time(main.get("at")), evidence=facts, sidecar_over=True)


def settle(sight: Sight, told: Mapping[str, Any] | None, bounds: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """``Observation.evidence`` of an ended attempt. ``told``: the sidecar's ``state.json``, checked; None where it left
    none. ``bounds``: what the attempt may use, where the Job does not bear it.
    """
    told = told or told_as_json(sight.termination)
    end, main = _end(_below(told, "claims")), _below(told, "main")
    facts = dict(sight.evidence)
    code = facts.get("exitCode")
    outcome = end["outcome"] if end is not None and code == 0 else ""
    if outcome in ("error", "kernelDied") and facts.get("limit") in _FROM_OUTSIDE:
        facts.pop("limit")  # its own error came first
        facts.pop("message", None)
    if outcome == "ok":
        if facts.get("limit") != "StorageError":  # a limit that struck some helper ended nothing
            facts.pop("limit", None)
            facts.pop("message", None)
        return facts
    limits = _limits({**sight.limits, **(bounds or {})})
    if facts.get("limit") == "OutOfMemory" and not facts.get("message"):
        facts["message"] = _memory_message(limits, sight.limits)
    if "limit" not in facts:
        limit, message = _own_limit(facts, told, main, end, limits, sight.limits)
        if limit:
            facts["limit"], facts["message"] = limit, message
    if end is None and "limit" not in facts and "cancelled" not in facts and not facts.get("message"):
        words = str(main.get("lastWords") or "").strip()[:4096]
        if words:
            facts["message"] = f"Its last words: {words}"
    return facts


def is_unexplained(sight: Sight, told: Mapping[str, Any]) -> bool:
    """Whether an ended attempt was ended by another hand, and the cluster has yet to say by whose and why.

    ``told``: the sidecar's word, checked.
    """
    if sight.final or "limit" in sight.evidence or "cancelled" in sight.evidence:
        return False
    main, end = _below(told, "main"), _end(_below(told, "claims"))
    if main.get("limit") or (end is not None and end["outcome"] != "interrupted"):
        return False  # its own end came first
    return bool(end is not None or main.get("terminated") or sight.evidence.get("signal") in _ENDING)


@dataclass(frozen=True)
class _Told:
    job: Object
    pod: Object | None
    events: list[Object]
    cancelled: str | None
    gave_up: dict[str, Any]

    def is_over(self) -> bool:
        """Whether nothing of the user's runs any more, or will."""
        pod, job = self.pod, self.job
        finished = bool(true(job, "Complete") or true(job, "Failed"))
        if pod is None:
            spec = job.get("spec") or {}
            stopped = bool(spec.get("suspend")) or spec.get("parallelism") == 0
            return finished or (stopped and (self.cancelled is not None or bool(self.gave_up)))
        if part(container(pod, MAIN), "terminated") or is_done(pod):
            return True
        if pod.get("deleted"):
            return True
        return bool(self.gave_up) and not part(container(pod, MAIN), "running")


def _ended(sight: Sight, told: _Told) -> Sight:
    pod = told.pod
    main = part(container(pod, MAIN), "terminated")
    code = main.get("exitCode") if main else ends.exit_told_by_job(told.job)
    facts: dict[str, Any] = {"exitCode": code, "signal": None}
    if isinstance(code, int) and 128 < code <= 192:  # a signal, as containers tell it
        facts = {"exitCode": None, "signal": code - 128}
    if told.cancelled is not None:
        facts["cancelled"] = told.cancelled
    found = ends.cause(told.job, pod, cancelled=told.cancelled is not None)
    by_us = found is None or found.limit == "DeletedExternally"  # giving up suspends the Job, which deletes its pod
    if told.gave_up and (not main.get("startedAt") or (by_us and code != 0)):
        found = ends.Cause(str(told.gave_up.get("limit")), str(told.gave_up.get("message")))
    if found is not None:
        facts["limit"] = found.limit
        if found.message:
            facts["message"] = found.message
    failed = true(told.job, "Failed") or true(told.job, "Complete")
    at = main.get("finishedAt") or true(pod, "DisruptionTarget").get("lastTransitionTime")
    final = pod is None or bool(pod.get("deleted")) or is_done(pod)
    over = final or bool(part(container(pod, SIDECAR), "terminated")) or not container(pod, SIDECAR)
    never_began = bool(told.gave_up) and not main
    return replace(
        sight,
        state="ended",
        started=time(main.get("startedAt")),
        ended=time(at) or time(failed.get("lastTransitionTime")),
        evidence=facts,
        begun=ends.has_begun(told.job, pod),
        final=final or never_began,
        sidecar_over=over or never_began,
        conditions=_node_condition(pod) if not over else [],
    )


def _running(sight: Sight, told: _Told) -> Sight:
    pod = told.pod or {}
    began = part(container(pod, MAIN), "running").get("startedAt")
    found = list(_node_condition(pod))
    took = seconds_between(status(told.job).get("startTime") or meta(told.job).get("creationTimestamp"), began)
    held = holdups.of_pod(pod, ())
    if held is not None:
        found.append(_condition("SidecarHealthy", "False", held.reason, held.message))
    waited = SLOT in (meta(told.job).get("labels") or {})  # for its job: how long it took to start is no matter
    if took > SLOW_SECONDS and not waited:
        found.append(_condition("PodStarted", "True", "Started", f"Its pod started after {took:.0f} s."))
    give_up = {"limit": held.limit, "message": held.message} if held is not None and held.for_good else None
    return replace(
        sight, state="running", started=time(began), conditions=found, give_up=_unless_cancelled(give_up, told)
    )


def _starting(sight: Sight, told: _Told, now: datetime | None, startup_seconds: float) -> Sight:
    job, pod = told.job, told.pod
    held = holdups.of_job(told.events) if pod is None else holdups.of_pod(pod, told.events)
    age = _age(job, now)
    slow = age is None or age > SLOW_SECONDS
    suspended = bool((job.get("spec") or {}).get("suspend")) and pod is None
    waits = suspended and is_kueues(job)
    fetching = annotation(job, FETCHING) is not None  # the server brings its inputs first, however long that takes
    if suspended and not fetching:
        held = holdups.of_workload(job.get("workload")) if waits else holdups.suspended()
    stuck = slow and not suspended and (pod is None or holdups.is_creating(pod))
    late = startup_seconds > 0 and age is not None and age > startup_seconds and not waits and not fetching
    give_up = None
    if held is not None and (held.for_good or late):
        give_up = {"limit": held.limit, "message": held.message}
    elif late:
        give_up = {"limit": "StartupTimeout", "message": f"It did not start within {startup_seconds:g} s."}
    found = _node_condition(pod)
    if held is not None:
        found.append(_condition("PodStarted", "False", held.reason, held.message))
    for_kueue = waits or bool(told_as_json(annotation(job, FETCHING)))
    state: State = "queued" if for_kueue else "starting"
    return replace(sight, state=state, stuck=stuck, conditions=found, give_up=_unless_cancelled(give_up, told))


def _unless_cancelled(give_up: dict[str, str] | None, told: _Told) -> dict[str, str] | None:
    return None if told.cancelled is not None or told.gave_up else give_up


def _age(job: Object, now: datetime | None) -> float | None:
    """Since when it may start: its creation, or its release where it was suspended first."""
    began = time(status(job).get("startTime")) or time(meta(job).get("creationTimestamp"))
    released_later = is_kueues(job) or annotation(job, FETCHED) is not None
    if released_later and not status(job).get("startTime"):
        return 0.0  # however long it waited for Kueue or its inputs: its time to start begins with its release
    return (now - began).total_seconds() if now is not None and began is not None else None


def _node_condition(pod: Object | None) -> list[dict[str, str]]:
    if pod is None or status(pod).get("phase") not in ("Running", "Unknown", "Pending"):
        return []
    lost = ends.lost_node(pod)
    if lost:
        return [_condition("NodeReachable", "False", "NodeLost", lost)]
    found = conditions(pod)
    ready, containers = found.get("Ready", {}), found.get("ContainersReady", {})
    away = seconds_between(containers.get("lastTransitionTime"), ready.get("lastTransitionTime"))
    if ready.get("status") == "True" and away > SLOW_SECONDS:
        return [_condition("NodeReachable", "True", "Back", "Its node answers again.")]
    return []


def _condition(kind: str, state: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": state, "reason": reason, "message": message}


def _last_words(pod: Object | None) -> str:
    found = container(pod, SIDECAR)
    last = part(found, "terminated") or (found.get("lastState") or {}).get("terminated") or {}
    return str(last.get("message") or "")


def _image_id(pod: Object | None) -> str:
    return str(container(pod, MAIN).get("imageID") or "").removeprefix("docker-pullable://")


def _below(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = told.get(name)
    return found if isinstance(found, Mapping) else {}


def _end(claims: Mapping[str, Any]) -> dict[str, Any] | None:
    end = _below(claims, "end")
    return dict(end) if end.get("outcome") in _OUTCOMES else None


def _limits(told: Mapping[str, Any]) -> Limits:
    def number(name: str) -> int | None:
        value = told.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    return Limits(
        memory_bytes=number("memoryBytes"),
        processes=number("processes"),
        disk_bytes=number("diskBytes"),
        file_size_bytes=number("fileSizeBytes"),
        open_files=number("openFiles"),
        shm_bytes=number("shmBytes") or 64 * 2**20,
    )


def _own_limit(
    facts: dict[str, Any],
    told: Mapping[str, Any],
    main: Mapping[str, Any],
    end: dict[str, Any] | None,
    limits: Limits,
    borne: Mapping[str, Any],
) -> tuple[str, str]:
    """What our first process and the sidecar found, else what the runner's error speaks of."""
    begun = bool(_below(told, "claims").get("started"))
    failed = _below(told, "failed")
    if not begun and failed.get("limit") in _BEFORE_THE_CODE:
        return str(failed["limit"]), str(failed.get("message") or "")[:4096]
    limit = main.get("limit")
    if limit in _MAINS or (limit in _BEFORE_THE_CODE and not begun):
        return str(limit), str(main.get("message") or "")[:4096]
    if "cancelled" in facts:
        return "", ""
    if _killed_for_memory(facts, told, main, limits):
        return "OutOfMemory", _memory_message(limits, borne)
    error = end.get("error") if end else None
    text = f"{error.get('ename', '')}: {error.get('evalue', '')}" if isinstance(error, dict) else ""
    if any(words in text for words in _NO_SPACE) and (found := _full(main, limits, borne)) is not None:
        return found
    outside = Outside(
        oom_kills=_count(main.get("oomKills")),
        peak_tasks=_count(main.get("peakTasks")),
        shm_full="shm" in (main.get("full") or ()),
        rlimits=frozenset({"nofile", "fsize", "nproc"}),
    )
    return verdict(outside, limits, end) if end is not None else ("", "")


def _full(main: Mapping[str, Any], limits: Limits, borne: Mapping[str, Any]) -> tuple[str, str] | None:
    """Which volume had no room, as our first process saw it, where the code says that one had none."""
    full, in_memory = main.get("full") or (), borne.get("scratch") == "memory"
    more = " They lie in memory on this cluster: ask for more with --memory and --disk, or write less."
    more = more if in_memory else " Ask for more with --disk, or write less."
    room = size(limits.disk_bytes)
    if "work" in full:
        return "DiskLimit", f"The job's folder was full: it holds {room}, for files in it and in /tmp together.{more}"
    if "out" in full:
        return "DiskLimit", (
            f"There was no room for what the job leaves beside its files: its notebook, named results and metrics may "
            f"have {room} of its disk.{more}"
        )
    if "shm" in full:
        return "DiskLimit", past_shm(limits.shm_bytes)
    if "node" in full:
        return "StorageError", "The disk of the node that ran the job is full. An operator must make room."
    if in_memory:  # asked for in advance, so that nothing was written
        return "DiskLimit", (
            f"The job wanted more room at once than was free: it has {room} for its files, and "
            f"{size(limits.shm_bytes)} in {_SHM}.{more}"
        )
    return None


def _killed_for_memory(facts: dict[str, Any], told: Mapping[str, Any], main: Mapping[str, Any], limits: Limits) -> bool:
    if _count(main.get("oomKills")):
        return True
    peak = _below(told, "usage").get("peakMemoryBytes")
    killed = facts.get("signal") == 9
    return bool(killed and limits.memory_bytes and _count(peak) >= NEARLY * limits.memory_bytes)


def _memory_message(limits: Limits, borne: Mapping[str, Any]) -> str:
    if limits.memory_bytes is None:
        return "The job used more than its memory."
    files = (
        " Files in its folder and in /tmp count as memory on this cluster." if borne.get("scratch") == "memory" else ""
    )
    return f"The job used more than its {size(limits.memory_bytes)} of memory.{files}"


def _count(value: Any) -> int:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 else 0
