"""Verbs about figures: metrics, advise."""

from __future__ import annotations

import argparse
import csv
import io
import re
from typing import Any

from ..client import InputError, Job, view
from .context import Context, Show
from .printing import SHORTEST_SECONDS, plain

FEW_POINTS = 10
"""The server's least: a table shows none of them."""
ALL_POINTS = 10_000
_CSV_AT_ONCE = 1000


def metrics(context: Context, arguments: argparse.Namespace) -> Show | None:
    """A line a metric, or every point as CSV."""
    job = context.find(arguments.name, arguments.namespace)
    if arguments.output == "csv":
        _csv(context, job, set(arguments.metrics), arguments.attempt)
        return None
    points = ALL_POINTS if arguments.output == "json" else FEW_POINTS
    told = job.metric_series(arguments.metrics, max_points=points, attempt=arguments.attempt)
    found = told.get("metrics") or {}
    unknown = [name for name in arguments.metrics if name not in found]
    if unknown:
        there = ", ".join(job.metric_series(max_points=FEW_POINTS, attempt=arguments.attempt).get("metrics") or {})
        raise InputError(f"{job.name} has logged no metric {unknown[0]!r}.", remedy=f"It has: {there or 'none'}.")
    if told.get("leftOut"):
        context.tell(f"({view.count_text(told['leftOut'], 'line')} of what it logged could not be read as points)")
    if arguments.output == "json":
        return Show("Metrics", [told], "json", single=True)
    return Show("Metric", [{"name": name, **item} for name, item in found.items()])


def _csv(context: Context, job: Job, wanted: set[str], attempt: int | None) -> None:
    """Written as it is read: there may be more points than memory holds."""
    buffer = io.StringIO()
    rows = csv.writer(buffer, lineterminator="\n")
    rows.writerow(["name", "step", "value", "time"])
    count = 0
    for point in job.metric_points(attempt=attempt):
        if wanted and point["name"] not in wanted:
            continue
        rows.writerow([_cell(point["name"]), point["step"], point["value"], point["time"].isoformat()])
        count += 1
        if count % _CSV_AT_ONCE == 0:
            context.write(buffer.getvalue())
            buffer.seek(0)
            buffer.truncate()
    context.write(buffer.getvalue())


def _cell(name: str) -> str:
    """A spreadsheet takes a text that begins so for a formula; the name is the job's own."""
    return f"'{name}" if re.match(r"[=+\-@]", name) else plain(name)


def advise(context: Context, arguments: argparse.Namespace) -> Show | None:
    """The options to ask with, and why."""
    job = context.find(arguments.name, arguments.namespace)
    told = job.advice()
    if arguments.output in ("json", "yaml"):
        return Show("Advice", [told], arguments.output, single=True)
    for line in advice_lines(told):
        context.say(line)
    return None


def advice_lines(told: dict[str, Any]) -> list[str]:
    """The answer of ``/advice`` for a person; the first line can be copied."""
    resources, seconds = told.get("resources") or {}, told.get("timeLimitSeconds")
    options = [f"--{name} {plain(resources[name])}" for name in ("cpu", "memory", "gpu", "disk") if resources.get(name)]
    options += [f"--time-limit {_duration(int(seconds))}"] if seconds else []
    lines = [" ".join(options)] if options else []
    used, runs = told.get("used"), int(told.get("runs") or 0)
    if used:
        which = "The run used" if runs == 1 else f"At most, {runs} runs of this code used"
        cpu = f"{used['cpu']:g} CPU on the average, " if used["seconds"] >= SHORTEST_SECONDS else ""
        memory, took = view.size_text(used["peakMemoryBytes"]), view.duration_text(used["seconds"])
        lines.append(f"{which} {cpu}{memory} of memory and {took}.")
    return lines + [_sizes(plain(remark)) for remark in told.get("remarks") or []]


def _duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = (f"{count}{unit}" for count, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if count)
    return "".join(parts) or "1s"


def _sizes(remark: str) -> str:
    """Bytes as people write them: ``1073741824 bytes`` is 1.0 GiB."""
    shown = re.sub(r"\b(\d{4,}) bytes\b", lambda found: view.size_text(int(found[1])), remark)
    return re.sub(
        r"(at most )(\d{4,})( used)", lambda found: found[1] + view.size_text(int(found[2])) + found[3], shown
    )
