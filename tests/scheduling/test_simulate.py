"""Workloads are read line by line, replayed, and measured."""

from __future__ import annotations

import pytest

from jupyter_trainjob.scheduling.fairshare import Dues
from jupyter_trainjob.scheduling.model import Amount, Budget, Ceiling, NodeView, QueuedView, QueueView
from jupyter_trainjob.scheduling.report import jain, report
from jupyter_trainjob.scheduling.simulate import Workload, simulate, workload
from jupyter_trainjob.scheduling.swf import TraceError, read_trace

HEADER = "; Version: 2.2\n; MaxProcs: 8\n"


def line(
    number: int,
    submit: int,
    run: int,
    processors: int,
    limit: int = -1,
    user: int = 1,
    queue: int = -1,
    memory: int = -1,
) -> str:
    return f"{number} {submit} -1 {run} -1 -1 -1 {processors} {limit} {memory} 1 {user} 1 -1 {queue} -1 -1 -1"


def nodes(count: int = 1, cpus: int = 8, memory: int = 0) -> list[NodeView]:
    return [NodeView("", f"n{number}", Amount(0, cpus * 1000, memory)) for number in range(count)]


ONE = {"default": QueueView("default", "")}


def test_a_line_is_a_job_and_the_header_tells_of_the_machine() -> None:
    trace = read_trace((HEADER + line(1, 10, 60, 4, 100, 7, 2, 1024) + "\n\n" + line(2, 5, -1, 1)).splitlines())
    assert (trace.processors, trace.never_ran) == (8, 1)
    (job,) = trace.jobs
    assert (job.line, job.number, job.submit, job.run, job.processors, job.limit) == (3, 1, 10.0, 60.0, 4, 100)
    assert (job.memory_bytes, job.user, job.queue) == (4 * 2**20, "u7", "2")


def test_a_job_runs_no_longer_than_its_limit_and_asks_for_its_run_where_none_is_known() -> None:
    long, unknown = read_trace([line(1, 0, 60, 1, 30), line(2, 0, 60, 1)]).jobs
    assert (long.run, long.limit, unknown.limit) == (30.0, 30, 60)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3", "line 2: 3 fields; a job of the Standard Workload Format has 18"),
        (line(1, 0, 9, 1).replace("9", "nine"), "line 2: field 4 is 'nine', which is no number; write -1 for unknown"),
        (
            line(1, 0, 9, 1).replace("9", "nan"),
            "line 2: field 4 is 'nan', which is no number that anything is measured in",
        ),
        (line(1, -5, 9, 1), "line 2: job 1 was submitted at -5 s; times count from 0, the trace's start"),
        (line(1, 0, 9, -1), "line 2: job 1 has neither requested (field 8) nor allocated processors (field 5)"),
    ],
)
def test_a_line_that_is_none_is_named(text: str, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        read_trace(["; MaxProcs: 8", text])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "queues", "message"),
    [
        (line(1, 0, 9, 9), ONE, "job 1 has 9 processors, the machine 8; give more with --nodes, or take the job out"),
        (
            line(1, 0, 9, 1, queue=4),
            {"a": QueueView("a", ""), "b": QueueView("b", "")},
            "job 1 is of queue 4, and the configuration has only a, b; name one 'q4', or say --map 4=NAME",
        ),
        (
            line(1, 0, 9, 4, queue=1),
            {"q1": QueueView("q1", "", parent="top"), "top": QueueView("top", "", limits=Ceiling(cpu_millis=2000))},
            "job 1 with 4 processors is above the limit cpu of queue top: it would wait for ever; raise the limit, or "
            "take the job out",
        ),
        (
            line(1, 0, 9, 1, 7200),
            {"q": QueueView("q", "", budget=Budget(3_600_000, 60))},
            "job 1 may take 2 CPU-hours, more than the whole budget of queue q: it would wait for ever; raise the "
            "budget, or take the job out",
        ),
    ],
)
def test_a_job_that_could_never_start_is_named(text: str, queues: dict[str, QueueView], message: str) -> None:
    with pytest.raises(TraceError) as caught:
        workload(read_trace([text]), queues, nodes())
    assert str(caught.value) == f"line 1: {message}"


def test_waits_and_utilisation_of_a_small_replay() -> None:
    trace = read_trace([line(1, 0, 100, 8), line(2, 0, 50, 4, user=2), line(3, 10, 50, 4, user=2)])
    found = report(simulate(workload(trace, ONE, nodes())))
    assert found["makespanSeconds"] == 150 and found["utilisation"] == 1.0
    assert found["waitSeconds"] == {"jobs": 3, "mean": pytest.approx(190 / 3), "p50": 90, "p95": 100, "max": 100}
    assert found["users"]["u2"]["mean"] == 95 and found["queues"]["default"]["jobs"] == 3
    assert found["contendedSeconds"] == 100


