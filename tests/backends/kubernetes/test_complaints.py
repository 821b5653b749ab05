"""What is said of many pods that are held up is asked for once, on a real API server."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import AttemptRef
from jupyter_trainjob.backends.kubernetes import complaints
from jupyter_trainjob.backends.kubernetes.complaints import Complaints
from jupyter_trainjob.backends.kubernetes.connect import Connection

from .apiserver import Fault, Proxy

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def events(api: Connection) -> str:
    """Those of a namespace of the test's own: others leave some, too."""
    name = f"n{uuid.uuid4().hex}"
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    assert (await api.request("POST", "/api/v1/namespaces", body=made)).ok
    return f"/api/v1/namespaces/{name}/events"


async def say(api: Connection, events: str, name: str, message: str, type: str = "Warning") -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"e-{uuid.uuid4().hex}"},
        "involvedObject": {"kind": "Pod", "name": name, "namespace": events.split("/")[4]},
        "type": type,
        "reason": "FailedMount",
        "message": message,
    }
    assert (await api.request("POST", events, body=event)).ok


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_one_question_serves_all_and_whoever_has_news_is_told(
    proxy: Proxy, api: Connection, events: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complaints, "AGAIN_SECONDS", 0.3)
    monkeypatch.setattr(complaints, "PAGE", 2)
    told: dict[AttemptRef, list[str]] = {}

    def tell(ref: AttemptRef, found: list[dict[str, Any]]) -> None:
        told[ref] = sorted(event["message"] for event in found)

    refs = {AttemptRef(f"u{number}", 1): f"pod{number}" for number in range(40)}
    for number in range(5):
        await say(api, events, f"pod{number}", f"no volume {number}")
    await say(api, events, "pod7", "all is well", "Normal")
    await say(api, events, "another", "no volume")
    asked = Complaints(api, events, tell, "cluster")
    try:
        before = proxy.count("events?")
        for ref, name in refs.items():
            asked.ask(ref, name)
        await until(lambda: len(told) == 5)
        assert proxy.count("events?") - before < len(refs), "one question for all, of three pages"
        assert told == {AttemptRef(f"u{number}", 1): [f"no volume {number}"] for number in range(5)}
        proxy.faults = [Fault(lambda method, path: "events?" in path, status=status) for status in (403, 410)]
        await say(api, events, "pod1", "still none")
        await until(lambda: len(told[AttemptRef("u1", 1)]) == 2)
        assert told[AttemptRef("u1", 1)] == ["no volume 1", "still none"]
    finally:
        await asked.stop()


async def test_nothing_is_asked_once_nobody_is_held_up(
    proxy: Proxy, api: Connection, events: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complaints, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(complaints, "FORGET_SECONDS", 0.2)
    asked = Complaints(api, events, lambda ref, found: None, "cluster")
    asked.ask(AttemptRef("u", 1), "pod")
    await until(lambda: asked._task is None)
    before = proxy.count("events?")
    await asyncio.sleep(0.3)
    assert before == proxy.count("events?") > 0
    asked.ask(AttemptRef("u", 1), "pod")
    await until(lambda: proxy.count("events?") > before)
    await asked.stop()
