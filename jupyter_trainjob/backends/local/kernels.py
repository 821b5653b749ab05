"""Which kernels a job finds: asked of the interpreter that jobs run in, as the runner will ask it."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ..base import BackendError, KernelInfo
from .runtime import Runtime
from .sandbox import LAUNCH_ENV, is_shown

log = logging.getLogger(__name__)
GOOD_SECONDS = 10.0
"""How long an answer is good for: to ask starts an interpreter."""
PATIENCE_SECONDS = 2.0
"""So long a new answer is waited for before an old one is told."""

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


class Kernels:
    """The latest answer of ``ask``, which blocks. On a thread of its own: a submit waits for nothing else."""

    def __init__(self, ask: Callable[[], list[KernelInfo]]) -> None:
        self._ask = ask
        self._found: list[KernelInfo] | None = None
        self._at = 0.0
        self._asking: asyncio.Task[list[KernelInfo]] | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kernels")

    async def get(self) -> list[KernelInfo]:
        """A list of the last seconds, or, while asking takes long, the one before. :class:`BackendError`: see
        :func:`look`.
        """
        if self._found is not None and time.monotonic() - self._at <= GOOD_SECONDS:
            return self._found
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._look(), name="kernels")
            self._asking.add_done_callback(_told)
        done, _ = await asyncio.wait({self._asking}, timeout=None if self._found is None else PATIENCE_SECONDS)
        if self._found is not None and not done:
            return self._found
        return self._asking.result()

    async def _look(self) -> list[KernelInfo]:
        found = await asyncio.get_running_loop().run_in_executor(self._pool, self._ask)
        self._found, self._at = found, time.monotonic()
        return found

    async def stop(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        self._pool.shutdown(wait=False)


def _told(asking: asyncio.Task[list[KernelInfo]]) -> None:
    """Also where nobody waits for it any more."""
    if not asking.cancelled() and asking.exception() is not None:
        log.warning("The kernels can't be told now: %s", asking.exception())
