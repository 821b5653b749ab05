"""The attacks by jobs that were given the machine's network: that is open, and all else is held as ever.

Bombs and fills, which have a job each, know no network: they run here only with ``--soak``.
"""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_trainjob.backends.local.attacks.table import ATTACKS

from .suites import NAMES, SECONDS, run, unclaimed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]
OPEN = {"abstract-socket", "dns", "host", "listen", "loopback", "metadata"}


TOGETHER = [attack.name for attack in ATTACKS if not attack.alone]


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    return run("namespaces+cgroups", "--network", only=TOGETHER)


def check_open(row: dict[str, Any]) -> None:
    assert not row["failed"], row["told"]
    assert row["contained"] is (row["name"] not in OPEN | {"files-in-flight"}), row["told"]


@pytest.mark.parametrize("name", TOGETHER)
def test_only_the_network_is_open(rows: dict[str, dict[str, Any]], name: str) -> None:
    check_open(rows[name])


def test_what_is_open_is_listed(rows: dict[str, dict[str, Any]]) -> None:
    assert unclaimed(rows, TOGETHER) == OPEN == {attack.name for attack in ATTACKS if attack.network}


@pytest.mark.soak
def test_bombs_and_fills_are_held_there_too() -> None:
    for row in run("namespaces+cgroups", "--network", only=sorted(set(NAMES) - set(TOGETHER))).values():
        check_open(row)
