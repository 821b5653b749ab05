"""The server that leads tells its backends which profiles there are; what they keep warm is counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from jupyter_trainjob.controllers.manager import ControllerManager
from jupyter_trainjob.resources.base import ObjectMeta
from jupyter_trainjob.resources.profile import Profile
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store

from .instant import InstantBackend


class WarmBackend(InstantBackend):
    """Notes what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[set[str] | None] = []

    def keep_warm(self, profiles: Collection[Profile] | None) -> None:
        self.told.append(None if profiles is None else {profile.metadata.name for profile in profiles})

    def describe(self) -> dict[str, Any]:
        warm = {"default": {"size": 3, "warm": 2, "warming": 1, "claimed": 7, "missed": 5}}
        return {**super().describe(), "warm": warm}

    async def until(self, wanted: set[str] | None) -> None:
        deadline = time.monotonic() + 20
        while not self.told or self.told[-1] != wanted:
            assert time.monotonic() < deadline, self.told
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_who_leads_tells_of_all_profiles_and_of_each_change(store: Store, objects: FilesystemStore) -> None:
    backend = WarmBackend()
    manager = ControllerManager(store, objects, {"local": backend}, log=logging.getLogger("test"))
    await manager.start()
    await backend.until({"default"})
    made = Profile(metadata=ObjectMeta(name="large"))
    await store.awrite(lambda writer: writer.create(made))
    await backend.until({"default", "large"})
    await manager.stop()
    assert backend.told[-1] is None, "another leads from now on"


def test_what_is_kept_warm_is_counted(store: Store, objects: FilesystemStore) -> None:
    registry = CollectorRegistry()
    ControllerManager(store, objects, {"local": WarmBackend()}, registry=registry, log=logging.getLogger("test"))
    text = generate_latest(registry).decode()
    assert 'trainjob_warm_slots{backend="local",profile="default",state="warm"} 2.0' in text
    assert 'trainjob_pool_starts_total{backend="local",profile="default",start="cold"} 5.0' in text
