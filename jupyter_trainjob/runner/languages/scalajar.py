"""Makes what :mod:`.toree` brings into Scala's kernels: ``python -m jupyter_trainjob.runner.languages.scalajar DIR``.

For each kernel of Toree that Jupyter finds, unless it is there: our code is compiled (8 seconds of processor time), and
a job is run whose kernel writes down, at its end, the classes that it needed, as the JVM has read them (40 seconds).
Jobs only read ``DIR``: whoever can write there runs code in every Scala job.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from jupyter_trainjob.runner.kernelspecs import Found, installed
from jupyter_trainjob.runner.languages.scala import NO_INPUT, quoted
from jupyter_trainjob.runner.languages.toree import AGENT, CLASSES, READY, SOURCES, Toree, source, toree

OURS = "Scala:jupyter_trainjob.Interpreter"
COMPILE_SECONDS = 300.0
RUN_SECONDS = 300.0
OLD_SECONDS = 7 * 86400.0
"""What was made for other kernels, or by other versions of us, is kept so long: another server may be using it."""
FAILED = "failed.txt"
"""In the folder of a kernel that nothing can be made for: why. It is not tried again for :data:`FAILED_SECONDS`."""
FAILED_SECONDS = 86400.0
_MAKING = "making-"
_RUNNER = Path(__file__).resolve().parents[1]
_HEAD = "package jupyter_trainjob; import Here.kernel; "
"""Of what is else compiled in a kernel, where ``kernel`` is a name."""
_ALONE = "-Dspark.ui.enabled=false -Dspark.authenticate=true"
"""Of Spark in the kernel that is run: no page of its own, and whoever comes to its ports needs the secret that it makes
up. They are the machine's, and jobs without a network of their own could come.
"""
_RECORDS = "-XX:+RecordDynamicDumpInfo"
_CELLS = (
    'val numbers = (1 to 10).map(_ * 2)\nprintln(numbers.sum)\nlog_metric("loss", 0.5, 1)\nprogress(0.5, "half")',
    'case class Point(x: Double, name: String)\nval points = List(Point(1, "a"))\npoints.map(_.x).sum',
    'throw new IllegalStateException("as it should")',
    'val wrong: Int = "text"',
)
"""What most jobs do. The third and fourth fail."""
_WRITES = """
val beans = java.lang.management.ManagementFactory.getPlatformMBeanServer
val named = new javax.management.ObjectName("com.sun.management:type=DiagnosticCommand")
beans.invoke(named, "vmCds", Array[AnyRef](Array("dynamic_dump", FILE)), Array(classOf[Array[String]].getName))
"""


class NotMade(Exception):
    """It can't be made. The text says why, for an operator."""


