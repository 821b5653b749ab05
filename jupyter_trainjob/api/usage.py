"""What jobs used: over time for one attempt, and as advice for the next one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..resources import names
from ..resources.trainjob import TrainJob
from ..storage.base import KeyMissing
from ..store import Filter
from . import advice
from .identity import Identity
from .logs import pick_attempt

if TYPE_CHECKING:
    from .services import Services

ADVICE_JOBS = 100
"""The latest so many jobs of the same code are looked at."""


class UsageReports:
    """Reads figures for requests."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def over_time(self, job: TrainJob, number: int | None) -> dict[str, Any]:
        """``{attempt, requested, used, began, intervalSeconds, columns, rows}``; no rows where nothing is known yet."""
        attempt = pick_attempt(job, number)
        told: dict[str, Any] = {
            "attempt": attempt.number if attempt else None,
            "requested": job.spec.resources.model_dump(by_alias=True, mode="json", exclude_none=True),
            "used": attempt.usage.model_dump(by_alias=True, mode="json") if attempt and attempt.usage else None,
            "began": None,
            "intervalSeconds": None,
            "columns": [],
            "rows": [],
        }
        if attempt is not None:
            key = f"{names.attempt_prefix(job.metadata.uid, attempt.number)}usage.json"
            try:
                told.update(json.loads(await self._services.io(self._services.objects.get, key)))
            except KeyMissing:
                return told  # it has only begun, or its backend keeps none
        return told

    async def advice(self, identity: Identity, job: TrainJob) -> dict[str, Any]:
        """What to ask for next time: see :func:`.advice.advise`. Looks at the owner's jobs of the same code only."""
        jobs = [job]
        if job.status.code_hash:
            label = f"{names.CODE_LABEL}={names.code_label(job.status.code_hash)}"
            visible = self._services.roles.visible(identity)
            alike = Filter(owner=job.metadata.owner, labels=label, visible=visible)
            page = await self._services.store.aread(lambda reader: reader.list(TrainJob, alike, limit=ADVICE_JOBS))
            jobs = page.items or jobs
        return {"job": job.metadata.name, **advice.advise(advice.runs_of(jobs))}
