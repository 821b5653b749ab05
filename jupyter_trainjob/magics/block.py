"""``--block``: the log as it comes, then the variables. ^C detaches; once more within three seconds cancels the job."""

from __future__ import annotations

import sys
import time
from typing import Any

from ..client import Job, ResultError, jobs
from ..verbs.printing import plain
from . import state
from .errors import Detached

SECOND_CHANCE_SECONDS = 3.0


def block(shell: Any, job: Job, names: list[str]) -> None:
    """Wait for ``job`` and put its variables ``names`` into the notebook. Raises ``JobFailed``, ``Detached``, and
    ``ResultError`` for those that did not come back; the others are there nevertheless."""
    shown = state.follower().display(job, shell, log=False) if hasattr(shell, "kernel") else None
    try:
        try:
            stream(job)
            job.wait()
        finally:
            if shown is not None and job.finished:
                shown.finish(job)  # the thread may be a moment behind, and the cell is over now
        jobs.raise_unless_succeeded(job)
        bring_back(shell, job, names)
    except KeyboardInterrupt:
        detach(job)


def bring_back(shell: Any, job: Job, names: list[str]) -> None:
    """Put the variables into the notebook; all that are missing are named with their reasons."""
    missing: dict[str, ResultError] = {}
    for name in names:
        try:
            shell.push({name: job.result(name)})
        except ResultError as error:
            missing[name] = error
    if len(missing) == 1:
        raise next(iter(missing.values()))
    if missing:
        reasons = [f"  {name}: {plain(_reason(error))}" for name, error in missing.items()]
        head = f"{len(missing)} of {len(names)} variables of {job.name} did not come back:"
        raise ResultError("\n".join([head, *reasons]))


def _reason(error: ResultError) -> str:
    """Without what the heading says already."""
    why = str(error.data.get("why") or error.message.rstrip("."))
    return f"{why}. {error.remedy}"


def stream(job: Job) -> None:
    """Write the log to the cell's output until the job ends."""
    last = "\n"
    for piece in job.logs(True):
        sys.stdout.write(piece)
        sys.stdout.flush()
        last = piece[-1:] or last
    if last != "\n":
        sys.stdout.write("\n")
        sys.stdout.flush()


def detach(job: Job) -> None:
    """Give a moment to cancel, then say how to come back. Raises ``Detached`` either way."""
    try:
        sys.stdout.flush()
        sys.stderr.write(
            f"\nDetached from {job.name}. Interrupt again within {SECOND_CHANCE_SECONDS:.0f} s to cancel it.\n"
        )
        sys.stderr.flush()
        time.sleep(SECOND_CHANCE_SECONDS)
    except KeyboardInterrupt:
        job.cancel("interrupted twice in the notebook")
        raise Detached(f"{job.name} is being cancelled.") from None
    raise Detached(f"{job.name} goes on. Come back with: %trainjob logs {job.address()} -f") from None
