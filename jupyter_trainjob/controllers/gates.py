"""Scheduling gates that the controller takes away by itself: dependencies."""

from __future__ import annotations

from datetime import datetime

from ..resources.errors import NotFound
from ..resources.source import WHOLE_FOLDER
from ..resources.trainjob import Gate, OutputInput, Phase, Reason, TrainJob
from ..store import Reader, Writer
from . import report


def expire(job: TrainJob, now: datetime) -> bool:
    """End a job that nobody approved in time; False where there is nothing to end."""
    asked = [gate for gate in job.spec.scheduling_gates if gate.type == "approval"]
    late = any(gate.until is not None and gate.until <= now for gate in asked)
    if job.status.phase is not Phase.QUEUED or not late:
        return False
    message = "Nobody approved it in time. Ask for less, or ask an instructor of the queue and send it again."
    report.end(job, Phase.FAILED, Reason.NOT_APPROVED, message, now)
    return True


def let_retry(job: TrainJob, now: datetime) -> bool:
    """Let a job queue for its next attempt, now that it has waited; False where it is not time."""
    kept = [gate for gate in job.spec.scheduling_gates if gate.type != "retry" or (gate.until and gate.until > now)]
    if len(kept) == len(job.spec.scheduling_gates):
        return False
    job.spec.scheduling_gates = kept
    if not kept:
        job.status.queued = now
    return True


def settle(writer: Writer, uid: str, now: datetime) -> bool:
    """Take away the dependency gates of job ``uid`` that are fulfilled; end it where one can't be any more. Returns
    whether that changed the job.
    """
    try:
        job = writer.by_uid(TrainJob, uid)
    except NotFound:
        return False
    if job.status.phase is not Phase.QUEUED:
        return False
    kept: list[Gate] = []
    for gate in job.spec.scheduling_gates:
        if gate.type != "dependency":
            kept.append(gate)
            continue
        done, problem = judge(gate, writer)
        problem = problem or (_settle_outputs(job, gate.job, writer) if done else "")
        if problem:
            report.end(job, Phase.FAILED, Reason.DEPENDENCY_FAILED, problem, now)
            writer.update(job, check=False)
            return True
        if not done:
            kept.append(gate)
    if len(kept) < len(job.spec.scheduling_gates):
        job.spec.scheduling_gates = kept
        if not kept:
            job.status.queued = now  # time spent behind a gate is not time in the queue
        writer.update(job, check=False)
        return True
    return False


def _settle_outputs(job: TrainJob, parent_uid: str, reader: Reader) -> str:
    """Note which attempt the job reads the outputs of, now that the other has ended; why it can't, if it can't."""
    items = [item for item in job.spec.inputs if isinstance(item, OutputInput) and item.job == parent_uid]
    if not items:
        return ""
    parent = reader.by_uid(TrainJob, parent_uid)
    if not parent.status.attempts:
        return f"It was to read what {parent.metadata.name} leaves, but that job ended before it started."
    for item in items:
        item.attempt = item.attempt or parent.status.attempts[-1].number
        if item.attempt == parent.status.attempts[-1].number and not _left(parent, item.file):
            return _not_left(parent, item)
    return ""


def _left(parent: TrainJob, file: str) -> bool:
    """Whether the job left it at its end, as far as its record tells; what it does not tell, the store does."""
    outputs = parent.status.outputs
    if outputs is None or parent.status.phase is not Phase.SUCCEEDED or outputs.files_total > len(outputs.files):
        return True
    if file == WHOLE_FOLDER:
        return bool(outputs.files)
    return any(one.path == file or one.path.startswith(f"{file}/") for one in outputs.files)


def _not_left(parent: TrainJob, item: OutputInput) -> str:
    outputs = parent.status.outputs
    paths = [one.path for one in outputs.files] if outputs is not None else []
    what = "no files" if item.file == WHOLE_FOLDER else f"no file and no folder {item.file!r}"
    told = f"It was to read {item.path!r} from {parent.metadata.name}, which has ended and left {what}."
    if paths:
        told += f" It left: {', '.join(paths[:10])}{' …' if len(paths) > 10 else ''}."
    return f"{told} Submit it again with the name of a file that is there, or mend what that job keeps."


def judge(gate: Gate, reader: Reader) -> tuple[bool, str]:
    """Whether a dependency is fulfilled, and why it never can be (empty while it still may)."""
    try:
        parent = reader.by_uid(TrainJob, gate.job)
    except NotFound:
        return False, f"The job it waits for ({gate.job}) no longer exists."
    phase = parent.status.phase
    fulfilled = gate.fulfilled_by(phase)
    if fulfilled is not False:
        return bool(fulfilled), ""
    name = parent.metadata.name
    return False, f"It waits until {name} has {gate.condition}, but that job has ended as {_how(parent)}."


def _how(parent: TrainJob) -> str:
    """``Failed (CodeError): ValueError: x is no number``"""
    status = parent.status
    plain = ("", Reason.COMPLETED.value, Reason.CANCELLED_BY_USER.value)
    reason = f" ({status.reason})" if status.reason not in plain else ""
    first = status.message.strip().splitlines()[0].rstrip(".")[:300] if status.message.strip() else ""
    return f"{status.phase.value}{reason}" + (f": {first}" if first else "")
