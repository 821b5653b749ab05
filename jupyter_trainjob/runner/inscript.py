"""Runs inside the Python kernel, before a script's code: it finds there what ``python train.py`` would give it.

Its source is sent there, so it may use the standard library and IPython only.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any


def as_script(shell: Any, name: str, folder: str) -> None:
    """The next cell is all of the file ``name`` in ``folder``, which runs as ``python name`` there would run it.

    ``sys.argv``, ``sys.path[0]`` and ``__file__`` are a script's, no event loop runs around it, and tracebacks name the
    file, where they would name a cell, of which it has none.
    """
    compiler = shell.compile
    path = Path(folder, name)
    sys.argv[:] = [name]
    if sys.path[:1] == [""]:
        del sys.path[0]
    sys.path[:0] = dict.fromkeys([str(path.parent), folder])  # of a folder of files also what lies at its top
    shell.user_ns["__file__"] = shell.user_ns_hidden["__file__"] = str(path)

    def begin(_: Any) -> None:
        shell.events.unregister("pre_run_cell", begin)
        compiler.get_code_name = once
        _outside_of_the_loop(shell)

    def once(*_: Any) -> str:
        del compiler.get_code_name  # what the file's code may have run as cells of their own is not in the file
        return name

    shell.events.register("pre_run_cell", begin)
    told = getattr(compiler, "format_code_name", None)  # IPython 8 asks this
    compiler.format_code_name = lambda code: ("File", name) if code == name else told and told(code)


def _outside_of_the_loop(shell: Any) -> None:
    """Let all code that does not await itself find no event loop running in its thread: it may run one of its own.

    The kernel's loop waits for the code anyhow. ``asyncio.get_event_loop()`` gives a loop that is not the kernel's.
    """
    run_code, loop = shell.run_code, asyncio._get_running_loop()
    if loop is None:
        return
    own = None if sys.version_info >= (3, 14) else asyncio.new_event_loop()  # as the Pythons do that still make one
    asyncio.set_event_loop(own)
    swap_task: Any = getattr(asyncio.tasks, "_swap_current_task", None)  # Python 3.12 and later ask for this

    async def run(code: Any, result: Any = None, *, async_: bool = False) -> Any:
        running = asyncio._get_running_loop()
        if async_ or running is None:
            return await run_code(code, result, async_=async_)
        task = swap_task(running, None) if swap_task is not None else None
        asyncio._set_running_loop(None)
        try:
            return await run_code(code, result, async_=async_)  # which awaits nothing
        finally:
            asyncio._set_running_loop(running)
            if swap_task is not None:
                swap_task(running, task)

    def over(_: Any) -> None:
        if asyncio._get_running_loop() is not loop:
            return  # a cell that the code itself has run
        shell.run_code = run_code
        shell.events.unregister("post_run_cell", over)
        asyncio.set_event_loop(loop)
        if own is not None:
            own.close()

    shell.run_code = run
    shell.events.register("post_run_cell", over)
