"""Pytest's outermost file: plugins that must be named at the root, the order of tests, skips, and long tests."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

CLUSTER = "tests/cluster/"

pytest_plugins = ("pytest_jupyter.jupyter_server",)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="fail where a test is skipped: for machines that have all that the tests need",
    )
    parser.addoption("--soak", action="store_true", help="run the long tests too, and others in their long form")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``soak`` are for ``--soak``.

    Side by side, files with many slow tests come first: else one worker ends long after the others.
    """
    if not config.option.soak and (long := [item for item in items if item.get_closest_marker("soak")]):
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    if not hasattr(config, "workerinput"):
        return
    slow = Counter(item.path for item in items if any(map(item.get_closest_marker, ("slow", "ui"))))
    items.sort(key=lambda item: (not item.nodeid.startswith(CLUSTER), -slow[item.path]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Side by side, one worker has all tests on the test cluster: they share it, and some of them kill its parts."""
    from xdist.scheduler import LoadFileScheduling

    class ClusterTogether(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return CLUSTER if nodeid.startswith(CLUSTER) else super()._split_scope(nodeid)

    return ClusterTogether(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Under ``--no-skips`` a missing program is a failure, so that a suite can't shrink unseen."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("--no-skips"):
        where = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which --no-skips forbids: {where}"
    return report
