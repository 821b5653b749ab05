"""What a backend does for attempts behind the scenes: each errand once at a time, told and tried again if it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from ...storage.base import StoreError
from ..base import AttemptRef, BackendError

log = logging.getLogger(__name__)

AGAIN_SECONDS = 5.0
"""After an errand that failed, before its attempt is looked at again."""


class Errands:
    """All of one backend's. On the event loop; ``changed`` is called when one is done or may be tried again."""

    def __init__(self, changed: Callable[[AttemptRef], None], backend: str) -> None:
        self._changed, self._backend = changed, backend
        self._tasks: dict[tuple[AttemptRef, str], asyncio.Task[None]] = {}

    def begin(self, ref: AttemptRef, what: str, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work``, unless ``what`` is being done for ``ref``."""
        if (ref, what) in self._tasks:
            work.close()
            return
        self._tasks[ref, what] = asyncio.create_task(self._do(ref, what, work), name=f"{what} {ref.name}")

    async def stop(self) -> None:
        """Leave off."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _do(self, ref: AttemptRef, what: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (BackendError, StoreError) as error:
            log.warning(
                "backend %s: %s of %s failed, and will be tried again: %s", self._backend, what, ref.name, error
            )
            await asyncio.sleep(max(AGAIN_SECONDS, getattr(error, "after", None) or 0.0))
        except Exception:  # one odd object in the cluster: told, and tried again
            log.exception("backend %s: %s of %s broke", self._backend, what, ref.name)
            await asyncio.sleep(AGAIN_SECONDS)
        finally:
            self._tasks.pop((ref, what), None)
        self._changed(ref)
