"""How main begins: it waits for the sidecar, and shows it that it lives."""

from __future__ import annotations

import fcntl
import os
import time

from . import processes
from .files import PROTOCOL, SLOT, Places, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READY_SECONDS = 0.02


class Stopped(Exception):
    """SIGTERM came before the runner was started."""


class Refused(Exception):
    """The sidecar could not bring what the job needs: ``limit`` and a message."""

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(message)
        self.limit = limit


def await_ready(places: Places) -> dict[str, Any]:
    """Wait for the sidecar, then hold the lock that tells it that we live; our orders. Raises :class:`Refused`.

    Those of a slot (:mod:`.waiting`) come first where this is one.
    """
    held = False
    while True:
        if not held:
            held = _take_life(places)
        for name in ("ready", SLOT):
            if (orders := look(places, name)) is not None and held:
                return orders
        time.sleep(READY_SECONDS)


def look(places: Places, name: str) -> dict[str, Any] | None:
    """Our orders ``name``, if they are there. Raises :class:`Stopped` and :class:`Refused`."""
    if processes.asked_to_stop():
        raise Stopped
    if (failed := load(f"{places.inside}/failed")) is not None:
        raise Refused(str(failed.get("limit")), str(failed.get("message")))
    orders = load(f"{places.inside}/{name}")
    if orders is not None and orders.get("protocol") != PROTOCOL:
        raise Refused(
            "BackendError",
            f"The sidecar speaks protocol {orders.get('protocol')!r}, the job's image speaks {PROTOCOL}: they must "
            "come from the same version of jupyter_trainjob.",
        )
    return orders


def _take_life(places: Places) -> bool:
    """Take the lock, for ever. The job's code can't take it: that begins later, and our descriptors are ours alone."""
    try:
        descriptor = os.open(places.life, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # the sidecar tries it for an instant now and then
    return True
