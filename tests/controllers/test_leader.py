"""Leading: a lease is held only by one who acts, and errors of the record end nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jupyter_trainjob.controllers import leader
from jupyter_trainjob.controllers.leader import LEASE, LeaderElection, holder_is_dead
from jupyter_trainjob.resources.errors import Unavailable
from jupyter_trainjob.store import Store, Writer

LOG = logging.getLogger("test.leader")


@pytest.mark.asyncio
async def test_who_cannot_lead_gives_the_lease_back_and_tries_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leader, "RENEW_SECONDS", 0.05)
    tries = 0
    led = asyncio.Event()

    async def lead() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            assert store.read(lambda reader: reader.lease(LEASE)) is not None
            raise Unavailable("the record is busy")
        led.set()

    async def follow() -> None:
        return None

    election = LeaderElection(store, lead, follow, LOG)
    await election.start()
    assert not election.leading
    row = store.read(lambda reader: reader.lease(LEASE))
    assert row is None or not row.holder
    await asyncio.wait_for(led.wait(), 5)
    await asyncio.sleep(0.02)
    assert election.leading and tries == 2
    assert "the record is busy" in caplog.text
    await election.stop()


def test_a_holder_is_dead_only_where_that_is_certain() -> None:
    here = leader._here()
    assert holder_is_dead(f"{here}:4194304999:1:aa")
    assert not holder_is_dead("another-boot.4026531836:1:1:aa")
    assert not holder_is_dead("nonsense")


def test_a_holder_in_another_pod_of_this_machine_is_not_taken_for_dead() -> None:
    """Its first process and ours have the same number."""
    code = "from jupyter_trainjob.controllers import leader; print(leader._here())"
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    there = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    if there.returncode and "unshare" in there.stderr:
        pytest.skip(f"no pid namespace can be made here: {there.stderr.strip()}")
    assert there.stdout.strip().startswith(leader.boot_id())
    assert not holder_is_dead(f"{there.stdout.strip()}:{os.getpid()}:1:aa")


class Elsewhere:
    """A leader on a machine whose clock is off by ``skew`` seconds; it renews as long as it ``lives``."""

    def __init__(self, store: Store, skew: float) -> None:
        self._store, self._skew = store, skew
        self.renew()

    def renew(self) -> None:
        def write(writer: Writer) -> None:
            writer.release_lease(LEASE, "elsewhere:1:1:aa")
            assert writer.acquire_lease(LEASE, "elsewhere:1:1:aa", leader.LEASE_SECONDS + self._skew)

        self._store.write(write)

    async def lives(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.to_thread(self.renew)
            await asyncio.sleep(0.05)


@pytest.mark.asyncio
@pytest.mark.parametrize("skew", [-120, 0, 120])
async def test_a_clock_that_is_minutes_off_neither_takes_a_lease_nor_keeps_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    monkeypatch.setattr(leader, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(leader, "LEASE_SECONDS", 1.0)
    there = Elsewhere(store, skew)
    led = asyncio.Event()

    async def lead() -> None:
        led.set()

    async def follow() -> None:
        return None

    election = LeaderElection(store, lead, follow, LOG)
    await election.start()
    await there.lives(2.0)
    assert not led.is_set() and not election.leading, "it renews, and that is what counts"
    await asyncio.wait_for(led.wait(), 20)
    await election.stop()


@pytest.mark.asyncio
async def test_nobody_waits_for_a_lease_that_ran_out_long_ago(store: Store) -> None:
    Elsewhere(store, -3600)
    ends = asyncio.Event()

    async def lead() -> None:
        ends.set()

    async def follow() -> None:
        return None

    election = LeaderElection(store, lead, follow, LOG)
    await election.start()
    assert election.leading and ends.is_set()
    await election.stop()
