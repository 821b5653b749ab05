"""The server goes away and comes back while somebody waits: nothing is lost, and it is said once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from jupyter_trainjob.client import Client

from ..served import Served

pytestmark = pytest.mark.slow


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("own"))
    server.start()
    yield server
    server.stop()


def test_following_and_waiting_outlast_a_kill(own: Served) -> None:
    notices: list[str] = []
    code = "import time\nfor i in range(80):\n    print(i, flush=True)\n    time.sleep(0.25)"
    follower, waiter = own.client(notice=notices.append), own.client(notice=None)
    job = follower.submit_cell(code, name="outlasts")
    ended: list[str] = []
    thread = threading.Thread(target=lambda: ended.append(waiter.job(job.uid).wait().phase))
    thread.start()
    text = ""
    for piece in job.logs(True):
        text += piece
        if "5\n" in text and own.process is not None and not notices and own.process.poll() is None:
            own.kill()
            threading.Timer(1.0, own.start).start()
    thread.join(60)
    assert [int(line) for line in text.split()] == list(range(80)), "each line once, none missing"
    assert [notice.split()[0] for notice in notices] == ["reconnecting", "connected"]
    assert ended == ["Succeeded"] and job.phase == "Succeeded"


def test_a_plain_request_gives_up_soon_and_says_what_goes_on(own: Served) -> None:
    client: Client = own.client()
    client.me()
    own.kill()
    began = time.monotonic()
    with pytest.raises(Exception, match="Look whether the server runs; jobs that run go on without it"):
        client.queues()
    assert time.monotonic() - began < 15
    own.start()
    assert client.queues()
