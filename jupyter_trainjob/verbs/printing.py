"""Things as text: tables that fit the line, JSON, YAML, names."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..client import typed, view
from .context import Show

Column = tuple[str, Callable[[dict[str, Any]], str]]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_COLOURS = {"Queued": 33, "Admitted": 33, "Running": 34, "Succeeded": 32, "Failed": 31, "Cancelled": 90}


def plain(text: Any) -> str:
    """``text`` on one line and without anything that steers a terminal: it may be another person's."""
    return _CONTROL.sub(lambda match: " " if match[0] in "\n\t\r" else "�", str(text))


def _age(resource: dict[str, Any]) -> str:
    seconds = view.seconds_between(resource["metadata"].get("creationTimestamp"), None)
    return view.duration_text(None if seconds is None else float(int(seconds))).replace(".0 s", " s")


def _state(resource: dict[str, Any]) -> str:
    return view.JobView(resource).describe()


def _meta(key: str) -> Callable[[dict[str, Any]], str]:
    return lambda resource: str(resource["metadata"].get(key) or "")


def _spec(*keys: str) -> Callable[[dict[str, Any]], str]:
    def get(resource: dict[str, Any]) -> str:
        value: Any = resource.get("spec") or {}
        for key in keys:
            value = (value or {}).get(key)
        return "" if value is None else str(value)

    return get


def _use(who: str) -> Callable[[dict[str, Any]], str]:
    def get(resource: dict[str, Any]) -> str:
        use = (resource.get("status") or {}).get(who) or {}
        return f"{use.get('runningJobs', 0)} running, {use.get('queuedJobs', 0)} queued" if use else ""

    return get


def _limit(scope: str) -> Callable[[dict[str, Any]], str]:
    def get(resource: dict[str, Any]) -> str:
        limits = (resource.get("spec") or {}).get(scope) or {}
        words = {"runningJobs": "job", "cpu": "CPU", "memory": "", "gpu": "GPU"}
        given = ((limits.get(key), word) for key, word in words.items())
        return ", ".join(
            view.count_text(amount, word) if word else f"{amount} memory"
            for amount, word in given
            if amount is not None
        )

    return get


def _given(part: str) -> Callable[[dict[str, Any]], str]:
    def get(resource: dict[str, Any]) -> str:
        values = (resource.get("spec") or {}).get(part) or {}
        return ", ".join(f"{key} {values[key]}" for key in ("cpu", "memory", "gpu", "disk") if values.get(key))

    return get


def _figure(value: Any) -> str:
    """A number that a server says is none that is finite where it says null."""
    return "NaN" if value is None else f"{value:.6g}"


_JOB_COLUMNS: list[Column] = [
    ("NAME", _meta("name")),
    ("QUEUE", _spec("queue")),
    ("AGE", _age),
    ("STATE", _state),
]
COLUMNS: dict[str, list[Column]] = {
    "TrainJob": _JOB_COLUMNS,
    "TrainJobs": [("NAMESPACE", _meta("namespace")), ("OWNER", _meta("owner")), *_JOB_COLUMNS],
    "Queue": [
        ("NAME", _meta("name")),
        ("ADMISSION", _spec("admission")),
        ("ALL", _use("use")),
        ("MINE", _use("mine")),
        ("LIMITS", _limit("limits")),
        ("PER USER", _limit("perUser")),
        ("DESCRIPTION", _spec("description")),
    ],
    "Profile": [
        ("NAME", _meta("name")),
        ("QUEUE", _spec("queue")),
        ("GIVES", _given("defaults")),
        ("AT MOST", _given("maximum")),
        ("TIME LIMIT", lambda item: view.span_text((item.get("spec") or {}).get("timeLimitSeconds"))),
        ("DESCRIPTION", _spec("description")),
    ],
    "Result": [
        ("NAME", lambda item: str(item.get("name", ""))),
        ("TYPE", lambda item: str(item.get("type", ""))),
        ("SIZE", lambda item: view.size_text(item.get("size", 0))),
        ("ERROR", lambda item: str(item.get("error", ""))),
    ],
    "File": [
        ("PATH", lambda item: str(item.get("path", ""))),
        ("SIZE", lambda item: view.size_text(item.get("size", 0))),
    ],
    "Kernel": [
        ("NAME", lambda item: str(item.get("name", ""))),
        ("LANGUAGE", lambda item: str(item.get("language", ""))),
        ("BACKEND", lambda item: str(item.get("backend", ""))),
        ("WHAT", lambda item: str(item.get("displayName", ""))),
    ],
    "Metric": [
        ("METRIC", lambda item: str(item.get("name", ""))),
        ("COUNT", lambda item: str(item.get("count", ""))),
        ("LAST", lambda item: _figure(item.get("last"))),
        ("MIN", lambda item: _figure(item.get("minimum"))),
        ("MAX", lambda item: _figure(item.get("maximum"))),
    ],
}
_NOTHING = {
    "TrainJob": "No jobs.",
    "TrainJobs": "No jobs.",
    "Queue": "No queues.",
    "Profile": "No profiles.",
    "Result": "No results.",
    "File": "No files.",
    "Kernel": "No kernels.",
    "Metric": "No metrics.",
}


