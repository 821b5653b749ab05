"""Every attack gets its way without a sandbox: else that it is held would say nothing."""

from __future__ import annotations

import os
from typing import Any

import pytest

from jupyter_trainjob.backends.local.attacks.table import ATTACKS

from .suites import NAMES, SECONDS, each_attack, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    return run("bare")


@each_attack
def test_it_bites(found: dict[str, dict[str, Any]], name: str) -> None:
    if ATTACKS[NAMES.index(name)].root and os.geteuid() != 0:
        pytest.skip("only root gets so far")
    assert found[name]["succeeded"], found[name]["told"]
