"""The pool of slots on a real cluster: claimed once, by one; made way for jobs; whole whatever dies in between."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest
from jupyter_trainjob.backends.kubernetes import objects, slots
from jupyter_trainjob.backends.kubernetes.handover import Handover
from jupyter_trainjob.backends.kubernetes.pool import Pool
from jupyter_trainjob.resources.base import ObjectMeta
from jupyter_trainjob.resources.profile import Profile, completed
from jupyter_trainjob.resources.trainjob import FIRST_CHOSEN_SEED, Resources, TrainJob
from tests.backends.place import RESOURCES

from .backends import ClusterPlace, open_store, settings
from .cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.asyncio]

SMALL = {**RESOURCES, "cpu": "100m", "memory": "256Mi", "disk": "100Mi"}
PROFILE = Profile.model_validate({"metadata": {"name": "default"}, "spec": {"defaults": SMALL}})


class PoolPlace(ClusterPlace):
    """A server with a pool."""

    def __init__(self, cluster: Cluster, namespace: str, store: Any, size: int, **more: Any) -> None:
        super().__init__(store, name="cluster", settings=settings(cluster, namespace, warm={"default": size}, **more))
        self.cluster, self.namespace = cluster, namespace

    async def start(self) -> None:
        await super().start()
        self.backend.keep_warm([PROFILE])

    async def warm(self, count: int, *, seconds: float = 90) -> list[slots.Slot]:
        """Wait until at least so many slots are."""
        deadline = time.monotonic() + seconds
        while True:
            idle = [slot for slot in self.pool.idle() if slot.state == "warm"]
            if len(idle) >= count:
                return idle
            assert time.monotonic() < deadline, (self.pool.idle(), self.backend.describe())
            await asyncio.sleep(0.05)

    async def gone(self, *names: str, seconds: float = 60) -> None:
        """Wait until there are no such Jobs."""
        deadline = time.monotonic() + seconds
        while set(names) & {one["metadata"]["name"] for one in await self.jobs()}:
            assert time.monotonic() < deadline, names
            await asyncio.sleep(0.2)

    async def jobs(self) -> list[dict[str, Any]]:
        """All Jobs, from the API server itself."""
        return await self.items("jobs")

    async def items(self, kind: str) -> list[dict[str, Any]]:
        text = await asyncio.to_thread(self.cluster.kubectl, "-n", self.namespace, "get", kind, "-o", "json")
        found: list[dict[str, Any]] = json.loads(text)["items"]
        return found

    @property
    def pool(self) -> Pool:
        found: Pool = self.backend._pool
        return found


@pytest_asyncio.fixture
async def place(
    cluster: Cluster, namespace: str, python_image: None, tmp_path: Path
) -> AsyncIterator[Callable[..., PoolPlace]]:
    """Makes servers on one store and one namespace, with a pool of ``size`` each; all must be started by the test."""
    store, made = open_store(cluster, tmp_path, namespace), list[PoolPlace]()

    def make(size: int = 1, **more: Any) -> PoolPlace:
        made.append(PoolPlace(cluster, namespace, store, size, **more))
        return made[-1]

    yield make
    for one in made:
        await one.stop()
    last = make(0)
    last.backend.keep_warm(None) if last._up else None
    await last.clear()


def request(uid: str, code: str, *, attempt: int = 1, **spec: Any) -> AttemptRequest:
    """As the controller makes one of a job that asks for no more than its profile gives."""
    asked = Resources.model_validate(spec.pop("resources", {}))
    spec = {
        "source": {"type": "cell", "code": code},
        "timeLimitSeconds": 60,
        "resources": completed(asked, PROFILE.spec.defaults),
        "environment": {"language": "python"},
        "seed": FIRST_CHOSEN_SEED + 1,
        "queue": "default",
        **spec,
    }
    job = TrainJob.model_validate({"kind": "TrainJob", "metadata": {"name": "probe", "uid": uid}, "spec": spec})
    job.metadata = ObjectMeta(name="probe", namespace="ada", uid=uid)
    job.metadata.owner = "ada"
    return AttemptRequest(AttemptRef(uid, attempt), job, PROFILE, "blobs/ada/")


def labels(item: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = item["metadata"].get("labels") or {}
    return found


async def inside(server: PoolPlace, slot: slots.Slot) -> str:
    """What there is to be seen in the main container of one that waits."""
    [pod] = [one for one in await server.items("pods") if slots.job_of(one) == slot.name]
    look = (
        "import os; print(dict(os.environ)); print(open('/proc/self/mounts').read()); "
        "print([os.path.join(a, f) for top in ('/trainjob', '/var/run') for a, _, c in os.walk(top) for f in c]); "
        "print(open('/trainjob/in/slot-job.json').read(), open('/trainjob/in/slot').read())"
    )
    return await asyncio.to_thread(
        server.cluster.kubectl,
        *("-n", server.namespace, "exec", pod["metadata"]["name"], "-c", "main", "--"),
        *("/opt/venv/bin/python", "-c", look),
    )


async def test_a_claimed_slot_is_the_jobs_own_and_begins_at_once(place: Any) -> None:
    server = place(1)
    await server.start()
    [slot] = await server.warm(1)
    [idle] = await server.jobs()
    assert objects.ref_of(idle) is None and "activeDeadlineSeconds" not in idle["spec"]
    seen_inside = await inside(server, slot)
    for secret in ("orders.json", "X-Amz", "/var/run/trainjob", server.cluster.minio.secret_key):
        assert secret not in seen_inside, seen_inside
    asked = request("quick", "import os\nprint('hello', os.environ['TRAINJOB_JOB_UID'])\nanswer = 6 * 7")
    asked.job.spec.outputs.names = ["answer"]
    began = time.monotonic()
    await server.backend.create(asked)
    created = time.monotonic() - began
    await server.log_holds(asked.ref, b"hello quick")
    print(f"first output {time.monotonic() - began:.2f} s after create, which took {created:.2f} s")
    claimed = next(job for job in await server.jobs() if job["metadata"]["name"] == slot.name)
    assert labels(claimed)["jupyter-trainjob/owner"] == "ada" and labels(claimed)["jupyter-trainjob/uid"] == "quick"
    age = (datetime.now(timezone.utc) - datetime.fromisoformat(claimed["status"]["startTime"])).total_seconds()
    limit = server.options["settings"].deadline_seconds(60)
    assert limit <= claimed["spec"]["activeDeadlineSeconds"] <= limit + age
    seen = await server.until(asked.ref, "ended")
    assert seen.claims["end"]["outcome"] == "ok" and seen.claims["end"]["results"][0]["name"] == "answer", seen
    assert seen.evidence["exitCode"] == 0 and await server.log(asked.ref) == b"hello quick\n" and seen.log_complete
    assert seen.node and seen.started is not None and not seen.conditions
    assert not server.store.exists(slots.key(slot.name)), "nothing of a job lies about"
    await server.backend.delete(asked.ref)
    await server.gone(slot.name)
    [other] = await server.warm(1)
    assert other.name != slot.name, "used once, and replaced"
    told = server.backend.describe()["warm"]["default"]
    assert told == {"size": 1, "warm": 1, "warming": 0, "claimed": 1, "missed": 0}
    assert await server.backend.attempts() == []


async def test_two_servers_that_claim_at_once_get_different_slots_and_the_same_attempt_one(place: Any) -> None:
    first, second = place(2), place(2)
    await first.start()
    await second.start()
    second.backend.keep_warm(None)
    await first.warm(2)
    await second.warm(2)
    one, other = request("one", "print('one')"), request("other", "print('other')")
    await asyncio.gather(
        first.backend.create(one),
        second.backend.create(other),
        second.backend.create(one),
        first.backend.create(other),
    )
    for server, asked, text in ((first, one, b"one\n"), (second, other, b"other\n")):
        seen = await server.until(asked.ref, "ended")
        assert seen.claims["end"]["outcome"] == "ok" and await server.log(asked.ref) == text
    mine = [objects.ref_of(job) for job in await first.jobs()]
    assert sorted(ref.uid for ref in mine if ref is not None) == ["one", "other"], "one Job each"


class Killed(BaseException):
    """In the place of kill -9: nothing behind it runs."""


STEPS = [
    (Handover, "put", "before"),
    (Handover, "put", "after"),
    (Pool, "claim", "after"),
    (Pool, "hand_over", "after"),
    (Handover, "give", "after"),
]


async def test_a_server_that_dies_between_any_two_steps_leaves_one_attempt_that_runs(
    place: Any, monkeypatch: Any
) -> None:
    asked = [request(f"fate{number}", f"print('once {number}')") for number in range(len(STEPS))]
    await place(2).start()  # it keeps the pool
    for one, (owner, step, when) in zip(asked, STEPS, strict=True):
        server, done = place(0), getattr(owner, step)
        await server.start()
        server.backend.keep_warm(None)
        await server.warm(1)

        async def last(self: Any, *arguments: Any, done: Any = done, when: str = when, **more: Any) -> Any:
            if when == "after":
                await done(self, *arguments, **more)
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(owner, step, last)
            with pytest.raises(Killed):
                await server.backend.create(one)
        await server.stop()
    await (after := place(0)).start()
    after.backend.keep_warm(None)
    for one in asked:
        if (await after.backend.observe(one.ref)).state == "gone":  # as the controller does
            await after.backend.create(one)
    for number, one in enumerate(asked):
        seen = await after.until(one.ref, "ended")
        assert seen.claims["end"]["outcome"] == "ok" and seen.log_complete
        assert await after.log(one.ref) == b"once %d\n" % number
    mine = [job for job in await after.jobs() if objects.ref_of(job) is not None]
    assert sorted(objects.ref_of(job).uid for job in mine) == [one.ref.uid for one in asked]  # type: ignore[union-attr]
    await after.backend.delete(asked[2].ref)
    assert (await after.backend.observe(asked[2].ref)).state == "gone"


async def test_a_slot_that_another_took_sends_the_attempt_elsewhere(place: Any) -> None:
    server = place(1)
    await server.start()
    [slot] = await server.warm(1)
    server.backend.keep_warm(None)
    for number in range(2):  # both decide for the only slot
        asked = request(f"job{number}", f"print({number})")
        files = await server.backend._secrets.prepare(asked, None)
        assert await server.backend._secrets.put(asked, files, slot.name) == slot.name
    for number in range(2):
        await server.backend.create(request(f"job{number}", f"print({number})"))
    for number in range(2):
        ref = AttemptRef(f"job{number}", 1)
        await server.until(ref, "ended")
        assert await server.log(ref) == b"%d\n" % number
    names = {objects.ref_of(job).uid: job["metadata"]["name"] for job in await server.jobs()}  # type: ignore[union-attr]
    assert names == {"job0": slot.name, "job1": "tj-job1-1"}


async def test_a_job_that_asks_for_more_goes_the_usual_way_and_idle_slots_make_way_for_it(place: Any) -> None:
    server = place(1)
    await server.start()
    before = await server.backend.capacity()
    [slot] = await server.warm(1)
    assert await server.backend.capacity() == before, "no job waits for what a slot has"
    large = request("large", "print('large')", resources={"memory": "300Mi"})
    await server.backend.create(large)
    assert {"tj-large-1", slot.name} == {job["metadata"]["name"] for job in await server.jobs()}
    await server.until(large.ref, "ended")
    await server.backend.delete(large.ref)
    whole = request("whole", "print('all of it')", resources={"cpu": f"{before[0].cpu_millis}m"})
    await server.backend.create(whole)
    seen = await server.until(whole.ref, "ended")
    assert seen.claims["end"]["outcome"] == "ok"
    assert slot.name not in {job["metadata"]["name"] for job in await server.jobs()}
    assert server.backend.describe()["warm"]["default"]["missed"] == 2


async def test_a_slot_that_dies_is_replaced_and_one_of_before_is_adopted_or_swept(place: Any, cluster: Cluster) -> None:
    server = place(1)
    await server.start()
    [slot] = await server.warm(1)
    [pod] = [one for one in await server.items("pods") if slots.job_of(one) == slot.name]
    await asyncio.to_thread(
        cluster.kubectl, "-n", server.namespace, "delete", "pod", pod["metadata"]["name"], "--wait=false"
    )
    await server.gone(slot.name)
    [fresh] = await server.warm(1)
    assert fresh.name != slot.name
    await server.stop()
    again = place(1)
    await again.start()
    assert [one.name for one in await again.warm(1)] == [fresh.name], "adopted"
    await again.stop()
    other = place(1, startup_seconds=601, reserve="65Mi")  # another configuration
    await other.start()
    await other.gone(fresh.name)
    [new] = await other.warm(1)
    other.backend.keep_warm([])
    await other.gone(new.name)


async def test_a_claimed_slot_can_be_cancelled(place: Any) -> None:
    server = place(1)
    await server.start()
    await server.warm(1)
    asked = request("stop", "print('up', flush=True)\nimport time\ntime.sleep(60)")
    await server.backend.create(asked)
    await server.log_holds(asked.ref, b"up")
    await server.backend.cancel(asked.ref, "never mind")
    seen = await server.until(asked.ref, "ended")
    assert seen.evidence["cancelled"] == "never mind" and (await server.log(asked.ref)).startswith(b"up\n")


async def test_a_profile_that_cant_be_kept_warm_is_told_of(place: Any) -> None:
    server = place(1)
    await server.start()
    server.backend.keep_warm([])
    assert "warm names the profile 'default', which there is not" in server.backend.describe()["warnings"]
