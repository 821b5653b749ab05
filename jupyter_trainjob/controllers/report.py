"""From what a backend saw to a job's status. Pure: changes the job it is given, nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from ..backends.base import Observation
from ..resources.base import Condition
from ..resources.trainjob import (
    INFRASTRUCTURE_REASONS,
    Cancel,
    Gate,
    LogStatus,
    OutputFile,
    OutputStatus,
    Phase,
    Progress,
    Reason,
    Result,
    TrainJob,
    Usage,
)
from .ending import Ending

MAX_LISTED = 1000
RETRY_SECONDS = 5.0
RETRY_MAX_SECONDS = 600.0
MAX_FREE = 50
"""So many attempts whose place was taken before their code began cost none of a job's retries."""
ENVIRONMENT_READY = "EnvironmentReady"
"""A condition of a job that waits for its environment: Unknown, with the reason Building or Waiting."""


def end(job: TrainJob, phase: Phase, reason: Reason, message: str, now: datetime) -> None:
    """A final phase for a job that has no attempt under way."""
    status = job.status
    status.phase, status.reason, status.message, status.finished = phase, reason.value, message, now
    remark_environment(job, None)


def remark_environment(job: TrainJob, condition: Condition | None) -> bool:
    """Say how far its environment is, for those who show it; nothing once it waits no more. True where that changes."""
    before = job.status.conditions
    job.status.conditions = [one for one in before if one.type != ENVIRONMENT_READY]
    if condition is not None:
        job.status.conditions.append(condition)
    return job.status.conditions != before


def waits_for_environment(job: TrainJob) -> bool:
    """Whether that was said of it."""
    return any(one.type == ENVIRONMENT_READY for one in job.status.conditions)


def delete(job: TrainJob, message: str, now: datetime) -> None:
    """Mark a job as to be deleted, and cancelled if it has not ended."""
    job.metadata.deletion_timestamp = now
    if not job.status.phase.final and job.spec.cancel is None:
        job.spec.cancel = Cancel(requested_at=now, by="system", message=message)


PREEMPTED = "Preempted"
"""A condition of a job whose room was taken back: True while it ends and waits again, False once it runs again."""


def preempt(job: TrainJob, why: str, now: datetime) -> bool:
    """Say that a live attempt is to make room; False where there is none, or it is said already."""
    attempt = job.status.live_attempt
    if attempt is None or attempt.preempted or job.status.phase.final:
        return False
    attempt.preempted = why[:500]
    message = f"It makes room: {why}."
    job.status.message = message
    job.status.set_condition(
        Condition(type=PREEMPTED, status="True", reason="Reclaimed", message=message[:2000], last_transition_time=now)
    )
    return True


KUEUE_PENDING = "KueuePending"
"""``status.reason`` of a queued job that Kueue has and has not admitted."""


def hand_over(job: TrainJob) -> None:
    """It is Kueue's turn: the job stays queued, though there is an attempt."""
    status = job.status
    status.phase, status.reason, status.message = Phase.QUEUED, KUEUE_PENDING, ""


def moves(job: TrainJob, seen: Observation) -> bool:
    """Whether ``seen`` tells of another phase than the record: it is admitted, waits again, or the code runs."""
    phase = job.status.phase
    if seen.state == "running":
        return phase is not Phase.RUNNING
    return phase is Phase.QUEUED if seen.state == "starting" else phase is Phase.ADMITTED and seen.state == "queued"


def differs(job: TrainJob, seen: Observation) -> bool:
    """Whether ``seen`` tells something about a live attempt that the record lacks."""
    if moves(job, seen):
        return True
    progress = _progress(seen)
    if progress is not None and progress != job.status.progress:
        return True
    return not all(job.status.tells(condition) for condition in _conditions(seen, None))


def follow(job: TrainJob, seen: Observation, now: datetime) -> bool:
    """Write what is seen of a live attempt; False where the job has ended meanwhile."""
    attempt = job.status.attempt
    if attempt is None or attempt.number != seen.ref.attempt or job.status.phase.final:
        return False
    if job.status.live_attempt is None:
        return False
    if seen.state == "queued" and job.status.phase is Phase.ADMITTED:
        attempt.admitted = None
        hand_over(job)
    if seen.state in ("starting", "running") and job.status.phase is Phase.QUEUED:
        attempt.admitted = now
        job.status.phase, job.status.reason, job.status.message = Phase.ADMITTED, "", ""
    if seen.state == "starting":
        job.status.message = _holdup(seen) or job.status.message
    if seen.state == "running":
        job.status.phase = Phase.RUNNING
        job.status.message = ""
        attempt.start = attempt.start or seen.started or now
    attempt.isolation = seen.isolation or attempt.isolation
    attempt.node = seen.node or attempt.node
    job.status.image_digest = seen.image_digest or job.status.image_digest
    job.status.progress = _progress(seen) or job.status.progress
    if seen.usage:
        attempt.usage = _usage(seen)
    for condition in _conditions(seen, now):
        job.status.set_condition(condition)
    return True


_HOLDUPS = ("PodStarted", "InputsReady")


def _holdup(seen: Observation) -> str:
    """What an attempt waits for that has not started."""
    told = (item for item in seen.conditions if item["type"] in _HOLDUPS and item.get("status") == "False")
    return next((item.get("message", "")[:2000] for item in told), "")


