"""Main's part of a slot (:mod:`.waiting`): the runner has a kernel ready before there is a job, and then leads it."""

from __future__ import annotations

import os
import select
import signal
import time

from .begin import READY_SECONDS, Refused, look
from .files import WARM, Places, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .told import Told

_READ_BYTES = 64 * 1024


def begin(
    places: Places, spawn: Callable[..., tuple[int, int, int, int]], told: Told
) -> tuple[dict[str, Any], tuple[int, int, int, int]]:
    """Have a kernel started, wait for the job, and let the runner go on: main's orders, and the runner as spawned.

    Raises :class:`.begin.Stopped` and :class:`Refused`; the runner is not ended then.
    """
    started = spawn(f"{places.inside}/slot-job.json", f"{places.inside}/job.json")
    runner, events = started[0], started[3]
    poll, warm = select.poll(), False
    poll.register(events, select.POLLIN)
    while True:
        for _ in poll.poll(READY_SECONDS * 1000):
            data = os.read(events, _READ_BYTES)
            kinds = [event["type"] for event in told.feed(data, time.monotonic())]
            if not data or "failed" in kinds or "end" in kinds:
                raise Refused("BackendError", "The kernel that was to wait for a job could not be started, or died.")
            if "waiting" in kinds:
                warm = True
                replace(f"{places.out}/{WARM}", b"")
        if (orders := look(places, "ready")) is not None and warm:
            os.kill(runner, signal.SIGUSR1)
            return orders, started
