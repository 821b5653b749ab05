"""The kinds there are. A new kind is one module and one line here."""

from __future__ import annotations

from typing import Any

from .base import Resource
from .profile import Profile
from .queue import Queue
from .trainjob import TrainJob

KINDS: dict[str, type[Resource]] = {model.__name__: model for model in (TrainJob, Queue, Profile)}


def json_schema(kind: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of a kind's wire form; ``KeyError`` for a kind that isn't there."""
    schema = KINDS[kind].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
