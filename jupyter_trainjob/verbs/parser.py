"""Parsers made from the table. A mistake is one sentence with the nearest right word, never a traceback or an exit."""

from __future__ import annotations

import argparse
import difflib
import shutil
from collections.abc import Iterable, Sequence
from typing import NoReturn

from .options import Argument


class UsageProblem(Exception):
    """What was typed can't be read; the text says what, and what to write instead."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """One line an option, in two columns: ``-n, --namespace NAMESPACE  What it is.``"""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=min(shutil.get_terminal_size((100, 24)).columns, 110))

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, str(action.metavar or action.dest))}"

    def start_section(self, heading: str | None) -> None:
        super().start_section("arguments" if heading == "positional arguments" else heading)


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that raises :class:`UsageProblem`, takes no shortened options, and guesses."""

    def __init__(self, prog: str, description: str = "", arguments: Iterable[Argument] = (), epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            add_help=False,
            allow_abbrev=False,
            formatter_class=_Formatter,
        )
        for item in arguments:
            self.add_argument(*item.flags, **item.settings)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments in ``words``."""
        found, unknown = self.parse_known_args(joined(self, words))
        if unknown:
            raise UsageProblem(self.unknown(unknown))
        return found

    def unknown(self, words: Sequence[str]) -> str:
        """A sentence about words that no argument takes."""
        return unknown_words(self, words)

    def error(self, message: str) -> NoReturn:
        """As argparse asks, but without leaving the process."""
        raise UsageProblem(f"{self.prog}: {message}. See {self.prog} --help.")


def joined(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """``--memory -1Gi`` as ``--memory=-1Gi``: argparse would take the value for an option, and hide what is wrong."""
    takes = {flag for action in parser._actions if action.nargs is None for flag in action.option_strings}
    out: list[str] = []
    for word in words:
        if out and out[-1] in takes and word[:1] == "-" and word[1:2].isdigit():
            out[-1] = f"{out[-1]}={word}" if out[-1].startswith("--") else out[-1] + word
        else:
            out.append(word)
    return out


def unknown_words(parser: argparse.ArgumentParser, words: Sequence[str]) -> str:
    """``unknown option --memroy. Did you mean --memory?``"""
    word = words[0].split("=", 1)[0]
    known = [flag for action in parser._actions for flag in action.option_strings]
    if word in known:
        return f"{parser.prog}: {word} stands behind --, where nothing is an option. Write it before that."
    if not word.startswith("-"):
        return f"{parser.prog}: {word!r} is one word too many. Values with blanks need quotes."
    return f"{parser.prog}: unknown option {word}." + did_you_mean(word, known)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean …?`` with the nearest of ``known``, else a list of them."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=2, cutoff=0.6)
    if near:
        return f" Did you mean {' or '.join(near)}?"
    return " Known are: " + ", ".join(word for word in words if word != "-n") + "."
