"""A place to run attempts.

- ``store``: a filesystem object store
- ``level``: each level of isolation in turn, for tests that take it
- ``make_place``: a function that starts a :class:`Place` (a local backend and its store); all are stopped at the end
- ``scala_compiled``: the folder with our code compiled beforehand for Scala's kernels
- ``place``: one with the plain runner, at ``level``; ``strong``: one at the strongest level there is
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.storage.filesystem import FilesystemStore
from tests.scala import scala_compiled

from .place import Place

__all__ = ["scala_compiled"]
PLAIN_RUNNER = Path(__file__).with_name("plain_runner.py").read_text()
LEVELS: dict[str, dict[str, Any]] = {
    "namespaces+cgroups": {},
    "namespaces": {"allow_cgroups": False},
    "landlock+seccomp": {"allow_bwrap": False, "allow_cgroups": False},
    "process": {"allow_bwrap": False, "allow_cgroups": False, "allow_landlock": False},
}
MakePlace = Callable[..., Awaitable[Place]]


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore(tmp_path / "store")


@pytest.fixture(params=list(LEVELS))
def level(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest_asyncio.fixture
async def make_place(store: FilesystemStore, tmp_path: Path) -> AsyncIterator[MakePlace]:
    places: list[Place] = []

    async def make(**options: Any) -> Place:
        options.setdefault("data_dir", str(tmp_path / "data"))
        options.setdefault("runner", (sys.executable, "-I", "-c", PLAIN_RUNNER))
        place = Place(store, **options)
        places.append(place)
        await place.start()
        return place

    yield make
    for place in places:
        await place.clear()


@pytest_asyncio.fixture
async def place(make_place: MakePlace, level: str) -> Place:
    place = await make_place(**LEVELS[level])
    if place.backend.describe()["isolation"] != level:
        pytest.skip(f"this machine offers {place.backend.describe()['isolation']}: {place.backend.describe()}")
    return place


@pytest_asyncio.fixture
async def strong(make_place: MakePlace) -> Place:
    return await make_place()
