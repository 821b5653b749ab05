"""What is compiled for Scala's kernels beforehand: nobody waits for it, nothing of it stays behind.

Its kernel here looks like Toree's, and never answers.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from jupyter_trainjob.backends.local.compiled import Compiled
from jupyter_trainjob.backends.local.runtime import inspect
from jupyter_trainjob.backends.local.sandbox import Bwrap
from jupyter_trainjob.runner.languages import scalajar

JAVA = f"""#!{sys.executable}
import pathlib, sys
pathlib.Path(sys.argv[sys.argv.index("-d") + 1]).write_text("a jar")
"""
RUN = """#!/bin/sh
{sleep} &
echo $! >>{told}
trap '' TERM
echo "$SPARK_SUBMIT_OPTS" >>{options}
wait
"""


class Kernel:
    """One that never answers; each of its starts leaves a process. It tells of them in the folder ``compiled``."""

    def __init__(self, folder: Path) -> None:
        place = folder / "compiled"
        self.folder, self.told, self.options = folder, place / "started", place / "options"
        self._sleep = f"sleep {1000 + secrets.randbelow(10**6)}"
        self._script("java/bin/java", JAVA)
        words = {"told": self.told, "options": self.options, "sleep": self._sleep}
        run = self._script("kernels/toree/bin/run.sh", RUN.format(**words))
        (folder / "kernels/toree/lib").mkdir()
        with zipfile.ZipFile(folder / "kernels/toree/lib/toree-assembly-1.jar", "w") as jar:
            jar.writestr("reference.conf", 'default_interpreter_plugin = [\n  "Scala:theirs"\n]\n')
        (folder / "spark/jars").mkdir(parents=True)
        (folder / "spark/jars/a.jar").touch()
        spec = {
            "argv": [run, "{connection_file}"],
            "display_name": "Scala",
            "language": "scala",
            "env": {"SPARK_HOME": str(folder / "spark"), "JAVA_HOME": str(folder / "java")},
        }
        (folder / "kernels/toree/kernel.json").write_text(json.dumps(spec))

    def _script(self, name: str, text: str) -> str:
        file = self.folder / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
        file.chmod(0o755)
        return str(file)

    def started(self) -> list[str]:
        return self.told.read_text().split() if self.told.exists() else []

    def living(self) -> list[str]:
        """As the machine sees them: a sandbox has numbers of its own."""
        return [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if self._sleep in _command(path)]

    def make(self, place: Path, run_seconds: float) -> str:
        code = "import sys; from jupyter_trainjob.runner.languages import scalajar as one; "
        code += f"one.RUN_SECONDS = {run_seconds}; sys.exit(one.main(sys.argv[1:]))"
        environment = {**os.environ, "JUPYTER_PATH": str(self.folder)}
        done = subprocess.run(
            [sys.executable, "-c", code, str(place)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            timeout=120,
            check=False,
        )
        assert done.returncode == 1, done.stdout
        return done.stdout


def _command(path: Path) -> str:
    try:
        return path.read_text(errors="replace").replace("\0", " ")
    except OSError:  # it ended meanwhile
        return ""


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def compiled_at(place: Path, kernel: Kernel, bwrap: Bwrap | None = None) -> Compiled:
    return Compiled(str(place), inspect(sys.executable, [str(kernel.folder / "kernels")]), bwrap)


def sandbox() -> Bwrap:
    path = shutil.which("bwrap")
    if path is None:
        pytest.skip("there is no bwrap here")
    return Bwrap(path, as_root=os.geteuid() == 0)


def test_a_kernel_that_hangs_is_killed_tried_without_the_archive_and_then_left_alone(
    tmp_path: Path, kernel: Kernel
) -> None:
    place = tmp_path / "compiled"
    told = kernel.make(place, 2.5)
    assert "can't be made" in told and "timed out after 2.5 seconds" in told
    assert len(kernel.started()) == 2, "once with the archive, once without"
    assert kernel.living() == []
    with_archive, without = kernel.options.read_text().splitlines()
    assert "RecordDynamicDumpInfo" in with_archive and "RecordDynamicDumpInfo" not in without
    for options in (with_archive, without):
        assert "-Dspark.ui.enabled=false" in options and "-Dspark.authenticate=true" in options
    again = kernel.make(place, 2.5)
    (failed,) = place.glob(f"*/{scalajar.FAILED}")
    assert f"is not tried again today unless you remove {failed}" in again and "timed out" in again
    assert len(kernel.started()) == 2
    assert not list(place.glob("making-*"))
    os.utime(failed, (0, 0))
    assert "can't be made: " in kernel.make(place, 2.5) and len(kernel.started()) == 4


@pytest.mark.parametrize("sandboxed", [True, False])
def test_nothing_of_it_runs_on_when_the_server_stops(tmp_path: Path, kernel: Kernel, sandboxed: bool) -> None:
    compiled = compiled_at(tmp_path / "compiled", kernel, sandbox() if sandboxed else None)
    compiled.place("scala")
    deadline = time.monotonic() + 60
    while not kernel.living():
        assert time.monotonic() < deadline, "the kernel was never started"
        time.sleep(0.05)
    compiled.stop()
    assert kernel.living() == []
    assert [path.name for path in (tmp_path / "compiled").glob("making-*")] == []
    assert not list((tmp_path / "compiled").glob(f"*/{scalajar.FAILED}")), "it did not fail"
    compiled.stop()
    compiled.place("scala")
    assert len(kernel.started()) == 1, "a server that stops begins nothing"


def test_nobody_waits_for_it(tmp_path: Path, kernel: Kernel) -> None:
    place = tmp_path / "compiled"
    compiled = compiled_at(place, kernel)
    assert compiled.place("python") == ""
    assert not place.exists()
    place.mkdir()
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as if another server made it just now: it is not done before this ends
        assert compiled.place("scala") == str(place)
        compiled.stop()
    assert kernel.started() == []


def test_a_job_runs_without_where_there_is_no_room_for_it(
    tmp_path: Path, kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    compiled = compiled_at(tmp_path / "file" / "compiled", kernel)
    with caplog.at_level(logging.WARNING):
        assert [compiled.place("scala"), compiled.place("scala")] == ["", ""]
    assert caplog.messages == [
        f"Scala's jobs start slowly: the folder {tmp_path}/file/compiled can't be made: Not a directory"
    ]


LOOKS = """#!{python}
import os, pathlib, socket, sys
place = pathlib.Path(sys.argv[sys.argv.index("-d") + 1]).parents[1]
seen = [name for name in {hidden!r} if os.path.exists(name)]
for name in ("/usr/x", "/etc/x", {spark!r} + "/x"):
    try:
        open(name, "w").close()
    except OSError:
        continue
    seen.append("wrote " + name)
seen += [name for _, name in socket.if_nameindex() if name != "lo"]
seen += [name for name in os.environ if "SECRET" in name]
(place / "seen").write_text(repr(seen))
"""


def test_it_sees_no_more_than_a_job_does(tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled by is put in the compiler's place, and looks around."""
    (tmp_path / "data").write_text("the record of all jobs")
    monkeypatch.setenv("SECRET", "of the server's")
    java = tmp_path / "java/bin/java"
    hidden = [
        str(tmp_path / "data"),
        "/var",
        str(Path(scalajar.__file__).parents[3] / "pyproject.toml"),
    ]
    java.write_text(LOOKS.format(python=sys.executable, hidden=hidden, spark=str(tmp_path / "spark")))
    compiled = compiled_at(tmp_path / "compiled", kernel, sandbox())
    compiled.place("scala")
    seen, deadline = tmp_path / "compiled/seen", time.monotonic() + 60
    while not seen.exists() or not seen.read_text():
        assert time.monotonic() < deadline, "nothing was compiled"
        time.sleep(0.05)
    compiled.stop()
    assert seen.read_text() == "[]"
