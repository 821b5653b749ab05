"""A backend that takes one attempt after the other: nobody waits behind one that will not come."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest
from jupyter_trainjob.backends.kubernetes import lanes
from jupyter_trainjob.backends.kubernetes.lanes import Lanes
from jupyter_trainjob.resources.trainjob import Phase, TrainJob
from jupyter_trainjob.storage.base import ObjectStore
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store

from .conftest import cancel, running, until, until_phase
from .instant import InstantBackend

pytestmark = pytest.mark.asyncio


class OneLane(InstantBackend):
    """Each that is created holds the lane until the test lets go of it."""

    def __init__(self) -> None:
        super().__init__(cpus=64, auto=False)
        self.lanes = Lanes(lambda ref: None)

    async def start(self, store: ObjectStore, changed: Callable[[AttemptRef], None]) -> None:
        await super().start(store, changed)
        self.lanes = Lanes(changed, 1)

    def may_create(self, ref: AttemptRef) -> bool:
        return ref in self.known or self.lanes.enter(ref)

    def give_up_turn(self, ref: AttemptRef) -> None:
        self.lanes.give_up(ref)

    async def create(self, request: AttemptRequest) -> None:
        self.lanes.keep(request.ref)
        await super().create(request)


async def test_who_is_cancelled_while_it_waits_keeps_nobody_waiting(
    store: Store, objects: FilesystemStore, submit: Callable[..., TrainJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "TURN_SECONDS", 60.0)  # so that nothing goes on by itself
    backend = OneLane()
    uids = [submit(f"j{number}").metadata.uid for number in range(12)]
    async with running(store, objects, backend):
        await until(lambda: len(backend.created) == 1)
        first = backend.created[0].uid
        for uid in uids:
            await until_phase(store, uid, Phase.RUNNING if uid == first else Phase.ADMITTED)
        *others, last = [uid for uid in uids if uid != first]
        for uid in others:
            cancel(store, uid)
        for uid in others:
            await until_phase(store, uid, Phase.CANCELLED)
        assert len(backend.created) == 1
        backend.lanes.leave(backend.created[0])
        await until(lambda: [ref.uid for ref in backend.created] == [first, last], 20)
        for ref in backend.created:
            backend.finish(ref)
        for uid in (first, last):
            await until_phase(store, uid, Phase.SUCCEEDED)


async def test_all_come_to_their_turn(store: Store, objects: FilesystemStore, submit: Callable[..., TrainJob]) -> None:
    backend = OneLane()
    uids = [submit(f"j{number}").metadata.uid for number in range(12)]
    async with running(store, objects, backend):
        for count in range(1, 13):
            await until(lambda count=count: len(backend.created) == count, 30)
            backend.finish(backend.created[-1])
            backend.lanes.leave(backend.created[-1])
        for uid in uids:
            await until_phase(store, uid, Phase.SUCCEEDED)
    assert len(set(backend.created)) == 12
