"""``--block``: the log as it comes, then the variables. ^C detaches; once more within three seconds cancels the job."""

from __future__ import annotations

import sys
import time
from typing import Any

from ..client import Job, jobs
from . import state
from .errors import Detached

SECOND_CHANCE_SECONDS = 3.0


def block(shell: Any, job: Job, names: list[str]) -> None:
    """Wait for ``job`` and put its variables ``names`` into the notebook. Raises ``JobFailed``, ``Detached``."""
    if hasattr(shell, "kernel"):
        state.follower().display(job, shell, log=False)
    try:
        stream(job)
        job.wait()
        jobs.raise_unless_succeeded(job)
        shell.push({name: job.result(name) for name in names})
    except KeyboardInterrupt:
        detach(job)


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
    """Say how to come back, and give a moment to cancel instead. Raises ``Detached`` either way."""
    try:
        sys.stdout.flush()
        sys.stderr.write(
            f"\nDetached from {job.name}; it goes on. "
            f"Interrupt again within {SECOND_CHANCE_SECONDS:.0f} s to cancel it.\n"
            f"Come back with: %trainjob logs {job.name} -f\n"
        )
        sys.stderr.flush()
        time.sleep(SECOND_CHANCE_SECONDS)
    except KeyboardInterrupt:
        job.cancel("interrupted twice in the notebook")
        raise Detached(f"{job.name} is being cancelled.") from None
    raise Detached(f"{job.name} goes on. Come back with: %trainjob logs {job.name} -f") from None
