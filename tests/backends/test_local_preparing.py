"""Inputs that take long hold up nobody, and what becomes of them is told, whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
import http.server
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from jupyter_trainjob.backends.base import AttemptRef
from jupyter_trainjob.backends.local import attempt
from jupyter_trainjob.backends.local.fetch import FetchRules

from .conftest import MakePlace
from .place import Place, a_request

pytestmark = pytest.mark.asyncio


class Site:
    """Answers ``/slow`` when it is let, ``/gone`` then with 404, ``/shaky`` with 503 at first."""

    def __init__(self) -> None:
        self.go, self.asked = threading.Event(), 0
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked += 1
                if self.path == "/shaky" and site.asked == 1:
                    self.send_error(503)
                    return
                if self.path != "/shaky":
                    site.go.wait(60)
                if self.path == "/gone":
                    self.send_error(404)
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"1,2,3")

            def log_message(self, *_: Any) -> None:
                """Nothing."""

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # those who asked have left
                    return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.go.set()
    site.server.shutdown()
    site.thread.join()
    site.server.server_close()


@pytest.fixture
def options(site: Site) -> dict[str, Any]:
    return {"runner": (), "fetching": FetchRules((site.url,))}


def wants(site: Site, path: str = "/slow") -> list[dict[str, str]]:
    return [{"type": "uri", "uri": site.url + path, "path": "x"}]


async def begun(
    place: Place, uid: str, inputs: list[dict[str, str]], code: str = "print(open('x').read())"
) -> AttemptRef:
    request = a_request(uid, code, inputs=inputs)
    await asyncio.wait_for(place.backend.create(request), 5)
    return request.ref


async def test_a_dozen_slow_inputs_hold_up_nobody(make_place: MakePlace, site: Site, options: dict[str, Any]) -> None:
    place = await make_place(**options)
    began = time.monotonic()
    refs = await asyncio.gather(*[begun(place, f"slow-{n}", wants(site)) for n in range(12)])
    assert await asyncio.wait_for(place.backend.kernels(), 10)
    seen = await place.run("print('quick')", seconds=20)
    assert seen.claims["end"]["outcome"] == "ok"
    assert time.monotonic() - began < 20
    assert [(await place.backend.observe(ref)).state for ref in refs] == ["starting"] * 12
    assert set(refs) <= set(await place.backend.attempts())
    late = await place.until_seen(refs[0], lambda seen: seen.conditions)
    (told,) = late.conditions
    assert (told["type"], told["status"], told["reason"]) == ("InputsReady", "False", "Preparing")
    assert told["message"] == "The job starts when its inputs are there: they are being brought."
    for ref in refs[1:]:
        await place.backend.delete(ref)
    site.go.set()
    seen = await place.until(refs[0], "ended")
    assert seen.claims["end"]["outcome"] == "ok" and await place.log(refs[0]) == b"1,2,3\n"
    assert {"InputsReady": "True"}.items() <= {item["type"]: item["status"] for item in seen.conditions}.items()


async def test_those_that_are_prepared_and_those_that_wait_can_be_cancelled(
    make_place: MakePlace, site: Site, options: dict[str, Any]
) -> None:
    place = await make_place(**options)
    refs = [await begun(place, f"slow-{n}", wants(site)) for n in range(10)]
    for ref in (refs[0], refs[9]):
        await place.backend.cancel(ref, "enough")
        seen = await place.until(ref, "ended", seconds=5)
        assert seen.evidence["cancelled"] == "enough" and "limit" not in seen.evidence and seen.started is None
    for ref in refs:
        await place.backend.delete(ref)
        assert (await place.backend.observe(ref)).state == "gone"


async def test_the_next_server_prepares_what_one_was_stopped_at(
    make_place: MakePlace, site: Site, options: dict[str, Any]
) -> None:
    place = await make_place(**options)
    ref = await begun(place, "half", wants(site))
    while not site.asked:
        await asyncio.sleep(0.01)
    began = time.monotonic()
    await place.stop()
    assert time.monotonic() - began < 5
    site.go.set()
    again = await make_place(**options)
    seen = await again.until(ref, "ended")
    assert seen.claims["end"]["outcome"] == "ok" and await again.log(ref) == b"1,2,3\n"


async def test_a_failure_that_comes_late_is_the_attempts_end(
    make_place: MakePlace, site: Site, options: dict[str, Any]
) -> None:
    place = await make_place(**options)
    ref = await begun(place, "late", wants(site, "/gone"))
    site.go.set()
    seen = await place.until(ref, "ended")
    assert seen.evidence["limit"] == "BackendError"
    assert seen.evidence["message"] == f"{site.url}/gone was refused: 404 Not Found."
    await place.backend.create(a_request("late", "1", inputs=wants(site, "/gone")))
    assert (await place.backend.observe(ref)).state == "ended"


async def test_what_may_work_again_is_tried_again(make_place: MakePlace, site: Site, options: dict[str, Any]) -> None:
    place = await make_place(**options)
    seen = await place.until(await begun(place, "shaky", wants(site, "/shaky")), "ended")
    assert seen.claims["end"]["outcome"] == "ok" and site.asked == 2


async def test_what_a_killed_server_left_half_made_is_made_anew(make_place: MakePlace) -> None:
    place = await make_place(runner=())
    request = a_request("killed", "print('made anew')")
    await place.stop()
    settings = place.backend._settings
    assert settings is not None
    await asyncio.to_thread(attempt.record, request, settings)
    left = place.folder(request.ref).file("in", "inputs")
    os.makedirs(left)
    with open(f"{left}/0", "w") as file:
        file.write("half")
    again = await make_place(runner=())
    seen = await again.until(request.ref, "ended")
    assert seen.claims["end"]["outcome"] == "ok" and await again.log(request.ref) == b"made anew\n"
    assert os.listdir(left) == [] and not os.path.exists(again.folder(request.ref).file("request.json"))
