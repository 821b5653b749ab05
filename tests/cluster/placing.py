"""Fixtures of tests with one backend on the cluster; import what is used.

- ``place``: a started backend, with the namespace and the store of the test
- ``make_place``: the same with other settings, any number
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from .backends import ClusterPlace, open_store, settings
from .cluster import Cluster

MakePlace = Callable[..., Awaitable[ClusterPlace]]
SMALL = {"cpu": "250m", "memory": "320Mi", "disk": "64Mi"}
"""Several at once fit on the node."""


@pytest_asyncio.fixture
async def make_place(cluster: Cluster, namespace: str, python_image: None, tmp_path: Path) -> AsyncIterator[MakePlace]:
    """Call it with settings that are to differ; ``store``: another than the namespace's own."""
    made: list[ClusterPlace] = []

    async def make(store: Any = None, **more: Any) -> ClusterPlace:
        store = store or open_store(cluster, tmp_path, namespace)
        made.append(ClusterPlace(store, name="cluster", settings=settings(cluster, namespace, **more)))
        await made[-1].start()
        return made[-1]

    yield make
    for place in made:
        await place.clear()


@pytest_asyncio.fixture
async def place(make_place: MakePlace) -> ClusterPlace:
    return await make_place()


async def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What takes its time, beside the loop on which a backend runs."""
    return await asyncio.to_thread(function, *arguments)


def lines(count: int, seconds: float = 0.1) -> tuple[str, bytes]:
    """Code that prints ``count`` lines, and what it prints."""
    code = f"import time\nfor n in range({count}):\n    print('line', n, flush=True)\n    time.sleep({seconds})"
    return code, b"".join(b"line %d\n" % n for n in range(count))
