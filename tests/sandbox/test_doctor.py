"""``jupyter trainjob doctor --sandbox`` as an operator sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_trainjob.backends.local.attacks.harness import fell_short
from jupyter_trainjob.backends.local.attacks.suite import Row
from jupyter_trainjob.cli.sandbox import line, summary
from jupyter_trainjob.cli.terminal import Screen

from .suites import NAMES, by_name

HELD = Row("bpf", "load a program", "namespaces", True, True, "filter of system calls", "EPERM", 0.1)
OPEN = Row("tmpfs", "32 MiB in memory", "landlock+seccomp", False, False, "", "GOT", 0.1)
FAILED = Row("homes", "read a file in another home", "namespaces", True, False, "", "it came out", 0.1)


def doctor(folder: Path, *arguments: str, sandbox: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "JUPYTER_DATA_DIR": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "config")}
    command = [sys.executable, "-m", "jupyter_trainjob.cli", "doctor", *["--sandbox"] * sandbox, *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600)


def test_a_line_says_what_came_of_an_attack_and_by_what() -> None:
    screen = Screen(sys.stderr)
    assert line(HELD, screen).split() == ["contained", "bpf", "by:", "filter", "of", "system", "calls"]
    assert line(OPEN, screen).startswith("not claimed")
    assert line(FAILED, screen).startswith("GOT THROUGH  homes") and "it came out" in line(FAILED, screen)


def test_the_end_names_what_is_open() -> None:
    assert summary([HELD]) == "1 attacks on a job at the level namespaces: 1 contained.\n"
    assert "does not claim to hold tmpfs; a stronger one does" in summary([OPEN])
    assert "GOT THROUGH, and must not: homes." in summary([HELD, FAILED])


@pytest.mark.parametrize(
    ("said", "problem", "why"),
    [
        ("", "SyntaxError: invalid syntax", "it never began: SyntaxError: invalid syntax"),
        ("BEGAN\n", "NameError: name 'x' is not defined", "it is broken: NameError: name 'x' is not defined"),
        ("BEGAN\n", "PermissionError: [Errno 13] Permission denied", ""),
        ("BEGAN\nGOT it\n", "", ""),
    ],
)
def test_an_attack_that_failed_of_itself_is_not_contained(said: str, problem: str, why: str) -> None:
    assert fell_short(said, problem) == why


FEW = {"bpf", "daemon", "homes", "loopback", "memory", "outputs", "sleep", "stdout-flood"}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("names", [FEW, pytest.param(set(NAMES), id="all", marks=pytest.mark.soak)])
def test_it_attacks_this_machine(tmp_path: Path, names: set[str]) -> None:
    done = doctor(tmp_path, "-o", "json", *([] if names == set(NAMES) else ["--only", ",".join(names)]))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    assert sorted(row["name"] for row in rows) == sorted(names)
    assert not any(row["failed"] for row in rows)


def test_an_attack_that_there_is_not_is_refused(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--only", "bpf,nothing")
    assert done.returncode == 2 and "--only names nothing, which is no attack; there are: abstract-" in done.stderr


def test_a_choice_of_attacks_without_attacks_is_refused(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--only", "bpf", sandbox=False)
    assert done.returncode == 2 and "--only names attacks on the sandbox; give --sandbox, too" in done.stderr


def test_an_attack_that_is_told_twice_or_not_at_all_is_noticed() -> None:
    row = {"name": "bpf"}
    assert by_name([row], ["bpf"], "") == {"bpf": row}
    for rows in ([], [row, row], [row, {"name": "homes"}]):
        with pytest.raises(AssertionError, match="what it said"):
            by_name(rows, ["bpf"], "what it said")


def test_a_backend_that_is_none_of_this_machine_is_refused(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--backend", "nowhere")
    assert done.returncode == 2 and "--sandbox is for backends of type local; there are: local" in done.stderr
