"""The attack suite as tests see it: run once for each file, in a process (and, as root, a network) of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from jupyter_trainjob.backends.local.attacks.table import ATTACKS

NAMES = [attack.name for attack in ATTACKS]
SECONDS = 900
each_attack = pytest.mark.parametrize("name", NAMES)


def run(*arguments: str) -> dict[str, dict[str, Any]]:
    """What came of each attack, by name."""
    command = [sys.executable, "-m", "jupyter_trainjob.backends.local.attacks", *arguments]
    if os.geteuid() == 0:
        command.append("--own-network")
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode == 3:
        pytest.skip(done.stderr)
    assert done.returncode in (0, 1), done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(ATTACKS), done.stderr
    return {row["name"]: row for row in rows}


def check(row: dict[str, Any], level: str) -> None:
    """What a level claims holds; what it does not claim is said."""
    attack = ATTACKS[NAMES.index(row["name"])]
    assert row["level"] == level and row["claimed"] is (level in attack.claimed)
    assert not row["failed"], f"{attack.what}: {row['told']}"
    assert row["by"] or not row["contained"]


def unclaimed(rows: dict[str, dict[str, Any]]) -> set[str]:
    """What the level lets through, by its own word."""
    return {name for name, row in rows.items() if not row["claimed"]}
