"""The attacks by jobs that were given the machine's network: that is open, and all else is held as ever."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_trainjob.backends.local.attacks.table import ATTACKS

from .suites import SECONDS, each_attack, run, unclaimed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]
OPEN = {"abstract-socket", "dns", "host", "listen", "loopback", "metadata"}


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    return run("namespaces+cgroups", "--network")


@each_attack
def test_only_the_network_is_open(rows: dict[str, dict[str, Any]], name: str) -> None:
    row = rows[name]
    assert not row["failed"], row["told"]
    assert row["contained"] is (name not in OPEN | {"files-in-flight"}), row["told"]


def test_what_is_open_is_listed(rows: dict[str, dict[str, Any]]) -> None:
    assert unclaimed(rows) - {"files-in-flight"} == OPEN == {attack.name for attack in ATTACKS if attack.network}
