"""What ``deploy`` and ``doctor`` have in common: their options, and findings as text."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Iterable, Sequence

from ..backends.findings import Finding
from ..verbs.options import argument
from ..verbs.parser import Parser
from .terminal import Screen

COMMON = (
    argument(
        "--config", metavar="FILE", default="", help="The server's configuration; that which Jupyter finds by default."
    ),
    argument("--backend", metavar="NAME", default="", help="Which backend, where there are several."),
    argument("-h", "--help", action="store_true", help="This."),
)
MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}
_COLOURS = {"ok": 32, "warn": 33, "fail": 31}


def parsed(parser: Parser, argv: Sequence[str]) -> tuple[Namespace, list[str]]:
    """The options, and the words ``--Class.trait=value`` for the configuration."""
    own = [word for word in argv if not _is_trait(word)]
    return parser.parse(own), [word for word in argv if _is_trait(word)]


def started(parser: Parser, argv: Sequence[str]) -> tuple[Namespace, list[str], Screen] | None:
    """The options, the words for the configuration, and where to write; None where only the help was wanted."""
    options, words = parsed(parser, argv)
    if options.help:
        sys.stdout.write(f"{parser.format_help()}\n")
        return None
    return options, words, Screen(sys.stdout)


def _is_trait(word: str) -> bool:
    name = word.partition("=")[0]
    return word.startswith("--") and name[2:3].isupper() and "." in name


def line(finding: Finding, screen: Screen) -> str:
    """One finding, with how to mend it below."""
    mark = MARKS[finding.level]
    if screen.colour:
        mark = f"\x1b[{_COLOURS[finding.level]}m{mark}\x1b[0m"
    told = f"{mark}  {finding.check}: {finding.message}\n"
    return told + (f"      → {finding.remedy}\n" if finding.remedy and finding.level != "ok" else "")


def summary(findings: Sequence[Finding]) -> str:
    """The last line."""
    count = {level: sum(finding.level == level for finding in findings) for level in MARKS}
    if not count["fail"] and not count["warn"]:
        return f"All {count['ok']} checks are well.\n"
    return f"{count['ok']} well, {count['warn']} with a remark, {count['fail']} to be mended.\n"


def tell(findings: AsyncIterator[Finding] | Iterable[Finding], screen: Screen | None) -> list[Finding]:
    """Show each as it comes (``screen`` None: not at all), and give them all."""

    async def go() -> list[Finding]:
        found = []
        if isinstance(findings, AsyncIterator):
            async for finding in findings:
                found.append(_shown(finding, screen))
        else:
            found = [_shown(finding, screen) for finding in findings]
        return found

    return asyncio.run(go())


def _shown(finding: Finding, screen: Screen | None) -> Finding:
    if screen is not None:
        screen.write(line(finding, screen))
    return finding


def stderr(text: str) -> None:
    """Say it beside the output."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
