"""The attack suite as tests see it: run once for each file, in a process (and, as root, a network) of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.backends.local.attacks.table import ATTACKS

NAMES = [attack.name for attack in ATTACKS]
SECONDS = 900
each_attack = pytest.mark.parametrize("name", NAMES)


def run(*arguments: str, only: Sequence[str] = NAMES) -> dict[str, dict[str, Any]]:
    """What came of each attack of ``only``, by name."""
    command = [sys.executable, "-m", "jupyter_trainjob.backends.local.attacks", *arguments, "--only", ",".join(only)]
    if os.geteuid() == 0:
        command.append("--own-network")
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode == 3:
        pytest.skip(done.stderr)
    assert done.returncode in (0, 1), done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return by_name(rows, only, done.stderr)


def by_name(rows: list[dict[str, Any]], only: Sequence[str], said: str) -> dict[str, dict[str, Any]]:
    """The rows, where there is one for each of ``only`` and no other; else an error with what was ``said``."""
    assert sorted(row["name"] for row in rows) == sorted(only), said
    return {row["name"]: row for row in rows}


PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"


def promised(level: str) -> set[str]:
    """What the page says that a level holds."""
    text = PAGE.read_text().partition("<!-- attacks -->")[2].partition("<!-- end attacks -->")[0]
    head, _, *rows = [line.strip("| ").split(" | ") for line in text.strip().splitlines()]
    place = [word.strip("`") for word in head].index(level)
    assert {row[0] for row in rows} == set(NAMES)
    return {row[0] for row in rows if row[place] == "yes"}


def check(row: dict[str, Any], level: str) -> None:
    """What the page promises of a level holds: the attack began, and did not get its way."""
    attack = ATTACKS[NAMES.index(row["name"])]
    assert row["level"] == level
    assert row["name"] not in promised(level) or row["contained"], f"{attack.what}: {row['told']}"
    assert not row["failed"], f"{attack.what}: {row['told']}"


def unclaimed(rows: dict[str, dict[str, Any]], names: Sequence[str] = NAMES) -> set[str]:
    """What the level lets through, by its own word, which is that of the page."""
    found = {name for name, row in rows.items() if not row["claimed"]}
    level = next(iter(rows.values()))["level"]
    assert found >= set(names) - promised(level)
    return found
