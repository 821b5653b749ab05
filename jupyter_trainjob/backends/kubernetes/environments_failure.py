"""Why a build of an environment waits or failed, from its Job and its pod. Pure."""

from __future__ import annotations

from .environments_objects import BUILD, FINISH, MAKE
from .environments_rules import EnvironmentRules
from .holdups import short
from .reading import Object, conditions, container, part, told_text, true

_NOT_YET = ("ContainerCreating", "PodInitializing")


def holdup(pod: Object | None) -> str:
    """What the pod waits for; empty where it gets on."""
    placed = conditions(pod).get("PodScheduled", {})
    if placed.get("status") == "False":
        return f"its pod waits for a node: {short(placed.get('message'))}"
    for name in (MAKE, "runner", BUILD, FINISH):
        waiting = part(container(pod, name), "waiting")
        if waiting.get("reason") and waiting["reason"] not in _NOT_YET:
            return f"its pod can't be started now: {short(waiting.get('message') or waiting['reason'])}"
    return ""


def why(job: Object, pod: Object | None, rules: EnvironmentRules) -> str:
    """What failed: the container's own words where it has some."""
    for name in (MAKE, BUILD, FINISH):
        ended = part(container(pod, name), "terminated")
        if not ended or ended.get("exitCode") == 0:
            continue
        if ended.get("reason") == "OOMKilled":
            return f"it needed more than {rules.memory} of memory (build_memory)"
        if told := told_text(ended.get("message"), "problem"):
            return told
        return f"{name} ended with exit status {ended.get('exitCode')}. {short(ended.get('message'))}".strip()
    failed = true(job, "Failed")
    if failed.get("reason") == "DeadlineExceeded":
        waits = holdup(pod)
        return f"it was not done in time (build_seconds is {rules.seconds})" + (f"; {waits}" if waits else "")
    if pod is not None and (pod.get("status") or {}).get("reason") == "Evicted":
        return f"its node had no room for it: {short(pod['status'].get('message'))}"
    return f"its pod is gone: {short(failed.get('message')) or 'nothing tells why'}"
