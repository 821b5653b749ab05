"""What controllers work with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ..backends.base import Backend
from ..storage.base import ObjectStore
from ..store import Store


@dataclass(frozen=True)
class Means:
    """The record, what was stored beside it, where jobs run, the time, and whom to tell."""

    store: Store
    objects: ObjectStore
    backends: Mapping[str, Backend]
    """By the name that queues have for them."""
    clock: Callable[[], datetime]
    log: logging.Logger


def default_backend(backends: Mapping[str, Backend]) -> str:
    """The backend of queues that name none: the first. Empty where there is none."""
    return next(iter(backends), "")
