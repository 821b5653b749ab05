"""Reads workloads in the Standard Workload Format of the Parallel Workloads Archive.

https://www.cs.huji.ac.il/labs/parallel/workload/swf.html: a line a job, 18 numbers, -1 for what is not known; lines
that begin with ``;`` are the header (``; MaxProcs: 128``) or remarks. Of the numbers, those that say who asked for
what, when, and how long it ran are used; the wait that happened then, and dependencies, are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

FIELDS = 18
_HEADER = re.compile(r";\s*([A-Za-z]+)\s*:\s*(-?\d+)")


class TraceError(ValueError):
    """A line that can't be used; the message names it, and says what to do."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class TraceJob:
    """A job of a trace. Times in seconds; ``limit`` is what was asked for, and the job ran no longer."""

    line: int
    number: int
    submit: float
    run: float
    processors: int
    limit: int
    memory_bytes: int
    """Of all its processors; 0: not known."""
    user: str
    group: str
    queue: str


@dataclass(frozen=True)
class Trace:
    """A workload, by time of submission."""

    jobs: tuple[TraceJob, ...]
    header: dict[str, int]
    never_ran: int
    """Jobs that were cancelled before they ran: they are left out."""

    @property
    def processors(self) -> int:
        """Of the machine, as the header says; else as many as the largest job had."""
        return self.header.get("MaxProcs") or max((job.processors for job in self.jobs), default=0)


def read_trace(lines: Iterable[str]) -> Trace:
    """The jobs of a trace; :class:`TraceError` for the first line that is none."""
    jobs: list[TraceJob] = []
    header: dict[str, int] = {}
    never_ran = 0
    for number, text in enumerate(lines, 1):
        line = text.strip()
        if not line:
            continue
        if line.startswith(";"):
            if match := _HEADER.match(line):
                header[match[1]] = int(match[2])
            continue
        job = _job(number, line.split())
        if job is None:
            never_ran += 1
        else:
            jobs.append(job)
    jobs.sort(key=lambda job: job.submit)
    return Trace(tuple(jobs), header, never_ran)


def _job(line: int, words: list[str]) -> TraceJob | None:
    if len(words) != FIELDS:
        raise TraceError(line, f"{len(words)} fields; a job of the Standard Workload Format has {FIELDS}")
    values = []
    for place, word in enumerate(words, 1):
        try:
            value = float(word)
        except ValueError:
            raise TraceError(
                line, f"field {place} is {word[:40]!r}, which is no number; write -1 for unknown"
            ) from None
        if not abs(value) < 1e15:
            raise TraceError(line, f"field {place} is {word[:40]!r}, which is no number that anything is measured in")
        values.append(value)
    number, submit, _, run, allocated, _, used_memory, requested, limit, memory = values[:10]
    if submit < 0:
        raise TraceError(line, f"job {number:.0f} was submitted at {submit:g} s; times count from 0, the trace's start")
    if run <= 0:
        return None
    processors = int(requested if requested > 0 else allocated)
    if processors <= 0:
        raise TraceError(line, f"job {number:.0f} has neither requested (field 8) nor allocated processors (field 5)")
    whole = max(1, round(limit if limit > 0 else run))
    kilobytes = memory if memory > 0 else max(0.0, used_memory)
    return TraceJob(
        line,
        int(number),
        submit,
        min(run, float(whole)),
        processors,
        whole,
        round(kilobytes * 1024) * processors,
        f"u{values[11]:.0f}" if values[11] >= 0 else "unknown",
        f"g{values[12]:.0f}" if values[12] >= 0 else "unknown",
        f"{values[14]:.0f}" if values[14] >= 0 else "",
    )
