"""What ``%trainjob VERB …`` does: the table's verbs, in a notebook."""

from __future__ import annotations

import shlex
import sys
from typing import Any

from IPython.core.error import UsageError

from ..verbs.context import Context, Show, Value, run
from ..verbs.parser import Parser, did_you_mean
from ..verbs.printing import text
from ..verbs.table import Verb, overview, verbs_of
from . import state
from .errors import Detached, clean_errors
from .live import live

_WIDTH = 130


def run_line(shell: Any, line: str) -> Any:
    """Do the verb; a job is returned as one that follows itself, a result as the object."""
    with clean_errors():
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise UsageError(f"%trainjob: {error}; close the quotes.") from None
        if not words or words[0] in ("help", "-h", "--help"):
            return _help(words[1:])
        verb = _verb(words[0])
        if "-h" in words or "--help" in words:
            return _help([verb.name])
        arguments = _parser(verb).parse(words[1:])
        try:
            return _shown(run(verb, _context(), arguments))
        except KeyboardInterrupt:
            raise Detached(f"%trainjob {verb.name} was interrupted; jobs go on.") from None


def _context() -> Context:
    def write(piece: str) -> None:
        sys.stdout.write(piece)
        sys.stdout.flush()

    return Context(
        place="magic",
        client=state.client,
        write=write,
        tell=lambda line: write(line + "\n"),
        width=_WIDTH,
        last=state.last,
        submitted=state.remember,
    )


def _shown(outcome: Any) -> Any:
    if isinstance(outcome, Value):
        return outcome.value
    if not isinstance(outcome, Show):
        return None
    if outcome.job is not None and not outcome.output and outcome.job.uid:
        return live(outcome.job)
    sys.stdout.write(text(outcome, _WIDTH))
    return None


def _verb(word: str) -> Verb:
    verbs = verbs_of("magic")
    if word not in verbs:
        raise UsageError(f"%trainjob: there is no verb {word!r}." + did_you_mean(word, [*verbs, "help"]))
    return verbs[word]


def _parser(verb: Verb) -> Parser:
    return Parser(f"%trainjob {verb.name}", verb.help, verb.arguments)


def _help(words: list[str]) -> None:
    if words:
        sys.stdout.write(_parser(_verb(words[0])).format_help())
        return
    sys.stdout.write(
        "%trainjob VERB …, where VERB is one of\n\n"
        f"{overview('magic')}\n\n%trainjob help VERB explains one. %%trainjob? explains the cell magic.\n"
    )
