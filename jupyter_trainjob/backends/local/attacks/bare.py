"""The attacks without a sandbox: what shows that each can succeed, so that a sandbox that holds it does something."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ...onecell import one_cell
from .. import process
from . import harness
from .attack import Attack
from .suite import CLAIMS_BYTES, LOG_BYTES, NOTEBOOK_BYTES, _with
from .targets import Targets

_LEADER = """
import json, os, subprocess, sys
with open("said", "wb") as said:
    command = [sys.executable, "-I", "-c", *sys.argv[1:]]
    child = subprocess.Popen(command, stdout=said, stderr=said, cwd="work")
    open("child", "w").write(str(child.pid))
    open("status", "w").write(str(child.wait()))
"""
_SECONDS = 30.0


def succeeds(attack: Attack, targets: Targets) -> tuple[bool, str]:
    """Whether ``attack`` gets its way as an ordinary process of this user's, and what it said. Blocks.

    A small leader stands for the runner, so that what is aimed at the runner hits that. Whatever is left is ended.
    """
    with tempfile.TemporaryDirectory(prefix="trainjob-bare-") as folder:
        place = Path(folder)
        (place / "work").mkdir()
        if attack.seen == "notebook":
            return _displays(attack, targets, place)
        mark = f"{targets.mark}-{attack.name}"  # others are at it at the same time, and end what they left
        code = harness.program(attack, {**targets.given, "mark": mark})
        command = [sys.executable, "-I", "-c", _LEADER, code, mark]
        leader = subprocess.Popen(command, cwd=place, start_new_session=True)
        try:
            return _look(attack, targets, place, leader, mark)
        finally:
            _end(leader, mark, place)


def _look(
    attack: Attack, targets: Targets, place: Path, leader: subprocess.Popen[bytes], mark: str
) -> tuple[bool, str]:
    until = time.monotonic() + (attack.seconds + 2 if attack.seen == "ends" else _SECONDS)
    status = place / "status"
    while leader.poll() is None and time.monotonic() < until and not _stopped(leader.pid):
        time.sleep(0.05)
    if leader.poll() is None and _stopped(leader.pid):
        time.sleep(1.5)  # the attack goes on alone
    said = (place / "said").read_bytes() if (place / "said").exists() else b""
    text = said[-2000:].decode("utf-8", "replace").strip()
    if attack.seen == "ends":
        child = int((place / "child").read_text())
        return process.is_alive(process.identity(child)) and b"GOT" in said, text
    if attack.seen == "outlives":
        return any(pid != leader.pid for pid in _with(mark, "cmdline")), text
    if attack.seen == "secret":
        return targets.secret.encode() in said, text
    if attack.seen == "log":
        return len(said) > LOG_BYTES * 20, f"{len(said)} bytes"
    if attack.seen == "stored":
        return _copied_secret(targets, place), text
    if attack.seen == "believed":  # who only looks whether it is still there believes that it is done
        time.sleep(0.5)
        child = int((place / "child").read_text())
        return "Z" in _state(child) or not Path(f"/proc/{child}").exists(), text
    if attack.seen == "claims":  # who takes each line for a report has all of this
        return len(said) > CLAIMS_BYTES and b'"owner"' in said, f"{len(said)} bytes"
    if attack.seen == "expected":
        return status.exists() and status.read_text() == "0", text
    return b"GOT" in said, text


def _copied_secret(targets: Targets, place: Path) -> bool:
    """Whether who just copies the folder has the secret in the copy."""
    (place / "work/pipe").unlink(missing_ok=True)  # a copy would wait for it for ever: that it can, we believe
    with contextlib.suppress(shutil.Error):
        shutil.copytree(place / "work", place / "copy", ignore_dangling_symlinks=True)
    secret = targets.secret.encode()
    return any(path.is_file() and secret in path.read_bytes() for path in (place / "copy").rglob("*"))


def _displays(attack: Attack, targets: Targets, place: Path) -> tuple[bool, str]:
    """In a plain notebook, as ``jupyter execute`` would run it."""
    import nbformat
    from nbclient import NotebookClient

    read: Any = nbformat.reads  # has no types
    notebook = read(json.dumps(one_cell(harness.program(attack, targets.given), "attack")), as_version=4)
    NotebookClient(notebook, kernel_name="python3", timeout=60, resources={"metadata": {"path": str(place)}}).execute()
    size = len(json.dumps(notebook))
    return size > NOTEBOOK_BYTES, f"{size} bytes"


def _state(pid: int) -> str:
    fields = process.stat_fields(pid)
    return fields[0].decode() if fields else ""


def _stopped(pid: int) -> bool:
    return _state(pid) == "T"


def _end(leader: subprocess.Popen[bytes], mark: str, place: Path) -> None:
    """All that the attack left: its session, what bears its mark, and whoever works in its folder."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()
    for pid in _with(mark, "cmdline"):
        process.kill_quietly(pid)
    for pid in process.all_pids():
        with contextlib.suppress(OSError):
            if pid != os.getpid() and os.readlink(f"/proc/{pid}/cwd").startswith(str(place)):
                process.kill_quietly(pid)


def to_json(name: str, found: tuple[bool, str]) -> str:
    """One line."""
    return json.dumps({"name": name, "succeeded": found[0], "told": found[1][-500:]})
