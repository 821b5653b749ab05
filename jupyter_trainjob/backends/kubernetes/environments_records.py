"""Which environments are ready, in the object store: one small object each. Methods block, and raise ``StoreError``."""

from __future__ import annotations

import json
import time
from typing import Any

from ...storage.base import KeyMissing, ObjectStore
from .delivery import to_json

USED_SECONDS = 3600.0
"""So exactly it is written down when an environment was last used."""
_FIELDS: dict[str, Any] = {"folder": str, "lock": str, "content": str, "bytes": int, "used": (int, float)}


class Records:
    """Those of one backend. A record: ``folder`` of the claim, digest of the ``lock``, ``content``: digest of the list,
    ``bytes``, and when it was last ``used``.
    """

    def __init__(self, store: ObjectStore, scope: str) -> None:
        self._store, self._prefix = store, f"environments/ready/{scope}/"

    def get(self, key: str) -> dict[str, Any] | None:
        """None where there is none; also for what is no record: it is then built again."""
        try:
            found = json.loads(self._store.get(self._prefix + key))
            whole = all(isinstance(found[name], kind) for name, kind in _FIELDS.items())
        except (KeyMissing, ValueError, KeyError, TypeError):
            return None
        return found if whole else None

    def put(self, key: str, record: dict[str, Any]) -> None:
        """From now on it is there, used now."""
        self._store.put(self._prefix + key, to_json({**record, "used": time.time()}))

    def touch(self, key: str, record: dict[str, Any]) -> None:
        """It is used now."""
        if time.time() - record["used"] > USED_SECONDS:
            self.put(key, record)

    def delete(self, key: str) -> None:
        """It is there no more."""
        self._store.delete(self._prefix + key)

    def all(self) -> dict[str, dict[str, Any]]:
        """By key."""
        keys = [info.key.removeprefix(self._prefix) for info in self._store.list(self._prefix)]
        return {key: record for key in keys if (record := self.get(key)) is not None}
