"""``jupyter trainjob simulate``: try queues on a workload before using them."""

from __future__ import annotations

import json
import math
import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ..resources.base import parse
from ..resources.errors import TrainJobError
from ..resources.quantity import byte_count
from ..resources.queue import Queue
from ..scheduling.model import Amount, NodeView, Policy, QueueView
from ..scheduling.report import report
from ..scheduling.simulate import simulate, workload
from ..scheduling.swf import Trace, TraceError, read_trace
from ..scheduling.views import queue_view
from ..scheduling.words import duration
from ..verbs.options import argument
from ..verbs.parser import Parser, UsageProblem
from .admin import stderr

PROG = "jupyter trainjob simulate"
EXIT_TRACE, EXIT_USAGE = 1, 2
ROWS = 15
"""So many users and queues are shown; ``-o json`` has them all."""
_NODES = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})\Z")
_ARGUMENTS = (
    argument("trace", metavar="TRACE", help="A workload in the Standard Workload Format; - reads it from the input."),
    argument(
        "-q",
        "--queues",
        metavar="FILE",
        default="",
        help="Queue objects, YAML or JSON. Without it: one queue, no limits.",
    ),
    argument(
        "--nodes",
        metavar="NxCPUS",
        default="",
        help="Such as 16x64. Without it: one of as many CPUs as the trace's MaxProcs.",
    ),
    argument(
        "--memory", metavar="SIZE", default="", help="Of each node, such as 256Gi. Without it memory is not looked at."
    ),
    argument(
        "--map",
        metavar="N=QUEUE",
        action="append",
        default=[],
        help="Jobs of the trace's queue N are of QUEUE; may be repeated.",
    ),
    argument(
        "--preemptible",
        metavar="QUEUE",
        action="append",
        default=[],
        help="Jobs of QUEUE may end for what other queues are guaranteed; may be repeated.",
    ),
    argument("--half-life", metavar="DAYS", default="", help="In which past use counts half; 7 without it."),
    argument("--ageing", metavar="HOURS", default="", help="Waiting so long is worth one priority; 24 without it."),
    argument("-o", "--output", metavar="FORMAT", choices=("table", "json"), default="table", help="table or json."),
    argument("-h", "--help", action="store_true", help="This."),
)
_STATUSES = (
    "exit status:\n  0    done\n  1    trace and queues don't fit\n  2    the command line or a file can't be read"
)


def simulate_main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    parser = Parser(PROG, "Replay a workload against queues, without a server.", _ARGUMENTS, _STATUSES)
    if "-h" in argv or "--help" in argv:
        sys.stdout.write(f"{parser.format_help()}\n")
        return 0
    options = parser.parse(list(argv))
    try:
        found = replay(options)
    except UsageProblem as problem:
        stderr(str(problem))
        return EXIT_USAGE
    except TraceError as error:
        stderr(f"{options.trace}: {error}")
        return EXIT_TRACE
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.output == "json" else table(found))
    return 0


def replay(options: Namespace) -> dict[str, Any]:
    """The report that the options ask for."""
    trace = read_trace(_lines(options.trace))
    if not trace.jobs:
        raise UsageProblem(f"{options.trace} has no job that ran; is it in the Standard Workload Format?")
    queues = read_queues(options.queues)
    nodes = _nodes(options, trace)
    for name in options.preemptible:
        if name not in queues:
            raise UsageProblem(f"--preemptible {name}: the configuration has only {', '.join(sorted(queues))}.")
    found = workload(trace, queues, nodes, _names(options.map, queues), options.preemptible)
    work = replace(found, policy=_policy(options))
    return {"trace": options.trace, "neverRan": trace.never_ran, **report(simulate(work))}


def _policy(options: Namespace) -> Policy:
    usual = Policy()
    return replace(
        usual,
        half_life_seconds=_times(options.half_life, "--half-life", 86400.0) or usual.half_life_seconds,
        ageing_seconds=_times(options.ageing, "--ageing", 3600.0) or usual.ageing_seconds,
    )


def _times(text: str, flag: str, seconds: float) -> float:
    """So many times that many seconds; 0 where nothing is given."""
    if not text:
        return 0.0
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.01 <= number <= 36_500:
        raise UsageProblem(f"{flag} {text!r} is no number from 0.01 to 36500")
    return number * seconds


def _lines(name: str) -> Iterable[str]:
    return (sys.stdin.read() if name == "-" else _text(name)).splitlines()


