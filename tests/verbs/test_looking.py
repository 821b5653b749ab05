"""What the options of looking verbs do, against a server that answers what it is told to."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from jupyter_trainjob.client import Client, InputError
from jupyter_trainjob.verbs import looking, submitting
from jupyter_trainjob.verbs.context import Context

from ..client.broken import Broken, broken


@pytest.fixture
def server() -> Iterator[Broken]:
    with broken() as made:
        yield made


@pytest.fixture
def client(server: Broken) -> Iterator[Client]:
    with Client(server.url, "t") as made:
        yield made


def test_what_is_followed_is_the_latest_attempt_and_no_other(client: Client) -> None:
    context = Context("cli", lambda: client, print, print)
    asked = argparse.Namespace(name="j", namespace=None, follow=True, tail=None, attempt=1)
    with pytest.raises(InputError, match=r"--attempt 1 with --follow: what is followed is .*Leave one of the two out"):
        looking.logs(context, asked)


def test_the_last_job_is_of_the_namespace_that_was_named(server: Broken, client: Client) -> None:
    server.job("bob", {})
    mine = client.job("j")
    meta = {"uid": "u2", "name": "there-1", "namespace": "course", "owner": "bob"}
    there = {"kind": "TrainJob", "metadata": meta, "spec": {}, "status": {"phase": "Succeeded"}}
    server.answers["GET", "/namespaces/course/trainjobs"] = lambda handler: handler.send({"items": [there]})
    server.answers["GET", "/namespaces/course/trainjobs/u2"] = lambda handler: handler.send(there)
    context = Context("magic", lambda: client, print, print, last=lambda: mine)
    found = [
        looking.last(context, argparse.Namespace(namespace=namespace, output="")).items[0]["metadata"]["name"]
        for namespace in (None, "bob", "course")
    ]
    assert found == ["j-1", "j-1", "there-1"]


def test_the_state_behind_a_log_begins_a_line(server: Broken, client: Client) -> None:
    path = server.job("bob", {})
    server.answers["GET", f"{path}/log"] = lambda handler: handler.send(
        b"no end"[int(handler.path.partition("offset=")[2].partition("&")[0]) :], X_Log_Size="6", X_Log_Complete="true"
    )
    written: list[str] = []
    context = Context("cli", lambda: client, written.append, lambda line: written.append(line + "\n"))
    assert submitting._block(context, client.job("j")) == 0
    assert "".join(written).splitlines() == ["j-1: Succeeded", "no end", "j-1: Succeeded"]
