"""What lets a pod read and store for a while is renewed while its attempt goes on."""

from __future__ import annotations

import asyncio
import logging

from ..base import AttemptRef
from .attempts import Attempt, Attempts
from .errands import Errands
from .following import Following
from .handover import Handover

log = logging.getLogger(__name__)

RENEW_SECONDS = 60.0
"""Between two looks at whose credentials are to be renewed."""


class Renewal:
    """Of one backend's attempts, as far as this server looks after them."""

    def __init__(
        self, attempts: Attempts, following: Following, secrets: Handover, errands: Errands, name: str
    ) -> None:
        self._attempts, self._following, self._secrets = attempts, following, secrets
        self._errands, self._name = errands, name

    async def run(self) -> None:
        """One timer for all, for ever."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            for ref, known in list(self._attempts.known.items()):
                try:
                    self.if_due(ref, known)
                except Exception:  # what one odd pod looks like must not end the renewal of all others'
                    log.exception("backend %s: the credentials of %s can't be looked after", self._name, ref.name)

    def if_due(self, ref: AttemptRef, known: Attempt) -> None:
        """Renew them if half of their time is over."""
        job = self._attempts.job(ref)
        if job is None or not self._following.wanted(ref) or self._attempts.sight(job, known).state == "ended":
            return
        if self._secrets.is_due(ref, job):
            self._errands.begin(ref, "renewing the credentials", self._secrets.renew(ref, job))
