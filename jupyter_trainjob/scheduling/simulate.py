"""Replays a workload against queues: the same decisions, with the trace's clock."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .decide import run
from .engine import Engine
from .fairshare import Dues
from .model import Amount, NodeView, PodView, Policy, QueuedView, QueueView, Snapshot
from .swf import Trace, TraceError, TraceJob
from .usage import Leaf

PATIENCE_SECONDS = 366 * 86400.0
"""When nothing runs and nothing comes, it is waited so long for a budget's window, and no longer."""


@dataclass(slots=True)
class Ran:
    """What became of a job. ``start`` is of its first run, None: it never began; a preempted job runs again from the
    start.
    """

    owner: str
    queue: str
    cpu_millis: int
    submit: float
    start: float | None = None
    end: float | None = None
    preempted: int = 0
    began: float = 0.0
    """Its latest run."""
    busy_seconds: float = 0.0
    """All its runs."""


@dataclass
class Simulated:
    """A whole replay."""

    jobs: list[Ran]
    cpu_millis: int
    """Of all nodes."""
    passes: int = 0
    contended_seconds: float = 0.0
    """While jobs waited."""
    service: dict[Leaf, float] = field(default_factory=dict)
    """CPU time by queue and user, while that user had jobs waiting there, in thousandths of CPU-seconds."""
    due: dict[Leaf, float] = field(default_factory=dict)
    """What the weights give them in that time, against the others who had jobs waiting."""


@dataclass
class Workload:
    """Jobs as the scheduler sees them, with how long each runs; by time of submission."""

    jobs: list[tuple[QueuedView, float]]
    queues: Mapping[str, QueueView]
    nodes: tuple[NodeView, ...]
    policy: Policy = field(default_factory=Policy)


def workload(
    trace: Trace,
    queues: Mapping[str, QueueView],
    nodes: Sequence[NodeView],
    names: Mapping[str, str] | None = None,
    preemptible: Collection[str] = (),
) -> Workload:
    """A trace's jobs in these queues on these nodes. ``names``: the trace's queue numbers → queues. ``preemptible``:
    queues whose jobs may end for what others are owed.

    :class:`.swf.TraceError` for a job whose queue is not there, or that could never start.
    """
    largest = max(nodes, key=lambda node: node.size.cpu_millis)
    found = []
    for job in trace.jobs:
        queue = _queue(job, queues, names or {})
        view = replace(_view(job, queue, largest), preemptible=queue in preemptible)
        _check(job, view, queues, nodes)
        found.append((view, job.run))
    return Workload(found, queues, tuple(nodes))


def _queue(job: TraceJob, queues: Mapping[str, QueueView], names: Mapping[str, str]) -> str:
    if len(queues) == 1 and not names:
        return next(iter(queues))
    for name in (names.get(job.queue, ""), job.queue, f"q{job.queue}", f"queue-{job.queue}"):
        if name in queues:
            return name
    told = f"queue {job.queue}" if job.queue else "no queue"
    there = ", ".join(sorted(queues)[:8])
    raise TraceError(
        job.line,
        f"job {job.number} is of {told}, and the configuration has only {there}; "
        f"name one {('q' + job.queue) if job.queue else 'in field 15'!r}, or say --map {job.queue or '-1'}=NAME",
    )


def _view(job: TraceJob, queue: str, node: NodeView) -> QueuedView:
    """One pod where a node holds it; else full nodes, and one for the rest."""
    cpu = job.processors * 1000
    per_node = node.size.cpu_millis // 1000
    memory = job.memory_bytes if node.size.memory_bytes else 0
    pods: tuple[PodView, ...] = ()
    if job.processors > per_node > 0:
        each = memory // job.processors
        full, rest = divmod(job.processors, per_node)
        pods = (PodView(full, Amount(0, per_node * 1000, each * per_node)),)
        if rest:
            pods = (*pods, PodView(1, Amount(0, rest * 1000, each * rest)))
    need = Amount(1, cpu, memory)
    return QueuedView(f"{job.number}:{job.line}", job.user, queue, need, job.submit, 0, job.limit, "", pods)


def _check(job: TraceJob, view: QueuedView, queues: Mapping[str, QueueView], nodes: Sequence[NodeView]) -> None:
    total = sum((node.size for node in nodes), Amount())
    if view.need.cpu_millis > total.cpu_millis:
        raise TraceError(
            job.line,
            f"job {job.number} has {job.processors} processors, the machine {total.cpu_millis // 1000}; "
            "give more with --nodes, or take the job out",
        )
    if view.need.memory_bytes > total.memory_bytes:
        raise TraceError(job.line, f"job {job.number} needs more memory than all nodes have; give more with --memory")
    name, seen = view.queue, set()
    while name in queues and name not in seen:
        seen.add(name)
        queue = queues[name]
        for limits in (queue.limits, queue.per_user) if name == view.queue else (queue.limits,):
            if over := limits.exceeded_by(view.need):
                raise TraceError(
                    job.line,
                    f"job {job.number} with {job.processors} processors is above the limit {over} of queue {name}: "
                    "it would wait for ever; raise the limit, or take the job out",
                )
        cost = view.need.cpu_millis * view.time_limit_seconds
        for budget in (queue.budget, queue.per_user_budget) if name == view.queue else (queue.budget,):
            if budget is not None and cost > budget.cpu_milliseconds:
                raise TraceError(
                    job.line,
                    f"job {job.number} may take {cost / 3_600_000:.4g} CPU-hours, more than the whole budget of queue "
                    f"{name}: it would wait for ever; raise the budget, or take the job out",
                )
        name = queue.parent


