"""A backend with what a test wants to do with it."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest, Observation
from jupyter_trainjob.backends.local import attempt
from jupyter_trainjob.backends.local.backend import LocalBackend
from jupyter_trainjob.backends.local.folder import Folder
from jupyter_trainjob.backends.local.prepare import Settings
from jupyter_trainjob.resources.profile import Profile
from jupyter_trainjob.resources.trainjob import TrainJob
from jupyter_trainjob.storage.base import ObjectStore
from jupyter_trainjob.storage.logs import LogReader

RESOURCES = {
    "cpu": "1",
    "memory": "512Mi",
    "gpu": 0,
    "shm": "32Mi",
    "disk": "200Mi",
    "processes": 32,
    "openFiles": 128,
    "fileSize": "64Mi",
    "log": "64Mi",
}


def a_request(uid: str, code: str, *, attempt: int = 1, **spec: Any) -> AttemptRequest:
    """A request to run one cell. ``resources`` are put over :data:`RESOURCES`."""
    resources = {**RESOURCES, **spec.pop("resources", {})}
    spec = {"source": {"type": "cell", "code": code}, "timeLimitSeconds": 30, "resources": resources, **spec}
    job = TrainJob.model_validate({"kind": "TrainJob", "metadata": {"name": "probe", "uid": uid}, "spec": spec})
    profile = Profile.model_validate({"kind": "Profile", "metadata": {"name": "default"}})
    return AttemptRequest(AttemptRef(uid, attempt), job, profile, "blobs/ada/")


def prepared(request: AttemptRequest, settings: Settings) -> Folder:
    """The attempt's folder, recorded and filled, but not started. Blocks."""
    folder = Folder(f"{settings.run_folder}/{request.ref.name}")
    attempt.record(request, settings)
    while attempt.todo(folder) == "prepare":
        attempt.prepare(folder, settings)
    return folder


class Place:
    """A local backend, started."""

    def __init__(self, store: ObjectStore, **options: Any) -> None:
        self.store, self.options = store, options
        self.backend: Any = self._make(**options)
        self.told: list[AttemptRef] = []
        self._news = asyncio.Event()
        self._own, self._count = secrets.token_hex(6), 0  # a store may outlast several places
        self._up = False

    def _make(self, **options: Any) -> Any:
        return LocalBackend(**options)

    async def start(self) -> None:
        await self.backend.start(self.store, self._changed)
        self._up = True

    async def stop(self) -> None:
        if self._up:
            self._up = False
            await self.backend.stop()

    async def clear(self) -> None:
        """Remove all attempts, then stop."""
        if not self._up:
            self.backend = LocalBackend(**self.options)
            await self.start()
        for ref in await self.backend.attempts():
            await self.backend.delete(ref)
        await self.stop()

    def _changed(self, ref: AttemptRef) -> None:
        self.told.append(ref)
        self._news.set()

    def folder(self, ref: AttemptRef) -> Folder:
        return Folder(f"{self.options['data_dir']}/run/{ref.name}")

    async def begin(self, code: str, *, again: AttemptRef | None = None, **spec: Any) -> AttemptRef:
        """``again``: as the attempt after that one, of the same job."""
        if again is not None:
            request = a_request(again.uid, code, attempt=again.attempt + 1, **spec)
            await self.backend.create(request)
            return request.ref
        self._count += 1
        request = a_request(f"{self._own}-{self._count}", code, **spec)
        await self.backend.create(request)
        return request.ref

    async def until(self, ref: AttemptRef, *states: str, seconds: float = 30) -> Observation:
        """Observe when told to, until the state is one of ``states``."""
        return await self.until_seen(ref, lambda seen: seen.state in states, seconds=seconds)

    async def until_seen(self, ref: AttemptRef, wanted: Any, *, seconds: float = 30) -> Observation:
        deadline = time.monotonic() + seconds
        while True:
            self._news.clear()
            seen = await self.backend.observe(ref)
            if wanted(seen):
                return seen
            left = deadline - time.monotonic()
            assert left > 0, f"still {seen} after {seconds} s"
            try:
                await asyncio.wait_for(self._news.wait(), min(left, 5))
            except asyncio.TimeoutError:
                continue

    async def log_holds(self, ref: AttemptRef, text: bytes, *, seconds: float = 20) -> None:
        """Wait until ``text`` can be read from the log."""
        deadline = time.monotonic() + seconds
        while text not in (log := await self.log(ref)):
            assert time.monotonic() < deadline, log
            await asyncio.sleep(0.02)

    async def run(self, code: str, *, seconds: float = 30, **spec: Any) -> Observation:
        return await self.until(await self.begin(code, **spec), "ended", seconds=seconds)

    async def log(self, ref: AttemptRef) -> bytes:
        reader = LogReader(self.store, f"jobs/{ref.uid}/{ref.attempt}/")
        return (await asyncio.to_thread(reader.read, 0, 10 * 2**20)).data
