"""Leading: a lease is held only by one who acts, and errors of the record end nothing."""

from __future__ import annotations

import asyncio
import logging

import pytest

from jupyter_trainjob.controllers import leader
from jupyter_trainjob.controllers.leader import LEASE, LeaderElection, holder_is_dead
from jupyter_trainjob.resources.errors import Unavailable
from jupyter_trainjob.store import Store

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
    boot = leader.boot_id()
    assert holder_is_dead(f"{boot}:4194304999:1:aa")
    assert not holder_is_dead("another-boot:1:1:aa")
    assert not holder_is_dead("nonsense")
