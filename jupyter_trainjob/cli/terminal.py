"""A terminal, a pipe or a file: how wide, whether colours, and what may be sent there."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import TextIO

_STEERING = re.compile(
    r"\x1b\](?:[^\x07\x1b]|\x1b(?!\\))*(?:\x07|\x1b\\)?"  # operating system commands: titles, clipboard
    r"|\x1b[PX^_](?:[^\x1b]|\x1b(?!\\))*(?:\x1b\\)?"  # device control strings and the like
    r"|\x1b\[[0-9;:]*m"  # colours: kept
    r"|\x1b\[[0-9;:<=>?]*[ -/]*[@-~]"  # all other control sequences
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]"
)
_PIECE = 32768
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m\Z")
_OPEN = re.compile(r"\x1b(?:\[[0-9;:<=>?]*[ -/]*|\][^\x07\x1b]{0,4096}|[PX^_][^\x1b]{0,4096})?\Z")


class Screen:
    """Where output goes. On a terminal, what a job printed may colour it and nothing else: it is foreign text."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._held = ""
        self.terminal = stream.isatty()
        self.colour = self.terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.width = shutil.get_terminal_size().columns if self.terminal else 0

    def write(self, text: str) -> None:
        """Print and flush; a sequence cut at the end of a piece waits for the rest."""
        if self.terminal:
            text = self._held + text
            cut = _OPEN.search(text)
            self._held = text[cut.start() :] if cut else ""
            text = safe(text[: cut.start()] if cut else text)
        # In pieces: of one large write Python forgets what a pipe did not take before its reader went away.
        for start in range(0, len(text), _PIECE):
            self._stream.write(text[start : start + _PIECE])
            self._stream.flush()


def safe(text: str) -> str:
    """``text`` without what steers a terminal, but for colours, tabs, line ends and going back to a line's start."""
    return _STEERING.sub(lambda match: match[0] if _COLOUR.match(match[0]) else "", text)


def prepare() -> None:
    """A character that the terminal's encoding lacks is written as its code, and no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
