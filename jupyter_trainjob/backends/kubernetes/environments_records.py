"""Which environments are ready, in the object store: one small object each. Methods block, and raise ``StoreError``."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from typing import Any

from ...storage.base import KeyMissing, KeyTaken, ObjectStore
from .delivery import to_json

USED_SECONDS = 3600.0
"""So exactly it is written down when an environment was last used."""
_FIELDS: dict[str, Any] = {"folder": str, "lock": str, "content": str, "bytes": int, "used": (int, float)}


WHOSE = "environments/id"
"""Drawn once for each object store: servers that share it share what is built, and no others do."""


class Records:
    """Those of one backend, ``whose`` is any text that tells it from others of the same object store. A record:
    ``folder`` of the claim, digest of the ``lock``, ``content``: digest of the list, ``bytes``, and when it was last
    ``used``.
    """

    def __init__(self, store: ObjectStore, whose: str) -> None:
        self._store, self._whose, self._scope = store, whose, ""

    def scope(self) -> str:
        """16 hexadecimal digits that no other backend has, whatever cluster, namespace or claim they share."""
        if not self._scope:
            self._scope = hashlib.sha256(f"{self._store_id()}\n{self._whose}".encode()).hexdigest()[:16]
        return self._scope

    def _store_id(self) -> str:
        for _ in range(2):
            try:
                return self._store.get(WHOSE).decode("ascii", "replace")
            except KeyMissing:
                try:
                    self._store.put(WHOSE, secrets.token_hex(16).encode(), if_absent=True)
                except KeyTaken:  # another server was first
                    continue
        return self._store.get(WHOSE).decode("ascii", "replace")

    @property
    def _prefix(self) -> str:
        return f"environments/ready/{self.scope()}/"

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
