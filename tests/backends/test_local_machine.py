"""Control groups, capacity, interpreters: what is read from the machine."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from jupyter_trainjob.backends.local import cgroups, doctor, machine, process, runtime, watchdog
from jupyter_trainjob.backends.local.cgroups import Cgroup


def test_version_2_files_are_read_and_written(tmp_path: Path) -> None:
    """No kernel here gives us version 2, so the files are plain ones, with the texts that a kernel writes."""
    files = {
        "memory.max": "0\n",
        "memory.swap.max": "max\n",
        "pids.max": "0\n",
        "cpu.max": "max 100000\n",
        "memory.events": "low 0\nhigh 0\nmax 120\noom 3\noom_kill 2\noom_group_kill 0\n",
        "pids.events": "max 7\n",
        "pids.current": "5\n",
        "cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n",
        "memory.stat": "anon 1000\nfile 9999\nkernel 5\nshmem 24\n",
        "cgroup.procs": "12\n13\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    group = Cgroup(2, dict.fromkeys(("memory", "pids", "cpu"), str(tmp_path)))
    assert (group.oom_kills(), group.task_refusals(), group.tasks()) == (2, 7, 5)
    assert (group.cpu_seconds(), group.memory_bytes(), group.pids()) == (1.5, 1024, [12, 13])
    group.limit(memory_bytes=12345678, tasks=56)
    assert group.limit_cpu(1500)
    written = {name: (tmp_path / name).read_text().split("\n")[0] for name in ("memory.max", "pids.max", "cpu.max")}
    assert written == {"memory.max": "12345678", "pids.max": "56", "cpu.max": "150000 100000"}
    assert group.entrances() == [str(tmp_path / "cgroup.procs")]


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user may have no group to make groups in")
def test_a_real_group_counts_limits_and_kills() -> None:
    group = cgroups.works(f"test-{os.getpid()}")
    assert group is not None
    group.create()
    try:
        group.limit(memory_bytes=64 * 2**20, tasks=16)
        held = "import time; x = bytearray(20 * 2**20); print('up', flush=True); time.sleep(60)"
        enter = f"import os; [open(p, 'w').write('0') for p in {group.entrances()!r}]; "
        child = subprocess.Popen([sys.executable, "-I", "-c", enter + held], stdout=subprocess.PIPE)
        assert child.stdout is not None and child.stdout.readline() == b"up\n"
        assert group.pids() == [child.pid] and group.tasks() == 1
        assert 20 * 2**20 <= group.memory_bytes() < 64 * 2**20
        assert (group.cpu_seconds() or 0) > 0 and group.oom_kills() == 0
        assert not group.remove(), "a group with processes in it can't be removed"
        group.kill()
        assert child.wait(10) == -9
        child.stdout.close()
    finally:
        assert group.remove()
    assert group.pids() == [] and group.memory_bytes() == 0


def test_groups_that_can_not_be_made_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroups, "mounts", lambda: {"": str(tmp_path / "nowhere")})
    monkeypatch.setattr(cgroups, "memberships", lambda: {"": "/user.slice"})
    assert cgroups.find("x") is None and cgroups.works("x") is None


def test_capacity_is_within_the_machine() -> None:
    assert 1 <= machine.cpu_millis() <= (os.cpu_count() or 1) * 1000
    assert 0 < machine.memory_bytes() < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_process_is_known_by_more_than_its_pid() -> None:
    child = subprocess.Popen(["sleep", "60"])
    known = process.identity(child.pid)
    assert process.is_alive(known)
    assert not process.is_alive({**known, "startTicks": known["startTicks"] + 1})
    assert not process.is_alive({**known, "bootId": "another"})
    assert not process.send({**known, "startTicks": 1}, process.signal.SIGKILL) and child.poll() is None
    assert process.send(known, process.signal.SIGKILL)
    child.wait()
    assert not process.is_alive(known) and not process.send(known, process.signal.SIGKILL)
    assert process.children(child.pid) == [] and process.stat_fields(child.pid) == []


def test_memory_shared_by_several_processes_counts_once_where_it_matters() -> None:
    code = """
