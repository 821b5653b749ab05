"""The verb submit."""

from __future__ import annotations

import argparse
import sys

from ..client import Job
from .context import Context, Show
from .looking import EXIT_FAILED
from .options import job_options


def submit(context: Context, arguments: argparse.Namespace) -> Show | int:
    """Send a notebook away; with ``--block`` show its log and come back when it ended."""
    options = job_options(arguments)
    client = context.client()
    if arguments.notebook == "-":
        job = client.submit_notebook_bytes(sys.stdin.buffer.read(), "notebook.ipynb", **options)
    else:
        job = client.submit_notebook(arguments.notebook, **options)
    if not arguments.dry_run:
        context.submitted(job)
        if arguments.block:
            return _block(context, job)
    return Show("TrainJob", [job.resource], arguments.output, single=True, job=job)


def _block(context: Context, job: Job) -> int:
    context.tell(f"{job.name}: {job.describe()}")
    for piece in job.logs(True):
        context.write(piece)
    context.tell(f"{job.name}: {job.describe()}")
    return 0 if job.succeeded else EXIT_FAILED
