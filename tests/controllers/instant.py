"""A backend whose attempts end when told: the smallest thing that keeps the port's promises."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from jupyter_trainjob.backends.base import (
    AttemptRef,
    AttemptRequest,
    Backend,
    BackendError,
    KernelInfo,
    NodeCapacity,
    Observation,
)
from jupyter_trainjob.storage.base import ObjectStore


class InstantBackend(Backend):
    """Runs nothing. ``finish`` ends an attempt; ``fail_creates`` makes so many creations fail first."""

    def __init__(self, cpus: int = 4, *, auto: bool = True, fail_creates: int = 0, permanent: bool = False) -> None:
        self.name = "local"
        self.auto = auto
        self.fail_creates = fail_creates
        self.permanent = permanent
        self.after: float | None = None
        self.tried: list[float] = []
        self.created: list[AttemptRef] = []
        self.cancelled: list[AttemptRef] = []
        self.known: dict[AttemptRef, Observation] = {}
        self.begins = lambda ref: Observation(ref, "running", started=datetime.now(timezone.utc))
        self.record = ""
        self.theirs: set[AttemptRef] = set()
        """Another record's, it may be."""
        self._cpus = cpus
        self._changed: Callable[[AttemptRef], None] = lambda ref: None

    def serves(self, record: str) -> None:
        self.record = record

    def is_ours(self, ref: AttemptRef) -> bool:
        return ref not in self.theirs

    async def start(self, store: ObjectStore, changed: Callable[[AttemptRef], None]) -> None:
        self._changed = changed

    async def stop(self) -> None:
        return None

    async def create(self, request: AttemptRequest) -> None:
        self.tried.append(time.monotonic())
        if self.fail_creates:
            self.fail_creates -= 1
            raise BackendError("no room on the runway", permanent=self.permanent, after=self.after)
        if request.ref in self.known:
            return
        self.created.append(request.ref)
        self.known[request.ref] = self.begins(request.ref)
        if self.auto:
            self.finish(request.ref)

    def finish(self, ref: AttemptRef, outcome: str = "ok", evidence: dict[str, Any] | None = None) -> None:
        now = datetime.now(timezone.utc)
        self.known[ref] = Observation(
            ref,
            "ended",
            started=now,
            ended=now,
            evidence=evidence or {"exitCode": 0},
            claims={"end": {"outcome": outcome}},
        )
        self._changed(ref)

    async def observe(self, ref: AttemptRef) -> Observation:
        return self.known.get(ref) or Observation(ref, "gone")

    async def cancel(self, ref: AttemptRef, message: str) -> None:
        if ref in self.known and self.known[ref].state != "ended":
            self.cancelled.append(ref)
            self.finish(ref, "interrupted", {"cancelled": message, "signal": 15})

    async def delete(self, ref: AttemptRef) -> None:
        self.known.pop(ref, None)

    async def attempts(self) -> list[AttemptRef]:
        return list(self.known)

    async def capacity(self) -> list[NodeCapacity]:
        return [NodeCapacity("here", self._cpus * 1000, 64 * 2**30)]

    async def kernels(self) -> list[KernelInfo]:
        return [KernelInfo("python3", "python", "Python 3")]

    def describe(self) -> dict[str, Any]:
        return {"type": "instant", "warnings": []}