def make(place: Path) -> list[tuple[str, str]]:
    """``(kernel's name, what became of it)`` of each Scala kernel that is Toree's. Blocks, for a minute each."""
    place.mkdir(parents=True, exist_ok=True)
    told = []
    with _alone(place):
        for name, spec in sorted(installed().items()):
            kernel = (
                toree(spec.argv, {**os.environ, **spec.environment(os.environ)})
                if spec.language.lower() == "scala"
                else None
            )
            if kernel is not None:
                told.append((name, _tried(place, name, spec, kernel)))
        _tidy(place)
    return told


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One at a time: the next one finds what this one made."""
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in place.glob(f"{_MAKING}*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        yield


def _tried(place: Path, name: str, spec: Found, kernel: Toree) -> str:
    """What became of it. What fails once, fails again: it is tried once a day, not with every few jobs."""
    try:
        failed = place / kernel.key() / FAILED
        if failed.exists() and time.time() - failed.stat().st_mtime < FAILED_SECONDS:
            return f"can't be made, and is not tried again today unless you remove {failed}: {failed.read_text()}"
        try:
            return _make(place, name, spec, kernel)
        except (NotMade, subprocess.SubprocessError, ValueError, KeyError) as error:
            failed.write_text(str(error))
            return f"can't be made: {error}"
    except OSError as error:
        return f"can't be made: {error}"


def _make(place: Path, name: str, spec: Found, kernel: Toree) -> str:
    folder = place / kernel.key()
    if (folder / READY).exists():
        os.utime(folder)
        return "was there"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    folder.chmod(0o755)
    with tempfile.TemporaryDirectory(prefix=_MAKING, dir=place) as draft:
        _compile(kernel, Path(draft), folder / AGENT)
        ready = {"interpreters": _interpreters(kernel.assembly), "kernel": spec.folder}
        # No job uses it before one did without trouble; it lies where it will, for the JVM remembers the jar's path.
        trial = Path(draft, "compiled")
        (trial / folder.name).mkdir(parents=True)
        (trial / folder.name / READY).write_text(json.dumps({**ready, "folder": str(folder)}))
        try:
            _run(Path(draft, "first"), name, trial, folder / CLASSES)
        except (NotMade, subprocess.TimeoutExpired, ValueError):
            # A JVM ends where it can't write down its classes: with files in Spark's conf, for example.
            _run(Path(draft, "second"), name, trial, None)
        (folder / AGENT).chmod(0o644)
        (Path(draft) / READY).write_text(json.dumps(ready))
        (Path(draft) / READY).chmod(0o644)
        (Path(draft) / READY).replace(folder / READY)
    return "made" if (folder / CLASSES).exists() else "made, but Java can't write down the classes of this kernel"


def _interpreters(assembly: Path) -> list[str]:
    """Toree's own setting, with ours in place of Scala's."""
    with zipfile.ZipFile(assembly) as jar:
        text = jar.read("reference.conf").decode()
    _, found, rest = text.partition("default_interpreter_plugin = [")
    names = [one.strip().strip('",') for one in rest.partition("]")[0].splitlines() if one.strip()]
    if not found or not any(one.startswith("Scala:") for one in names):
        raise NotMade(f"{assembly} does not tell its interpreters")
    return [OURS if one.startswith("Scala:") else one for one in names]


def _compile(kernel: Toree, draft: Path, jar: Path) -> None:
    files = []
    for name in SOURCES:
        text = source(name).replace('"NO_INPUT"', quoted(NO_INPUT))
        files.append(draft / name)
        files[-1].write_text(text if "\npackage " in text else _HEAD + text, encoding="utf-8")
    part, spark = draft / AGENT, f"{kernel.jars}/*"
    java = [kernel.java, "-Xmx1g", "-Xss4m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", spark]
    scalac = ["scala.tools.nsc.Main", "-nowarn", "-cp", f"{spark}:{kernel.assembly}", "-d", str(part)]
    done = subprocess.run(
        [*java, *scalac, *map(str, files)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMPILE_SECONDS,
        check=False,
    )
    if done.returncode or not part.exists():
        raise NotMade(f"our code does not compile: {done.stdout.decode('utf-8', 'replace')[-2000:].strip()}")
    part.replace(jar)


def _run(draft: Path, name: str, place: Path, classes: Path | None) -> None:
    """Run a job in the kernel, as the runner does, which ends by writing its classes into a file ``classes``."""
    for folder in ("work", "out", "tmp"):
        (draft / folder).mkdir(parents=True)
    part = draft / CLASSES
    cells = [*_CELLS, *([_WRITES.replace("FILE", quoted(str(part)))] if classes is not None else [])]
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(map(_cell, range(len(cells)), cells))}
    value = draft / "value.json"
    value.write_text('{"a": [1, 2]}')
    orders = {
        "runnerProtocol": 1,
        "uid": "compiled",
        "notebook": str(draft / "notebook.ipynb"),
        "work": str(draft / "work"),
        "out": str(draft / "out"),
        "language": "scala",
        "kernel": name,
        "parameters": {"rate": 0.1},
        "variables": [{"file": str(value), "names": ["value"], "format": "json"}],
        "results": ["value", "numbers"],
        "environment": {"SPARK_SUBMIT_OPTS": f"{_ALONE} {_RECORDS}" if classes is not None else _ALONE},
        "memoryBytes": 2**31,
        "seed": 1,
        "compiled": str(place),
    }
    (draft / "notebook.ipynb").write_text(json.dumps(notebook))
    (draft / "job.json").write_text(json.dumps(orders))
    log, end = _led(draft)
    if end.get("outcome") != "ok" or any(one["error"] for one in end["results"]):
        raise NotMade(f"a job with it fails: {json.dumps(end)[:2000]} {log[-1000:]}")
    if classes is not None and part.exists():
        part.chmod(0o644)
        part.replace(classes)


def _cell(number: int, code: str) -> dict[str, Any]:
    tags = ["raises-exception"] if number in (2, 3) else []
    cell = {"cell_type": "code", "id": f"cell-{number}", "metadata": {"tags": tags}, "source": code}
    return {**cell, "outputs": [], "execution_count": None}


def _led(draft: Path) -> tuple[str, dict[str, Any]]:
    """What the runner printed, and its last event."""
    # A subreaper (36): what the runner starts stays below it, even if what was between ends.
    code = "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.dup2(int(sys.argv[1]), 3); "
    code += "os.execv(sys.argv[2], sys.argv[2:])"
    with (draft / "events").open("w+b") as events, (draft / "log").open("w+b") as log:
        number = str(events.fileno())
        runner = [sys.executable, "-I", str(_RUNNER), str(draft / "job.json")]
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, number, *runner],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[events.fileno()],
            env={**os.environ, "TMPDIR": str(draft / "tmp"), "HOME": str(draft / "tmp")},
            start_new_session=True,
        )
        try:
            process.wait(RUN_SECONDS)
        finally:
            _end(process)
        events.seek(0)
        log.seek(0)
        last = events.read().splitlines()[-1:] or [b'{"message": "it told nothing"}']
        return log.read().decode("utf-8", "replace"), json.loads(last[0])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of it outlives this, the kernel in a session of its own as little."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGSTOP)  # it starts nothing more
    while left := _below(process.pid):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    process.kill()
    process.wait()


def _below(root: int) -> set[int]:
    """All living processes that descend from ``root``."""
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_bytes().rpartition(b") ")[2].split()
        except OSError:
            continue
        if fields[0] not in (b"Z", b"X"):
            parents[int(process.name)] = int(fields[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root}


def _tidy(place: Path) -> None:
    for folder in place.iterdir():
        if folder.is_dir() and time.time() - folder.stat().st_mtime > OLD_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _leave(number: int, frame: FrameType | None) -> None:
    """What it has started ends, too, and nothing disturbs that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """The command."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m jupyter_trainjob.runner.languages.scalajar DIR\n")
        return 2
    signal.signal(signal.SIGTERM, _leave)
    told = make(Path(arguments[0]).absolute())
    for name, text in told or [("", "There is no kernel of Toree here.")]:
        sys.stdout.write(f"{name}: {text}\n" if name else f"{text}\n")
    return 1 if any(text.startswith("can't") for _, text in told) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
