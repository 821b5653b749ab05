"""Runs the runner as it is run: a process of its own, with a job.json, a pipe on descriptor 3 and a real kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat


@dataclass
class Ended:
    """What a run left."""

    log: bytes
    stderr: str
    events: list[dict[str, Any]]
    status: int
    folder: Path
    seconds: float
    first_output: float = 0.0

    @property
    def end(self) -> dict[str, Any]:
        found = [event for event in self.events if event["type"] == "end"]
        assert len(found) == 1, (self.events, self.log[-2000:], self.stderr[-4000:])
        return found[0]

    @property
    def outcome(self) -> str:
        return str(self.end["outcome"])

    @property
    def notebook(self) -> Any:
        return nbformat.read(self.folder / "out" / "notebook.ipynb", as_version=4)

    def of(self, type_: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == type_]


@dataclass
class Runner:
    """A runner process that may be watched while it runs."""

    folder: Path
    process: subprocess.Popen[bytes]
    begun: float
    log: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    raw_events: bytearray = field(default_factory=bytearray)
    first_output: float = 0.0
    threads: list[threading.Thread] = field(default_factory=list)

    def wait_for(self, what: Callable[[], Any], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            late = time.monotonic() > deadline or (self.process.poll() is not None and not what())
            assert not late, (bytes(self.log[-2000:]), bytes(self.stderr[-2000:]))
            time.sleep(0.005)

    def finish(self, seconds: float = 60.0) -> Ended:
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            told = bytes(self.raw_events[-1000:]), bytes(self.log[-1000:]), bytes(self.stderr[-4000:])
            raise AssertionError(f"the runner did not end: {told}") from None
        took = time.monotonic() - self.begun
        for thread in self.threads:
            thread.join(10)
        events = [json.loads(line) for line in bytes(self.raw_events).splitlines()]
        text = bytes(self.stderr).decode("utf-8", "replace")
        return Ended(bytes(self.log), text, events, status, self.folder, took, self.first_output)


def notebook(*cells: str | tuple[str, list[str]]) -> Any:
    """A notebook of code cells; a tuple gives a cell's tags too."""
    made = nbformat.v4.new_notebook()
    for number, cell in enumerate(cells):
        source, tags = cell if isinstance(cell, tuple) else (cell, [])
        made.cells.append(nbformat.v4.new_code_cell(source, id=f"cell-{number}", metadata={"tags": tags}))
    return made


def start(
    folder: Path, made: Any, *, environ: dict[str, str] | None = None, before: Sequence[str] = (), **job: Any
) -> Runner:
    """Start the runner on a notebook (a node, text, or None for none)."""
    for name in ("work", "out", "in"):
        (folder / name).mkdir(exist_ok=True)
    path = folder / "in" / "notebook.ipynb"
    if isinstance(made, str):
        path.write_text(made)
    elif made is not None:
        path.write_text(nbformat.writes(made))
    orders = {
        "runnerProtocol": 1,
        "uid": "0123456789ab",
        "attempt": 1,
        "name": "digits-x7k2p",
        "language": "python",
        "kernel": "",
        "notebook": str(path),
        "work": str(folder / "work"),
        "out": str(folder / "out"),
        "graceSeconds": 8,
        **job,
    }
    file = folder / "in" / "job.json"
    file.write_text(json.dumps(orders))
    return launch(folder, [str(file)], environ, before)


def launch(
    folder: Path, arguments: list[str], environ: dict[str, str] | None = None, before: Sequence[str] = ()
) -> Runner:
    """Start ``python -I -m jupyter_trainjob.runner`` with a pipe on descriptor 3."""
    reading, writing = os.pipe()
    # Descriptor 3 is laid in a small parent, for Popen can only pass descriptors on under their own number.
    code = f"import os,sys; os.dup2({writing}, 3); os.execvp(sys.argv[1], sys.argv[1:])"
    begun = time.monotonic()
    process = subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            code,
            *before,
            sys.executable,
            "-I",
            "-m",
            "jupyter_trainjob.runner",
            *arguments,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[writing],
        env={**os.environ, **(environ or {})},
    )
    os.close(writing)
    runner = Runner(folder, process, begun)
    assert process.stdout is not None
    assert process.stderr is not None
    events = os.fdopen(reading, "rb", buffering=0)
    for file, into in ((process.stdout, runner.log), (process.stderr, runner.stderr), (events, runner.raw_events)):
        thread = threading.Thread(target=_collect, args=(runner, file, into))
        thread.start()
        runner.threads.append(thread)
    return runner


def _collect(runner: Runner, file: Any, into: bytearray) -> None:
    with file:
        while data := os.read(file.fileno(), 1 << 16):
            if into is runner.log and not runner.first_output:
                runner.first_output = time.monotonic() - runner.begun
            into += data


def run(folder: Path, made: Any, *, seconds: float = 60.0, **job: Any) -> Ended:
    """Run a notebook to its end."""
    return start(folder, made, **job).finish(seconds)
