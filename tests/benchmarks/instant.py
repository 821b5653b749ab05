"""A backend whose attempts have ended as soon as they were created: what is left is what we cost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest, Backend, KernelInfo, NodeCapacity, Observation
from jupyter_trainjob.storage.base import ObjectStore


class Instant(Backend):
    """On eight machines of 64 CPUs."""

    def __init__(self, name: str, parent: object = None) -> None:
        self.name = name
        self._ended: dict[AttemptRef, Observation] = {}

    async def start(self, store: ObjectStore, changed: Callable[[AttemptRef], None]) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def create(self, request: AttemptRequest) -> None:
        now = datetime.now(timezone.utc)
        self._ended[request.ref] = Observation(
            request.ref,
            "ended",
            started=now,
            ended=now,
            evidence={"exitCode": 0},
            claims={"end": {"outcome": "ok"}},
        )

    async def observe(self, ref: AttemptRef) -> Observation:
        return self._ended.get(ref) or Observation(ref, "gone")

    async def cancel(self, ref: AttemptRef, message: str) -> None:
        return None

    async def delete(self, ref: AttemptRef) -> None:
        self._ended.pop(ref, None)

    async def attempts(self) -> list[AttemptRef]:
        return list(self._ended)

    async def capacity(self) -> list[NodeCapacity]:
        return [NodeCapacity(f"n{number}", 64_000, 256 * 2**30) for number in range(8)]

    async def kernels(self) -> list[KernelInfo]:
        return [KernelInfo("python3", "python", "Python 3")]

    def describe(self) -> dict[str, Any]:
        return {"type": "instant", "warnings": []}
