"""Jobs that Kueue admits, from the record to the pod: with the real Kueue, through the controllers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.backends.base import BackendError
from jupyter_trainjob.backends.kubernetes.backend import KubernetesBackend
from jupyter_trainjob.controllers.manager import ControllerManager
from jupyter_trainjob.resources.queue import Kueue, PriorityClass, Queue
from jupyter_trainjob.resources.trainjob import Phase, Reason, TrainJob
from jupyter_trainjob.scheduling.explain import Explanation
from jupyter_trainjob.store import Writer

from . import kueue as kueue_on
from .cluster import Cluster
from .lives import World

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.asyncio]

ONE = {"cpu": "400m", "memory": "600Mi"}
"""Room for one job at a time: each asks for 200m and 256Mi, and its sidecar and its start for a little more."""
LONG = "print('begun', flush=True)\nimport time\ntime.sleep(300)"


class Class(World):
    """A record whose default queue is one of Kueue's; ``serving`` is its server."""

    manager: ControllerManager
    backend: KubernetesBackend

    def hand_to(self, local_queue: str, *classes: PriorityClass) -> None:
        def change(writer: Writer) -> None:
            queue = writer.get(Queue, "", "default")
            queue.spec.kueue = Kueue(local_queue=local_queue, priority_classes=list(classes))
            queue.spec.priorities.maximum = 100
            writer.update(queue)
            writer.advance_scheduler_epoch(None)

        self.record.write(change)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        self.backend = KubernetesBackend(name="cluster", settings=self.life.settings)
        backends = {"cluster": self.backend}
        self.manager = ControllerManager(self.record, self.store, backends, log=logging.getLogger("server"))
        await self.manager.start()
        try:
            yield
        finally:
            await self.manager.stop()

    async def comes(self, check: Callable[[], Any], seconds: float = 120) -> None:
        try:
            await asyncio.to_thread(self.until, check, seconds)
        except AssertionError as error:
            jobs = self.record.read(lambda reader: reader.list(TrainJob, limit=100)).items
            told = await self.manager.ranking.explain_many(jobs)
            found = "\n".join(f"{job.status} {told.get(job.metadata.uid)}" for job in jobs)
            seen = self.cluster.kubectl("-n", self.namespace, "get", "jobs,pods,workloads", "-o", "wide")
            raise AssertionError(f"{error}\n{found}\n{seen}") from error

    async def is_in(self, uid: str, phase: Phase) -> None:
        await self.comes(lambda: self.job(uid).status.phase is phase)

    async def handed(self, uid: str) -> None:
        """Its Job is there, and Kueue has a Workload for it."""
        await self.comes(lambda: self.job(uid).status.live_attempt is not None)
        await self.comes(lambda: any(uid in str(one["metadata"]["ownerReferences"]) for one in self.get("workloads")))

    async def told(self, uid: str, wanted: Callable[[Explanation], bool]) -> Explanation:
        """Its explanation, once it is as ``wanted``."""
        for _ in range(240):
            found = await self.manager.ranking.explain(self.job(uid))
            if wanted(found):
                return found
            await asyncio.sleep(0.25)
        raise AssertionError(f"still {found}")

    def get(self, kind: str) -> list[dict[str, Any]]:
        found = json.loads(self.cluster.kubectl("-n", self.namespace, "get", kind, "-o", "json"))
        return list(found["items"])

    def job_of(self, uid: str) -> dict[str, Any]:
        return next(one for one in self.get("jobs") if one["metadata"]["labels"]["jupyter-trainjob/uid"] == uid)

    def patch(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        change = json.dumps({"spec": spec})
        self.cluster.kubectl("-n", self.namespace, "patch", kind, name, "--type=merge", "-p", change)


@pytest.fixture
def shared(cluster: Cluster, namespace: str, kueue: None, python_image: None, tmp_path: Path) -> Iterator[Class]:
    made = Class(cluster, namespace, tmp_path)
    made.hand_to("jobs")
    yield made
    made.close()
    for kind in ("clusterqueue", "resourceflavor"):  # they belong to no namespace
        cluster.kubectl("delete", kind, namespace, "--ignore-not-found", "--wait=false")


def whole(log: bytes) -> bool:
    """Of code that was told to end: its first line and, by what it was ended, its last."""
    return log.startswith(b"begun\n") and b"KeyboardInterrupt" in log


async def test_kueue_admits_them_one_by_one_and_whoever_waits_reads_where_and_why(shared: Class) -> None:
    shared.cluster.apply(*kueue_on.queue(shared.namespace, **ONE))
    async with shared.serving():
        first = shared.submit(LONG)
        await shared.is_in(first, Phase.RUNNING)
        others = []
        for _ in range(3):
            others.append(shared.submit("print('hello')"))
            await shared.handed(others[-1])
            await asyncio.sleep(1.1)  # the cluster's times have whole seconds: those of one second have any order
        for uid, place in zip(others, (1, 2, 3), strict=True):
            told = await shared.told(uid, lambda told, place=place: told.position == place)  # type: ignore[misc]
            assert shared.job(uid).status.phase is Phase.QUEUED
        assert told.waiting_for.endswith("; 2 jobs are ahead.")
        why = await shared.told(others[0], lambda told: "insufficient" in told.waiting_for)
        assert why.waiting_for.startswith("Kueue (LocalQueue jobs): couldn't assign flavors to pod set main: ")
        assert why.blockers[0]["scope"] == "kueue"
        waiting = shared.job_of(others[0])
        assert waiting["spec"]["activeDeadlineSeconds"] > 200
        assert "startTime" not in waiting["status"], "so the deadline does not count"
        use = (await shared.manager.ranking.queue_uses(None))[0]["default"]
        assert (use.running_jobs, use.queued_jobs) == (1, 3)

        shared.cancel(others[1], "wrong data")
        await shared.is_in(others[1], Phase.CANCELLED)
        cancelled = shared.job(others[1]).status
        assert (cancelled.reason, cancelled.message) == ("CancelledByUser", "Cancelled by ada: wrong data")
        assert cancelled.log is not None
        assert (cancelled.log.size, cancelled.log.complete) == (0, True)
        await shared.told(others[2], lambda told: told.position == 2)

    async with shared.serving():  # the server starts again, while they wait
        await shared.told(others[2], lambda told: told.position == 2)
        shared.cancel(first, "enough")
        for uid in (others[0], others[2]):
            await shared.is_in(uid, Phase.SUCCEEDED)
            attempt = shared.job(uid).status.attempts[-1]
            assert attempt.admitted is not None
            assert attempt.start is not None
            assert shared.log(uid) == b"hello\n"
        await shared.is_in(first, Phase.CANCELLED)
        assert whole(shared.log(first))
        await shared.comes(lambda: not shared.left())
    assert [len(shared.job(uid).status.attempts) for uid in (first, *others)] == [1, 1, 1, 1]
    shared.once()


@pytest.fixture
def classes(shared: Class) -> Iterator[list[PriorityClass]]:
    """Two WorkloadPriorityClasses, of names that no other test has."""
    made = [PriorityClass(name=f"{shared.namespace}-low"), PriorityClass(name=f"{shared.namespace}-high", minimum=50)]
    kind = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "WorkloadPriorityClass"}
    shared.cluster.apply(*({**kind, "metadata": {"name": one.name}, "value": 10 + one.minimum} for one in made))
    yield made
    for one in made:
        shared.cluster.kubectl("delete", "workloadpriorityclass", one.name, "--wait=false")


