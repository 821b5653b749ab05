"""Inputs by URI on a real API server: a Job waits suspended until the server has brought them, whichever server."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import json
import re
import tempfile
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest, BackendError
from jupyter_trainjob.backends.kubernetes import errands, fetching, objects
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


class Site:
    """Says that it is busy until it is ``ready``; ``/slow`` sends a byte and waits for ``slow``."""

    def __init__(self) -> None:
        self.ready, self.slow = False, threading.Event()
        site = self

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not site.ready:
                    self.send_response(503, "Busy")
                    self.end_headers()
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"x")
                self.wfile.flush()
                if self.path == "/slow":
                    site.slow.wait(60)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Not into the tests' output."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.slow.set()
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest_asyncio.fixture
async def place(apiserver: ApiServer, proxy: Proxy, course: Path, tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(apiserver, proxy, tmp_path / "store")
    rules = FetchRules((course.as_uri(),))
    made.backend = KubernetesBackend(name="cluster", settings=made.settings, fetching=rules)
    async with made.started():
        yield made


def asks(folder: Path, name: str = "words.txt", **spec: Any) -> AttemptRequest:
    wanted = [{"type": "uri", "uri": f"{folder.as_uri()}/{name}", "path": "in/words"}]
    return a_request(uuid.uuid4().hex, "print(1)", inputs=wanted, **spec)


async def job_of(place: Place, ref: AttemptRef) -> dict[str, Any]:
    return (await place.backend._api.request("GET", f"{JOBS}/{ref.name}")).body


async def given_up(place: Place, ref: AttemptRef) -> dict[str, Any]:
    """Why, once it has ended."""

    async def over() -> bool:
        return (await place.backend.observe(ref)).state == "ended"

    await place.until(over)
    told: dict[str, Any] = json.loads((await job_of(place, ref))["metadata"]["annotations"][objects.GAVE_UP])
    return told


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
    told = await given_up(place, request.ref)
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
    told = await given_up(place, missing.ref)
    assert told["limit"] == "BackendError" and "none.txt can't be read: No such file or directory" in told["message"]


async def test_what_failed_is_told_and_when_it_is_tried_again(
    place: Place, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "AGAIN_SECONDS", 1.0)
    monkeypatch.setattr(errands, "AGAIN_SECONDS", 0.1)
    place.backend._fetching._rules = FetchRules((site.address,))
    wanted = [{"type": "uri", "uri": f"{site.address}/data?signature=secret", "path": "in/words"}]
    request = a_request(uuid.uuid4().hex, "print(1)", inputs=wanted)
    await place.backend.create(request)
    said: list[str] = []

    async def told() -> bool:
        seen = await place.backend.observe(request.ref)
        (said[:],) = [[one["message"] for one in seen.conditions if one["type"] == "InputsReady"]]
        assert all(one["status"] == "False" for one in seen.conditions if one["type"] == "InputsReady")
        return "try 3 of 6" in said[0]

    await place.until(told)
    assert re.fullmatch(
        rf"Its inputs could not be brought yet: {re.escape(site.address)}/data\?… was refused: 503 Busy\. That is "
        r"tried again at \d\d:\d\d:\d\d UTC \(try 3 of 6\)\.",
        said[0],
    )
    site.ready = True
    assert objects.FETCHING not in (await fetched(place, request.ref))["metadata"]["annotations"]
    (ready,) = [one for one in (await place.backend.observe(request.ref)).conditions if one["type"] == "InputsReady"]
    assert ready["status"] == "True"


async def test_a_store_that_is_away_is_told_and_costs_no_try(
    place: Place, course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "AGAIN_SECONDS", 0.05)
    incoming, away = place.store.root / "incoming", place.store.root / "away"
    request = asks(course)
    incoming.rename(away)
    incoming.write_text("in the way")
    job = objects.job(request, place.settings, fetching=True)
    await place.backend.create(request)
    assert job["spec"]["suspend"]

    async def told() -> bool:
        seen = await place.backend.observe(request.ref)
        return any("could not be brought yet: " in one["message"] for one in seen.conditions)

    await place.until(told)
    await asyncio.sleep(0.5)
    assert place.backend._fetching._tries[request.ref] == 0
    incoming.unlink()
    away.rename(incoming)
    assert not (await fetched(place, request.ref))["spec"]["suspend"]


async def test_what_was_brought_for_a_job_that_somebody_deleted_goes(place: Place, course: Path) -> None:
    request = asks(course)
    await place.backend.create(request)
    await fetched(place, request.ref)
    assert [info.key for info in place.store.list("fetched/")] == [f"fetched/{request.ref.uid}/1/0"]
    body = {"propagationPolicy": "Background"}
    await place.backend._api.request("DELETE", f"{JOBS}/{request.ref.name}", body=body)

    async def gone() -> bool:
        return (await place.backend.observe(request.ref)).state == "gone"

    await place.until(gone)
    await place.backend.delete(request.ref)  # as it is when the end is in the record
    assert list(place.store.list("fetched/")) == []


async def test_what_comes_after_its_job_was_deleted_goes_too(place: Place, site: Site) -> None:
    place.backend._fetching._rules = FetchRules((site.address,))
    site.ready, site.slow = True, threading.Event()
    wanted = [
        {"type": "uri", "uri": f"{site.address}/first", "path": "a"},
        {"type": "uri", "uri": f"{site.address}/slow", "path": "b"},
    ]
    request = a_request(uuid.uuid4().hex, "print(1)", inputs=wanted)
    await place.backend.create(request)

    async def first() -> bool:
        return len(list(place.store.list("fetched/"))) == 1

    await place.until(first)
    body = {"propagationPolicy": "Background"}
    await place.backend._api.request("DELETE", f"{JOBS}/{request.ref.name}", body=body)

    async def none() -> bool:
        return not list(place.store.list("fetched/"))

    await place.until(none)
    site.slow.set()


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
