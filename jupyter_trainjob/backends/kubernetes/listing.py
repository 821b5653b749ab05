"""Orders with more inputs than a Secret holds: they and their signatures lie in the store, the Secret has digests.

Two objects, one JSON value a line: :data:`INPUTS` never changes, as orders never do; the signed places to read from are
an object of a new name each time they are signed. Below :data:`FOLDER` of the attempt's prefix, which the harvest
empties. A pod can write there too, so neither is believed but by its digest: whoever holds the orders has that of the
one, whoever holds the credentials that of the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Protocol

from ...storage.base import KeyMissing
from ..base import BackendError

FOLDER = "orders/"
INPUTS = f"{FOLDER}inputs.jsonl"
MOST_KEYS = 300
"""Places to read from in a Secret: each takes some six hundred bytes of its 1 MiB."""
MOST_BYTES = 400_000
"""Of orders in a Secret."""


class Store(Protocol):
    """What is used of the object store."""

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """See :meth:`....storage.base.ObjectStore.get`."""
        ...

    def put(self, key: str, data: bytes) -> Any:
        """See :meth:`....storage.base.ObjectStore.put`."""
        ...


def is_listed(told: dict[str, Any]) -> bool:
    """Whether the inputs of these orders are in the store."""
    return isinstance(told["inputs"], dict)


def listed(told: dict[str, Any], store: Store) -> dict[str, Any]:
    """The same orders with their inputs in the store. Blocks. Raises ``StoreError``."""
    return {**told, "inputs": _put(store, f"{told['prefix']}{INPUTS}", told["inputs"])}


def inputs_of(told: dict[str, Any], store: Store) -> list[dict[str, Any]]:
    """The inputs of orders, wherever they are. Blocks. Raises ``StoreError``, and :class:`BackendError` where what
    lies in the store is not what was put there.
    """
    if not is_listed(told):
        found: list[dict[str, Any]] = told["inputs"]
        return found
    where = told["inputs"]
    try:
        data = store.get(where["get"], 0, where["bytes"] + 1)
    except KeyMissing:
        raise BackendError(f"The list of the job's inputs, {where['get']!r}, is gone.", permanent=True) from None
    if hashlib.sha256(data).hexdigest() != where["sha256"]:
        raise BackendError(
            f"The list of the job's inputs, {where['get']!r}, is not what was put there: somebody changed it.",
            permanent=True,
        )
    return [json.loads(line) for line in data.splitlines()]


def put_places(prefix: str, gets: dict[str, dict[str, Any]], store: Store) -> dict[str, Any]:
    """Signed places to read from, by key, into the store; how credentials tell of them. Blocks. ``StoreError``."""
    rows = [{"key": key, **signed} for key, signed in gets.items()]
    mark = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
    return _put(store, f"{prefix}{FOLDER}gets-{mark}.jsonl", rows)


def _put(store: Store, key: str, rows: Iterable[Any]) -> dict[str, Any]:
    data = b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
    store.put(key, data)
    return {"get": key, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
