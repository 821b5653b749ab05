"""Options as people give them, made into a TrainJob. Pure: no file, no network, no clock."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, TypedDict

from . import typed
from .errors import InputError

API_VERSION = "jupyter-trainjob/v1"
SWEEP_LABEL = "jupyter-trainjob/sweep"
NAME_LABEL = "jupyter-trainjob/name"
FINAL_PHASES = ("Succeeded", "Failed", "Cancelled")


class JobOptions(TypedDict, total=False):
    """Options that every way to submit takes; all are optional and the profile fills what is left out."""

    name: str
    """A short name; the job's full name is this, a dash and five letters."""
    namespace: str | None
    """Whose job it is: a course or project; your own by default."""
    profile: str
    queue: str
    cpu: str | float
    """CPUs: ``"2"``, ``0.5``, ``"500m"``."""
    memory: str
    """Of the whole process tree: ``"512Mi"``, ``"2Gi"``."""
    gpu: int
    shm: str
    """Size of /dev/shm."""
    disk: str
    """All that the job may write into its folder."""
    time_limit: str | float
    """Wall clock: ``"5m"``, ``"1h30m"``, or seconds."""
    priority: int
    network: str
    """What it may reach: ``"none"``, ``"loopback"`` or ``"profile"``, which is what its profile allows."""
    parameters: Mapping[str, Any]
    """Variables set before the code runs: None, numbers (also NaN and infinities), text, dates and datetimes, and lists
    and dicts of these."""
    variables: Mapping[str, Any]
    """Variables to send along: pickled for Python; for R and Scala DataFrames, and what a parameter can be."""
    outputs: Iterable[str]
    """Names of variables to bring back."""
    files: Iterable[str]
    """Glob patterns of files to send along, below ``folder``."""
    inputs: Iterable[str]
    """What other jobs left: ``"JOB:FILE"``, a folder as ``"JOB:FOLDER"``, all as ``"JOB:."``; ``=PATH`` behind it is
    its place in the job's folder."""
    uris: Iterable[str]
    """Data from elsewhere, where the operator allows it: ``"https://host/file"``, and ``=PATH`` for its place."""
    folder: str
    """What ``files`` and relative paths start from; the current folder by default."""
    keep: Iterable[str]
    """Glob patterns of files to keep of what the job writes; all by default."""
    env: Mapping[str, str]
    labels: Mapping[str, str]
    depends_on: Iterable[str]
    """Jobs that must succeed first; ``"digits:finished"`` or ``":failed"`` waits for another end."""
    requirements: str
    """A ``requirements.txt``, ``renv.lock`` or list of jars (``group:artifact:version``, named ``….ivy``): what the job
    needs. It is built once, outside the job, and kept."""
    image: str
    """The container image that it runs in, where the queue's jobs run in images and the operator allows it."""
    volumes: Iterable[str]
    """Volumes of the profile: ``"data"`` (read-only), ``"home:rw"``, ``"data:/mnt/sets"``, ``"home:/mnt/me:rw"``."""
    retries: int
    """How often to try again when the machinery, not the code, failed."""
    retry_code_errors: bool
    """Also where the code raised an error."""
    preemptible: bool
    """It may be ended for others, and queue again; what it kept in its folder checkpoint/ is there then."""
    points: Sequence[Mapping[str, Any]]
    """The parameters of each job of a sweep; see :meth:`.Client.sweep_cell`."""
    max_parallel: int
    """Of a sweep: so many points at once."""
    repeat: int
    """Of a sweep: each point so often, each time with a seed of its own."""
    notify: bool
    hold: bool
    """Do not queue until it is released."""
    kernel: str
    """A kernelspec's name, or a language: ``"R"``, ``"scala"``, ``"python"``."""
    language: str
    cell_id: str
    first_line: int
    """The line of the cell at which the code begins, where that is not its first. Lines in errors count from it."""
    dry_run: bool
    block: bool
    """Come back when the job has ended, however it did."""


_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?\Z")


def seconds(text: str | float) -> int:
    """A duration in whole seconds: ``"5m"``, ``"1h30m"``, ``"2d"``, ``"90"``, ``90``."""
    match = _DURATION.match(str(text).strip().lower().replace(" ", ""))
    if match is None or not any(match.groups()):
        raise InputError(f"{text!r} is no duration.", remedy="Write for example 90 (seconds), 5m, 1h30m or 2d.")
    days, hours, minutes, rest = (float(part or 0) for part in match.groups())
    return round(days * 86400 + hours * 3600 + minutes * 60 + rest)


def split_names(texts: Iterable[str]) -> list[str]:
    """``["a,b", "c"]`` → ``["a", "b", "c"]``, each once."""
    if isinstance(texts, str):
        texts = [texts]
    names = [name.strip() for text in texts for name in text.split(",")]
    return list(dict.fromkeys(name for name in names if name))