def finish(job: TrainJob, how: Ending, seen: Observation | None, now: datetime) -> None:
    """Write the end of the current attempt, and either the job's end or its way back into the queue."""
    status = job.status
    attempt = status.attempt
    if attempt is not None:
        attempt.end = (seen.ended if seen else None) or now
        attempt.reason, attempt.message, attempt.error = how.reason, how.message, how.error
        if seen is not None:
            _take(job, seen, now)
    if _makes_room(job, how):
        status.phase, status.reason = Phase.QUEUED, PREEMPTED
        status.message = f"Attempt {len(status.attempts)} made room for others; it queues again, in its old place."
        return
    if _again(job, how):
        pause = backoff(_spent(job))
        status.phase, status.reason = Phase.QUEUED, "Retrying"
        told = f"attempt {len(status.attempts)} ended with {how.reason.value}; it queues for another in {pause:.0f} s"
        status.message = f"{told[:1].upper()}{told[1:]}."
        status.queued = now
        job.spec.scheduling_gates.append(Gate(type="retry", message=told, until=now + timedelta(seconds=pause)))
        return
    end(job, how.phase, how.reason, how.message, (seen.ended if seen else None) or now)


def no_backend(job: TrainJob, name: str, known: list[str]) -> bool:
    """Say that the backend that has the job is not configured here; it keeps its quota."""
    return job.status.set_condition(
        Condition(
            type="BackendAvailable",
            status="False",
            reason="NotConfigured",
            message=f"The job is on backend {name!r}, and this server has only {', '.join(known) or 'none'}.",
        )
    )


def backoff(spent: int) -> float:
    """Seconds before another attempt, after so many that count: what is broken is given time to mend."""
    return min(RETRY_MAX_SECONDS, RETRY_SECONDS * 2.0 ** min(spent - 1, 20))


def runs_again(job: TrainJob, now: datetime) -> None:
    """Say of a job that made room before that it has some again."""
    if any(one.type == PREEMPTED and one.status == "True" for one in job.status.conditions):
        message = "It made room for others before, and has some again."
        job.status.set_condition(
            Condition(type=PREEMPTED, status="False", reason="Admitted", message=message, last_transition_time=now)
        )


def _makes_room(job: TrainJob, how: Ending) -> bool:
    """Whether the attempt was ended by our own hand for others: that costs no retry."""
    attempt = job.status.attempt
    told = attempt is not None and attempt.preempted != ""
    return told and how.reason is Reason.PREEMPTED and job.spec.cancel is None


def _again(job: TrainJob, how: Ending) -> bool:
    retries = job.spec.retries
    if how.phase is not Phase.FAILED or not how.again or job.spec.cancel is not None or _spent(job) > retries.limit:
        return False
    return how.reason in INFRASTRUCTURE_REASONS or (retries.on_code_error and how.reason is Reason.CODE_ERROR)


def _spent(job: TrainJob) -> int:
    """Attempts that count against the retries: one whose place was taken before its code began lost nothing, unless
    that goes on for ever.
    """
    attempts = job.status.attempts
    ours = sum(1 for one in attempts if one.preempted and one.reason is Reason.PREEMPTED)
    free = sum(1 for one in attempts if not one.preempted and one.start is None and one.reason is Reason.PREEMPTED)
    return len(attempts) - ours - min(free, MAX_FREE)


def _take(job: TrainJob, seen: Observation, now: datetime) -> None:
    status = job.status
    attempt = status.attempt
    if attempt is None:
        return
    attempt.start = attempt.start or seen.started
    attempt.isolation = seen.isolation or attempt.isolation
    attempt.node = seen.node or attempt.node
    status.image_digest = seen.image_digest or status.image_digest
    code = seen.evidence.get("exitCode")
    attempt.exit_code = code if isinstance(code, int) else None
    attempt.usage = _usage(seen) if seen.usage else None
    status.progress = _progress(seen) or status.progress
    status.log = LogStatus(size=seen.log_size, complete=seen.log_complete, gap=seen.log_gap, missing=seen.log_missing)
    status.outputs = OutputStatus(
        notebook=seen.notebook,
        results=_results(seen.claims.get("end")),
        files=[OutputFile(path=item["path"], size=item["size"]) for item in seen.files[:MAX_LISTED]],
        files_total=seen.files_total,
        bytes_total=seen.files_bytes,
    )
    for condition in _conditions(seen, now):
        status.set_condition(condition)


def _results(claim: Any) -> list[Result]:
    if not isinstance(claim, dict) or not isinstance(claim.get("results"), list):
        return []
    found = []
    for item in claim["results"][:256]:
        try:
            found.append(
                Result(
                    name=str(item["name"])[:128],
                    size=max(0, int(item.get("size") or 0)),
                    type=str(item.get("type") or "")[:200],
                    format=str(item.get("format") or "pickle")[:20],
                    python=str(item.get("python") or "")[:20],
                    error=str(item.get("error") or "")[:1000],
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # a claim of the job's own that is no result: there is nothing to list
    return found


def _progress(seen: Observation) -> Progress | None:
    raw = seen.claims.get("progress")
    if not isinstance(raw, dict):
        return None
    try:
        return Progress.model_validate(raw)
    except ValidationError:
        return None  # a claim of the job's own that makes no sense is not repeated


def _usage(seen: Observation) -> Usage:
    return Usage(
        cpu_seconds=float(seen.usage.get("cpuSeconds", 0.0)),
        peak_memory_bytes=int(seen.usage.get("peakMemoryBytes", 0)),
        gpu_seconds=float(seen.usage.get("gpuSeconds", 0.0)),
        disk_bytes=int(seen.usage.get("diskBytes", 0)),
        processes=int(seen.usage.get("processes", 0)),
        read_bytes=int(seen.usage.get("readBytes", 0)),
        written_bytes=int(seen.usage.get("writtenBytes", 0)),
    )


def _conditions(seen: Observation, now: datetime | None) -> list[Condition]:
    return [
        Condition(
            type=item["type"],
            status="True" if item.get("status") == "True" else "False",
            reason=item.get("reason", ""),
            message=item.get("message", "")[:2000],
            last_transition_time=now,
        )
        for item in seen.conditions
    ]