async def test_a_more_important_job_takes_the_place_and_the_attempt_says_so(
    shared: Class, classes: list[PriorityClass]
) -> None:
    shared.cluster.apply(*kueue_on.queue(shared.namespace, **ONE))
    shared.hand_to("jobs", *classes)
    async with shared.serving():
        await shared.backend.check_kueue("jobs", [one.name for one in classes])
        low = shared.submit(LONG, retries={"limit": 1})
        await shared.is_in(low, Phase.RUNNING)
        once = shared.submit(LONG)
        await shared.comes(lambda: shared.log(low) == b"begun\n")
        high = shared.submit("print('first')\nimport time\ntime.sleep(3)", priority=50)
        await shared.comes(lambda: len(shared.job(low).status.attempts) == 2)
        again = shared.job(low).status
        ended = again.attempts[0]
        assert (ended.reason, ended.end is not None) == (Reason.PREEMPTED, True)
        assert ended.message.startswith("Kueue took its place away: Preempted to accommodate a workload")
        assert again.live_attempt is not None
        assert again.live_attempt.number == 2
        await shared.is_in(high, Phase.SUCCEEDED)
        await shared.comes(lambda: Phase.RUNNING in (shared.job(low).status.phase, shared.job(once).status.phase))
        for uid in (low, once):
            shared.cancel(uid, "enough")
        await shared.comes(lambda: all(shared.job(uid).status.phase.final for uid in (low, once)))
        assert whole(shared.log(low, 1))
        await shared.comes(lambda: not shared.left())
    shared.once()


async def test_a_queue_that_is_missing_or_stopped_is_told_of_and_waited_for(shared: Class) -> None:
    flavor, cluster_queue, local_queue = kueue_on.queue(shared.namespace, **ONE)
    async with shared.serving():
        for name, classes, problem in (
            ("nowhere", [], f"the namespace {shared.namespace} has no LocalQueue 'nowhere'"),
            ("jobs", [], "has no LocalQueue 'jobs'"),
        ):
            with pytest.raises(BackendError, match=problem) as refused:
                await shared.backend.check_kueue(name, classes)
            assert refused.value.permanent
        uid = shared.submit("print('hello')")
        told = await shared.told(uid, lambda told: "doesn't exist" in told.waiting_for)
        assert told.waiting_for == "Kueue (LocalQueue jobs): LocalQueue jobs doesn't exist."
        assert told.position is None
        local_queue["spec"]["stopPolicy"] = "Hold"
        shared.cluster.apply(flavor, cluster_queue, local_queue)
        with pytest.raises(BackendError, match="has no WorkloadPriorityClass 'none-such'"):
            await shared.backend.check_kueue("jobs", ["none-such"])
        await shared.told(uid, lambda told: told.waiting_for == "Kueue (LocalQueue jobs): LocalQueue jobs is inactive.")

        workload = shared.get("workloads")[0]["metadata"]["name"]
        shared.patch("workload", workload, {"active": False})
        shared.patch("localqueue", "jobs", {"stopPolicy": "None"})
        aside = await shared.told(uid, lambda told: "set aside" in told.waiting_for)
        assert "until an operator activates its Workload again" in aside.waiting_for
        assert shared.job(uid).status.phase is Phase.QUEUED
        shared.patch("workload", workload, {"active": True})
        await shared.is_in(uid, Phase.SUCCEEDED)
    shared.once()
