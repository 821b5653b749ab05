"""Whether the server's folders take what jobs bring. A record on a full disk may still take one small row."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..resources.quantity import format_bytes

NEEDED_BYTES = 64 * 2**20
"""Below this much free space the server is not ready: one job with its log and outputs may take more."""
PROBE_BYTES = 256 * 2**10


class DiskCheck:
    """A line of ``/readyz``: the space on each folder's disk, and whether a file of :data:`PROBE_BYTES` can be kept.

    ``folders``: what each is called → where it is. Anybody may ask for readiness, so that the paths are not told.
    """

    def __init__(self, folders: Iterable[tuple[str, Path]], needed_bytes: int = NEEDED_BYTES) -> None:
        self._folders = list(folders)
        self._needed_bytes = needed_bytes

    async def __call__(self) -> dict[str, Any]:
        """``{ok, message, freeBytes}``: of the fullest disk."""
        looks = [await asyncio.to_thread(self._look, name, folder) for name, folder in self._folders]
        return min(looks, key=lambda look: (look["ok"], look["freeBytes"]))

    def _look(self, name: str, folder: Path) -> dict[str, Any]:
        found = os.statvfs(folder)
        free, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        figures = f"{_rounded(free)} of {_rounded(size)} are free on the disk of {name}"
        if free < self._needed_bytes:
            problem = f"{figures}; at least {_rounded(self._needed_bytes)} are needed. Free some space."
            return {"ok": False, "message": problem, "freeBytes": free}
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            problem = f"A file of {_rounded(PROBE_BYTES)} can't be kept in {name}: {error.strerror}. {figures}."
            return {"ok": False, "message": problem, "freeBytes": free}
        return {"ok": True, "message": f"{figures}.", "freeBytes": free}


def _rounded(size: int) -> str:
    """``size`` in whole units, of the largest of which there are two."""
    unit = next((unit for unit in (2**30, 2**20) if size >= 2 * unit), 2**10)
    return format_bytes(size // unit * unit)