def text(show: Show, width: int = 0, colour: bool = False) -> str:
    """What is to be printed for ``show``, with a line's end."""
    if show.output == "json":
        return json.dumps(_document(show), indent=2, ensure_ascii=False) + "\n"
    if show.output == "yaml":
        return yaml_text(_document(show))
    if show.output == "name":
        return "".join(f"{_name(show, item)}\n" for item in show.items)
    if show.single and show.kind in ("TrainJob", "Queue", "Profile") and not show.output:
        return detail(show.items[0], show.names) if show.kind == "TrainJob" else yaml_text(show.items[0])
    if not show.items:
        return _NOTHING.get(show.kind, "Nothing.") + "\n"
    return table(COLUMNS[show.kind], show.items, width, colour)


def yaml_text(value: Any) -> str:
    """YAML, in the order of the object's own keys."""
    import yaml

    dumped: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return dumped


def _document(show: Show) -> Any:
    if show.single:
        return show.items[0]
    if show.kind in ("Result", "File", "Kernel"):
        return show.items
    kind = "TrainJob" if show.kind == "TrainJobs" else show.kind
    return {"apiVersion": "jupyter-trainjob/v1", "kind": f"{kind}List", "items": show.items}


def _name(show: Show, item: dict[str, Any]) -> str:
    meta = item.get("metadata") or {}
    return plain(meta.get("name") or item.get("name") or item.get("path") or "")


def detail(resource: dict[str, Any], names: Mapping[str, str] = MappingProxyType({})) -> str:
    """One job for a person: the lines that have something to say. ``names``: of the jobs that it reads from, by uid."""
    job = view.JobView(resource)
    spec, attempt = job.spec, job.attempt
    outputs = job.status.get("outputs") or {}
    labels = ", ".join(f"{key}={value}" for key, value in (job.metadata.get("labels") or {}).items())
    resources = ", ".join(f"{key} {value}" for key, value in (spec.get("resources") or {}).items())
    limit = view.span_text(spec.get("timeLimitSeconds"))
    lines = {
        "Name": job.name,
        "Namespace": job.namespace,
        "Owner": job.owner,
        "UID": job.uid,
        "State": job.describe(),
        "Code": _code(spec),
        "Queue": spec.get("queue"),
        "Profile": spec.get("profile"),
        "Resources": resources,
        "Time limit": limit,
        "Parameters": ", ".join(
            f"{name}={typed.shown(value)}" for name, value in (spec.get("parameters") or {}).items()
        ),
        "Inputs": _inputs(spec, names),
        "Packages": _packages(spec),
        "Image": job.status.get("imageDigest") or (spec.get("environment") or {}).get("image", ""),
        "Volumes": ", ".join(map(_volume, spec.get("volumes") or [])),
        "Labels": labels,
        "Created": view.local_text(job.metadata.get("creationTimestamp")),
        "Ran on": " ".join(str(attempt[key]) for key in ("node", "isolation") if attempt.get(key)),
        "Attempts": len(job.status.get("attempts") or []) if attempt else "",
        "Used": used_text(attempt, spec.get("resources") or {}),
        "Results": ", ".join(str(item["name"]) for item in outputs.get("results") or []),
        "Files": f"{outputs['filesTotal']}, {view.size_text(outputs.get('bytesTotal', 0))}"
        if outputs.get("filesTotal")
        else "",
    }
    rows = [f"{key + ':':12} {plain(value)}" for key, value in lines.items() if value]
    for condition in job.status.get("conditions") or []:
        if condition.get("message") and condition.get("status") == "False":  # what is as it should be needs no note
            rows.append(f"{'Note:':12} {plain(condition['message'])}")
    trace = str(job.error.get("traceback", "")).splitlines()
    return "\n".join(rows + (["", *map(plain, map(without_escapes, trace))] if trace else [])) + "\n"


def _code(spec: dict[str, Any]) -> str:
    source, environment = spec.get("source") or {}, spec.get("environment") or {}
    what = source.get("entry") or source.get("path") or source.get("type") or ""
    if source.get("entry"):
        what = f"{what} of a folder"
    runs = environment.get("kernel") or environment.get("language")
    return f"{what}, {runs}" if what and runs else str(what)


def _packages(spec: dict[str, Any]) -> str:
    """The list that they come from, by the form and the digest that a job built for it says."""
    asked = (spec.get("environment") or {}).get("requirements") or {}
    return f"{asked['format']} {asked['digest'][:19]}" if asked.get("digest") else ""


