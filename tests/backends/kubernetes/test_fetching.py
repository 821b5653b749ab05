"""Inputs by URI on a real API server: a Job waits suspended until the server has brought them, whichever server."""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest, BackendError
from jupyter_trainjob.backends.kubernetes import objects
from jupyter_trainjob.backends.kubernetes.backend import KubernetesBackend
from jupyter_trainjob.backends.kubernetes.connect import MERGE_PATCH
from jupyter_trainjob.backends.local.fetch import FetchRules
from tests.backends.place import a_request

from .apiserver import ApiServer, Proxy
from .test_backend_api import JOBS, SECRETS, Place

pytestmark = pytest.mark.asyncio


@pytest.fixture
def course(tmp_path: Path) -> Path:
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "words.txt").write_text("to be")
    return folder


@pytest_asyncio.fixture
async def place(apiserver: ApiServer, proxy: Proxy, course: Path, tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(apiserver, proxy, tmp_path / "store")
    rules = FetchRules((course.as_uri(),))
    made.backend = KubernetesBackend(name="cluster", settings=made.settings, fetching=rules)
    await made.start()
    yield made
    proxy.faults = []
    for ref in await made.backend.attempts():
        await made.backend.delete(ref)
    await made.backend.stop()


def asks(folder: Path, name: str = "words.txt", **spec: Any) -> AttemptRequest:
    wanted = [{"type": "uri", "uri": f"{folder.as_uri()}/{name}", "path": "in/words"}]
    return a_request(uuid.uuid4().hex, "print(1)", inputs=wanted, **spec)


async def job_of(place: Place, ref: AttemptRef) -> dict[str, Any]:
    return (await place.backend._api.request("GET", f"{JOBS}/{ref.name}")).body


async def fetched(place: Place, ref: AttemptRef) -> dict[str, Any]:
    async def released() -> bool:
        await place.backend.observe(ref)
        return objects.FETCHED in (await job_of(place, ref))["metadata"]["annotations"]

    await place.until(released)
    return await job_of(place, ref)


async def test_the_job_waits_and_then_starts_with_what_came(place: Place, course: Path) -> None:
    request = asks(course)
    await place.backend.create(request)
    job = await job_of(place, request.ref)
    assert job["spec"]["suspend"] and job["metadata"]["annotations"][objects.FETCHING] == "{}"
    seen = await place.backend.observe(request.ref)
    assert seen.state == "starting"
    assert [(one["type"], one["status"]) for one in seen.conditions] == [("InputsReady", "False")]
    job = await fetched(place, request.ref)
    assert job["spec"]["suspend"] is False and objects.FETCHING not in job["metadata"]["annotations"]
    key = f"fetched/{request.ref.uid}/1/0"
    assert place.store.get(key) == b"to be"
    digest = hashlib.sha256(b"to be").hexdigest()
    told = {one["type"]: one["message"] for one in (await place.backend.observe(request.ref)).conditions}
    assert told["InputsFetched"] == f"in/words: sha256:{digest} (5 bytes)"
    await place.backend.delete(request.ref)
    assert not place.store.exists(key), "what was fetched goes with the attempt"


async def test_a_large_file_goes_through_no_folder_of_the_servers(
    place: Place, course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(range(256)) * 4096 * 5
    (course / "large").write_bytes(data)
    monkeypatch.setattr(tempfile, "tempdir", str(course / "none"))  # there is no such folder
    request = asks(course, "large")
    await place.backend.create(request)
    job = await fetched(place, request.ref)
    assert place.store.get(f"fetched/{request.ref.uid}/1/0") == data
    digest = hashlib.sha256(data).hexdigest()
    assert job["metadata"]["annotations"][objects.FETCHED] == f"in/words: sha256:{digest} ({len(data)} bytes)"


async def test_of_what_is_too_large_nothing_is_stored(place: Place, course: Path) -> None:
    (course / "large").write_bytes(bytes(3_000_000))
    place.backend._fetching._rules = FetchRules((course.as_uri(),), maximum_bytes=2_000_000)
    request = asks(course, "large")
    await place.backend.create(request)

    async def over() -> bool:
        return (await place.backend.observe(request.ref)).state == "ended"

    await place.until(over)
    told = json.loads((await job_of(place, request.ref))["metadata"]["annotations"][objects.GAVE_UP])
    assert "has more than 2000000, which is what one input may have" in told["message"]
    assert list(place.store.list("fetched/")) == []
    assert [path.name for path in (place.store.root / "incoming").iterdir()] == []


async def test_a_job_that_changed_meanwhile_is_looked_at_anew(place: Place, course: Path) -> None:
    request = asks(course)
    await place.backend.create(request)
    place.fault("PATCH", f"{JOBS}/", status=409, body={"reason": "Conflict"}, times=2)
    assert (await fetched(place, request.ref))["spec"]["suspend"] is False


async def test_what_can_not_be_had_is_the_attempts_end(place: Place, course: Path) -> None:
    with pytest.raises(BackendError, match=r"The input 'in/words' can't be fetched: .* is not among"):
        await place.backend.create(asks(course.parent, "store/secret"))
    missing = asks(course, "none.txt")
    await place.backend.create(missing)

    async def over() -> bool:
        return (await place.backend.observe(missing.ref)).state == "ended"

    await place.until(over)
    told = json.loads((await job_of(place, missing.ref))["metadata"]["annotations"][objects.GAVE_UP])
    assert told["limit"] == "BackendError" and "none.txt can't be read: No such file or directory" in told["message"]


async def test_a_cancelled_job_is_not_let_go_by_a_fetch_that_ends_later(place: Place, course: Path) -> None:
    request = asks(course)
    await place.backend.create(request)
    await place.backend.cancel(request.ref, "no more")
    assert await place.backend._fetching.fetch(request.ref) is None
    assert await place.backend._fetching._release(request.ref.name, "late") is None
    assert (await job_of(place, request.ref))["spec"]["suspend"]


async def test_orders_that_somebody_changed_are_not_followed(place: Place, course: Path) -> None:
    request = asks(course)
    await place.backend.create(request)
    secret = await place.secret(request.ref)
    body = {"data": {"orders.json": secret["data"]["credentials.json"]}}
    path = f"{SECRETS}/{request.ref.name}"
    assert (await place.backend._api.request("PATCH", path, body=body, content_type=MERGE_PATCH)).ok
    job = await place.backend._fetching.fetch(request.ref)
    assert job is not None and "not those that its Job was made with" in job["metadata"]["annotations"][objects.GAVE_UP]


async def test_kueue_hears_of_it_when_all_is_there(place: Place, course: Path) -> None:
    manifest = objects.job(asks(course), place.settings, fetching=True)
    held = {objects.KUEUE_QUEUE: "class"}
    manifest["metadata"]["annotations"][objects.FETCHING] = json.dumps(held)
    patch = objects.fetched_patch({**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "7"}}, "all")
    assert patch["metadata"]["labels"] == held and patch["spec"] == {"suspend": True}
    assert patch["metadata"]["resourceVersion"] == "7"
