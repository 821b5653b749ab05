"""A slot: a pod whose kernel runs before its job is known, and that takes one job, once. The sidecar's part.

It asks the object store again and again for one object, which is the server's to put there: orders and credentials of
the job. Until it comes the pod holds nothing of anybody's, and what comes is the sidecar's alone to read. Main's part
is :mod:`.idle`.
"""

from __future__ import annotations

import json
import os
import sys
import time

from ....storage.base import KeyMissing, StoreError
from .files import PROTOCOL, SLOT, Places, dump, load, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ....storage.base import ObjectStore

ORDERS = "slot.json"
"""What the server told a slot's sidecar, beside where a job's orders lie else."""
POLL_SECONDS = 0.15
AWAY_SECONDS = 1.0
RECEIVED = "orders"
"""Below ``buffer``: the folder with the orders and the credentials that came."""


def orders_folder(places: Places, is_over: Callable[[], bool]) -> str:
    """Where the orders lie; empty where the slot ended without any. Waits for them in a slot, for ever."""
    slot = load(f"{places.orders}/{ORDERS}")
    if slot is None:
        return places.orders
    folder = f"{places.buffer}/{RECEIVED}"
    if os.path.exists(f"{folder}/orders.json"):  # an earlier life of ours
        return folder
    if slot.get("protocol") != PROTOCOL:
        return _refuse(places, f"The slot is of protocol {slot.get('protocol')!r}, the sidecar speaks {PROTOCOL}.")
    job = {**slot["job"], "notebook": "", "work": places.work, "out": f"{places.out}/job"}
    replace(f"{places.inside}/slot-job.json", dump(job), 0o444)
    replace(f"{places.inside}/{SLOT}", dump({"protocol": PROTOCOL, "slot": True, "attempt": slot["slot"]}), 0o444)
    try:
        told = _await_object(places, slot, is_over)
    except (StoreError, ValueError) as error:
        return _refuse(places, f"The slot can't wait any longer: {error}")
    if told is None:
        return ""
    os.makedirs(folder, exist_ok=True)
    replace(f"{folder}/credentials.json", dump(told["credentials"]), 0o600)
    replace(f"{folder}/orders.json", dump(told["orders"]), 0o600)
    return folder


def _refuse(places: Places, message: str) -> str:
    sys.stderr.write(f"{message}\n")
    replace(f"{places.inside}/failed", dump({"limit": "BackendError", "message": message}))
    return ""


def _await_object(places: Places, slot: dict[str, Any], is_over: Callable[[], bool]) -> dict[str, Any] | None:
    """The object once it is there; None where main ended first. Raises ``StoreError`` where waiting is of no use."""
    from ....storage.base import open_store
    from ....storage.signed import Expired, NotAllowed, open_reading

    key, authorities = str(slot["key"]), f"{places.orders}/ca.crt"
    ca_file = authorities if os.path.exists(authorities) else ""
    store: ObjectStore = open_store(slot["store"]) if "store" in slot else open_reading({key: slot["get"]}, ca_file)
    while not is_over():
        try:
            with store.open(key) as chunks:
                told: dict[str, Any] = json.loads(b"".join(chunks))
            return told
        except KeyMissing:
            time.sleep(POLL_SECONDS)
        except (Expired, NotAllowed):
            raise
        except StoreError:
            time.sleep(AWAY_SECONDS)
    return None
