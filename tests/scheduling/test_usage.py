"""The published numbers: decay, billing, real user priority, entry penalty, Fair Tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.scheduling.decide import decide, run
from jupyter_trainjob.scheduling.engine import Engine
from jupyter_trainjob.scheduling.model import (
    Amount,
    Budget,
    NodeView,
    PastView,
    Policy,
    QueuedView,
    QueueView,
    Snapshot,
)
from jupyter_trainjob.scheduling.usage import Clock, Ledger, Weights

GIB = 2**30
DAY = 86400.0


def mean(clock: Clock, usage: int, time: float) -> float:
    """The mean amount in use, seen back in time."""
    return usage / clock.growth(time)


def test_usage_halves_every_half_life() -> None:
    clock = Clock(0.0, 7 * DAY)
    used = clock.charge(1000, 0.0, 3600.0)
    assert mean(clock, used, 7 * DAY + 3600) == pytest.approx(mean(clock, used, 3600.0) / 2)
    assert mean(clock, used, 21 * DAY + 3600) == pytest.approx(mean(clock, used, 3600.0) / 8)


def test_condors_user_of_a_hundred_cores_for_two_days_has_75() -> None:
    clock = Clock(0.0, DAY)
    assert mean(clock, clock.charge(100, 0.0, 2 * DAY), 2 * DAY) == 75.0
    # Shares go by one over it: a user at the minimum, 0.5, deserves 150 times as much.
    assert 75.0 / 0.5 == 150


def test_the_entry_penalty_is_at_least_one_window_of_what_is_asked_for() -> None:
    """Kueue's KEP-4136: ``A`` of what is asked for, ``A = 1 - 0.5^(window / half-life)``; here to the next sample."""
    policy = Policy()
    node = NodeView("k", "n", Amount(0, 64_000_000))
    job = QueuedView("j", "ada", "q", Amount(1, 4_000_000), 0.0)
    engine = Engine(Snapshot(1, {"q": QueueView("q", "k")}, (node,), (job,), (), policy.window_seconds, policy))
    run(engine)
    charged = mean(engine.clock, engine.usage(engine.queues["q"]), 3 * policy.window_seconds)
    penalty = 4e6 * (1 - 0.5 ** (policy.window_seconds / policy.half_life_seconds))
    assert penalty <= charged <= 2 * penalty * 1.001


@pytest.mark.parametrize(("cpus", "gib", "billed"), [(1, 60, 15), (15, 1, 15), (16, 64, 16), (16, 1, 16)])
def test_a_job_is_billed_for_its_dominant_resource(cpus: int, gib: int, billed: int) -> None:
    weights = Weights.of([Amount(0, 16_000, 64 * GIB)])
    assert weights.memory * GIB == 250, "Slurm's 0.25 for a GiB"
    assert weights.billing(Amount(1, cpus * 1000, gib * GIB)) == billed * 1000


def test_gpus_are_worth_the_machine() -> None:
    weights = Weights.of([Amount(0, 16_000, 64 * GIB, 2)])
    assert weights.billing(Amount(1, 1000, GIB, 1)) == 8000


@given(st.lists(st.tuples(st.integers(1, 64_000), st.floats(0, 1e7), st.floats(0, 1e6)), min_size=1), st.randoms())
def test_sums_do_not_depend_on_their_order(parts: list[tuple[int, float, float]], chance: object) -> None:
    clock = Clock(0.0, 7 * DAY)
    charges = [clock.charge(rate, start, start + took) for rate, start, took in parts]
    assert all(charge >= 0 for charge in charges)
    shuffled = list(charges)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sum(charges) == sum(shuffled)


def test_a_ledger_is_the_sum_of_what_ended() -> None:
    ledger = Ledger(0.0, DAY)
    budgets = {"q": Budget(1, 3600), "": Budget(1, 7200)}
    ledger.add(PastView("ada", "q", "b", Amount(1, 2000), 100.0, 200.0), 2000, budgets)
    ledger.add(PastView("ada", "q", "b", Amount(1, 1000), 3600.0, 3700.0, overtook=True), 1000, budgets)
    clock = Clock(0.0, DAY)
    assert ledger.used == {("q", "ada"): clock.charge(2000, 100, 200) + clock.charge(1000, 3600, 3700)}
    assert ledger.spent == {("q", "", 0): 200_000, ("q", "", 1): 100_000, ("q", "ada", 0): 300_000}
    assert ledger.last == {("q", "ada"): 100.0}


def test_counting_too_far_from_the_reference_is_told() -> None:
    with pytest.raises(OverflowError, match="count it anew"):
        Clock(0.0, 1.0).growth(1e6)


Tree = Mapping[str, tuple[int, Mapping[str, int]]]
"""Account → its shares, and its users' usage."""


def order(tree: Tree, users: Sequence[str], alone: Mapping[str, int] | None = None) -> list[str]:
    """In which order the engine starts one job of each of ``users``, who queued in this order. ``alone``: users beside
    the accounts, with their usage.
    """
    queues = {"top": QueueView("top", "k")}
    used = {("top", name): usage * 10**24 for name, usage in (alone or {}).items()}
    where = dict.fromkeys(alone or {}, "top")
    for name, (shares, below) in tree.items():
        queues[name] = QueueView(name, "k", parent="top", weight=shares)
        used |= {(name, user): usage * 10**24 for user, usage in below.items()}
        where |= dict.fromkeys(below, name)
    jobs = tuple(QueuedView(user, user, where[user], Amount(1, 1000), float(n)) for n, user in enumerate(users))
    node = NodeView("k", "n", Amount(0, 1000 * len(jobs)))
    ledger = Ledger(0.0, 7 * DAY, used)
    view = Snapshot(1, queues, (node,), jobs, (), 100.0, ledger=ledger)
    return [one.uid for one in decide(view).admissions]


def test_level_fair_share_is_shares_over_usage() -> None:
    """LF 1/2, 1/2 and infinite: 1 of 8 shares and 20 of 80, 3 of 8 and 60 of 80, 4 of 8 and nothing."""
    tree = {"a": (1, {"a1": 20}), "b": (3, {"b1": 60}), "c": (4, {"c1": 0})}
    assert order(tree, ["a1", "b1", "c1"]) == ["c1", "a1", "b1"]
    assert order(tree, ["b1", "a1", "c1"]) == ["c1", "b1", "a1"]


def test_the_best_account_first_and_within_it_the_best_user() -> None:
    tree = {"a": (3, {"a1": 10, "a2": 30}), "b": (1, {"b1": 5, "b2": 55})}
    assert order(tree, ["b2", "b1", "a2", "a1"]) == ["a1", "a2", "b1", "b2"]


@pytest.mark.parametrize("first", ["ab", "ba"])
def test_tied_users_go_by_time(first: str) -> None:
    assert order({}, ["c", *first], {"a": 10, "b": 10, "c": 80}) == [*first, "c"]


def test_a_user_tied_with_an_account_is_beside_its_best_user() -> None:
    found = order({"a": (1, {"a1": 10, "a2": 30})}, ["a2", "a1", "u"], {"u": 40})
    assert found == ["u", "a1", "a2"]


@pytest.mark.parametrize("tied", [["b1", "b2"], ["b2", "b1"]])
def test_the_children_of_tied_accounts_are_merged(tied: list[str]) -> None:
    tree = {"a": (1, {"a1": 10, "a2": 30}), "b": (1, {"b1": 20, "b2": 20})}  # LF 2 and 2/3, 1 and 1
    assert order(tree, ["a2", *tied, "a1"]) == ["a1", *tied, "a2"]
