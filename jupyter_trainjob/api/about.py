"""The server, and the one who asks: ``/me``, health, metrics."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from ..resources.queue import Queue, QueueUse
from ..resources.trainjob import Phase, TrainJob
from ..store import Filter, Reader
from .identity import Identity

if TYPE_CHECKING:
    from .services import Services

READY_SECONDS = 2.0
"""How long an answer of ``/readyz`` is good for: it asks the disk, and anybody may ask it."""
CHECK_SECONDS = 5.0
ALL_QUEUES = 500


class About:
    """Answers what is not about a resource."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._ready: tuple[float, dict[str, Any]] = (float("-inf"), {})
        self._lock = asyncio.Lock()

    async def me(self, identity: Identity) -> dict[str, Any]:
        """Who is it, what may they do, what are their limits, what do they use."""
        roles, config = self._services.roles, self._services.config
        roles.require(identity, "get", "Me")
        quota = self._services.quota
        stored, kept, queues = await self._store.aread(
            lambda reader: (
                reader.stored_bytes(identity.username),
                quota.used(reader, identity, identity.namespace) if quota.limit_bytes else None,
                reader.list(Queue, limit=ALL_QUEUES).items,
            )
        )
        (use,) = await self._services.ranking.queue_uses(identity.username)
        return {
            "username": identity.username,
            "displayName": identity.display_name or identity.username,
            "groups": sorted(identity.groups),
            "operator": identity.operator,
            "namespaces": [{"name": name, "role": role} for name, role in roles.places(identity).items()],
            "permissions": roles.permissions(identity),
            "limits": {
                "storedBytes": config.stored_bytes_per_owner,
                "uploadBytes": config.max_blob_bytes,
                "namespaceStoredBytes": quota.limit_bytes,
                "queues": [
                    {
                        "queue": queue.metadata.name,
                        "queuedJobs": queue.spec.queued_bound,
                        "perUser": queue.spec.per_user.model_dump(by_alias=True, mode="json"),
                        "maxTimeLimitSeconds": queue.spec.max_time_limit_seconds,
                    }
                    for queue in queues
                ],
            },
            "use": [
                {"queue": name, **use.get(name, QueueUse()).model_dump(by_alias=True, mode="json")}
                for name in (queue.metadata.name for queue in queues)
            ],
            "storedBytes": stored,
            "namespaceStoredBytes": kept,
        }

    async def kernels(self, identity: Identity) -> dict[str, Any]:
        """``{"kernels": [{backend, name, language, displayName}]}``: what ``spec.environment.kernel`` may name."""
        self._services.roles.require(identity, "list", "Kernel")
        backends = self._services.backends
        found = [
            {
                "backend": backend,
                "name": kernel.name,
                "language": kernel.language,
                "displayName": kernel.display_name,
            }
            for backend in sorted(backends.backend_names)
            for kernel in await backends.kernels(backend) or ()
        ]
        return {"kernels": found}

    async def ready(self) -> dict[str, Any]:
        """``{"ready": bool, "checks": {name: {"ok", "message", …}}}``; asked anew every :data:`READY_SECONDS`."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            at, told = self._ready
            if loop.time() - at > READY_SECONDS:
                told = await self._look()
                self._ready = (loop.time(), told)
        return told

    async def metrics(self, identity: Identity) -> bytes:
        """The exposition for Prometheus."""
        self._services.roles.require(identity, "get", "Metrics")
        self._services.metrics.jobs(await self._store.aread(_count))
        return await self._services.io(self._services.metrics.collected().text)

    async def _look(self) -> dict[str, Any]:
        checks: dict[str, Awaitable[dict[str, Any]]] = {"store": self._writable(), "objects": self._reachable()}
        checks |= {name: check() for name, check in self._services.checks.items()}
        found = await asyncio.gather(*(_bounded(check) for check in checks.values()))
        named = dict(zip(checks, found, strict=True))
        return {"ready": all(check["ok"] for check in found), "checks": named}

    async def _writable(self) -> dict[str, Any]:
        holder = f"{socket.gethostname()}:{os.getpid()}"
        await self._store.awrite(lambda writer: writer.acquire_lease(f"ready-{holder}", holder, 60.0))
        return {"ok": True, "message": "The record takes writes."}

    async def _reachable(self) -> dict[str, Any]:
        objects, key = self._services.objects, f"health/{socket.gethostname()}-{os.getpid()}"
        await self._services.io(objects.put, key, b"ok")
        await self._services.io(objects.delete, key)
        return {"ok": True, "message": "The object store takes writes."}


async def _bounded(check: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """What a check says; a check that fails or hangs says so. Its error is the answer here, whatever it is."""
    try:
        return await asyncio.wait_for(check, CHECK_SECONDS)
    except asyncio.TimeoutError:
        return {"ok": False, "message": f"No answer within {CHECK_SECONDS:.0f} s."}
    except Exception as error:
        return {"ok": False, "message": f"{type(error).__name__}: {error}"}


def _count(reader: Reader) -> dict[str, dict[Phase, int]]:
    queues = reader.list(Queue, limit=ALL_QUEUES).items
    return {
        queue.metadata.name: {
            phase: reader.count(TrainJob, Filter(phases=[phase], queue=queue.metadata.name)) for phase in Phase
        }
        for queue in queues
    }
