"""The published numbers: decay, billing, real user priority, entry penalty, Fair Tree."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.scheduling.fairshare import Account, fair_tree, level_fair_share
from jupyter_trainjob.scheduling.model import Amount, Budget, NodeView, PastView
from jupyter_trainjob.scheduling.usage import Clock, Ledger, Weights, averaged, decayed, entry_penalty

GIB = 2**30
DAY = 86400.0


def test_usage_halves_every_half_life() -> None:
    assert decayed(100.0, 7 * DAY, 7 * DAY) == 50.0
    assert decayed(100.0, 21 * DAY, 7 * DAY) == 12.5
    clock = Clock(0.0, 7 * DAY)
    used = clock.charge(1000, 0.0, 3600.0)
    assert clock.mean(used, 7 * DAY + 3600) == pytest.approx(clock.mean(used, 3600.0) / 2)


def test_condors_user_of_a_hundred_cores_for_two_days_has_75() -> None:
    assert averaged(0.0, 100.0, 48 * 3600, 24 * 3600) == 75.0
    clock = Clock(0.0, DAY)
    assert clock.mean(clock.charge(100, 0.0, 2 * DAY), 2 * DAY) == 75.0
    # Shares go by one over it: a user at the minimum, 0.5, deserves 150 times as much.
    assert 75.0 / 0.5 == 150


def test_the_entry_penalty_is_one_window_of_what_is_asked_for() -> None:
    half_life, window = 7 * DAY, 300.0
    penalty = entry_penalty(4.0, window, half_life)
    assert penalty == 4.0 * (1 - 0.5 ** (window / half_life))
    clock = Clock(0.0, half_life)
    assert clock.mean(clock.charge(4_000_000, 0.0, window), window) == pytest.approx(penalty * 1e6, rel=1e-5)


@pytest.mark.parametrize(("cpus", "gib", "billed"), [(1, 60, 15), (15, 1, 15), (16, 64, 16), (16, 1, 16)])
def test_a_job_is_billed_for_its_dominant_resource(cpus: int, gib: int, billed: int) -> None:
    weights = Weights.of([NodeView("b", "n", Amount(0, 16_000, 64 * GIB))])
    assert weights.memory * GIB == 250, "Slurm's 0.25 for a GiB"
    assert weights.billing(Amount(1, cpus * 1000, gib * GIB)) == billed * 1000


def test_gpus_are_worth_the_machine() -> None:
    weights = Weights.of([NodeView("b", "n", Amount(0, 16_000, 64 * GIB, 2))])
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
    later = ledger.rebased(3 * DAY)
    before = clock.mean(ledger.used["q", "ada"], 4 * DAY)
    assert Clock(3 * DAY, DAY).mean(later.used["q", "ada"], 4 * DAY) == pytest.approx(before, rel=1e-3)


def test_counting_too_far_from_the_reference_is_told() -> None:
    with pytest.raises(OverflowError, match="rebase the ledger"):
        Clock(0.0, 1.0).growth(1e6)


def test_level_fair_share() -> None:
    siblings = (Account("a", 1, 20), Account("b", 3, 60), Account("c", 4, 0))
    assert level_fair_share(siblings[0], siblings) == (1 / 8) / (20 / 80)
    assert level_fair_share(siblings[1], siblings) == (3 / 8) / (60 / 80)
    assert level_fair_share(siblings[2], siblings) == math.inf


def test_the_best_account_first_and_within_it_the_best_user() -> None:
    tree = (
        Account("a", 3, children=(Account("a1", 1, 10), Account("a2", 1, 30))),
        Account("b", 1, children=(Account("b1", 1, 5), Account("b2", 1, 55))),
    )
    assert fair_tree(tree) == {"a1": 1.0, "a2": 0.75, "b1": 0.5, "b2": 0.25}


def test_tied_users_share_a_rank() -> None:
    tree = (Account("a", 1, 10), Account("b", 1, 10), Account("c", 1, 80))
    assert fair_tree(tree) == {"a": 1.0, "b": 1.0, "c": 1 / 3}


def test_a_user_tied_with_an_account_has_its_best_users_rank() -> None:
    tree = (Account("u", 1, 40), Account("a", 1, children=(Account("a1", 1, 10), Account("a2", 1, 30))))
    assert fair_tree(tree) == {"u": 1.0, "a1": 1.0, "a2": 1 / 3}


def test_the_children_of_tied_accounts_are_merged() -> None:
    tree = (
        Account("a", 1, children=(Account("a1", 1, 10), Account("a2", 1, 30))),  # LF 2 and 2/3
        Account("b", 1, children=(Account("b1", 1, 20), Account("b2", 1, 20))),  # LF 1 and 1
    )
    assert fair_tree(tree) == {"a1": 1.0, "b1": 0.75, "b2": 0.75, "a2": 0.25}


users = st.builds(Account, st.uuids().map(str), st.integers(1, 9), st.integers(0, 9))
trees = st.lists(
    st.builds(
        lambda n, s, c: Account(n, s, children=tuple(c)),
        st.uuids().map(str),
        st.integers(1, 9),
        st.lists(users, min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=4,
)


@given(trees)
def test_every_user_of_a_better_account_is_before_those_of_a_worse(tree: list[Account]) -> None:
    factors = fair_tree(tree)
    for one in tree:
        for other in tree:
            if level_fair_share(one, tree) > level_fair_share(other, tree):
                assert min(factors[user.name] for user in one.children) > max(
                    factors[user.name] for user in other.children
                )
    assert max(factors.values()) == 1.0
