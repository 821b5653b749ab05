"""What to ask for next time, from what earlier runs of the same code used. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..resources.quantity import byte_count
from ..resources.trainjob import Attempt, Phase, Reason, TrainJob

MEMORY_MARGIN = 1.2
"""Above the highest peak: runs of the same code differ by data and chance."""
TIME_MARGIN = 1.5
MEMORY_STEP = 64 * 2**20
CPU_STEP = 0.5
TIME_STEP_SECONDS = 60
SHORTEST_SECONDS = 5.0
"""A run shorter than this says nothing on how many CPUs the code can use: its kernel's start outweighs it."""


@dataclass(frozen=True)
class Run:
    """One ended attempt: what it was given and what it used."""

    job: str
    reason: str
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    cpu_given: float
    memory_given: int

    @property
    def cores(self) -> float:
        """CPUs in use, on the average of the run."""
        return self.cpu_seconds / self.seconds if self.seconds > 0 else 0.0


def runs_of(jobs: Sequence[TrainJob]) -> list[Run]:
    """The attempts of ``jobs`` that tell something: those that began and have ended."""
    return [run for job in jobs for attempt in job.status.attempts if (run := _run(job, attempt)) is not None]


def _run(job: TrainJob, attempt: Attempt) -> Run | None:
    if attempt.start is None or attempt.end is None or attempt.usage is None:
        return None
    resources = job.spec.resources
    return Run(
        job=job.metadata.name,
        reason=attempt.reason.value if attempt.reason else job.status.phase.value,
        seconds=(attempt.end - attempt.start).total_seconds(),
        cpu_seconds=attempt.usage.cpu_seconds,
        peak_memory_bytes=attempt.usage.peak_memory_bytes,
        cpu_given=resources.cpu_millis / 1000,
        memory_given=byte_count(resources.memory) if resources.memory else 0,
    )


def advise(runs: Sequence[Run]) -> dict[str, Any]:
    """``{runs, used, resources, timeLimitSeconds, remarks}``; ``resources`` is empty where nothing is known.

    Memory: the highest peak and a fifth; twice the limit where a run hit it, since the true peak is not known then.
    CPUs: the highest average in use, rounded up to halves; where that comes close to what was given, the code may
    want more, and the remark says so. Time: the longest run and a half; twice where the limit struck.
    """
    done = [run for run in runs if run.reason in (Reason.COMPLETED.value, Phase.SUCCEEDED.value)]
    full = [run for run in runs if run.reason == Reason.OUT_OF_MEMORY.value]
    late = [run for run in runs if run.reason == Reason.TIME_LIMIT.value]
    known = done or runs
    remarks: list[str] = []
    advice: dict[str, Any] = {"runs": len(runs), "used": None, "resources": {}, "timeLimitSeconds": None}
    if not known:
        return {**advice, "remarks": ["No run of this code has ended yet."]}
    peak = max(run.peak_memory_bytes for run in known)
    memory = _up(peak * MEMORY_MARGIN, MEMORY_STEP)
    longest = max(run.seconds for run in known)
    seconds = _up(longest * TIME_MARGIN, TIME_STEP_SECONDS)
    if full and max(run.memory_given for run in full) >= max((run.memory_given for run in done), default=0):
        memory = max(memory, 2 * max(run.memory_given for run in full))
        remarks.append(f"{full[0].job} ran out of memory: the peak it would have reached is not known.")
    if late and not done:
        seconds = max(seconds, 2 * _up(longest, TIME_STEP_SECONDS))
        remarks.append(f"{late[0].job} hit its time limit: how long it would have run is not known.")
    telling = [run for run in known if run.seconds >= SHORTEST_SECONDS]
    cpu = _cpu(known, telling, remarks)
    given = max(run.memory_given for run in known)
    if given and memory < given and not full:
        remarks.append(f"Up to {given} bytes of memory were asked for and at most {peak} used.")
    advice["used"] = {
        "cpu": round(max(run.cores for run in telling), 2) if telling else None,
        "peakMemoryBytes": peak,
        "seconds": round(longest, 3),
        "cpuSeconds": round(max(run.cpu_seconds for run in known), 3),
    }
    advice["resources"] = {"cpu": f"{cpu:g}", "memory": f"{memory // 2**20}Mi"}
    return {**advice, "timeLimitSeconds": seconds, "remarks": remarks}


def _cpu(known: Sequence[Run], telling: Sequence[Run], remarks: list[str]) -> float:
    if not telling:
        remarks.append(f"No run lasted {SHORTEST_SECONDS:g} s: too short to tell how many CPUs the code can use.")
        return max(CPU_STEP, *(run.cpu_given for run in known))
    most = max(telling, key=lambda run: run.cores)
    if most.cpu_given and most.cores > 0.9 * most.cpu_given:
        remarks.append(f"{most.job} kept all of its {most.cpu_given:g} CPUs busy: with more it may be faster.")
        return most.cpu_given
    return max(CPU_STEP, math.ceil(most.cores / CPU_STEP) * CPU_STEP)


def _up(value: float, step: int) -> int:
    return max(step, math.ceil(value / step) * step)