def _volume(asked: dict[str, Any]) -> str:
    """As ``--volume`` has it."""
    parts = (asked.get("name"), asked.get("mountPath"), "" if asked.get("readOnly", True) else "rw")
    return ":".join(str(part) for part in parts if part)


def _inputs(spec: dict[str, Any], names: Mapping[str, str]) -> str:
    """Those that are named rather than sent, and how many others there are."""
    given = spec.get("inputs") or []
    named = [item for item in given if item.get("type") in ("output", "uri")]
    texts = [f"{item.get('path')} ({origin_text(item, names)})" for item in named]
    texts += [", ".join(item.get("names") or []) for item in given if item.get("type") == "variables"]
    files = sum(item.get("type") == "upload" for item in given)
    return ", ".join([*texts, *([view.count_text(files, "file")] if files else [])])


def origin_text(item: dict[str, Any], names: Mapping[str, str]) -> str:
    """Where an input that is named comes from: which file of which job and attempt, or its address.

    A job is told by its name where ``names`` has its uid, which is told too.
    """
    if item.get("type") == "uri":
        return str(item.get("uri"))
    what = "all files" if item.get("file") == "." else str(item.get("file"))
    which = f", attempt {item['attempt']}" if item.get("attempt") else ""
    job = str(item.get("job"))
    return f"{what} of job {names[job]}{which}, uid {job}" if job in names else f"{what} of job {job}{which}"


SHORTEST_SECONDS = 5.0
"""Of a shorter run the CPUs on the average say little: what was spent to start counts as well."""


def used_text(attempt: dict[str, Any], asked: dict[str, Any]) -> str:
    """What an attempt used beside what it asked for: ``memory 310.0 MiB of 1 GiB, …``; empty if unknown."""
    usage = attempt.get("usage") or {}
    if not usage:
        return ""
    parts = [f"memory {view.size_text(usage.get('peakMemoryBytes', 0))}{_of(asked.get('memory'))}"]
    seconds = view.seconds_between(attempt.get("start"), attempt.get("end"))
    spent = float(usage.get("cpuSeconds", 0))
    if seconds and seconds >= SHORTEST_SECONDS:
        parts.append(f"CPU {spent / seconds:.1f}{_of(asked.get('cpu'))} ({spent:.1f} CPU seconds)")
    else:
        parts.append(f"{spent:.1f} CPU seconds")
    parts.append(f"disk {view.size_text(usage.get('diskBytes', 0))}{_of(asked.get('disk'))}")
    if usage.get("readBytes") or usage.get("writtenBytes"):
        read, written = (view.size_text(usage.get(key, 0)) for key in ("readBytes", "writtenBytes"))
        parts.append(f"read {read}, written {written}")
    return ", ".join(parts)


def _of(quantity: Any) -> str:
    """`` of 1 GiB`` for ``"1Gi"``; what was not asked for is not told."""
    if quantity in (None, ""):
        return ""
    return " of " + re.sub(r"^([0-9.]+)([KMGTPE]i?)$", r"\1 \2B", str(quantity))


_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.")


def without_escapes(line: str) -> str:
    """``line`` without colours and other escape sequences."""
    return _ESCAPE.sub("", line)


def cells(line: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in line
    )


def cut(line: str, width: int) -> str:
    """``line``, at most ``width`` columns wide, with an ellipsis where it was longer."""
    if cells(line) <= width:
        return line
    kept, used = "", 1
    for sign in line:
        used += cells(sign)
        if used > width:
            break
        kept += sign
    return kept + "…"


def table(columns: Sequence[Column], items: Sequence[dict[str, Any]], width: int = 0, colour: bool = False) -> str:
    """Rows under headings. Columns that say nothing are left out; the last one gives way when ``width`` is short."""
    rows = [[plain(get(item)) for _, get in columns] for item in items]
    used = [index for index in range(len(columns)) if any(row[index] for row in rows) or index == 0]
    heads = [columns[index][0] for index in used]
    body = [[row[index] for index in used] for row in rows]
    widths = [max(cells(line) for line in column) for column in zip(heads, *body, strict=True)]
    if width:
        while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > 8:
            widest = max(range(len(widths)), key=lambda index: (widths[index], index))
            widths[widest] -= 1
    lines = []
    for row in [heads, *body]:
        shown = [
            cut(line, size) + " " * (size - cells(cut(line, size))) for line, size in zip(row, widths, strict=True)
        ]
        if colour and row is not heads:
            shown[-1] = _coloured(shown[-1])
        lines.append("  ".join(shown).rstrip())
    return "\n".join(lines) + "\n"


def _coloured(state: str) -> str:
    phase = re.split(r"[\s,:]", state, maxsplit=1)[0]
    code = _COLOURS.get(phase)
    return f"\x1b[{code}m{phase}\x1b[0m{state[len(phase) :]}" if code else state
