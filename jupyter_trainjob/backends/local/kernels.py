"""Which kernels a job finds: asked of the interpreter that jobs run in, as the runner will ask it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from ..base import BackendError, KernelInfo
from .runtime import Runtime
from .sandbox import LAUNCH_ENV

_ASK = """
import importlib.util, json
found = {}
if importlib.util.find_spec("jupyter_client") is not None:
    from jupyter_client.kernelspec import KernelSpecManager
    for name, kernel in KernelSpecManager().get_all_specs().items():
        found[name] = [str(kernel["spec"].get(key) or "") for key in ("language", "display_name")]
if importlib.util.find_spec("ipykernel") is not None:
    found.setdefault("python3", ["python", "Python 3 (ipykernel)"])
print(json.dumps(found))
"""
_NOWHERE = "/nonexistent"
"""As home: a job has one of its own, with no kernels in it."""


def look(runtime: Runtime) -> list[KernelInfo]:
    """The kernels that a job in ``runtime`` finds, by name.

    Blocks for a second at most, as a rule. :class:`BackendError` where the interpreter does not answer.
    """
    environment = {**LAUNCH_ENV, "HOME": _NOWHERE, "JUPYTER_PATH": runtime.jupyter_path}
    try:
        done = subprocess.run(
            [runtime.python, "-I", "-c", _ASK], capture_output=True, timeout=60, check=True, env=environment, cwd="/"
        )
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise BackendError(
            f"The interpreter {runtime.python!r} for jobs does not tell which kernels there are: {error}.",
            remedy="Run 'jupyter kernelspec list' with it; it has to have jupyter_client and ipykernel.",
        ) from error
    return [
        KernelInfo(name, language.lower(), display_name or name)
        for name, (language, display_name) in sorted(told.items())
    ]
