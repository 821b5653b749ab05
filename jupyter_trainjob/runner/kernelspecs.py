"""Kernels that are named, or chosen by their language: those that ``jupyter kernelspec list`` shows."""

from __future__ import annotations

import sys
from typing import Any

from .early import Job, JobFileError, Kernel, prepare, spawn
from .languages import Language, find


def start_named(job: Job) -> tuple[Kernel, Language]:
    """Start the kernel that the job asks for; and what it speaks. Raises :class:`JobFileError`.

    A kernel that says it speaks Python but is no ipykernel is used as it is, like one of an unknown language.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    found = KernelSpecManager().get_all_specs()
    name = job.kernel or next((one for one, spec in sorted(found.items()) if _speaks(spec, job.language)), "")
    if name not in found:
        asked = f"{job.kernel!r}" if job.kernel else f"for {job.language!r}"
        raise JobFileError(f"There is no kernel {asked} here; there are: {', '.join(sorted(found)) or 'none'}.")
    spec: dict[str, Any] = found[name]["spec"]
    language = find(str(spec.get("language", "")))
    language.check()
    folder, connection, file = prepare(tcp=language.tcp)
    replace = {"{connection_file}": str(file), "{resource_dir}": found[name]["resource_dir"]}
    command = []
    for word in spec["argv"]:
        for placeholder, value in replace.items():
            word = word.replace(placeholder, value)
        command.append(word)
    if command[0] in ("python", f"python{sys.version_info[0]}", f"python{sys.version_info[0]}.{sys.version_info[1]}"):
        command[0] = job.interpreter or sys.executable  # as Jupyter does: "python" is the one that Jupyter runs in
    python = any("ipykernel" in word for word in command)
    if python:
        command += ["--IPKernelApp.capture_fd_output=False", "--HistoryManager.enabled=False"]
    elif language.name == "python":
        language = Language(language.name)
    extra = {**(spec.get("env") or {}), **language.environment(job)}
    return spawn(language.command(command, job), job, folder, connection, file, extra), language


def _speaks(found: dict[str, Any], language: str) -> bool:
    return str(found["spec"].get("language", "")).lower() == language.lower()