import mmap, os, time
shared = mmap.mmap(-1, 40 * 2**20)
shared.write(bytes(40 * 2**20))
for _ in range(3):
    if os.fork() == 0:
        shared[:]; print("up", flush=True); time.sleep(60)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-I", "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    for _ in range(3):
        assert parent.stdout.readline() == b"up\n"
    pids = process.tree(parent.pid)
    try:
        assert len(pids) == 4
        assert watchdog.look(pids).memory_bytes > 3 * 40 * 2**20
        assert watchdog.look(pids, exact_above=2**20).memory_bytes < 2 * 40 * 2**20
    finally:
        for pid in pids:
            process.kill_quietly(pid)
        parent.communicate()


def test_an_interpreter_is_asked_what_it_needs(tmp_path: Path) -> None:
    own = tmp_path / "checkout"
    own.mkdir()
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    packages = next((tmp_path / "env").glob("lib/python*/site-packages"))
    (packages / "editable.pth").write_text(f"{own}\n{runtime.package_folder()}/..\n/\n")
    found = runtime.inspect(str(tmp_path / "env" / "bin" / "python"), [str(tmp_path / "no-kernels")])
    assert {str(tmp_path / "env"), str(own)} <= set(found.binds)
    assert os.path.realpath(sys.base_prefix) in {os.path.realpath(path) for path in found.binds}
    assert not any(path in ("/", os.path.dirname(runtime.package_folder())) for path in found.binds)
    assert any(text.startswith("/ is on the import path") for text in found.warnings)
    assert found.version == ".".join(map(str, sys.version_info[:3]))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of our package's runner that nobody compiled yet."""
    package = tmp_path / "jupyter_trainjob"
    shutil.copytree(
        Path(runtime.package_folder()) / "runner", package / "runner", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(runtime, "package_folder", lambda: str(package))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return package


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_an_interpreter_compiles_the_runner_that_jobs_only_read(package: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        py_compile.compile(str(package / "runner/run.py"))  # as a server does that imported it already
        runtime.inspect(sys.executable, [], compile_runner=True)
    finally:
        os.umask(before)
    for name in ("__main__", "early", "run", "languages.python"):
        source = package.joinpath("runner", *name.split(".")).with_suffix(".py")
        compiled = Path(importlib.util.cache_from_source(str(source)))
        assert compiled.stat().st_mode & 0o777 == 0o644, "jobs may have users of their own"
        assert compiled.parent.stat().st_mode & 0o777 == 0o755


def test_nothing_is_compiled_unless_it_is_to_be(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime.inspect(sys.executable, [])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    runtime.inspect(sys.executable, [], compile_runner=True)
    assert not list(package.rglob("__pycache__"))


def test_only_what_is_our_own_is_let_others_read(package: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("")
    secret.chmod(0o600)
    (package / "runner/__pycache__").mkdir()
    (package / "runner/__pycache__/more.pyc").symlink_to(secret)
    runtime.inspect(sys.executable, [], compile_runner=True)
    assert secret.stat().st_mode & 0o777 == 0o600


def test_the_doctor_only_looks(package: Path, tmp_path: Path) -> None:
    doctor.examine(doctor.Local(tmp_path / "data", sys.executable, ()))
    assert not list(package.rglob("__pycache__"))


def test_a_runner_that_can_not_be_compiled_runs_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "jupyter_trainjob"
    (package / "runner").mkdir(parents=True)
    (package / "runner/early.py").write_text("pass\n")
    (package / "runner/__pycache__").write_text("in the way")
    monkeypatch.setattr(runtime, "package_folder", lambda: str(package))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert runtime.inspect(sys.executable, [], compile_runner=True).python == sys.executable


def test_the_supervisor_needs_the_standard_library_only() -> None:
    """It must start in tens of milliseconds, and run under any Python."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "import jupyter_trainjob.backends.local.supervisor\n"
        "early = set(sys.modules) - before\n"
        "import jupyter_trainjob.backends.local.life\n"
        "ours = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert ours <= sys.stdlib_module_names | {'jupyter_trainjob'}, ours\n"
        "assert not early & {'dataclasses', 'typing', 'subprocess', 'asyncio', 'ctypes'}, early\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('jupyter_trainjob.')}\n"
        "assert rooms == {'backends', 'storage'}, rooms\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_memory_limit_can_be_raised_and_lowered() -> None:
    group = cgroups.find(f"test-{os.getpid()}")
    if group is None:
        pytest.skip("no control groups can be made here")
    group.create()
    try:
        for size in (2**26, 2**28, 2**25, 2**62):
            group.limit(memory_bytes=size, tasks=None)
    finally:
        group.remove()