def test_a_job_of_more_than_a_node_is_a_gang() -> None:
    trace = read_trace([line(1, 0, 100, 10), line(2, 0, 100, 8), line(3, 0, 100, 4)])
    work = workload(trace, ONE, nodes(2))
    assert [(pod.count, pod.need.cpu_millis) for pod in work.jobs[0][0].pods] == [(1, 8000), (1, 2000)]
    assert [one.start for one in simulate(work).jobs] == [0.0, 100.0, 0.0]


def test_a_small_job_runs_in_the_gap_of_a_big_one() -> None:
    trace = read_trace([line(1, 0, 100, 4), line(2, 1, 10, 8), line(3, 2, 90, 4, 90), line(4, 3, 200, 4, 200)])
    assert [one.start for one in simulate(workload(trace, ONE, nodes())).jobs] == [0.0, 100.0, 2.0, 110.0]


def test_a_budget_waits_for_its_next_window() -> None:
    queues = {"q": QueueView("q", "", budget=Budget(100_000, 3600))}
    trace = read_trace([line(1, 0, 60, 1, 60), line(2, 0, 60, 1, 60)])
    assert [one.start for one in simulate(workload(trace, queues, nodes())).jobs] == [0.0, 3600.0]


def test_what_was_lent_is_taken_back_and_runs_again() -> None:
    queues = {
        "lab": QueueView("lab", ""),
        "mine": QueueView("mine", "", parent="lab", guaranteed=Ceiling(cpu_millis=4000), reclaim=True),
        "yours": QueueView("yours", "", parent="lab"),
    }
    loan = [
        (QueuedView(f"y{number}", "ben", "yours", Amount(1, 2000), float(number), 0, 100, preemptible=True), 100.0)
        for number in range(4)
    ]
    claim = (QueuedView("m", "ada", "mine", Amount(1, 4000), 10.0, 0, 50), 50.0)
    result = simulate(Workload([*loan, claim], queues, tuple(nodes())))
    # The two youngest make room, and no more; they run again when what took their place is over.
    assert [one.preempted for one in result.jobs] == [0, 0, 1, 1, 0]
    assert result.jobs[4].start == 10.0
    assert [one.end for one in result.jobs] == [100.0, 101.0, 160.0, 160.0, 60.0]
    assert report(result)["preemptions"] == 2


def test_jains_index() -> None:
    assert jain([1, 1, 1]) == 1.0
    assert jain([1, 0, 0, 0]) == 0.25
    assert jain([]) == 1.0
    assert jain([1, 9], [1, 0]) == 1.0


def test_what_is_due_goes_down_the_tree_to_those_who_wait() -> None:
    queues = {
        "a": QueueView("a", "", weight=3),
        "b": QueueView("b", "", shares={"eve": 3}),
        "c": QueueView("c", "", weight=9),
    }
    dues = Dues(queues)
    for queue, owner in (("a", "ada"), ("b", "bob"), ("b", "eve")):
        dues.wait(queue, owner, 1)
    dues.deal(16.0)
    for queue, owner in list(dues.due):
        dues.wait(queue, owner)
    assert dues.due == {("a", "ada"): 12.0, ("b", "bob"): 1.0, ("b", "eve"): 3.0}
    dues.wait("b", "eve", -1)
    dues.deal(16.0)
    for queue, owner in list(dues.due):
        dues.wait(queue, owner)
    assert dues.due == {("a", "ada"): 24.0, ("b", "bob"): 5.0, ("b", "eve"): 3.0}, "b's part is bob's, who waits in it"


def test_a_just_schedule_is_called_just() -> None:
    """One of two users of ``A`` is gone: the other is due all of A's half, and has it."""
    queues = {"A": QueueView("A", ""), "B": QueueView("B", "")}
    jobs = [(QueuedView("z", "a2", "A", Amount(1, 1000), 0.0, 0, 1), 1.0)]
    for number in range(100):
        for owner, queue in (("a1", "A"), ("b1", "B"), ("b2", "B")):
            jobs.append((QueuedView(f"{owner}-{number}", owner, queue, Amount(1, 1000), 1.0, 0, 100), 100.0))
    found = report(simulate(Workload(jobs, queues, tuple(nodes(cpus=4)))))["fairness"]
    assert found["jain"] > 0.97
    shares = {row["user"]: (row["share"], row["target"]) for row in found["shares"]}
    assert all(abs(share - target) < 0.05 for share, target in shares.values())


def test_a_trace_longer_than_usage_is_counted_ends_with_its_line() -> None:
    trace = read_trace([line(1, 0, 60, 1), line(2, 100, 60, 1), line(3, 20 * 366 * 86400, 60, 1)])
    with pytest.raises(TraceError) as problem:
        simulate(workload(trace, ONE, nodes()))
    assert str(problem.value) == (
        "line 3: 7320 days after the first job: usage with a half-life of 7 days is not counted over so long a time; "
        "give a longer --half-life, or less of the trace"
    )
