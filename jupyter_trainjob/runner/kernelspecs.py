"""Kernels that are named, or chosen by their language: those that ``jupyter kernelspec list`` shows.

``jupyter_client``'s KernelSpecManager takes a sixth of a second to import, and no kernel starts before this is done.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from jupyter_core.paths import jupyter_path

from .early import Job, JobFileError, Kernel, environment, prepare, spawn
from .languages import Language, find

_NATIVE = "python3"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_FIELDS: dict[str, type] = {
    "argv": list,
    "name": str,
    "mimetype": str,
    "display_name": str,
    "language": str,
    "kernel_protocol_version": str,
    "env": dict,
    "interrupt_mode": str,
    "metadata": dict,
}
"""What Jupyter refuses a ``kernel.json`` for, where it is of another type."""


@dataclass
class Found:
    """An installed kernel: its folder, and what of its ``kernel.json`` starts it."""

    folder: str
    argv: list[str]
    language: str
    env: dict[str, str]

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """``env`` with each ``${NAME}`` as the kernel inherits it, as Jupyter fills it in; unknown ones stay."""
        return {name: Template(value).safe_substitute(inherited) for name, value in self.env.items()}


def start_named(job: Job) -> tuple[Kernel, Language]:
    """Start the kernel that the job asks for; and what it speaks. Raises :class:`JobFileError`.

    A kernel that says it speaks Python but is no ipykernel is used as it is, like one of an unknown language.
    """
    found = installed()
    name = job.kernel.lower() or next((one for one in sorted(found) if _speaks(found[one], job.language)), "")
    if name not in found:
        asked = f"{job.kernel!r}" if job.kernel else f"for {job.language!r}"
        raise JobFileError(f"There is no kernel {asked} here; there are: {', '.join(sorted(found)) or 'none'}.")
    spec = found[name]
    language = find(spec.language)
    language.check(job)
    folder, connection, file = prepare(tcp=language.tcp)
    command = _command(name, spec, job, file)
    python = any("ipykernel" in word for word in command)
    if python:
        command += ["--IPKernelApp.capture_fd_output=False", "--HistoryManager.enabled=False"]
    elif language.name == "python":
        language = Language(language.name)
    inherited = environment(job, folder)
    extra = {**spec.environment(inherited), **language.environment(job)}
    extra.update(language.made_before(command, {**inherited, **extra}, job))
    return spawn(language.command(command, job), job, folder, connection, file, extra), language


def _speaks(found: Found, language: str) -> bool:
    return found.language.lower() == language.lower()


def _command(name: str, spec: Found, job: Job, connection_file: Path) -> list[str]:
    if not spec.argv or not all(isinstance(word, str) for word in spec.argv):
        raise JobFileError(
            f"The kernel {name!r} can't be started: the argv in {spec.folder}/kernel.json is "
            f"{json.dumps(spec.argv)[:200]}, not a command. Install the kernel again."
        )
    values = {"connection_file": str(connection_file), "resource_dir": spec.folder, "prefix": sys.prefix}
    command = []
    for word in spec.argv:
        command.append(_PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), word))
    if command[0] in ("python", f"python{sys.version_info[0]}", f"python{sys.version_info[0]}.{sys.version_info[1]}"):
        command[0] = job.interpreter or sys.executable  # as Jupyter does: "python" is the one that Jupyter runs in
    return command


def installed() -> dict[str, Found]:
    """The kernels that Jupyter finds, by name in small letters. One that can't be read is left out, as there."""
    folders: dict[str, Path] = {}
    for place in [*map(Path, jupyter_path("kernels")), _ipython_folder() / "kernels"]:
        folders = {**_kernels_in(place), **folders}
    found = {name: spec for name, folder in folders.items() if (spec := _read(folder)) is not None}
    if _NATIVE not in folders and (native := _native()) is not None:
        found[_NATIVE] = native
    return found


def _ipython_folder() -> Path:
    return Path(os.environ.get("IPYTHONDIR") or "~/.ipython").expanduser()


def _kernels_in(place: Path) -> dict[str, Path]:
    with suppress(OSError):  # a folder that is not there, or not for us
        return {folder.name.lower(): folder for folder in place.iterdir() if _is_file(folder / "kernel.json")}
    return {}


def _is_file(path: Path) -> bool:
    with suppress(OSError):
        return path.is_file()
    return False


def _read(folder: Path) -> Found | None:
    try:
        data = json.loads((folder / "kernel.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or "resource_dir" in data:
        return None
    if isinstance(data.get("argv"), str):
        data["argv"] = [data["argv"]]  # as Jupyter takes it
    if not all(isinstance(data[name], kind) for name, kind in _FIELDS.items() if name in data):
        return None
    if data.get("interrupt_mode", "signal").lower() not in ("signal", "message"):
        return None
    if not _has_provisioner(data.get("metadata", {})):
        return None
    return Found(str(folder), data.get("argv", []), data.get("language", ""), data.get("env", {}))


def _has_provisioner(metadata: dict[str, Any]) -> bool:
    """Whether what starts this kernel elsewhere is installed, where it asks for something to do so."""
    asked = metadata.get("kernel_provisioner", {})
    default = os.environ.get("JUPYTER_DEFAULT_PROVISIONER_NAME", "local-provisioner")
    name = asked.get("provisioner_name", default) if isinstance(asked, dict) else default
    if name == "local-provisioner":
        return True
    from importlib.metadata import entry_points

    return bool(entry_points(group="jupyter_client.kernel_provisioners", name=str(name)))


def _native() -> Found | None:
    """The kernel that Jupyter offers where none of that name is installed: ipykernel in this Python."""
    spec = importlib.util.find_spec("ipykernel")
    if spec is None or spec.origin is None or not _has_provisioner({}):
        return None
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return Found(str(Path(spec.origin).parent / "resources"), argv, "python", {})