def simulate(work: Workload) -> Simulated:
    """Run it to its end. :class:`.swf.TraceError` where it is longer than usage can be counted."""
    replay = _Replay(work)
    try:
        return replay.run()
    except OverflowError:
        days = work.policy.half_life_seconds / 86400
        past = (replay.engine.now - work.jobs[0][0].since) / 86400
        uid = max(work.jobs, key=lambda job: (job[0].since <= replay.engine.now, job[0].since))[0].uid
        raise TraceError(
            int(uid.rpartition(":")[2]),
            f"{past:.0f} days after the first job: usage with a half-life of {days:g} days is not counted over so "
            "long a time; give a longer --half-life, or less of the trace",
        ) from None


@dataclass(slots=True)
class Meter:
    """What a user had, as of ``since``."""

    use: int = 0
    waiting: int = 0
    service: float = 0.0
    since: float = 0.0


class _Replay:
    def __init__(self, work: Workload) -> None:
        self.work = work
        start = work.jobs[0][0].since if work.jobs else 0.0
        self.engine = Engine(Snapshot(0, work.queues, work.nodes, (), (), start, work.policy))
        self.views = {view.uid: view for view, _ in work.jobs}
        self.runs = {view.uid: took for view, took in work.jobs}
        self.ran = {view.uid: Ran(view.owner, view.queue, view.need.cpu_millis, view.since) for view, _ in work.jobs}
        self.ends: list[tuple[float, str, int]] = []
        self.result = Simulated(list(self.ran.values()), sum(node.size.cpu_millis for node in work.nodes))
        self.meters = {leaf: Meter() for leaf in sorted({(view.queue, view.owner) for view, _ in work.jobs})}
        self.dues = Dues(work.queues)

    def run(self) -> Simulated:
        """Every event in turn."""
        engine, jobs, place, last = self.engine, self.work.jobs, 0, self.engine.now
        quiet_since = last
        while True:
            time = self._next(jobs[place][0].since if place < len(jobs) else None)
            if time is None or (not self.ends and place == len(jobs) and time - quiet_since > PATIENCE_SECONDS):
                break
            if engine.jobs:
                self.result.contended_seconds += time - engine.now
                self.dues.deal((time - engine.now) * self.result.cpu_millis)
            engine.advance(time)
            while self.ends and self.ends[0][0] <= time:
                self._end(*heapq.heappop(self.ends))
                quiet_since = time
            while place < len(jobs) and jobs[place][0].since <= time:
                view = jobs[place][0]
                engine.submit(view)
                self._meter(view.queue, view.owner, waiting=1)
                place += 1
            self._pass(time)
        for leaf, meter in self.meters.items():
            self._meter(*leaf)
            self.result.service[leaf], self.result.due[leaf] = meter.service, self.dues.due[leaf]
        return self.result

    def _next(self, arrival: float | None) -> float | None:
        times = [] if arrival is None else [arrival]
        if self.ends:
            times.append(self.ends[0][0])
        due = self.engine.timers.next()
        if self.engine.jobs and due < math.inf:
            times.append(max(self.engine.now, due))
        return min(times, default=None)

    def _pass(self, time: float) -> None:
        if not self.engine.jobs:
            return
        while True:
            self.result.passes += 1
            decision = run(self.engine)
            for admission in decision.admissions:
                one = self.ran[admission.uid]
                one.start = time if one.start is None else one.start
                one.began = time
                self._meter(one.queue, one.owner, one.cpu_millis, -1)
                heapq.heappush(self.ends, (time + self.runs[admission.uid], admission.uid, one.preempted))
            if not decision.preemptions:
                return
            for preemption in decision.preemptions:
                one = self.ran[preemption.uid]
                one.preempted += 1
                one.busy_seconds += time - one.began
                self._meter(one.queue, one.owner, -one.cpu_millis, 1)
                self.engine.end(preemption.uid, time)
                self.engine.submit(self.views[preemption.uid])
            claimant = self.engine.jobs[decision.preemptions[0].wanted_by]
            self.engine.submit(replace(claimant, claim=max(time, 1.0)))

    def _end(self, time: float, uid: str, life: int) -> None:
        one = self.ran[uid]
        if life != one.preempted:
            return  # that run was preempted
        one.end = time
        one.busy_seconds += time - one.began
        self._meter(one.queue, one.owner, -one.cpu_millis)
        self.engine.end(uid, time)

    def _meter(self, queue: str, owner: str, use: int = 0, waiting: int = 0) -> None:
        """Account for a user till now; then so much more is in use, and so many more wait."""
        meter, now = self.meters[queue, owner], self.engine.now
        if meter.waiting:
            meter.service += meter.use * (now - meter.since)
        self.dues.wait(queue, owner, waiting)
        meter.use, meter.waiting, meter.since = meter.use + use, meter.waiting + waiting, now
