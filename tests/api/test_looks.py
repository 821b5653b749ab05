"""Looks at code keep nobody else waiting, and cost the server neither memory nor its loop, whatever the code is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from jupyter_trainjob.api.sources import Asked, Findings, Inspector
from jupyter_trainjob.api.sources.inspector import SMALL_CHARACTERS, _small
from jupyter_trainjob.api.sources.places import Busy, Places, Turns
from jupyter_trainjob.api.sources.python import Python
from jupyter_trainjob.api.sources.readerprocess import Reader
from jupyter_trainjob.resources.errors import Unavailable

MIB = 1024 * 1024
LONG = "x = 1\n" * 4000
"""Too long to be read in the server."""


@pytest_asyncio.fixture
async def inspector() -> AsyncIterator[Inspector]:
    made = Inspector()
    yield made
    made.close()


def notebook(*codes: str, language: str = "python", tags: list[str] | None = None) -> bytes:
    cells = [
        {
            "id": str(number),
            "cell_type": "code",
            "source": code,
            "metadata": {"tags": tags or []},
            "outputs": [],
            "execution_count": None,
        }
        for number, code in enumerate(codes)
    ]
    metadata = {"language_info": {"name": language}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}).encode()


class Watched:
    """The loop's longest stall, in seconds, and the server's growth, in bytes, while something runs."""

    def __init__(self) -> None:
        self.stall = 0.0
        self.growth = 0

    async def during(self, work: Awaitable[Findings]) -> Findings:
        """Asks the thread's own time too, so that a machine with no time for us isn't taken for a stall."""
        task = asyncio.ensure_future(work)
        before = psutil.Process().memory_info().rss
        while not task.done():
            began, cpu = time.monotonic(), psutil.Process().cpu_times()
            await asyncio.sleep(0.005)
            after = psutil.Process().cpu_times()
            used = after.user + after.system - cpu.user - cpu.system
            self.stall = max(self.stall, min(time.monotonic() - began, used + 0.01))
            self.growth = max(self.growth, psutil.Process().memory_info().rss - before)
        return await task


HOSTILE = {
    "assignments": "a = 1\n" * (16 * MIB // 6),
    "one long line": "x+" * (8 * MIB) + "1",
    "line ends": "\n" * (16 * MIB - 1) + "1",
    "brackets": "(" * (16 * MIB),
    "closed brackets": "[" * 199 + "a b" + "]" * 199,
    "lists": "[[]," * (4 * MIB),
    "names": ";".join(f"a{number}" for number in range(16 * MIB // 8)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.asyncio
async def test_the_loop_goes_on_while_a_large_notebook_is_looked_at(inspector: Inspector, name: str) -> None:
    await inspector.notebook(notebook("1"), "n.ipynb", Asked())  # the process is there
    data = notebook(HOSTILE[name])
    watched = Watched()
    began = time.monotonic()
    await watched.during(inspector.notebook(data, "n.ipynb", Asked(parameters={"lr": 1})))
    assert time.monotonic() - began < 12
    assert watched.stall < 0.1, f"{watched.stall:.3f} s"
    assert watched.growth < 4 * len(data) + 50 * MIB, f"{watched.growth / MIB:.0f} MiB"


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [b"[" * 16 * MIB, b"[" + b"[]," * (5 * MIB) + b"[]]", b'{"cells": [' + b"{}," * (5 * MIB) + b'{}], "nbformat": 4}'],
    ids=["deep", "wide", "cells"],
)
@pytest.mark.asyncio
async def test_the_loop_goes_on_while_hostile_json_is_read(inspector: Inspector, data: bytes) -> None:
    await inspector.notebook(notebook("1"), "n.ipynb", Asked())
    watched = Watched()
    found = await watched.during(inspector.notebook(data, "n.ipynb", Asked()))
    assert len(found.errors) == 1
    assert watched.stall < 0.1, f"{watched.stall:.3f} s"
    assert watched.growth < 4 * len(data) + 50 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.asyncio
async def test_the_loop_goes_on_while_a_large_script_is_looked_at(inspector: Inspector, name: str) -> None:
    watched = Watched()
    await watched.during(inspector.script(HOSTILE[name][: 8 * MIB].encode(), "a.py", Asked(parameters={"lr": 1})))
    assert watched.stall < 0.1, f"{watched.stall:.3f} s"
    assert watched.growth < 100 * MIB


SMALL = {
    "closed brackets": "[" * 20 + "a b" + "]" * 20,
    "calls": "f(a=" * 20 + "1 2" + ")" * 20,
    "lambdas": "lambda:" * 1170 + "1",
    "comparisons": "not " * 2040 + "1",
    "branches": "1 if 1 else " * 680 + "1",
    "powers": "2**" * 2700 + "2",
    "attributes": "a." * 4090 + "a",
    "assignments": "a=" * 4090 + "1",
    "magics": "%a\n" * 2700,
    "questions": "a?\n" * 2700,
    "blocks": "".join(" " * depth + "if a:\n" for depth in range(90)) + " " * 90 + "1",
    "lists": "[[]]," * 1600,
    "commas": "a," * 4000,
    "literal": "-" * 8000 + "1",
    "power of powers": "x = " + "9**" * 2000 + "9",
    "string": "x = " + "'a'*9**9*" * 800 + "1",
}


@pytest.mark.parametrize("name", SMALL)
def test_what_is_read_in_the_server_takes_it_little_time(name: str) -> None:
    code = SMALL[name]
    assert _small(code[:SMALL_CHARACTERS])
    seconds = []
    for _ in range(3):  # one of them may have to collect the garbage of other tests
        began = time.thread_time()
        Python().complaints([code])
        Python().declared(code)
        Python().uses(code, ["a"])
        seconds.append(time.thread_time() - began)
    assert min(seconds) < 0.1


def test_what_is_long_or_deep_is_not_read_in_the_server() -> None:
    assert not _small("x" * (SMALL_CHARACTERS + 1))
    assert not _small("([{" * 10)
    assert _small("f(x)\n" * 1000)


@pytest.mark.asyncio
async def test_small_and_long_code_are_told_the_same(inspector: Inspector) -> None:
    for before in ("", LONG):
        line = before.count("\n") + 1
        found = await inspector.cell(f"{before}for x in", Asked())
        assert [error.message for error in found.errors] == [f"line {line}: invalid syntax: for x in"]
        found = await inspector.cell(f"{before}print(rate)", Asked(parameters={"rat": 1}))
        assert found.errors[0].field == "spec.parameters.rat" and "Did you mean 'rate'?" in found.errors[0].remedy
        assert len(found.code_hash) == 64


@pytest.mark.asyncio
async def test_an_ordinary_cell_is_told_at_once_and_starts_nothing(inspector: Inspector) -> None:
    await inspector.cell("x = 1", Asked())
    began = time.monotonic()
    for _ in range(20):
        await inspector.cell("import numpy as np\nprint(np.arange(10))\n" * 20, Asked())
    assert (time.monotonic() - began) / 20 < 0.05
    assert inspector._reader.pid is None


@pytest.mark.asyncio
async def test_a_notebook_is_told_as_the_look_goes_although_its_code_is_too_much(inspector: Inspector) -> None:
    found = await inspector.notebook(notebook("a = 1\n" * (2 * MIB), language="r"), "n.ipynb", Asked("python"))
    assert (found.errors, found.language) == ([], "r")


@pytest.mark.asyncio
async def test_what_is_told_is_bounded_and_what_may_be_sent_is_not(inspector: Inspector) -> None:
    many = ";".join(f"a{number}=1" for number in range(3_000))
    found = await inspector.notebook(notebook(many, *["for x in"] * 60, tags=["parameters"]), "n.ipynb", Asked())
    assert (len(found.parameters), len(found.errors)) == (1000, 50)
    declares = notebook(many, tags=["parameters"])
    found = await inspector.notebook(declares, "n.ipynb", Asked(parameters={"a2999": 2}))
    assert found.errors == []


# The process


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.close()


def look(reader: Reader, code: str = "for x in") -> list[str]:
    answers = reader.ask("text", code.encode(), about=("the cell", "here", {}, 1))
    return [error.message for answer, _ in answers for error in Findings.unpacked(answer["findings"]).errors]


WRONG = ["line 1: invalid syntax: for x in"]


def test_one_process_serves_all_and_another_where_it_was_killed(reader: Reader) -> None:
    assert reader.pid is None
    assert look(reader) == WRONG
    first = reader.pid
    assert look(reader) == WRONG and reader.pid == first
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until = time.monotonic() + 10
    while reader.pid is not None and time.monotonic() < until:
        time.sleep(0.01)
    assert look(reader) == WRONG and reader.pid not in (None, first)


def test_what_it_has_not_said_in_time_is_accepted_and_the_next_is_answered() -> None:
    reader = Reader(look_seconds=0.5)
    try:
        look(reader)
        first = reader.pid
        began = time.monotonic()
        assert look(reader, "a.b(c)\n" * (4 * MIB)) == []
        assert time.monotonic() - began < 3
        assert look(reader) == WRONG and reader.pid != first
    finally:
        reader.close()


def test_it_has_bounds_and_nothing_of_the_servers_environment(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINJOB_TEST_SECRET", "s3cret")
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    assert look(reader) == WRONG
    assert reader.pid is not None
    process = psutil.Process(reader.pid)
    assert process.environ().keys() == {"PATH", "LC_ALL", "LANGUAGE", "HOME", "TMPDIR"}
    assert process.rlimit(psutil.RLIMIT_AS)[0] == 1024**3
    assert process.rlimit(psutil.RLIMIT_CPU)[0] < 10
    assert process.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    assert process.cwd() == "/"


def test_one_that_keeps_much_memory_does_not_stay() -> None:
    reader = Reader(largest_bytes=1)
    try:
        assert look(reader) == WRONG
        assert reader.pid is None
        assert look(reader) == WRONG
    finally:
        reader.close()


def test_many_seconds_of_ordinary_looks_do_not_end_it(reader: Reader) -> None:
    """The bound on its time is for one look, not for its life."""
    look(reader)
    first, began = reader.pid, time.monotonic()
    assert first is not None
    while time.monotonic() - began < 8 and psutil.Process(first).cpu_times().user < 5:
        assert look(reader, "x = 1\n" * 5000 + "for x in") == ["line 5001: invalid syntax: for x in"]
    assert reader.pid == first


def test_it_ends_when_it_is_closed_even_in_the_midst_of_a_look(reader: Reader) -> None:
    look(reader)
    pid = reader.pid
    asking = threading.Thread(target=look, args=(reader, "a.b(c)\n" * (2 * MIB)))
    asking.start()
    time.sleep(0.2)
    reader.close()
    asking.join(timeout=5)
    assert not asking.is_alive() and not Path(f"/proc/{pid}").exists()
    assert look(reader) == []


# Places


@pytest_asyncio.fixture
async def places() -> AsyncIterator[Places]:
    made = Places(2, "test", Turns(), wait_seconds=0.3)
    yield made
    made.close()


@pytest.mark.asyncio
async def test_a_person_has_one_look_at_once_and_others_go_on(places: Places) -> None:
    now, most = 0, 0
    lock = threading.Lock()

    def one() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1

    await asyncio.gather(*(places.run("alice", one) for _ in range(3)))
    assert most == 1
    await asyncio.gather(places.run("alice", one), places.run("bob", one))
    assert most == 2


@pytest.mark.asyncio
async def test_nobody_waits_long_for_a_place(places: Places) -> None:
    release = threading.Event()
    held = [asyncio.ensure_future(places.run(person, release.wait)) for person in ("alice", "bob")]
    await asyncio.sleep(0.05)
    for person in ("alice", "carol"):
        began = time.monotonic()
        with pytest.raises(Busy):
            await places.run(person, int)
        assert 0.2 < time.monotonic() - began < 2
    release.set()
    await asyncio.gather(*held)
    assert await places.run("alice", int) == await places.run("carol", int) == 0


@pytest.mark.asyncio
async def test_a_look_that_nobody_waits_for_any_more_keeps_its_place(places: Places) -> None:
    release = threading.Event()
    held = asyncio.ensure_future(places.run("alice", release.wait))
    await asyncio.sleep(0.05)
    held.cancel()
    with pytest.raises(Busy):
        await places.run("alice", int)
    release.set()
    await asyncio.sleep(0.05)
    assert await places.run("alice", int) == 0


@pytest.mark.asyncio
async def test_code_that_finds_no_place_is_accepted_and_a_notebook_is_to_be_sent_again() -> None:
    inspector = Inspector(wait_seconds=0.2)
    try:
        release = threading.Event()
        held = asyncio.ensure_future(inspector._reading.run("bob", release.wait))
        await asyncio.sleep(0.05)
        found = await inspector.cell(f"{LONG}for x in", Asked(person="alice"))
        assert found.errors == [] and len(found.code_hash) == 64
        with pytest.raises(Unavailable) as refused:
            await inspector.notebook(notebook("1"), "n.ipynb", Asked(person="alice"))
        assert refused.value.message == "'n.ipynb' can't be read now: the server reads other notebooks."
        assert refused.value.remedy == "Send it again in a moment."
        release.set()
        await held
        told: dict[str, Any] = (await inspector.cell(f"{LONG}for x in", Asked(person="alice"))).packed()
        assert len(told["errors"]) == 1
    finally:
        inspector.close()
