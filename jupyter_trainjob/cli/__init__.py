"""``jupyter trainjob …``: the verbs of the table on a terminal, and the server's own commands."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run the command; its exit status."""
    from .command import run

    return run(sys.argv[1:] if argv is None else list(argv))
