"""Scheduling gates that the controller takes away by itself: dependencies."""

from __future__ import annotations

from datetime import datetime

from ..resources.errors import NotFound
from ..resources.trainjob import Gate, Phase, Reason, TrainJob
from ..store import Reader, Writer
from . import report


def settle(writer: Writer, uid: str, now: datetime) -> None:
    """Take away the dependency gates of job ``uid`` that are fulfilled; end it where one can't be any more."""
    try:
        job = writer.by_uid(TrainJob, uid)
    except NotFound:
        return
    if job.status.phase is not Phase.QUEUED:
        return
    kept: list[Gate] = []
    for gate in job.spec.scheduling_gates:
        if gate.type != "dependency":
            kept.append(gate)
            continue
        done, problem = judge(gate, writer)
        if problem:
            report.end(job, Phase.FAILED, Reason.DEPENDENCY_FAILED, problem, now)
            writer.update(job, check=False)
            return
        if not done:
            kept.append(gate)
    if len(kept) < len(job.spec.scheduling_gates):
        job.spec.scheduling_gates = kept
        if not kept:
            job.status.queued = now  # time spent behind a gate is not time in the queue
        writer.update(job, check=False)


def judge(gate: Gate, reader: Reader) -> tuple[bool, str]:
    """Whether a dependency is fulfilled, and why it never can be (empty while it still may)."""
    try:
        parent = reader.by_uid(TrainJob, gate.job)
    except NotFound:
        return False, f"The job it waits for ({gate.job}) no longer exists."
    phase = parent.status.phase
    if not phase.final:
        return False, ""
    if gate.condition == "finished" or (gate.condition == "succeeded") == (phase is Phase.SUCCEEDED):
        return True, ""
    name = parent.metadata.name
    return False, f"It waits until {name} has {gate.condition}, but that job has ended as {phase.value}."
