"""``state.json`` and the pokes: how the supervisor tells the server what is."""

from __future__ import annotations

import os
import socket
import time
from datetime import datetime, timezone
from typing import Any

from .folder import Folder

INTERVAL_SECONDS = 0.1
QUIET_SECONDS = 1.0
"""How long a change of mere numbers (usage, log size) may wait: each telling costs the server a look."""


def now_text() -> str:
    """RFC 3339, UTC, microseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Report:
    """The latest word. :meth:`flush` writes it when it changed, at most every :data:`INTERVAL_SECONDS`."""

    def __init__(self, folder: Folder, uid: str, attempt: int, isolation: str) -> None:
        self._folder = folder
        self._poke = f'{{"uid": "{uid}", "attempt": {attempt}}}'.encode()
        self._next: float | None = 0.0
        self._written = 0.0
        self.data: dict[str, Any] = {
            "state": "starting",
            "isolation": isolation,
            "node": socket.gethostname(),
            "started": None,
            "ended": None,
            "usage": {},
            "log": {"size": 0, "complete": False, "gap": None, "missing": 0},
            "evidence": {},
            "claims": {},
            "notebook": False,
            "files": [],
            "filesTotal": 0,
            "filesBytes": 0,
            "conditions": [],
        }

    def update(self, *, soon: bool = True, **changes: Any) -> None:
        """Change some fields, to be told ``soon`` or within :data:`QUIET_SECONDS`."""
        for name, value in changes.items():
            if self.data[name] != value:
                self.data[name] = value
                self._changed(INTERVAL_SECONDS if soon else QUIET_SECONDS)

    def _changed(self, interval: float) -> None:
        at = self._written + interval
        self._next = at if self._next is None else min(self._next, at)

    def claim(self, name: str, value: dict[str, Any]) -> None:
        """Note what the runner says."""
        self.data["claims"] = {**self.data["claims"], name: {k: v for k, v in value.items() if k != "type"}}
        self._changed(INTERVAL_SECONDS)

    def condition(self, condition: dict[str, str] | None) -> None:
        """Set a standing remark, one per type."""
        if condition is not None:
            others = [old for old in self.data["conditions"] if old["type"] != condition["type"]]
            self.update(conditions=[*others, condition])

    def due(self) -> float | None:
        """Seconds until :meth:`flush` would write; None while nothing changed."""
        return None if self._next is None else max(0.0, self._next - time.monotonic())

    def flush(self, *, now: bool = False) -> None:
        """Write and poke if something changed and enough time has passed (or ``now``)."""
        if self._next is None or (not now and time.monotonic() < self._next):
            return
        self._folder.write("state.json", self.data, durable=self.data["state"] == "ended")
        self._next, self._written = None, time.monotonic()
        poke(os.path.dirname(self._folder.path), self._poke)


def poke(run_folder: str, message: bytes) -> None:
    """Send ``message`` to every ``*.sock`` of the folder. A lost poke is no harm: the server also looks by itself."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        directory = os.open(run_folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in os.listdir(directory):
                if name.endswith(".sock"):
                    _send(sender, f"/proc/self/fd/{directory}/{name}", message)
        finally:
            os.close(directory)


def _send(sender: socket.socket, address: str, message: bytes) -> None:
    try:
        sender.sendto(message, address)  # through /proc/self/fd: a socket's path has at most 107 bytes
    except ConnectionRefusedError:
        try:
            os.unlink(address)  # of a server that died
        except FileNotFoundError:
            return
    except (BlockingIOError, FileNotFoundError):
        return
