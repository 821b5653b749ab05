"""A backend whose attempts are files: they outlive the server, as real ones do, and take no processes."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jupyter_trainjob.backends.base import (
    AttemptRef,
    AttemptRequest,
    Backend,
    KernelInfo,
    NodeCapacity,
    Observation,
)
from jupyter_trainjob.storage.base import ObjectStore


class OnDisk(Backend):
    """An attempt runs for as many seconds as its code says, and ends as it says (``ok``, ``error``, ``lost``)."""

    def __init__(self, folder: Path, cpus: int = 64) -> None:
        self.name = "local"
        self._folder, self._cpus = folder, cpus
        self._changed: Callable[[AttemptRef], None] = lambda ref: None
        (folder / "attempts").mkdir(parents=True, exist_ok=True)

    async def start(self, store: ObjectStore, changed: Callable[[AttemptRef], None]) -> None:
        self._changed = changed
        for ref in await self.attempts():
            self._tell_at_end(ref)

    async def stop(self) -> None:
        return None

    def _file(self, ref: AttemptRef) -> Path:
        return self._folder / "attempts" / f"{ref.uid}.{ref.attempt}"

    def starts(self) -> list[str]:
        """``uid.attempt`` of each attempt that ever began, as often as it did."""
        try:
            return (self._folder / "starts").read_text().split()
        except FileNotFoundError:
            return []

    async def create(self, request: AttemptRequest) -> None:
        seconds, how = request.job.spec.source.code.split()  # type: ignore[union-attr]
        now = time.time()
        file = self._file(request.ref)
        if file.exists():
            return
        draft = file.with_suffix(".new")
        draft.write_text(json.dumps({"began": now, "ends": now + float(seconds), "how": how}))
        with (self._folder / "starts").open("a") as log:
            log.write(f"{file.name}\n")
        os.replace(draft, file)
        self._tell_at_end(request.ref)

    def _tell_at_end(self, ref: AttemptRef) -> None:
        left = max(0.0, self._read(ref).get("ends", 0.0) - time.time())
        asyncio.get_running_loop().call_later(left + 0.01, self._changed, ref)

    def _read(self, ref: AttemptRef) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._file(ref).read_text())
            return found
        except FileNotFoundError:
            return {}

    async def observe(self, ref: AttemptRef) -> Observation:
        told = self._read(ref)
        if not told:
            return Observation(ref, "gone")
        began, ends = (datetime.fromtimestamp(told[key], timezone.utc) for key in ("began", "ends"))
        if "cancelled" in told:
            evidence = {"cancelled": told["cancelled"], "signal": 15}
            return Observation(ref, "ended", started=began, ended=ends, evidence=evidence)
        if told["ends"] > time.time():
            return Observation(ref, "running", started=began)
        evidence = {"limit": "RunnerLost"} if told["how"] == "lost" and ref.attempt == 1 else {"exitCode": 0}
        claims = {"end": {"outcome": "error" if told["how"] == "error" else "ok"}}
        return Observation(ref, "ended", started=began, ended=ends, evidence=evidence, claims=claims)

    async def cancel(self, ref: AttemptRef, message: str) -> None:
        told = self._read(ref)
        if told and told["ends"] > time.time():
            file = self._file(ref)
            draft = file.with_suffix(".new")
            draft.write_text(json.dumps({**told, "ends": time.time(), "cancelled": message}))
            os.replace(draft, file)
            self._changed(ref)

    async def delete(self, ref: AttemptRef) -> None:
        self._file(ref).unlink(missing_ok=True)

    async def attempts(self) -> list[AttemptRef]:
        names = [file.name for file in (self._folder / "attempts").iterdir() if not file.name.endswith(".new")]
        return [AttemptRef(name.rpartition(".")[0], int(name.rpartition(".")[2])) for name in names]

    async def capacity(self) -> list[NodeCapacity]:
        return [NodeCapacity("here", self._cpus * 1000, 64 * 2**30)]

    async def kernels(self) -> list[KernelInfo]:
        return [KernelInfo("python3", "python", "Python 3")]

    def describe(self) -> dict[str, Any]:
        return {"type": "ondisk", "warnings": []}
