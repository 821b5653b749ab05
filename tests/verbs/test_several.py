"""Verbs on several jobs, against a server that does what a sound one seldom does."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import pytest

from jupyter_trainjob.client import Client, ConnectionLost, TrainJobError
from jupyter_trainjob.verbs import acting, looking
from jupyter_trainjob.verbs.context import Context

from ..client.broken import Broken, Handler, broken


@pytest.fixture
def server() -> Iterator[Broken]:
    with broken() as made:
        yield made


@pytest.fixture
def client(server: Broken) -> Iterator[Client]:
    with Client(server.url, "t") as made:
        yield made


class Place:
    """A place to type in; what was printed there."""

    def __init__(self, client: Client, place: str) -> None:
        self.said: list[str] = []
        self.told: list[str] = []
        self.context = Context(place, lambda: client, self.said.append, self.told.append)


def job(server: Broken, name: str, phase: str) -> str:
    """A job that can be asked for; its path."""
    meta = {"uid": f"uid-{name}", "name": name, "namespace": "bob", "owner": "bob"}
    resource: dict[str, Any] = {"kind": "TrainJob", "metadata": meta, "spec": {}, "status": {"phase": phase}}
    for path in (name, f"uid-{name}"):
        server.answers["GET", f"/namespaces/bob/trainjobs/{path}"] = lambda handler: handler.send(resource)
    return f"/namespaces/bob/trainjobs/uid-{name}"


def waiting(*names: str) -> argparse.Namespace:
    return argparse.Namespace(names=list(names), namespace=None, timeout=None)


def test_the_wait_for_several_goes_on_behind_one_that_is_deleted(server: Broken, client: Client) -> None:
    job(server, "gone-1", "Running")
    job(server, "good-1", "Succeeded")
    page = {"items": [], "metadata": {"resourceVersion": "1"}}
    server.answers["GET", "/namespaces/bob/trainjobs"] = lambda handler: handler.send(page)
    change = {"type": "DELETED", "object": {"metadata": {"uid": "uid-gone-1"}}}
    server.answers["GET", "/changes"] = lambda handler: handler.send({"changes": [change], "version": "2"})
    place = Place(client, "cli")
    assert looking.wait(place.context, waiting("gone-1", "good-1")) == 1
    assert place.said == ["good-1: Succeeded\n"]
    remedy = "Nothing of it is left to wait for; submit it again if it is still needed."
    assert place.told == [f"The job gone-1 was deleted meanwhile. {remedy}"]


def test_a_wait_for_a_wrong_name_stops_a_notebook_when_the_others_have_ended(server: Broken, client: Client) -> None:
    job(server, "good-1", "Succeeded")
    page = {"items": [], "metadata": {"resourceVersion": "1"}}
    server.answers["GET", "/namespaces/bob/trainjobs"] = lambda handler: handler.send(page)
    place = Place(client, "magic")
    with pytest.raises(TrainJobError, match=r"(?s)wrong.*This failed for 1 of 2 jobs\.$"):
        looking.wait(place.context, waiting("wrong", "good-1"))
    assert place.said == ["good-1: Succeeded\n"]
    assert looking.wait(Place(client, "cli").context, waiting("wrong", "good-1")) == 1, "the command has a status"


def test_cancel_all_passes_over_a_job_that_was_deleted_meanwhile(server: Broken, client: Client) -> None:
    items = []
    for name in ("gone-1", "good-1"):
        path = job(server, name, "Queued")
        meta = {"uid": f"uid-{name}", "name": name, "namespace": "bob"}
        items.append({"kind": "TrainJob", "metadata": meta, "spec": {}, "status": {"phase": "Queued"}})
    server.answers["GET", "/trainjobs"] = lambda handler: handler.send({"items": items, "metadata": {}})
    server.answers["POST", f"{path}/cancel"] = lambda handler: handler.send(items[1])
    place = Place(client, "cli")
    acting.cancel(place.context, argparse.Namespace(all=True, names=[], namespace=None))
    assert place.said == ["good-1: cancel asked for\n"]


def test_what_failed_is_told_also_where_the_connection_goes_then(server: Broken, client: Client) -> None:
    def hang_up(handler: Handler) -> None:
        handler.close_connection = True
        handler.connection.close()

    path = job(server, "good-1", "Queued")
    server.answers["POST", f"{path}/cancel"] = hang_up
    place = Place(client, "cli")
    with pytest.raises(ConnectionLost):
        acting.cancel(place.context, argparse.Namespace(all=False, message="", **vars(waiting("typo", "good-1", "c"))))
    assert [line.partition(" It was")[0] for line in place.told] == ["no /namespaces/bob/trainjobs/typo"]
