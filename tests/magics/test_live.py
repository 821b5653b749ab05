"""Cards that follow their jobs, against a server that refuses, is away, and says what nobody can read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher

from jupyter_trainjob.client import Client, Job
from jupyter_trainjob.magics import live

from ..client.broken import Broken, Handler, broken


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broken]:
    for name, short in (("_PASS_SECONDS", 0.02), ("_PER_JOB_SECONDS", 0.01), ("_AWAY_SECONDS", (0.02, 0.04))):
        monkeypatch.setattr(live, name, short)
    with broken() as made:
        yield made


class Cards:
    """A follower and what it shows."""

    def __init__(self, server: Broken, client: Client) -> None:
        self.server = server
        self.client = client
        self.follower = live.Follower()
        self.publisher: Any = CapturingDisplayPublisher()

    def show(self, uid: str, **status: Any) -> tuple[dict[str, Any], str]:
        """Display a job; its status, which may be changed, and where it is."""
        meta = {"uid": uid, "name": f"{uid}-1", "namespace": "bob", "owner": "bob"}
        path = f"/namespaces/bob/trainjobs/{uid}"
        resource = {"kind": "TrainJob", "metadata": meta, "spec": {}, "status": {"phase": "Running", **status}}
        self.server.answers["GET", path] = lambda handler: handler.send(resource)
        shell = SimpleNamespace(display_pub=self.publisher)
        self.follower.display(Job(self.client, {**resource, "status": dict(resource["status"])}), shell, log=True)
        return resource["status"], path  # type: ignore[return-value]

    def until(self, uid: str, fits: Callable[[str], bool]) -> str:
        """The card's text once it fits."""
        end, shown = time.monotonic() + 10, ""
        while time.monotonic() < end:
            texts = [output["data"]["text/plain"] for output in list(self.publisher.outputs)]
            shown = [text for text in texts if f"{uid}-1" in text][-1]
            if fits(shown):
                return shown
            time.sleep(0.02)
        raise AssertionError(shown)


@pytest.fixture
def cards(server: Broken) -> Iterator[Cards]:
    with Client(server.url, "t") as client:
        made = Cards(server, client)
        yield made
        made.follower._stop.set()
        if thread := made.follower._thread:
            thread.join(10)


def refusal(code: int, reason: str) -> Callable[[Handler], None]:
    return lambda handler: handler.send({"kind": "Status", "reason": reason, "message": "Not you."}, code)


def test_what_is_refused_for_one_job_leaves_the_others_followed(server: Broken, cards: Cards) -> None:
    _, path = cards.show("a")
    second, _ = cards.show("b")
    server.answers["GET", path] = refusal(403, "Forbidden")
    cards.until("a", lambda text: "No longer followed: Not you." in text)
    second["phase"] = "Succeeded"
    cards.until("b", lambda text: "Succeeded" in text)


@pytest.mark.parametrize(("code", "reason"), [(429, "TooMany"), (500, "InternalError")])
def test_what_passes_does_not_end_the_following(server: Broken, cards: Cards, code: int, reason: str) -> None:
    status, path = cards.show("a")
    sound, times = server.answers["GET", path], 0

    def at_first_not(handler: Handler) -> None:
        nonlocal times
        times += 1
        (refusal(code, reason) if times < 3 else sound)(handler)

    server.answers["GET", path] = at_first_not
    status["phase"] = "Succeeded"
    assert "No longer followed" not in cards.until("a", lambda text: "Succeeded" in text) and times >= 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_accident_with_one_card_leaves_the_others_followed(server: Broken, cards: Cards) -> None:
    cards.show("b", phase="Queued")
    first, _ = cards.show("a")
    first["attempts"] = [{"number": 1, "start": "yesterday"}]  # shown, it raises: the card can't even say so
    end = time.monotonic() + 10
    while any(watch.view.uid == "a" and not watch.ended for watch in cards.follower._watches):
        assert time.monotonic() < end
        time.sleep(0.02)
    third, _ = cards.show("c")
    third["phase"] = "Succeeded"
    cards.until("c", lambda text: "Succeeded" in text)
    server.answers["GET", "/namespaces/bob/trainjobs/b"] = refusal(404, "NotFound")
    cards.until("b", lambda text: "It was deleted." in text)


def test_a_card_shows_the_log_of_the_attempt_that_runs(server: Broken, cards: Cards) -> None:
    logged = {"1": b"the first attempt says much\n", "2": b"again\n"}
    status, path = cards.show("a", attempts=[{"number": 1}], log={"size": len(logged["1"])})

    def serve(handler: Handler) -> None:
        query = dict(pair.split("=") for pair in handler.path.partition("?")[2].split("&"))
        log = logged[query.get("attempt") or str(len(status["attempts"]))]
        handler.send(log[int(query["offset"]) :], X_Log_Offset=query["offset"], X_Log_Size=str(len(log)))

    server.answers["GET", f"{path}/log"] = serve
    cards.until("a", lambda text: "says much" in text)
    status.update(attempts=[{"number": 1}, {"number": 2}], log={"size": len(logged["2"])})
    assert "says much" not in cards.until("a", lambda text: "again" in text)
    status["phase"] = "Succeeded"
    cards.until("a", lambda text: "Succeeded" in text)
