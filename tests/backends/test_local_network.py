"""What a job can talk to: nothing, itself, or what its profile allows. All servers here are the test's own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.backends.base import AttemptRequest, BackendError
from jupyter_trainjob.backends.local.doctor import Local, examine
from jupyter_trainjob.backends.local.warm.kinds import kind
from jupyter_trainjob.resources.profile import Profile
from jupyter_trainjob.resources.trainjob import FIRST_CHOSEN_SEED

from .conftest import LEVELS, MakePlace
from .place import Place, a_request

CODE = """
import json, socket, threading
given = {given!r}
def tried(what):
    try:
        return what()
    except OSError as error:
        return type(error).__name__
def tcp():
    with socket.create_connection(("127.0.0.1", given["tcp"]), 3) as s:
        return s.recv(100).decode()
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.sendto(b"?", ("127.0.0.1", given["udp"]))
        return s.recv(100).decode()
def abstract():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\\0" + given["abstract"])
        return s.recv(100).decode()
def own():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), 3) as s:
        taken, _ = server.accept()
        with taken:
            taken.sendall(b"me")
            return s.recv(2).decode()
def name():
    return socket.gethostbyname("localhost")
print(json.dumps({{f.__name__: tried(f) for f in (tcp, udp, abstract, own, name)}}))
"""


@pytest.fixture
def given() -> Iterator[dict[str, Any]]:
    """Servers on the machine's loopback, and on an abstract socket, that answer ``hello``."""
    stream, datagrams, unix = socket.socket(), socket.socket(type=socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX)
    name = f"trainjob-network-{os.getpid()}"
    stream.bind(("127.0.0.1", 0))
    datagrams.bind(("127.0.0.1", 0))
    unix.bind(f"\0{name}")
    ending = threading.Event()

    def greet(listener: socket.socket) -> None:
        while not ending.is_set():
            with suppress(TimeoutError), listener.accept()[0] as taken:
                taken.sendall(b"hello")

    def answer() -> None:
        while not ending.is_set():
            with suppress(TimeoutError):
                datagrams.sendto(b"hello", datagrams.recvfrom(10)[1])

    threads = [threading.Thread(target=greet, args=(one,)) for one in (stream, unix)]
    threads.append(threading.Thread(target=answer))
    for listener in (stream, unix):
        listener.listen()
    for one in (stream, datagrams, unix):
        one.settimeout(0.1)
    for thread in threads:
        thread.start()
    yield {"tcp": stream.getsockname()[1], "udp": datagrams.getsockname()[1], "abstract": name}
    ending.set()
    for thread in threads:
        thread.join()
    for one in (stream, datagrams, unix):
        one.close()


def asks(uid: str, code: str, mode: str, allowed: str = "none", **spec: Any) -> AttemptRequest:
    request = a_request(uid, code, network={"mode": mode}, **spec)
    profile = {"kind": "Profile", "metadata": {"name": "lab"}, "spec": {"network": {"mode": allowed}}}
    return AttemptRequest(request.ref, request.job, Profile.model_validate(profile), request.blob_prefix)


async def reaches(place: Place, given: dict[str, Any], mode: str, allowed: str = "none") -> tuple[dict[str, str], Any]:
    request = asks(f"net-{mode}-{allowed}", CODE.format(given=given), mode, allowed)
    await place.backend.create(request)
    seen = await place.until(request.ref, "ended")
    found: dict[str, str] = json.loads(await place.log(request.ref))
    return found, seen


@pytest.mark.asyncio
async def test_a_job_reaches_nothing_of_the_machines(place: Place, level: str, given: dict[str, Any]) -> None:
    if level == "process":  # it claims nothing, and says so
        _, seen = await reaches(place, given, "none")
        assert [one["reason"] for one in seen.conditions if one["type"] == "Isolated"] == ["ProcessOnly"]
        return
    for mode in ("none", "loopback", "profile"):
        if mode == "loopback" and level == "landlock+seccomp":
            continue
        found, seen = await reaches(place, given, mode)
        assert "hello" not in found.values(), (mode, found)
        assert not [one for one in seen.conditions if one["type"] == "Isolated"]
        if level != "landlock+seccomp":
            assert found["own"] == "me" and found["name"] == "127.0.0.1", found


@pytest.mark.asyncio
async def test_what_the_profile_allows_is_for_jobs_that_ask(
    make_place: MakePlace, level: str, given: dict[str, Any]
) -> None:
    place = await make_place(host_network=True, **LEVELS[level])
    if place.backend.describe()["isolation"] != level:
        pytest.skip(f"this machine offers {place.backend.describe()['isolation']}")
    found, seen = await reaches(place, given, "profile", "host")
    assert (found["tcp"], found["udp"], found["own"], found["name"]) == ("hello", "hello", "me", "127.0.0.1"), found
    reason = "ProcessOnly" if level == "process" else "NetworkAllowed"
    assert [one["reason"] for one in seen.conditions if one["type"] == "Isolated"] == [reason]
    if level != "process":
        found, _ = await reaches(place, given, "none", "host")
        assert "hello" not in found.values(), found


@pytest.mark.asyncio
async def test_the_operator_of_the_machine_has_the_last_word(strong: Place) -> None:
    assert strong.backend.offers() == {"network:loopback"}
    with pytest.raises(BackendError, match="allows the machine's network, and the backend does not") as refused:
        await strong.backend.create(asks("never", "1", "profile", "host"))
    assert refused.value.permanent and "LocalBackendSettings.host_network" in refused.value.remedy
    assert await asyncio.wait_for(strong.backend.attempts(), 5) == []


@pytest.mark.asyncio
async def test_where_a_loopback_would_be_more_it_is_refused(make_place: MakePlace) -> None:
    place = await make_place(**LEVELS["landlock+seccomp"])
    if place.backend.describe()["isolation"] != "landlock+seccomp":
        pytest.skip(f"this machine offers {place.backend.describe()['isolation']}")
    assert place.backend.offers() == frozenset()
    with pytest.raises(BackendError, match="can't have a loopback of its own") as refused:
        await place.backend.create(asks("more", "1", "loopback"))
    assert refused.value.permanent and "--network none" in refused.value.remedy


def test_a_kernel_waits_for_jobs_with_its_network() -> None:
    modes = (("none", "host"), ("loopback", "host"), ("profile", "none"), ("profile", "host"))
    kinds = [kind(asks("a", "1", *mode, seed=FIRST_CHOSEN_SEED), []) for mode in modes]
    assert kinds[0] == kinds[1] == kinds[2] != kinds[3] and all(kinds)


def test_the_doctor_tells_of_an_operator_who_opens_it(tmp_path: Path) -> None:
    local = Local(data_dir=tmp_path, python=sys.executable, kernelspec_dirs=())
    assert not [one for one in examine(local) if one.check == "network"]
    (found,) = [one for one in examine(replace(local, host_network=True)) if one.check == "network"]
    assert found.level == "warn" and "reach what this machine reaches" in found.message
