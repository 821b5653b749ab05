"""What ``%%trainjob`` does: read the options, check the code, collect what goes along, submit, show."""

from __future__ import annotations

import argparse
import ast
import difflib
import shlex
import sys
from typing import Any

from IPython.core.error import UsageError

from ..client import InputError, Job, JobOptions, spec, view
from ..verbs.options import CELL_OPTIONS, job_options
from ..verbs.parser import Parser, joined, unknown_words
from ..verbs.submitting import sent_lines
from . import state
from .block import block
from .errors import clean_errors
from .live import LiveJob, live
from .livesweep import LiveSweep, live_sweep


def run_cell(shell: Any, parser: argparse.ArgumentParser, line: str, code: str) -> LiveJob | LiveSweep | None:
    """Submit ``code`` with the options in ``line``; the job, or None after ``--block`` and ``--dry-run``."""
    with clean_errors():
        arguments = parse(parser, line)
        if arguments is None:
            sys.stdout.write(_HELP.format_help())
            return None
        if not code.strip():
            raise UsageError("The cell is empty: write the code to run below the %%trainjob line.")
        options = job_options(arguments)
        options["first_line"] = _first_line(shell, code)
        _check_syntax(shell, code, options)
        names = spec.split_names(arguments.in_)
        if names:
            options["variables"] = _variables(shell.user_ns, names)
        cell_id = _cell_id(shell)
        if cell_id:
            options["cell_id"] = cell_id
        if options.get("points") and not arguments.dry_run:
            return _sweep(code, options, arguments.block)
        job = state.client().submit_cell(code, **options)
        if arguments.dry_run:
            _tell_dry_run(job)
            return None
        state.remember(job)
        if arguments.block:
            block(shell, job, spec.split_names(arguments.out))
            return None
        return live(job)


def _sweep(code: str, options: JobOptions, block: bool) -> LiveSweep | None:
    points = options.pop("points")
    found = live_sweep(state.client().sweep_cell(code, points, **options))
    if not block:
        return found
    found.follow()
    if not found.succeeded:
        sys.stderr.write(f"{found.describe()}\n")
    return None


_HELP = Parser(
    "%%trainjob",
    "Send this cell away as a job. It returns at once; the output follows the job.",
    CELL_OPTIONS,
    "Afterwards: %trainjob last, %trainjob logs NAME -f, %trainjob results NAME VAR; %trainjob help lists all verbs.\n",
)


def parse(parser: argparse.ArgumentParser, line: str) -> argparse.Namespace | None:
    """The options in ``line``, None if help is wanted; ``UsageError`` says what can't be read."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"%%trainjob: {error}; close the quotes.") from None
    if "-h" in words or "--help" in words:
        return None
    found, unknown = parser.parse_known_args(joined(parser, words))
    if unknown:
        raise UsageError(unknown_words(parser, unknown).replace("%trainjob:", "%%trainjob:", 1))
    return found


def _check_syntax(shell: Any, code: str, options: JobOptions) -> None:
    """``UsageError`` with the line as the notebook numbers it, before anything is sent. The server checks it again.

    A cell in another language is let pass: the server reads that. Which one it is, the profile or the server may say,
    so that is asked where the cell is no Python.
    """
    if options.get("kernel"):
        return
    try:
        _compile(shell, code, options["first_line"])
    except UsageError:
        if state.client().language(options) == "python":
            raise


def _compile(shell: Any, code: str, first_line: int) -> None:
    lines = code.split("\n")
    above = next(number for number, line in enumerate(lines) if line.strip())  # IPython drops empty lines there
    try:
        flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compile("\n" * above + shell.transform_cell(code), "cell", "exec", flags=flags, dont_inherit=True)
    except SyntaxError as error:
        number = error.lineno or 1
        shown = lines[number - 1] if 0 < number <= len(lines) else (error.text or "").rstrip("\n")
        mark = " " * max(0, (error.offset or 1) - 1) + "^"
        raise UsageError(
            f"Nothing was submitted: the cell has a syntax error.\n"
            f"  line {number + first_line - 1} of the cell: {error.msg}\n\n    {shown}\n    {mark}"
        ) from None
    except ValueError as error:  # a null byte, a lone surrogate
        raise UsageError(f"Nothing was submitted: the cell can't be read: {error}.") from None


def _variables(namespace: dict[str, Any], names: list[str]) -> dict[str, Any]:
    for name in names:
        if name not in namespace:
            own = [key for key in namespace if not key.startswith("_")]
            near = difflib.get_close_matches(name, own, n=1)
            hint = f"Did you mean {near[0]}?" if near else "Run the cell that makes it first."
            raise InputError(f"--in {name}: the notebook has no variable of this name.", remedy=hint)
    return {name: namespace[name] for name in names}


def _first_line(shell: Any, code: str) -> int:
    """The line of the cell at which ``code`` begins: the second, but where there are empty lines, or another magic,
    above ours."""
    cell = str((_request(shell).get("content") or {}).get("code") or "").rstrip()
    code = code.rstrip()
    return cell[: -len(code)].count("\n") + 1 if cell.endswith(f"\n{code}") else 2


def _request(shell: Any) -> dict[str, Any]:
    """The front end's, which the kernel now answers; empty outside a kernel."""
    get_parent = getattr(shell, "get_parent", None)
    return (get_parent() if get_parent else None) or {}


def _cell_id(shell: Any) -> str:
    """The nbformat id of the cell, where the front end tells it."""
    found = (_request(shell).get("metadata") or {}).get("cellId")
    return str(found)[:64] if found else ""


def _tell_dry_run(job: Job) -> None:
    sys.stdout.write(f"Nothing was submitted. It would be {job.describe()}\n")
    asked = job.spec
    for word, value in {
        "queue": asked.get("queue"),
        "profile": asked.get("profile"),
        "resources": ", ".join(f"{key} {value}" for key, value in (asked.get("resources") or {}).items()),
        "time limit": view.span_text(asked.get("timeLimitSeconds")),
        "starts about": view.local_text(job.status.get("estimatedStart")),
    }.items():
        if value:
            sys.stdout.write(f"  {word}: {value}\n")
    for line in sent_lines(state.client(), job):
        sys.stdout.write(line + "\n")
