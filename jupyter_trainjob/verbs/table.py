"""The table of verbs: name, one line of help, arguments, and where the function is. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .options import JOB_OPTIONS, NAMESPACE, PARAM, Argument, argument, whole_number

OUTPUT = argument(
    "-o",
    "--output",
    metavar="FORMAT",
    choices=("table", "json", "yaml", "name"),
    default="",
    help="table, json, yaml or name.",
)
_NAME = argument("name", metavar="NAME", help="uid, full name, or short name (the latest wins).")
_NAMES = argument("names", metavar="NAME", nargs="+", help="uid, full name, or short name (the latest wins).")
_ALL_NAMESPACES = argument(
    "-A",
    "--all-namespaces",
    action="store_true",
    help="Of all namespaces that you may see, with namespace and owner.",
)
_QUEUE = argument("queue", metavar="QUEUE", help="The queue.")
_MESSAGE = argument("-m", "--message", metavar="TEXT", default="", help="Why; it is kept.")


@dataclass(frozen=True)
class Verb:
    """A verb. ``run`` names a function ``(context, arguments) -> value`` as ``module:function`` in this package."""

    name: str
    help: str
    run: str
    arguments: tuple[Argument, ...] = ()
    where: str = "both"
    """``both``, ``magic`` or ``cli``."""


def _verb(name: str, help_: str, run: str, *arguments: Argument, where: str = "both") -> Verb:
    return Verb(name, help_, run, (*arguments, NAMESPACE), where)


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(
            "submit",
            "Send a notebook, a script or a folder away as a job.",
            "submitting:submit",
            (
                argument(
                    "path",
                    metavar="WHAT",
                    help="A notebook (.ipynb), a script (.py, .R, .scala), a folder, or - for a notebook from standard "
                    "input.",
                ),
                argument("--entry", metavar="FILE", help="The script or notebook in the folder that runs."),
                *JOB_OPTIONS,
                OUTPUT,
            ),
        ),
        _verb(
            "list",
            "Jobs of your namespace, or of another (-n) or all (-A), newest first.",
            "looking:list_jobs",
            argument("text", metavar="TEXT", nargs="?", default="", help="Only names that contain it."),
            _ALL_NAMESPACES,
            argument("-l", "--selector", metavar="SELECTOR", default="", help="Labels: a=b,c!=d,e in (f,g),!h."),
            argument(
                "--phase",
                metavar="PHASE",
                action="append",
                default=[],
                choices=("Queued", "Admitted", "Running", "Succeeded", "Failed", "Cancelled"),
                help="Queued, Admitted, Running, Succeeded, Failed or Cancelled; again for more.",
            ),
            argument("--queue", metavar="QUEUE", default="", help="Only of this queue."),
            argument("--owner", metavar="USER", default="", help="Only of this person."),
            argument("--limit", metavar="N", type=whole_number, default=50, help="At most so many; 0 is all."),
            OUTPUT,
        ),
        _verb("show", "One job, with all that is known of it.", "looking:show", _NAME, OUTPUT),
        _verb(
            "logs",
            "What a job prints.",
            "looking:logs",
            _NAME,
            argument("-f", "--follow", action="store_true", help="Go on until it ends."),
            argument("--tail", metavar="N", type=whole_number, help="Only the last N lines."),
            argument("--attempt", metavar="N", type=whole_number, help="Of another attempt than the latest."),
        ),
        _verb(
            "wait",
            "Come back when jobs have ended.",
            "looking:wait",
            _NAMES,
            argument("--timeout", metavar="TIME", help="At most so long: 5m, 1h30m, 90."),
        ),
        _verb(
            "cancel",
            "Stop jobs, or take them out of the queue.",
            "acting:cancel",
            argument("names", metavar="NAME", nargs="*", help="uid, full name, or short name."),
            argument("--all", action="store_true", help="All of your own that are not finished."),
            _MESSAGE,
        ),
        _verb("hold", "Keep jobs from starting.", "acting:hold", _NAMES, _MESSAGE),
        _verb("release", "Take the hold away.", "acting:release", _NAMES, _MESSAGE),
        _verb("front", "Let jobs be the first of their queue (instructors).", "acting:front", _NAMES, _MESSAGE),
        _verb("approve", "Let jobs go beyond their owners' limits (instructors).", "acting:approve", _NAMES, _MESSAGE),
        _verb("reject", "End jobs that wait for an approval (instructors).", "acting:reject", _NAMES, _MESSAGE),
        Verb("pause", "Let nothing start in a queue (instructors).", "acting:pause", (_QUEUE, _MESSAGE)),
        Verb(
            "drain", "Take nothing new in a queue; what waits runs (instructors).", "acting:drain", (_QUEUE, _MESSAGE)
        ),
        Verb("open", "Undo pause and drain (instructors).", "acting:open_queue", (_QUEUE, _MESSAGE)),
        _verb("retry", "Submit the same once more, as a new job.", "acting:retry", _NAME, OUTPUT),
        _verb(
            "rerun",
            "Run a job again as it was: code, inputs, exact environment, seed.",
            "acting:rerun",
            _NAME,
            PARAM,
            OUTPUT,
        ),
        _verb(
            "delete",
            "Remove jobs with their logs and outputs; running ones are cancelled first.",
            "acting:delete",
            _NAMES,
            argument("--orphan", action="store_true", help="Keep what belongs to them."),
        ),
        _verb(
            "results",
            "The variables that came back; with VAR, that one.",
            "outputs:results",
            _NAME,
            argument("variable", metavar="VAR", nargs="?", help="The variable to open."),
            argument("--trust", action="store_true", help="Open another person's: it runs their code as you."),
            OUTPUT,
        ),
        _verb(
            "files",
            "The files that a job wrote.",
            "outputs:files",
            _NAME,
            argument("path", metavar="PATH", nargs="?", help="Only this file, folder or glob."),
            argument("--all", action="store_true", help="Also those beyond the first 1,000, which takes longer."),
            OUTPUT,
        ),
        _verb(
            "download",
            "Bring files of a job here, in place of those of the same name.",
            "outputs:download",
            _NAME,
            argument("path", metavar="PATH", nargs="?", help="A file, a folder or a glob; all by default."),
            argument("--to", metavar="FOLDER", help="Where to; the current folder by default."),
            argument("--archive", metavar="FILE", help="All that it left as one tar file: notebook, results, files."),
        ),
        _verb(
            "notebook",
            "Save the executed notebook.",
            "outputs:notebook",
            _NAME,
            argument("--to", metavar="FILE", help="Where to; NAME.ipynb by default."),
        ),
        _verb(
            "metrics",
            "The metrics that a job logged.",
            "measuring:metrics",
            _NAME,
            argument("metrics", metavar="METRIC", nargs="*", help="Only these."),
            argument("--attempt", metavar="N", type=whole_number, help="Of another attempt than the latest."),
            argument(
                "-o",
                "--output",
                metavar="FORMAT",
                choices=("table", "json", "csv"),
                default="",
                help="table, json, or csv with every point.",
            ),
        ),
        _verb(
            "advise",
            "What to ask for the next time, by what a job and others of its code used.",
            "measuring:advise",
            _NAME,
            OUTPUT,
        ),
        _verb(
            "sweep",
            "The points of a sweep: parameters, states, metrics.",
            "submitting:sweep",
            argument("name", metavar="SWEEP", help="Its name, or the short one of its jobs (the latest)."),
            argument("--wait", action="store_true", help="Until all have ended."),
            OUTPUT,
        ),
        _verb("why", "Why a job waits, and what to do about it.", "looking:why", _NAME, OUTPUT),
        _verb("last", "The job that was submitted last.", "looking:last", OUTPUT),
        _verb(
            "queues",
            "The queues, their use and their limits.",
            "looking:queues",
            argument("name", metavar="QUEUE", nargs="?", help="Only this one."),
            OUTPUT,
        ),
        _verb(
            "profiles",
            "The profiles, what they give and what they allow.",
            "looking:profiles",
            argument("name", metavar="PROFILE", nargs="?", help="Only this one."),
            OUTPUT,
        ),
        _verb("kernels", "The kernels that jobs may run in.", "looking:kernels", OUTPUT),
        _verb("limits", "Who you are, what you may use and what you use now.", "looking:limits", OUTPUT),
        Verb(
            "apply",
            "Create or replace what a YAML or JSON file declares.",
            "applying:apply",
            (
                argument("-f", "--filename", metavar="FILE", required=True, action="append", help="FILE, or -."),
                argument("--dry-run", action="store_true", help="Only say what would happen."),
                NAMESPACE,
                OUTPUT,
            ),
            "cli",
        ),
        Verb(
            "diff",
            "What apply would change; exit status 1 if anything.",
            "applying:diff",
            (
                argument("-f", "--filename", metavar="FILE", required=True, action="append", help="FILE, or -."),
                NAMESPACE,
            ),
            "cli",
        ),
    )
}


def verbs_of(place: str) -> dict[str, Verb]:
    """The verbs of ``magic`` or ``cli``."""
    return {name: verb for name, verb in VERBS.items() if verb.where in ("both", place)}


def overview(place: str, more: Mapping[str, str] | None = None) -> str:
    """The verbs with a line each, and ``more`` of another kind."""
    lines = {name: verb.help for name, verb in verbs_of(place).items()} | dict(more or {})
    width = max(map(len, lines))
    return "\n".join(f"  {name:{width}}  {text}" for name, text in lines.items())
