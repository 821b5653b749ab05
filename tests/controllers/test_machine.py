"""Whatever comes in whatever order: limits hold at every instant, every waiting job is explained, all come to an end,
and the engine that is kept decides as one made anew.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jupyter_trainjob.controllers import report
from jupyter_trainjob.controllers.bootstrap import ensure_defaults
from jupyter_trainjob.controllers.ending import preempted
from jupyter_trainjob.controllers.snapshot import ended_row
from jupyter_trainjob.resources.queue import Budget, Limits
from jupyter_trainjob.resources.trainjob import Cancel, Front, Gate, Phase, Reason, TrainJob
from jupyter_trainjob.scheduling.explain import explain_all
from jupyter_trainjob.store import Filter, Store

from .world import World

ACTIVE = [Phase.ADMITTED, Phase.RUNNING]
OWNERS = st.sampled_from(["ada", "bob", "eve"])


class Machine(RuleBasedStateMachine):
    """lab (3 jobs, 3 CPUs) → left (1 CPU guaranteed), right (1 CPU guaranteed, reclaims; each user one job)."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store.open(f"sqlite:///{Path(self.folder.name) / 'record.sqlite'}")
        self.store.write(lambda writer: ensure_defaults(writer, "default", "default"))
        self.world = World(self.store)

    @initialize()
    def queues(self) -> None:
        world = self.world
        world.queue("lab", limits=Limits(running_jobs=3, cpu="3"))
        world.queue("left", parent="lab", guaranteed=Limits(cpu="1"))
        spec = {"guaranteed": Limits(cpu="1"), "per_user": Limits(running_jobs=1), "reclaim": True}
        budget = Budget(core_hours=0.2, window_seconds=3600)
        world.queue("right", parent="lab", per_user_budget=budget, **spec)

    def teardown(self) -> None:
        try:
            self.everything_ends()
        finally:
            self.store.close()
            self.folder.cleanup()

    # What may happen

    @rule(
        owner=OWNERS,
        queue=st.sampled_from(["left", "right"]),
        cpu=st.sampled_from(["500m", "1", "2"]),
        priority=st.sampled_from([0, 0, -1]),
        preemptible=st.booleans(),
        held=st.sampled_from([False, False, True]),
    )
    def submit(self, owner: str, queue: str, cpu: str, priority: int, preemptible: bool, held: bool) -> None:
        gates = [Gate(type="hold")] if held else []
        spec: dict[str, Any] = {"priority": priority, "preemptible": preemptible, "scheduling_gates": gates}
        self.world.submit(owner, queue=queue, cpu=cpu, **spec)

    @rule()
    def decide(self) -> None:
        decision = self.world.decide()
        for one in decision.preemptions:
            self.world.change(one.uid, lambda job, one=one: report.preempt(job, one.message, self.world.now))

    @rule(seconds=st.sampled_from([0.5, 10.0, 400.0, 90_000.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.world.later(seconds)

    @precondition(lambda self: self.jobs(*ACTIVE))
    @rule(data=st.data(), what=st.sampled_from(["begin", "end", "end"]))
    def goes_on(self, data: st.DataObject, what: str) -> None:
        job = data.draw(st.sampled_from(self.jobs(*ACTIVE)))
        if what == "begin" and job.status.phase is Phase.ADMITTED:
            self.world.begin(job.metadata.uid)
        elif job.status.attempts[-1].preempted:
            self.make_room(job.metadata.uid)
        else:
            self.world.end(job.metadata.uid)

    @precondition(lambda self: self.jobs(Phase.QUEUED))
    @rule(data=st.data(), what=st.sampled_from(["cancel", "hold", "release", "front", "priority"]))
    def somebody_steers(self, data: st.DataObject, what: str) -> None:
        job = data.draw(st.sampled_from(self.jobs(Phase.QUEUED)))
        now = self.world.now

        def change(fresh: TrainJob) -> None:
            spec = fresh.spec
            if what == "cancel":
                spec.cancel = Cancel(requested_at=now, by="ada")
                report.end(fresh, Phase.CANCELLED, Reason.CANCELLED_BY_USER, "", now)
            elif what == "hold":
                spec.scheduling_gates = [Gate(type="hold")]
            elif what == "release":
                spec.scheduling_gates = []
                fresh.status.queued = now
            elif what == "front":
                spec.front = Front(requested_at=now, by="ines")
            else:
                spec.priority = -2

        self.world.change(job.metadata.uid, change)

    @rule()
    def the_server_is_killed(self) -> None:
        restarted = World(self.store)
        restarted.now = self.world.now
        self.world = restarted

    @rule(most=st.sampled_from([2, 3]))
    def an_operator_changes_the_limit(self, most: int) -> None:
        if len(self.jobs(*ACTIVE)) <= most:
            self.world.queue("lab", limits=Limits(running_jobs=most, cpu="3"))
            self.most = most

    # What holds

    most = 3

    @invariant()
    def limits_hold(self) -> None:
        active = self.jobs(*ACTIVE)
        assert len(active) <= self.most
        assert sum(job.spec.resources.cpu_millis for job in active) <= 3000
        right = [job.metadata.owner for job in active if job.spec.queue == "right"]
        assert len(right) == len(set(right))

    @invariant()
    def every_waiting_job_is_explained(self) -> None:
        told = explain_all(self.world.anew(), self.world.now.timestamp())
        waiting = self.jobs(Phase.QUEUED)
        assert {job.metadata.uid for job in waiting} == set(told)
        assert all(one.waiting_for.endswith(".") for one in told.values())

    def everything_ends(self) -> None:
        """Nothing starves: with nobody in the way all have their turn."""
        for job in self.jobs(Phase.QUEUED):
            self.world.change(job.metadata.uid, lambda fresh: setattr(fresh.spec, "scheduling_gates", []))
        for _ in range(200):
            if not self.jobs(Phase.QUEUED, *ACTIVE):
                return
            self.decide()
            for job in self.jobs(*ACTIVE):
                if job.status.attempts[-1].preempted:
                    self.make_room(job.metadata.uid)
                else:
                    self.world.end(job.metadata.uid)
            self.world.later(1800.0)
        raise AssertionError(f"some never had their turn: {self.jobs(Phase.QUEUED)}")

    # Helpers

    def jobs(self, *phases: Phase) -> list[TrainJob]:
        where = Filter(phases=phases)
        return self.store.read(lambda reader: reader.list(TrainJob, where, order="oldest", limit=1000).items)

    def make_room(self, uid: str) -> None:
        def write(writer: Any) -> None:
            job = writer.by_uid(TrainJob, uid)
            report.finish(job, preempted(job.status.attempts[-1].preempted), None, self.world.now)
            row = ended_row(job, job.status.attempts[-1])
            assert row is not None
            writer.note_ended(row)
            writer.update(job, check=False)

        self.store.write(write)


Machine.TestCase.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
test_machine = Machine.TestCase
