"""What a job kept in its folder checkpoint/ is there again, and its own, when another attempt runs."""

from __future__ import annotations

import hashlib

import pytest
import pytest_asyncio

from jupyter_trainjob.storage.filesystem import FilesystemStore

from .conftest import LEVELS, MakePlace
from .place import Place

pytestmark = pytest.mark.asyncio

STEP = """
import os, pathlib, time
os.makedirs("checkpoint/deep", exist_ok=True)
count = pathlib.Path("checkpoint/deep/count")
seen = int(count.read_text()) if count.exists() else 0
count.write_text(str(seen + 1))
pathlib.Path("other").write_text("x")
print("begun", seen, sorted(os.listdir(".")), flush=True)
if seen < 2:
    time.sleep(600)
"""


@pytest_asyncio.fixture
async def place(make_place: MakePlace, level: str) -> Place:
    place = await make_place(runner=(), **LEVELS[level])
    if place.backend.describe()["isolation"] != level:
        pytest.skip(f"this machine offers {place.backend.describe()['isolation']}")
    return place


async def test_an_attempt_goes_on_from_what_the_one_before_kept(place: Place) -> None:
    ref = await place.begin(STEP, preemptible=True, outputs={"keep": ["result.txt"]})
    for seen in range(2):
        await place.log_holds(ref, b"begun %d" % seen)
        await place.backend.cancel(ref, "room is needed")
        ended = await place.until(ref, "ended")
        assert [item["path"] for item in ended.files] == ["checkpoint/deep/count"], "no more than was asked for"
        ref = await place.begin(STEP, again=ref, preemptible=True, outputs={"keep": ["result.txt"]})
    ended = await place.until(ref, "ended")
    assert ended.claims["end"]["outcome"] == "ok"
    log = await place.log(ref)
    assert log == b"begun 2 ['checkpoint', 'other']\n", "nothing but the checkpoint comes back"


async def test_the_latest_that_left_anything_is_gone_on_from(make_place: MakePlace, store: FilesystemStore) -> None:
    place = await make_place(runner=())
    first = await place.begin("1")
    await place.until(first, "ended")
    store.put(f"jobs/{first.uid}/1/files/checkpoint/kept", b"from the first")
    second = await place.begin("1 / 0", again=first, outputs={"keep": []})  # it leaves nothing
    await place.until(second, "ended")
    third = await place.begin("print(open('checkpoint/kept', 'r+').read(), end='')", again=second)
    await place.until(third, "ended")
    assert await place.log(third) == b"from the first"


async def test_an_input_in_the_checkpoints_place_is_told(make_place: MakePlace, store: FilesystemStore) -> None:
    place = await make_place(runner=())
    digest = hashlib.sha256(b"x").hexdigest()
    store.put(f"blobs/ada/{digest}", b"x")
    first = await place.begin("1")
    await place.until(first, "ended")
    store.put(f"jobs/{first.uid}/1/files/checkpoint/kept", b"y")
    inputs = [{"type": "upload", "digest": f"sha256:{digest}", "path": "checkpoint/kept"}]
    second = await place.begin("1", again=first, inputs=inputs)
    ended = await place.until(second, "ended")
    assert ended.evidence["limit"] == "BackendError"
    assert "checkpoint/kept" in ended.evidence["message"]