def pair(text: str, option: str) -> tuple[str, str]:
    """``"k=v"`` → ``("k", "v")``."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"{option} {text}: there is no '='.", remedy=f"Write {option} name=value.")
    return key.strip(), value


def volume(text: str) -> dict[str, Any]:
    """``"home:/mnt/me:rw"`` → ``{"name": "home", "mountPath": "/mnt/me", "readOnly": False}``."""
    name, *rest = text.strip().split(":")
    found: dict[str, Any] = {"name": name, "readOnly": True}
    modes = [item for item in rest if item in ("ro", "rw")]
    places = [item for item in rest if item.startswith("/")]
    if not name or "/" in name or len(modes) > 1 or len(places) > 1 or len(modes) + len(places) < len(rest):
        raise InputError(
            f"--volume {text}: this can't be read.",
            remedy="Write NAME, NAME:rw to write into it, and NAME:/mnt/place or NAME:/mnt/place:rw for another place.",
        )
    found["readOnly"] = modes != ["rw"]
    return found | ({"mountPath": places[0]} if places else {})


def _texts(given: Iterable[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or ())


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


def _not_carried(text: str, why: str) -> InputError:
    return InputError(
        f"The parameter value {text[:40]!r} can't be carried: {why}.",
        remedy="Quote it to send text (--param 'x=\"1e999\"'), or put it into a file and send it with --files.",
    )


def value(text: str) -> Any:
    """What a parameter's text means: JSON (with NaN and Infinity), else a date, else a Python literal, else the text.

    Quotes within the text make it text: ``"2026-11-22"`` is no date. A number that no float holds is refused: 1e999.
    """

    def number(digits: str) -> float:
        found = float(digits)
        if math.isinf(found):
            raise _not_carried(text, f"no float holds {digits[:40]}")
        return found

    try:
        return json.loads(text, parse_float=number)
    except ValueError:
        pass
    except RecursionError:
        raise _not_carried(text, "it is nested too deeply") from None
    try:
        return date.fromisoformat(text) if _DATE.match(text) else _literal(text)
    except ValueError:
        return text


def _literal(text: str) -> Any:
    """A Python literal of values that a parameter can be; ``ValueError`` for all else."""
    try:
        found = ast.literal_eval(text)
        typed.encode(found, "value")
    except (TypeError, SyntaxError, MemoryError, RecursionError, InputError) as error:
        raise ValueError(text) from error
    return found


MAX_CODE_BYTES = 1024 * 1024
"""The server's limit, asked here first so that nobody waits for 50 MB to be sent and refused."""


def check_text(what: str, text: str, remedy: str = "Take it out.") -> None:
    """:class:`InputError` for half a character, which no UTF-8 has: as Python reads it from a name with other bytes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} holds {text[error.start]!r}, which is no character and can't be sent.", remedy=remedy
        ) from None


def _check_texts(where: str, item: Any) -> None:
    if isinstance(item, str):
        check_text(where, item)
    elif isinstance(item, Mapping):
        for key, value in item.items():
            check_text(f"a name in {where}", str(key))
            _check_texts(f"{where}.{key}", value)
    elif isinstance(item, (list, tuple)):
        for index, value in enumerate(item):
            _check_texts(f"{where}[{index}]", value)


def check_code(code: str) -> None:
    """:class:`InputError` for a cell that can't be sent or is larger than the server takes."""
    check_text("The cell", code)
    size = len(code.encode())
    if size > MAX_CODE_BYTES:
        raise InputError(
            f"The cell is {size / 2**20:.1f} MiB, the limit is 1 MiB.",
            remedy="Put data into a file and send it with --files.",
        )


def job(
    source: Mapping[str, Any],
    options: JobOptions,
    *,
    inputs: Sequence[Mapping[str, Any]],
    gates: Sequence[Mapping[str, Any]],
    default_name: str,
) -> dict[str, Any]:
    """The TrainJob to POST. What is not given is left out, so that profile and server decide."""
    resources = {key: options.get(key) for key in ("cpu", "memory", "gpu", "shm", "disk")}
    environment: dict[str, Any] = {"kernel": options.get("kernel"), "language": options.get("language")}
    if options.get("image"):
        environment["image"] = options["image"]
    if options.get("env"):
        environment["env"] = [{"name": key, "value": str(text)} for key, text in options["env"].items()]
    outputs: dict[str, Any] = {"names": split_names(options.get("outputs") or ())}
    if options.get("keep"):
        outputs["keep"] = split_names(options["keep"])
    spec: dict[str, Any] = {
        "source": dict(source),
        "parameters": {name: typed.encode(item, name) for name, item in (options.get("parameters") or {}).items()},
        "inputs": [dict(item) for item in inputs],
        "outputs": _filled(outputs),
        "environment": _filled(environment),
        "profile": options.get("profile"),
        "queue": options.get("queue"),
        "resources": _filled(resources),
        "timeLimitSeconds": seconds(options["time_limit"]) if options.get("time_limit") not in (None, "") else None,
        "priority": options.get("priority"),
        "network": {"mode": options["network"]} if options.get("network") else None,
        "volumes": [volume(text) for text in _texts(options.get("volumes"))],
        "schedulingGates": [dict(gate) for gate in gates],
        "retries": _retries(options),
        "preemptible": options.get("preemptible") or None,
        "notify": options.get("notify") or None,
    }
    metadata = {
        "generateName": options.get("name") or default_name,
        "labels": {key: str(text) for key, text in (options.get("labels") or {}).items()},
    }
    for name, part in (("metadata", metadata), ("spec", spec)):
        _check_texts(name, part)
    return {"apiVersion": API_VERSION, "kind": "TrainJob", "metadata": _filled(metadata), "spec": _filled(spec)}


def _retries(options: JobOptions) -> dict[str, Any] | None:
    if not options.get("retries"):
        return None
    return {"limit": options["retries"], **({"onCodeError": True} if options.get("retry_code_errors") else {})}


def _filled(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in data.items() if item is not None and item != "" and item != [] and item != {}}


def readable_name(text: str) -> str:
    """A short name made of a file's name: ``"My Notebook.ipynb"`` → ``"my-notebook"``."""
    stem = text.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:57].strip("-") or "job"
