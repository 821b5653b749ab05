"""The verb submit."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..client import Client, InputError, Job, JobOptions, Sweep, folders, view
from .context import Context, Show, names_of_parents
from .looking import EXIT_FAILED
from .options import job_options
from .printing import origin_text, plain

LISTED = 1000
"""So many files a dry run names."""


def submit(context: Context, arguments: argparse.Namespace) -> Show | int:
    """Send it away; with ``--block`` show its log and come back when it ended."""
    client = context.client()
    options = job_options(arguments)
    if options.get("points") and not arguments.dry_run:
        return _sweep(context, _send_all(client, arguments, options), arguments)
    job = _send(context, client, arguments, options)
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


def _send_all(client: Client, arguments: argparse.Namespace, options: JobOptions) -> Sweep:
    path, points = Path(arguments.path), options.pop("points")
    if arguments.path == "-":
        raise InputError("A notebook from standard input can't be swept.", remedy="Save it, and name the file.")
    if os.path.isdir(path):  # noqa: PTH112 - no error of its own
        return client.sweep_folder(path, arguments.entry, points, **options)
    if path.suffix == ".ipynb":
        return client.sweep_notebook(path, points, **options)
    return client.sweep_script(path, points, **options)


def _sweep(context: Context, sweep: Sweep, arguments: argparse.Namespace) -> int:
    context.say(f"{sweep.name}: {view.count_text(len(sweep), 'job')}; the table: sweep {sweep.name}")
    if not arguments.block:
        return 0
    sweep.wait()
    context.tell(sweep.describe())
    return 0 if sweep.succeeded else EXIT_FAILED


def sweep(context: Context, arguments: argparse.Namespace) -> Show | None:
    """The table: parameters, states, metrics."""
    found = context.client().sweep(arguments.name, arguments.namespace)
    if arguments.wait:
        found.wait()
    rows = found.rows()
    if arguments.output in ("json", "yaml"):
        return Show("Any", rows, arguments.output)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns = [name for name in columns if any(row.get(name) not in (None, "") for row in rows)]
    cells = [columns, *([_cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    for line in cells:
        context.say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    context.tell(found.describe())
    return None


def _cell(value: object) -> str:
    return "" if value is None else plain(f"{value:.6g}" if isinstance(value, float) else str(value))


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
