"""The options of a job as they are typed, shared by ``%%trainjob``, ``%trainjob submit`` and the command's ``submit``.

Standard library only, and little of it: every kernel loads the magic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from ..client import JobOptions


@dataclass(frozen=True)
class Argument:
    """One argument as ``argparse`` takes it."""

    flags: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)


def argument(*flags: str, **settings: Any) -> Argument:
    """An :class:`Argument`, written as ``add_argument`` is."""
    return Argument(flags, settings)


def whole_number(text: str) -> int:
    """An integer, or a sentence instead of "invalid int value"."""
    import argparse

    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


NAMESPACE = argument(
    "-n", "--namespace", metavar="NAMESPACE", help="Of this course or project, not your own namespace."
)

PARAM = argument(
    "--param",
    metavar="NAME=VALUE",
    action="append",
    default=[],
    help="Set a variable before the code runs; again for more. The value is JSON (0.1, true, [1, 2], also NaN and "
    "Infinity), a date (2026-11-22), a Python literal, else text; 'day=\"2026-11-22\"' is text.",
)

JOB_OPTIONS: tuple[Argument, ...] = (
    argument("--name", metavar="NAME", help="A short name, such as digits; the job is digits-x7k2p."),
    argument("--profile", metavar="PROFILE", help="A ready choice of environment and resources: %%trainjob profiles."),
    argument("--queue", metavar="QUEUE", help="Where it waits its turn: %%trainjob queues."),
    NAMESPACE,
    argument("--cpu", metavar="CPUS", help="CPUs: 2, 0.5, 500m."),
    argument("--memory", metavar="BYTES", help="Memory of all its processes together: 512Mi, 2Gi."),
    argument("--gpu", metavar="N", type=whole_number, help="GPUs."),
    argument("--shm", metavar="BYTES", help="Size of /dev/shm, for data loaders: 1Gi."),
    argument("--disk", metavar="BYTES", help="All that it may write: 5Gi."),
    argument("--time-limit", metavar="TIME", help="Longest run: 5m, 1h30m, 90 (seconds)."),
    argument(
        "--network",
        metavar="MODE",
        choices=("none", "loopback", "profile"),
        help="What it may reach: none (nothing; the default), loopback (its own processes, over 127.0.0.1), or "
        "profile: what its profile allows.",
    ),
    argument("--priority", metavar="N", type=whole_number, help="Higher goes first in its queue."),
    PARAM,
    argument("--out", metavar="NAMES", action="append", default=[], help="Variables to bring back: model,score."),
    argument(
        "--files",
        metavar="GLOBS",
        action="append",
        default=[],
        help="Files to send along, below this folder: data/*.csv.",
    ),
    argument(
        "--input",
        metavar="JOB:FILE",
        action="append",
        default=[],
        help="What another job left: JOB:FILE, a folder as JOB:FOLDER, all as JOB:. and =PATH behind it for another "
        "place; again for more.",
    ),
    argument(
        "--uri",
        metavar="URI",
        action="append",
        default=[],
        help="Data from elsewhere, where the operator allows it, and =PATH for its place; again for more.",
    ),
    argument(
        "--keep", metavar="GLOBS", action="append", default=[], help="Files to keep of what it writes; all by default."
    ),
    argument(
        "--requirements",
        metavar="FILE",
        help="What it needs: requirements.txt, renv.lock, or a list of jars (NAME.ivy). Built once, kept for all.",
    ),
    argument(
        "--env", metavar="NAME=VALUE", action="append", default=[], help="An environment variable; again for more."
    ),
    argument(
        "--label", metavar="NAME=VALUE", action="append", default=[], help="A label to find it by; again for more."
    ),
    argument(
        "--depends-on",
        metavar="JOBS",
        action="append",
        default=[],
        help="Wait until these succeed; JOB:finished or JOB:failed waits for another end.",
    ),
    argument("--retries", metavar="N", type=whole_number, help="Try again when the machinery, not the code, failed."),
    argument("--retry-errors", action="store_true", help="With --retries: also where the code raised an error."),
    argument(
        "--preemptible",
        action="store_true",
        help="It may be ended for others, and queues again; what it wrote into checkpoint/ is there then.",
    ),
    argument(
        "--sweep",
        metavar="NAME=VALUES",
        action="append",
        default=[],
        help="One job for each value: lr=0.1,0.01; again for every combination with others.",
    ),
    argument("--repeat", metavar="N", type=whole_number, help="The same so many times, each with a seed of its own."),
    argument("--max-parallel", metavar="N", type=whole_number, help="With --sweep or --repeat: so many at once."),
    argument(
        "--kernel",
        metavar="KERNEL",
        help="What runs it: R, scala, python, or the name of a kernel: %%trainjob kernels.",
    ),
    argument(
        "--image",
        metavar="IMAGE",
        help="The container image it runs in, such as registry.example.org/course/lab:2026; on a cluster, among those "
        "that the operator allows.",
    ),
    argument(
        "--volume",
        metavar="NAME",
        action="append",
        default=[],
        help="A volume of the profile, read-only: NAME, NAME:rw to write into it, NAME:/mnt/data[:rw] for another "
        "place; again for more.",
    ),
    argument("--hold", action="store_true", help="Do not queue it until it is released."),
    argument(
        "--notify",
        action="store_true",
        help="Tell me in JupyterLab when it ended.",
    ),
    argument("--block", action="store_true", help="Wait, show the log as it comes; a cell then has what --out names."),
    argument("--dry-run", action="store_true", help="Only say what would happen, and what would be sent."),
)

CELL_OPTIONS: tuple[Argument, ...] = (
    argument("--in", dest="in_", metavar="NAMES", action="append", default=[], help="Variables to send along: x,y."),
    *JOB_OPTIONS,
)
"""The same and ``--in``: only a cell has variables around it."""

_PLAIN = (
    "name",
    "namespace",
    "profile",
    "queue",
    "cpu",
    "memory",
    "gpu",
    "shm",
    "disk",
    "time_limit",
    "priority",
    "network",
    "retries",
    "kernel",
    "requirements",
    "image",
    "preemptible",
    "hold",
    "notify",
    "dry_run",
)


def parameters(texts: Iterable[str]) -> dict[str, Any]:
    """``["lr=0.1"]`` as ``{"lr": 0.1}``."""
    from ..client import spec

    return {key: spec.value(value) for key, value in (spec.pair(text, "--param") for text in texts)}


def points(texts: Iterable[str], repeat: int) -> list[dict[str, Any]]:
    """``["lr=0.1,0.01", "depth=2"]`` → every combination."""
    from ..client import spec
    from ..client.sweeps import points_of

    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, values = spec.pair(text, "--sweep")
        grid[name] = [spec.value(one) for one in _split(values)]
    return points_of(grid, repeat)


def _split(text: str) -> list[str]:
    """At the commas that are in no brackets and no quotes: ``[1, 2],[3]`` is two lists."""
    found, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in "]})":
            depth -= 1
        elif letter == "," and not depth:
            found.append("")
            continue
        found[-1] += letter
    return [one.strip() for one in found]


def job_options(arguments: argparse.Namespace) -> JobOptions:
    """What was typed, as the client's options; :class:`~jupyter_trainjob.client.InputError` says what can't be read."""
    from ..client import spec

    given: dict[str, Any] = {key: getattr(arguments, key) for key in _PLAIN}
    given = {key: value for key, value in given.items() if value is not None and value is not False}
    pairs = {"param": "parameters", "env": "env", "label": "labels"}
    readers: dict[str, Callable[[str], Any]] = {"param": spec.value, "env": str, "label": str}
    for option, target in pairs.items():
        found = {}
        for text in getattr(arguments, option):
            key, value = spec.pair(text, f"--{option}")
            found[key] = readers[option](value)
        if found:
            given[target] = found
    for option, target in {"out": "outputs", "files": "files", "keep": "keep", "depends_on": "depends_on"}.items():
        names = spec.split_names(getattr(arguments, option))
        if names:
            given[target] = names
    for option, target in {"input": "inputs", "uri": "uris", "volume": "volumes"}.items():
        if getattr(arguments, option):
            given[target] = list(getattr(arguments, option))
    if arguments.retry_errors:
        given["retry_code_errors"] = True
    if arguments.sweep or arguments.repeat is not None:
        given["points"] = points(arguments.sweep, arguments.repeat if arguments.repeat is not None else 1)
        if arguments.max_parallel is not None:
            given["max_parallel"] = arguments.max_parallel
    elif arguments.max_parallel is not None:
        from ..client import InputError

        raise InputError("--max-parallel is for --sweep and --repeat.", remedy="Add one of them, or leave it out.")
    if "time_limit" in given:
        given["time_limit"] = spec.seconds(given["time_limit"])
    options: JobOptions = given  # type: ignore[assignment]
    return options
