"""The verb submit."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..client import Client, InputError, Job, JobOptions, folders, view
from .context import Context, Show, names_of_parents
from .looking import EXIT_FAILED
from .options import job_options
from .printing import origin_text, plain

LISTED = 1000
"""So many files a dry run names."""


def submit(context: Context, arguments: argparse.Namespace) -> Show | int:
    """Send it away; with ``--block`` show its log and come back when it ended."""
    client = context.client()
    job = _send(context, client, arguments, job_options(arguments))
    if not arguments.dry_run:
        context.submitted(job)
        if arguments.block:
            return _block(context, job)
    else:
        for line in sent_lines(client, job):
            context.tell(line)
        context.tell("Nothing was submitted. It would be:")
    return Show("TrainJob", [job.resource], arguments.output, single=True, job=job)


def _send(context: Context, client: Client, arguments: argparse.Namespace, options: JobOptions) -> Job:
    path = Path(arguments.path)
    if arguments.path != "-" and os.path.isdir(path):  # noqa: PTH112 - no error of its own
        return _send_folder(context, client, path, arguments, options)
    if arguments.entry:
        raise InputError(f"--entry {arguments.entry}: {path} is no folder.", remedy="Leave --entry out.")
    if arguments.path == "-":
        return client.submit_notebook_bytes(sys.stdin.buffer.read(), "notebook.ipynb", **options)
    if path.suffix == ".ipynb":
        return client.submit_notebook(path, **options)
    return client.submit_script(path, **options)


def _send_folder(
    context: Context, client: Client, path: Path, arguments: argparse.Namespace, options: JobOptions
) -> Job:
    found = folders.collect(path)
    folders.check_entry(path, arguments.entry, found)
    context.tell(f"{path}: {folders.told(found)}")
    if arguments.dry_run:
        for one in found[:LISTED]:
            context.tell(f"  {plain(one.path)}  {view.size_text(one.size)}")
        if len(found) > LISTED:
            context.tell(f"  … and {len(found) - LISTED} more")
    return client.submit_folder(path, arguments.entry, **options)


def sent_lines(client: Client, job: Job) -> Iterator[str]:
    """What goes along with a job beside its code, a line each."""
    names = names_of_parents(client, job.resource)
    for item in (job.spec.get("inputs") or [])[:LISTED]:
        kind, path = item.get("type"), plain(item.get("path") or "")
        if kind == "variables":
            yield f"  variables: {', '.join(map(plain, item.get('names') or []))}"
        elif kind in ("output", "uri"):
            yield f"  {path}: {plain(origin_text(item, names))}"
        elif kind == "upload":
            yield f"  {path}"


def _block(context: Context, job: Job) -> int:
    def news(job: Job) -> None:
        if job.phase == "Admitted":  # a kernel may need half a minute until it prints something
            context.tell(f"{job.name}: Starting")

    context.tell(f"{job.name}: {job.describe()}")
    end = ""
    for piece in job.logs(True, news=news):
        context.write(piece)
        end = piece[-1:] or end
    if end not in ("", "\n"):
        context.write("\n")
    context.tell(f"{job.name}: {job.describe()}")
    return 0 if job.succeeded else EXIT_FAILED
