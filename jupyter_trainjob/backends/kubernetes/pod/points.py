"""The points that the code logged, as a source to ship from. The file is the job's own and may be anything."""

from __future__ import annotations

import os

from ...local.points import INTERVAL_SECONDS, NAME
from .files import JOB, open_claim

__all__ = ["CAP_BYTES", "INTERVAL_SECONDS", "PointsFile"]

CAP_BYTES = 32 * 2**20
"""Some six hundred thousand points, half of the volume that their file is on; beyond, the first and the last half are
kept."""


class PointsFile:
    """``out/job/metrics.tsv``, opened anew at each look."""

    def __init__(self, out: str) -> None:
        self._out = out

    def read(self, offset: int, limit: int, *, jump: bool = False) -> tuple[int, bytes]:
        """The bytes at ``offset``; none where there are none."""
        descriptor = self._open()
        if descriptor is None:
            return offset, b""
        try:
            return offset, os.pread(descriptor, limit, offset)
        finally:
            os.close(descriptor)

    def waiting(self, offset: int) -> int:
        """How many bytes there are behind ``offset``."""
        descriptor = self._open()
        if descriptor is None:
            return 0
        try:
            return max(0, os.fstat(descriptor).st_size - offset)
        finally:
            os.close(descriptor)

    def _open(self) -> int | None:
        try:
            folder = os.open(f"{self._out}/{JOB}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return open_claim(folder, NAME)
        finally:
            os.close(folder)
