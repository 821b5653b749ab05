"""Events to the supervisor: one JSON object a line, on descriptor 3."""

from __future__ import annotations

import json
import os
from typing import Any

EVENTS_FD = 3


class Events:
    """Writes events. They are small, so that the pipe takes each in one piece, though it may make the runner wait."""

    def __init__(self, fd: int = EVENTS_FD) -> None:
        os.fstat(fd)
        os.set_inheritable(fd, False)
        self._fd = fd

    def send(self, type_: str, **data: Any) -> None:
        """Send ``{"type": type_, …}``."""
        line = json.dumps({"type": type_, **data}).encode() + b"\n"
        view = memoryview(line)
        while view:
            view = view[os.write(self._fd, view) :]
