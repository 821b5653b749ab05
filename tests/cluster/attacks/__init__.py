"""Code that runs in jobs and means harm: :func:`code` makes one cell of it. Read as text, never imported."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


def code(name: str, *, mark: str = "", **given: Any) -> str:
    """A cell with the attack ``name``; ``given`` is its ``GIVEN``. ``mark`` is somewhere in its text."""
    attack = (_HERE / f"{name}.py").read_text()
    text, count = re.subn(r"^from \.table import .*$", lambda _: _helpers(given), attack, flags=re.M)
    assert count == 1, f"{name}.py imports its helpers"
    return f"# {mark}\n{text}"


def _helpers(given: dict[str, Any]) -> str:
    text = (_HERE / "table.py").read_text()
    return text.replace("GIVEN: dict[str, Any] = {}", f"GIVEN = {given!r}")


def told(log: bytes) -> dict[str, str]:
    """What came of each attack, as the code printed it."""
    return dict(json.loads(line) for line in log.decode().splitlines() if line.startswith("["))
