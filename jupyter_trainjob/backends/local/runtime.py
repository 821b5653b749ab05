"""Which host paths a Python interpreter needs to run our runner: found by asking it."""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field

_ASK = """
import compileall, json, os, sys, sysconfig
if len(sys.argv) > 1:
    os.umask(0o022)
    compileall.compile_dir(sys.argv[1], quiet=2)
    for folder, _, files in os.walk(sys.argv[1]):
        for name in ["", *files] if os.path.basename(folder) == "__pycache__" else []:
            path = os.path.join(folder, name)
            try:
                known = os.lstat(path)
                if known.st_uid == os.geteuid() and not os.path.islink(path):
                    os.chmod(path, known.st_mode & 0o7777 | (0o044 if name else 0o055))
            except OSError:
                pass  # another server writes there, too; or it can't be: then jobs compile for themselves
finders = [m for n, m in list(sys.modules.items()) if n.startswith("__editable__") and n.endswith("_finder")]
mapped = [path for m in finders for path in getattr(m, "MAPPING", {}).values()]
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "executable": sys.executable,
    "prefixes": [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix],
    "path": [p for p in sys.path if p],
    "mapped": mapped,
}))
"""
_NO_SHARING = ("/", "/home", "/root", "/etc", "/var", "/tmp", "/opt", "/srv", "/mnt", "/run", "/proc", "/sys", "/dev")


@dataclass(frozen=True)
class Runtime:
    """An interpreter and the host paths to show to a job that runs in it."""

    python: str
    version: str
    binds: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())
    jupyter_path: str = ""
    """JUPYTER_PATH of jobs, so that the kernels that lie in the folders shown to them are found."""


def _homes(kernel_folders: list[str]) -> list[str]:
    """What kernels need besides their own folder: the folders that variables of theirs such as SPARK_HOME name."""
    found = []
    for path in (name for folder in kernel_folders for name in glob.glob(f"{glob.escape(folder)}/*/kernel.json")):
        try:
            with open(path, "rb") as file:
                environment = json.load(file).get("env") or {}
            homes = [str(value) for name, value in environment.items() if name.endswith("_HOME")]
        except (OSError, ValueError, AttributeError):
            continue  # no kernelspec: Jupyter passes it over, too
        found += [home for home in homes if os.path.isabs(home) and os.path.isdir(home)]
    return [home for home in map(os.path.normpath, found) if home != os.path.expanduser("~")]


def package_folder() -> str:
    """The folder of this very package."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def inspect(python: str, kernel_folders: list[str], *, compile_runner: bool = False) -> Runtime:
    """Ask ``python`` (an executable). Blocks for some tens of milliseconds, at the first ``compile_runner`` a second.

    That compiles our runner for all users to read, where it is not done and may be: jobs, which only read it and may
    have users of their own, would do so each time. Not under PYTHONDONTWRITEBYTECODE.
    """
    command = [python, "-I", "-c", _ASK]
    if compile_runner and not sys.dont_write_bytecode:
        command.append(os.path.join(package_folder(), "runner"))
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=True, env={"PATH": os.defpath})
        told = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        from ..base import BackendError  # here: environments are also built in pods, where there is only Python

        raise BackendError(
            f"The interpreter {python!r} for jobs does not run: {error}.",
            remedy="Set LocalBackendSettings.python to a Python that has ipykernel and jupyter_trainjob.",
            permanent=True,
        ) from error
    prefixes = [os.path.normpath(path) for path in told["prefixes"]]
    candidates = [*prefixes, os.path.dirname(os.path.dirname(os.path.realpath(told["executable"])))]
    warnings = []
    ours = os.path.dirname(package_folder())
    for path in [*told["path"], *told["mapped"]]:
        path = os.path.normpath(path)
        if not os.path.exists(path) or any(path == p or path.startswith(p + "/") for p in prefixes):
            continue
        if path == ours or path.startswith(package_folder()):
            continue  # our own checkout: the sandbox shows its runner, no more
        if path in (*_NO_SHARING, os.path.expanduser("~")):
            warnings.append(f"{path} is on the import path of {python} and is not shown to jobs: it holds too much")
            continue
        candidates.append(path)
    candidates += [path for path in kernel_folders if os.path.isdir(path)]
    candidates += [*_homes(kernel_folders), *glob.glob("/etc/java-*")]  # the JVM's own settings lie there in Debian
    shared = [path for path in candidates if path not in _NO_SHARING]
    return Runtime(
        python=told["executable"],
        version=told["version"],
        binds=tuple(shared),
        warnings=tuple(warnings),
        jupyter_path=os.pathsep.join(os.path.dirname(path) for path in kernel_folders if os.path.isdir(path)),
    )
