"""The order of a start: orders, rights, kernel, and only then what takes time to import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

from . import early
from .events import Events
from .languages import find

_UNUSED_BY_US = ("rfc3987_syntax", "rfc3986_validator", "rfc3987", "isoduration", "webcolors", "uri_template", "fqdn")
"""What jsonschema takes along for checks of formats, if it is there: a second of imports that no notebook needs."""


def main(arguments: list[str]) -> int:
    """Run one job; with two files of orders, wait as the first says for the second.

    0 when ``end`` was sent; 2 when the orders can't be followed, which ``failed`` or stderr tells.
    """
    if len(arguments) not in (1, 2):
        sys.stderr.write(
            "usage: python -I -m jupyter_trainjob.runner [WAITING.JSON] JOB.JSON, with descriptor 3 open for events\n"
        )
        return 2
    try:
        events = Events()
    except OSError:
        sys.stderr.write("The runner needs descriptor 3 for its events; it is not open.\n")
        return 2
    events.send("hello", runnerProtocol=early.PROTOCOL, python=sys.version.split()[0])
    try:
        job = early.load(Path(arguments[0]))
        early.confine(job)
        if job.language == "python" and not job.kernel:
            kernel, language = early.start_python(job), find("python")
        else:
            from .kernelspecs import start_named

            kernel, language = start_named(job)
    except early.JobFileError as error:
        events.send("failed", ename=type(error).__name__, message=str(error))
        sys.stderr.write(f"{error}\n")
        return 2
    for name in _UNUSED_BY_US:
        sys.modules.setdefault(name, cast(Any, None))
    import asyncio

    from .run import Run

    async def execute() -> None:
        orders = Path(arguments[1]) if len(arguments) == 2 else None
        await Run(job, events, kernel, language, orders).execute()

    asyncio.run(execute())
    return 0
