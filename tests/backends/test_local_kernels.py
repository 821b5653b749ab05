"""The kernels that the local backend tells are those that a job finds, in the interpreter that jobs run in."""

from __future__ import annotations

import json
import sys
import threading
import venv
from pathlib import Path

import pytest

from jupyter_trainjob.backends.base import BackendError, KernelInfo
from jupyter_trainjob.backends.local import kernels, runtime


def kernelspec(folder: Path, name: str, language: str, display_name: str, program: str = sys.executable) -> None:
    (folder / name).mkdir(parents=True)
    argv = [program, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "language": language, "display_name": display_name}
    (folder / name / "kernel.json").write_text(json.dumps(spec))


def test_kernels_in_the_folders_that_jobs_are_shown_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "share" / "kernels"
    kernelspec(folder, "spark", "Scala", "Spark 4")
    found = kernels.look(runtime.inspect(sys.executable, [str(folder), str(tmp_path / "nowhere")]), sandboxed=True)
    assert KernelInfo("spark", "scala", "Spark 4") in found
    assert KernelInfo("python3", "python", "Python 3 (ipykernel)") in found


def test_kernels_in_a_home_are_not_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernelspec(tmp_path / ".local/share/jupyter/kernels", "mine", "python", "Mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "mine" not in {kernel.name for kernel in kernels.look(runtime.inspect(sys.executable, []), True)}


def test_a_kernel_whose_program_a_sandboxed_job_does_not_see_is_not_told(tmp_path: Path) -> None:
    folder = tmp_path / "share" / "kernels"
    kernelspec(folder, "course", "python", "Course", "/elsewhere/course/bin/python")
    kernelspec(folder, "system", "python", "System", "/usr/bin/python3")
    for sandboxed, expected in ((True, {"system"}), (False, {"course", "system"})):
        found = kernels.look(runtime.inspect(sys.executable, [str(folder)]), sandboxed)
        assert {kernel.name for kernel in found} & {"course", "system"} == expected


def test_another_interpreter_tells_its_own(tmp_path: Path) -> None:
    """One without any kernel: what this process has installed is not the job's."""
    venv.create(tmp_path / "bare", symlinks=True)
    found = kernels.look(runtime.inspect(str(tmp_path / "bare/bin/python"), []), True)
    assert "python3" not in {kernel.name for kernel in found}


def test_an_interpreter_that_does_not_answer_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(BackendError) as caught:
        kernels.look(runtime.Runtime(str(broken), "3.11.7", ()), True)
    assert str(caught.value).startswith(f"The interpreter {str(broken)!r} for jobs does not tell which kernels")
    assert "Run 'jupyter kernelspec list' with it" in caught.value.remedy


@pytest.mark.asyncio
async def test_while_asking_takes_long_the_old_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "GOOD_SECONDS", 0.0)
    monkeypatch.setattr(kernels, "PATIENCE_SECONDS", 0.05)
    go, asked = threading.Event(), []

    def ask() -> list[KernelInfo]:
        asked.append(1)
        if len(asked) > 1:
            go.wait(20)
        return [KernelInfo(f"k{len(asked)}", "python", "K")]

    found = kernels.Kernels(ask)
    try:
        assert [kernel.name for kernel in await found.get()] == ["k1"]
        assert [[kernel.name for kernel in await found.get()] for _ in range(3)] == [["k1"]] * 3
        assert len(asked) == 2
        go.set()
        monkeypatch.setattr(kernels, "PATIENCE_SECONDS", 5.0)
        assert [kernel.name for kernel in await found.get()] == ["k2"]
    finally:
        go.set()
        await found.stop()
