"""Inputs by URI on a real cluster: the server fetches them, within the operator's prefixes, before the pod starts."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import AttemptRef, BackendError
from jupyter_trainjob.backends.kubernetes import objects
from jupyter_trainjob.backends.local.fetch import FetchRules

from .backends import ClusterPlace, open_store, settings
from .cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.asyncio]

HEIGHTS = b"name,height\nada,168\n"


class Files(BaseHTTPRequestHandler):
    """``/sets/heights.csv`` at once, ``/sets/slow`` when ``go`` is set, ``/sets/large`` with 300 MiB."""

    go = threading.Event()
    asked = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        if self.path.endswith("large"):
            try:
                for _ in range(300):
                    self.wfile.write(bytes(1 << 20))
            except OSError:
                return
            return
        if self.path.endswith("slow"):
            self.wfile.write(b"n")
            self.wfile.flush()
            type(self).asked.set()
            type(self).go.wait(120)
        try:
            self.wfile.write(HEIGHTS)
        except OSError:
            return

    def log_message(self, format: str, *arguments: Any) -> None:
        """Not into the tests' output."""


@pytest.fixture
def site() -> Iterator[str]:
    Files.go.clear()
    Files.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    Files.go.set()
    server.shutdown()
    server.server_close()


@pytest_asyncio.fixture
async def place(
    cluster: Cluster, namespace: str, site: str, python_image: None, tmp_path: Path
) -> AsyncIterator[ClusterPlace]:
    (tmp_path / "course").mkdir()
    (tmp_path / "course" / "words.txt").write_text("to be")
    rules = FetchRules((f"{site}/sets/", (tmp_path / "course").as_uri()))
    store = open_store(cluster, tmp_path, namespace)
    made = ClusterPlace(store, name="cluster", settings=settings(cluster, namespace), fetching=rules)
    await made.start()
    yield made
    await made.clear()


def uri(address: str, path: str) -> dict[str, str]:
    return {"type": "uri", "uri": address, "path": path}


async def test_they_are_in_the_job_with_their_digests_told_and_gone_from_the_store_afterwards(
    place: ClusterPlace, site: str, tmp_path: Path
) -> None:
    inputs = [uri(f"{site}/sets/heights.csv", "a/h.csv"), uri((tmp_path / "course" / "words.txt").as_uri(), "w")]
    seen = await place.run("print(open('a/h.csv').read(), open('w').read())", inputs=inputs, seconds=120)
    assert (await place.log(seen.ref)).decode() == f"{HEIGHTS.decode()} to be\n", str(seen)  # in full
    told = {one["type"]: one["message"] for one in seen.conditions}
    digest = hashlib.sha256(HEIGHTS).hexdigest()
    assert told["InputsFetched"].startswith(f"a/h.csv: sha256:{digest} ({len(HEIGHTS)} bytes); w: sha256:")
    prefix = f"fetched/{seen.ref.uid}/{seen.ref.attempt}/"
    assert [info.key for info in place.store.list(prefix)] == [f"{prefix}0", f"{prefix}1"]
    await place.backend.delete(seen.ref)
    assert not list(place.store.list(prefix))


async def test_while_they_come_the_job_says_so_and_another_server_goes_on(place: ClusterPlace, site: str) -> None:
    ref = await place.begin("print(open('h').read())", inputs=[uri(f"{site}/sets/slow", "h")])
    assert await asyncio.to_thread(Files.asked.wait, 60)
    seen = await place.backend.observe(ref)
    told = {one["type"]: (one["status"], one["message"]) for one in seen.conditions}
    assert seen.state == "starting" and told["InputsReady"] == (
        "False",
        "The job starts when its inputs are there: they are being brought.",
    )
    await place.stop()
    other = ClusterPlace(place.store, **place.options)
    await other.start()
    try:
        Files.go.set()
        ended = await other.until(ref, "ended", seconds=120)
        assert ended.claims["end"]["outcome"] == "ok", ended
        assert (await other.log(ref)).decode() == f"n{HEIGHTS.decode()}\n"
    finally:
        await other.stop()
        await place.start()


async def test_what_can_not_be_fetched_ends_the_attempt_and_says_why(place: ClusterPlace, site: str) -> None:
    with pytest.raises(BackendError, match="is not among what this server's operator allows"):
        await place.begin("1", inputs=[uri(f"{site}/private/x", "x")])
    seen = await place.run("1", inputs=[uri(f"{site}/sets/large", "x")], resources={"disk": "64Mi"}, seconds=120)
    assert seen.evidence["limit"] == "BackendError"
    assert "The inputs have more than 64" in seen.evidence["message"] and "--disk" in seen.evidence["message"]


async def test_a_cancel_ends_the_fetching(cluster: Cluster, namespace: str, place: ClusterPlace, site: str) -> None:
    ref: AttemptRef = await place.begin("1", inputs=[uri(f"{site}/sets/slow", "h")])
    assert await asyncio.to_thread(Files.asked.wait, 60)
    await place.backend.cancel(ref, "no more")
    seen = await place.until(ref, "ended", seconds=60)
    assert seen.evidence["cancelled"] == "no more"
    Files.go.set()
    await asyncio.sleep(2)
    assert not cluster.kubectl("-n", namespace, "get", "pods", "-l", f"{objects.UID}={ref.uid}", "-o", "name")