def _text(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageProblem(f"{name} can't be read: {error.strerror}") from None


def read_queues(name: str) -> dict[str, QueueView]:
    """The queues of a file, all on one backend: objects one after the other (``---``), a list, or ``items``."""
    if not name:
        return {"default": QueueView("default", "")}
    try:
        documents = [one for one in yaml.safe_load_all(_text(name)) if one is not None]
    except yaml.YAMLError as error:
        raise UsageProblem(f"{name} is no YAML: {' '.join(str(error).split())}") from None
    flat: list[Any] = []
    for one in documents:
        inner = one.get("items", [one]) if isinstance(one, dict) else one
        flat += inner if isinstance(inner, list) else [inner]
    found: dict[str, QueueView] = {}
    for number, data in enumerate(flat, 1):
        queue = _queue(name, number, data)
        if queue.name in found:
            raise UsageProblem(f"{name}: there are two queues {queue.name!r}; give one another name")
        found[queue.name] = queue
    if not found:
        raise UsageProblem(f"{name} holds no Queue")
    for queue in found.values():
        _check_parents(name, queue, found)
    return found


def _queue(file: str, number: int, data: Any) -> QueueView:
    if not isinstance(data, dict) or data.get("kind", "Queue") != "Queue":
        kind = data.get("kind") if isinstance(data, dict) else type(data).__name__
        raise UsageProblem(f"{file}: object {number} is a {kind}, and only Queue objects belong here")
    try:
        queue = parse(Queue, data, f"{file}: queue {number}")
    except TrainJobError as error:
        raise UsageProblem(str(error)) from None
    if not queue.metadata.name:
        raise UsageProblem(f"{file}: queue {number} has no metadata.name")
    view = queue_view(queue)
    if view.elsewhere:
        raise UsageProblem(
            f"{file}: queue {view.name} is Kueue's (spec.kueue), which can't be simulated here; take it out"
        )
    if not view.open:
        raise UsageProblem(
            f"{file}: queue {view.name} is paused: its jobs would wait for ever; open it, or take it out"
        )
    return view


def _check_parents(file: str, queue: QueueView, queues: Mapping[str, QueueView]) -> None:
    way = [queue.name]
    while parent := queues[way[-1]].parent:
        if parent not in queues:
            raise UsageProblem(f"{file}: queue {way[-1]} has the parent {parent!r}, which is not there")
        if parent in way:
            raise UsageProblem(f"{file}: the parents go round in a circle: {' → '.join([*way, parent])}")
        way.append(parent)


def _nodes(options: Namespace, trace: Trace) -> list[NodeView]:
    count, cpus = 1, trace.processors
    if options.nodes:
        match = _NODES.match(options.nodes)
        if match is None:
            raise UsageProblem(f"--nodes {options.nodes!r} is not a count of nodes and their CPUs; write such as 16x64")
        count, cpus = int(match[1]), int(match[2])
    memory = 0
    if options.memory:
        try:
            memory = byte_count(options.memory)
        except ValueError as error:
            raise UsageProblem(f"--memory: {error}") from None
    return [NodeView("", f"n{index}", Amount(0, cpus * 1000, memory)) for index in range(count)]


def _names(pairs: Sequence[str], queues: Mapping[str, QueueView]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        number, _, name = pair.partition("=")
        if name not in queues:
            raise UsageProblem(f"--map {pair!r}: there is no queue {name!r}; there are {', '.join(sorted(queues)[:8])}")
        found["" if number == "-1" else number] = name
    return found


def table(found: Mapping[str, Any]) -> str:
    """The report for a person."""
    lines = [
        f"{found['jobs']} jobs in {duration(found['makespanSeconds'])}, "
        f"jobs waited for {duration(found['contendedSeconds'])} of it",
        f"utilisation {found['utilisation']:.1%}, fairness (Jain) {found['fairness']['jain']:.3f}",
    ]
    if found["neverRan"]:
        lines.append(f"{found['neverRan']} jobs of the trace never ran and are left out")
    if found["preemptions"]:
        lines.append(f"{found['preemptions']} preemptions")
    if found["neverStarted"]:
        lines.append(f"{found['neverStarted']} jobs never started")
    shares = {(row["queue"], row["user"]): row for row in found["fairness"]["shares"]}
    lines += ["", *_waits("QUEUE", found["queues"], {}), "", *_waits("USER", found["users"], shares)]
    return "\n".join(lines) + "\n"


def _waits(title: str, groups: Mapping[str, Mapping[str, float]], shares: Mapping[tuple[str, str], Any]) -> list[str]:
    """Those that wait longest first."""
    rows = [[title, "JOBS", "MEAN", "P50", "P95", "MAX", *(["SHARE", "TARGET"] if shares else [])]]
    for name, one in sorted(groups.items(), key=lambda pair: (-pair[1]["mean"], pair[0]))[:ROWS]:
        row = [
            name,
            str(one["jobs"]),
            *(duration(one[part]) if one[part] else "0" for part in ("mean", "p50", "p95", "max")),
        ]
        if shares:
            mine = [share for (_, user), share in shares.items() if user == name]
            row += [f"{sum(share[part] for share in mine):.1%}" for part in ("share", "target")]
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    told = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    if len(groups) > ROWS:
        told.append(f"… and {len(groups) - ROWS} more")
    return told
