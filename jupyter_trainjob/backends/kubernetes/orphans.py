"""Attempts with a Secret and no Job, because a server died between the two; and whose what is left is."""

from __future__ import annotations

import asyncio
import logging

from ..base import AttemptRef, BackendError
from . import objects
from .attempts import Attempts
from .handover import Handover

AGAIN_SECONDS = 60.0
"""Between two tries to find them, where the first failed."""
log = logging.getLogger(__name__)


class Orphans:
    """All of one backend's. ``refs``: of those that are known; who makes a Secret adds it until there is a Job."""

    def __init__(self, handover: Handover, attempts: Attempts, name: str) -> None:
        self.refs: set[AttemptRef] = set()
        self._handover, self._attempts, self._name = handover, attempts, name
        self._doubtful: set[AttemptRef] = set()
        """Of an older version, which did not say in whose record they are."""

    def is_ours(self, ref: AttemptRef) -> bool:
        """Whether what there is of it is in our record for sure: by its Job's label, or its Secret's."""
        job = self._attempts.job(ref)
        if job is None:
            return ref not in self._doubtful
        return objects.is_of(job, self._handover.settings) is True

    async def find(self) -> bool:
        """Look for them. False: that can't be told now."""
        try:
            found = await self._handover.all()
        except BackendError as error:
            log.info("backend %s: Secrets without a Job can't be looked for: %s", self._name, error)
            return False
        self.refs |= found.keys() - self._attempts.refs()
        self._doubtful = {ref for ref, sure in found.items() if not sure}
        return True

    async def find_later(self) -> None:
        """As soon as the Jobs are known: without them every Secret is one without a Job."""
        await self._attempts.jobs.complete.wait()
        while True:
            if await self.find():
                return
            await asyncio.sleep(AGAIN_SECONDS)
