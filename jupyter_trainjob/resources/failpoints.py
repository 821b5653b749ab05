"""Places at which a test kills the process, to see that another one goes on from there. Nothing is armed in earnest.

``JUPYTER_TRAINJOB_FAILPOINT=name:3`` ends the process by SIGKILL at the third time that it comes to ``name``.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "JUPYTER_TRAINJOB_FAILPOINT"
NAMES = (
    "submission.written",
    "admission.decided",
    "admission.written",
    "admission.committed",
    "attempt.found",
    "attempt.created",
    "attempt.marked",
    "attempt.followed",
    "attempt.ended",
    "attempt.finished",
    "attempt.removed",
    "gates.settled",
    "sweep.settled",
    "job.cleared",
)
"""Every step of a job's life: those called ``written`` lie within a transaction of the record."""

_armed, _, _count = os.environ.get(VARIABLE, "").partition(":")
_left = int(_count or 1)


def reach(name: str) -> None:
    """Come to a place; the process ends here if that was asked for."""
    global _left
    if name == _armed:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
