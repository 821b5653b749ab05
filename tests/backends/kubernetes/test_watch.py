"""Watches of a real API server: what they know, how little they ask, and what they survive."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.kubernetes import watch as module
from jupyter_trainjob.backends.kubernetes.connect import MERGE_PATCH, Access, Connection, Refused, Reply
from jupyter_trainjob.backends.kubernetes.watch import Watch, trimmed

from .apiserver import ApiServer, Fault, Proxy

LIST = "/api/v1/namespaces/default/configmaps"


def is_watch(method: str, path: str) -> bool:
    return "watch=1" in path


def is_list(method: str, path: str) -> bool:
    return "limit=" in path


class Seen:
    """A watch of the ConfigMaps that are labelled ``for=<mark>``, and what it said."""

    def __init__(self, api: Connection, mark: str) -> None:
        self.api, self.mark = api, mark
        self.told: list[tuple[str, str]] = []
        self.watch = Watch(api, LIST, what="Maps", selector=f"for={mark}", trim=self._trim, changed=self._changed)

    @staticmethod
    def _trim(found: dict[str, Any]) -> dict[str, Any]:
        return {**trimmed(found), "data": found.get("data", {})}

    def _changed(self, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        what = "added" if old is None else "gone" if new is None else "changed"
        self.told.append((what, (new or old or {})["metadata"]["name"]))

    def names(self) -> list[str]:
        return sorted(self.watch.objects)

    async def make(self, name: str, **data: str) -> dict[str, Any]:
        meta = {"name": f"{self.mark}-{name}", "labels": {"for": self.mark}}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
        reply = await self.api.request("POST", LIST, body=body)
        assert reply.ok, reply
        return reply.body

    async def change(self, name: str, **data: str) -> dict[str, Any]:
        path = f"{LIST}/{self.mark}-{name}"
        return (await self.api.request("PATCH", path, body={"data": data}, content_type=MERGE_PATCH)).body

    async def remove(self, name: str) -> None:
        await self.api.request("DELETE", f"{LIST}/{self.mark}-{name}")

    async def until(self, wanted: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not wanted():
            assert time.monotonic() < deadline, (self.names(), self.told, self.watch.trouble(), self.watch.failure)
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def seen(api: Connection, request: pytest.FixtureRequest) -> AsyncIterator[Seen]:
    made = Seen(api, f"t{abs(hash(request.node.name)) % 10**8}")
    yield made
    await made.watch.stop()


async def started(seen: Seen) -> None:
    seen.watch.start()
    await asyncio.wait_for(seen.watch.first_word.wait(), 10)
    await seen.until(lambda: seen.watch.away_seconds == 0)


@pytest.mark.asyncio
async def test_what_is_there_and_what_changes_is_known_after_one_list_and_one_watch(proxy: Proxy, seen: Seen) -> None:
    await seen.make("old", a="1")
    await started(seen)
    assert seen.names() == [f"{seen.mark}-old"] and seen.watch.synced and seen.watch.trouble() == ""
    await seen.make("new")
    await seen.change("old", a="2")
    await seen.remove("new")
    await seen.until(lambda: ("gone", f"{seen.mark}-new") in seen.told)
    old, new = f"{seen.mark}-old", f"{seen.mark}-new"
    assert seen.told == [("added", old), ("added", new), ("changed", old), ("gone", new)]
    kept = seen.watch.objects[old]
    assert kept["data"] == {"a": "2"} and "managedFields" not in kept["metadata"]
    assert (proxy.count("limit="), proxy.count("watch=1")) == (1, 1)


@pytest.mark.asyncio
async def test_an_idle_cluster_is_asked_nothing(proxy: Proxy, seen: Seen) -> None:
    await started(seen)
    before = len(proxy.seen)
    await asyncio.sleep(3)
    assert len(proxy.seen) == before
    low, high = module.WATCH_SECONDS
    path = next(path for _, path in proxy.seen if "watch=1" in path)
    told = dict(part.split("=") for part in path.partition("?")[2].split("&"))
    assert low <= int(told["timeoutSeconds"]) <= high and told["allowWatchBookmarks"] == "true"
    assert 10 / low <= 0.1, "ten watches that the server ends this often stay below a request in ten seconds"


@pytest.mark.asyncio
async def test_many_objects_come_in_pages(monkeypatch: pytest.MonkeyPatch, proxy: Proxy, seen: Seen) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    for number in range(8):
        await seen.make(str(number))
    await started(seen)
    assert len(seen.names()) == 8 and proxy.count("limit=3") == 3


@pytest.mark.asyncio
async def test_a_watch_that_is_cut_goes_on_where_it_was(proxy: Proxy, seen: Seen) -> None:
    await started(seen)
    for number in range(3):
        proxy.cut_all()
        await seen.make(f"n{number}")
        await seen.until(lambda number=number: ("added", f"{seen.mark}-n{number}") in seen.told)
    assert seen.watch.lists == 1 and len(seen.told) == 3


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["status", "event"])
async def test_a_place_that_is_gone_is_one_new_list_that_tells_what_is_gone_too(
    proxy: Proxy, seen: Seen, how: str
) -> None:
    await seen.make("stays")
    await seen.make("goes")
    await started(seen)
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    event = json.dumps({"type": "ERROR", "object": gone})
    fault = Fault(is_watch, status=410, body=gone) if how == "status" else Fault(is_watch, event=event)
    silent = Fault(is_watch, times=0, silence=60)
    proxy.faults = [fault, silent]
    proxy.cut_all()
    await seen.remove("goes")
    await seen.until(lambda: ("gone", f"{seen.mark}-goes") in seen.told)
    await seen.until(lambda: seen.watch.away_seconds == 0)
    await asyncio.sleep(0.5)
    assert seen.watch.lists == 2 and seen.names() == [f"{seen.mark}-stays"]


@pytest.mark.asyncio
async def test_a_server_that_always_says_gone_is_not_listed_without_end(proxy: Proxy, seen: Seen) -> None:
    proxy.faults = [Fault(is_watch, times=1000, status=410, body={"message": "too old"})]
    seen.watch.start()
    await asyncio.sleep(4)
    assert 2 <= seen.watch.lists <= 8


@pytest.mark.asyncio
async def test_a_watch_that_ends_at_once_is_not_begun_without_end(proxy: Proxy, seen: Seen) -> None:
    proxy.faults = [Fault(is_watch, times=1000, event="")]
    proxy.faults[0].status, proxy.faults[0].body = 200, {}
    seen.watch.start()
    await asyncio.sleep(3)
    assert proxy.count("watch=1") <= 8


@pytest.mark.asyncio
async def test_a_busy_server_is_given_the_time_it_asks_for(proxy: Proxy, seen: Seen) -> None:
    proxy.faults = [
        Fault(is_list, status=429, headers={"Retry-After": "1"}),
        Fault(is_watch, status=500, body={"message": "sneezed"}),
        Fault(is_watch, status=429, headers={"Retry-After": "1"}),
    ]
    began = time.monotonic()
    seen.watch.start()
    await seen.until(lambda: seen.watch.away_seconds == 0)
    assert time.monotonic() - began >= 2.0 and len(proxy.seen) == 5
    await seen.make("one")
    await seen.until(lambda: bool(seen.told))


@pytest.mark.asyncio
async def test_what_is_old_says_so(monkeypatch: pytest.MonkeyPatch, proxy: Proxy, seen: Seen) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.5)
    await started(seen)
    proxy.faults = [Fault(is_watch, times=1000, status=503, body={"message": "not now"})]
    proxy.cut_all()
    await seen.until(lambda: seen.watch.trouble() != "")
    said = seen.watch.trouble()
    assert said.startswith("Maps of the cluster could not be followed for ") and "may be old" in said
    assert "(503): not now" in said
    proxy.faults = []
    await seen.until(lambda: seen.watch.trouble() == "")


@pytest.mark.asyncio
async def test_a_silent_watch_is_taken_for_dead(monkeypatch: pytest.MonkeyPatch, proxy: Proxy, seen: Seen) -> None:
    monkeypatch.setattr(module, "SILENCE_SECONDS", 1.0)
    await started(seen)
    proxy.faults = [Fault(is_watch, silence=30)]
    proxy.cut_all()
    await seen.make("one")
    await seen.until(lambda: bool(seen.told), 10)
    assert seen.watch.lists == 1


@pytest.mark.asyncio
async def test_our_own_writes_are_known_at_once_and_are_not_undone_by_older_news(proxy: Proxy, seen: Seen) -> None:
    await started(seen)
    proxy.faults = [Fault(is_watch, silence=1.5)]
    proxy.cut_all()
    first = await seen.make("one", a="1")
    second = await seen.change("one", a="2")
    seen.watch.put(second)
    assert seen.watch.objects[second["metadata"]["name"]]["data"] == {"a": "2"}
    seen.watch.put(first)
    await seen.until(lambda: len(seen.watch.lags) == 1)
    assert 0 < seen.watch.lags[0] < 10
    assert seen.watch.objects[second["metadata"]["name"]]["data"] == {"a": "2"}
    assert [what for what, _ in seen.told] == ["added"]


@pytest.mark.asyncio
async def test_an_answer_that_comes_after_the_news_of_the_end_makes_no_ghost(seen: Seen) -> None:
    await started(seen)
    made = await seen.make("one")
    await seen.remove("one")
    await seen.until(lambda: [what for what, _ in seen.told] == ["added", "gone"])
    seen.watch.put(made)
    assert seen.names() == [] and len(seen.told) == 2


@pytest.mark.asyncio
async def test_what_we_removed_stays_away_whatever_is_still_told_of_it(seen: Seen) -> None:
    made = await seen.make("one")
    await started(seen)
    seen.watch.drop(made["metadata"]["name"])
    assert seen.names() == [] and seen.told[-1][0] == "gone"
    await seen.change("one", a="late")
    await asyncio.sleep(0.5)
    assert seen.names() == []
    await seen.remove("one")
    again = await seen.make("one")
    await seen.until(lambda: seen.names() == [again["metadata"]["name"]])


@pytest.mark.asyncio
async def test_a_right_that_is_missing_is_told_at_once_and_asked_for_rarely(apiserver: ApiServer) -> None:
    api = await Connection.open(Access(apiserver.kubeconfig("student")))
    watch = Watch(api, "/api/v1/nodes", what="Nodes", trim=trimmed)
    try:
        watch.start()
        await asyncio.wait_for(watch.first_word.wait(), 10)
        assert watch.forbidden and not watch.synced and 'cannot list resource "nodes"' in str(watch.failure)
        assert watch.trouble().startswith("Nodes of the cluster could not be followed yet: The Kubernetes API server")
        asked = api.requests
        await asyncio.sleep(6)
        assert api.requests - asked <= 3
    finally:
        await watch.stop()
        await api.close()


@pytest.mark.asyncio
async def test_a_right_that_was_refused_once_is_back_soon(proxy: Proxy, seen: Seen) -> None:
    await started(seen)
    proxy.faults = [Fault(is_watch, status=403, body={"message": "maps is forbidden"})]
    proxy.cut_all()
    await seen.until(lambda: seen.watch.forbidden)
    assert "Maps of the cluster could not be followed for 0 s, and what is told of them may be old" in (
        seen.watch.trouble()
    )
    await seen.make("one")
    await seen.until(lambda: bool(seen.told), 20)
    assert seen.watch.trouble() == ""


def test_pauses_where_we_may_not_look_grow_to_a_minute_and_are_never_the_same(api: Connection) -> None:
    watch = Watch(api, LIST, what="Maps", trim=trimmed)
    error = Refused("no", Reply(403))
    first = {watch._failed(error, 1) for _ in range(20)}
    late = {watch._failed(error, 30) for _ in range(20)}
    assert len(first) > 10 and all(1.5 <= one <= 3.3 for one in first if one is not None)
    assert len(late) > 10 and all(30 <= one <= 60 for one in late if one is not None)


@pytest.mark.asyncio
async def test_objects_of_all_namespaces_that_are_called_alike_are_told_apart(api: Connection) -> None:
    for name in ("one", "two"):
        await api.request("POST", "/api/v1/namespaces", body={"metadata": {"name": f"across-{name}"}})
        body = {"metadata": {"name": "twin", "labels": {"for": "across"}}}
        assert (await api.request("POST", f"/api/v1/namespaces/across-{name}/configmaps", body=body)).ok
    fields = "metadata.namespace!=across-none"
    watch = Watch(
        api, "/api/v1/configmaps", what="Maps", selector="for=across", fields=fields, across=True, trim=trimmed
    )
    try:
        watch.start()
        await asyncio.wait_for(watch.complete.wait(), 10)
        assert sorted(watch.objects) == ["across-one/twin", "across-two/twin"]
        await api.request("DELETE", "/api/v1/namespaces/across-one/configmaps/twin")
        until = time.monotonic() + 10
        while len(watch.objects) == 2:
            assert time.monotonic() < until
            await asyncio.sleep(0.02)
        assert sorted(watch.objects) == ["across-two/twin"]
    finally:
        await watch.stop()


@pytest.mark.asyncio
async def test_a_server_that_is_killed_and_comes_back_costs_one_new_watch(apiserver: ApiServer) -> None:
    api = await Connection.open(Access(apiserver.kubeconfig("admin")))
    seen = Seen(api, "killed")
    await seen.make("before")
    try:
        await started(seen)
        await asyncio.to_thread(apiserver.kill)
        await asyncio.sleep(1)
        assert seen.watch.away_seconds > 0 and seen.names() == ["killed-before"]
        await asyncio.to_thread(apiserver.start)
        await seen.make("after")
        await seen.until(lambda: len(seen.names()) == 2, 30)
        assert seen.watch.lists <= 2 and seen.told == [("added", "killed-before"), ("added", "killed-after")]
    finally:
        await seen.watch.stop()
        await api.close()
