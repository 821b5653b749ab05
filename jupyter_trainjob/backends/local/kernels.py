"""Which kernels a job finds: asked of the interpreter that jobs run in, as the runner will ask it."""

from __future__ import annotations

import json
import subprocess

from ..base import BackendError, KernelInfo
from .runtime import Runtime
from .sandbox import LAUNCH_ENV, is_shown

_ASK = """
import importlib.util, json
found = {}
if importlib.util.find_spec("jupyter_client") is not None:
    from jupyter_client.kernelspec import KernelSpecManager
    for name, kernel in KernelSpecManager().get_all_specs().items():
        spec = kernel["spec"]
        found[name] = [str(spec.get("language") or ""), str(spec.get("display_name") or name), *spec["argv"][:1]]
if importlib.util.find_spec("ipykernel") is not None:
    found.setdefault("python3", ["python", "Python 3 (ipykernel)", "python"])
print(json.dumps(found))
"""
_NOWHERE = "/nonexistent"
"""As home: a job has one of its own, with no kernels in it."""


def look(runtime: Runtime, sandboxed: bool) -> list[KernelInfo]:
    """The kernels that a job in ``runtime`` finds, by name. ``sandboxed``: it is shown ``runtime.binds`` and the
    system, so that a kernel whose program lies elsewhere could not start.

    Blocks for a second at most, as a rule. :class:`BackendError` where the interpreter does not answer.
    """
    environment = {**LAUNCH_ENV, "HOME": _NOWHERE, "JUPYTER_PATH": runtime.jupyter_path}
    try:
        done = subprocess.run(
            [runtime.python, "-I", "-c", _ASK], capture_output=True, timeout=60, check=True, env=environment, cwd="/"
        )
        told: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise BackendError(
            f"The interpreter {runtime.python!r} for jobs does not tell which kernels there are: {error}.",
            remedy="Run 'jupyter kernelspec list' with it; it has to have jupyter_client and ipykernel.",
        ) from error
    return [
        KernelInfo(name, language.lower(), display_name)
        for name, (language, display_name, *program) in sorted(told.items())
        if not sandboxed or all(is_shown(path, runtime.binds) for path in program if path.startswith("/"))
    ]
