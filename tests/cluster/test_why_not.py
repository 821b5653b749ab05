"""Who reads that the cluster's tests were skipped reads why."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from . import conftest
from .cluster import why_not
from .given import KUBECONFIG, GivenCluster


def test_what_is_missing_for_a_cluster_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = "needs unshare, nsenter, ip, iptables, nft" if os.geteuid() == 0 else "needs root on Linux"
    assert expected in str(why_not.__wrapped__())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is told about Go")
@pytest.mark.parametrize(("version", "told"), [("go1.24.4", "here is go1.24.4"), ("", "here is none")])
def test_a_go_that_is_too_old_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, told: str
) -> None:
    from . import cluster

    monkeypatch.setattr(cluster, "PROGRAMS", ())
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if version:
        go = tmp_path / "go"
        go.write_text(f"#!/bin/sh\necho {version}\n")
        go.chmod(0o755)
    assert why_not.__wrapped__() == f"the test cluster is built with Go ≥ 1.26; {told}"


def test_what_a_given_cluster_can_not_do_is_skipped_and_what_no_cluster_has_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KUBECONFIG, "/nowhere")
    given: Any = GivenCluster()
    for name in ("kill", "state"):
        with pytest.raises(pytest.skip.Exception, match=f"{name} is only to be had on the tests' own cluster"):
            getattr(given, name)
    with pytest.raises(AttributeError, match="has no 'kubctl'"):
        _ = given.kubctl


def test_a_build_that_fails_does_not_end_the_tests_that_need_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def programs() -> NoReturn:
        tried.append(1)
        raise subprocess.CalledProcessError(1, ["build"])

    monkeypatch.setattr(conftest, "programs", programs)
    monkeypatch.setattr(conftest, "why_not", lambda: None)
    monkeypatch.delenv(KUBECONFIG, raising=False)
    item = SimpleNamespace(get_closest_marker=lambda name: name == "cluster")
    session: Any = SimpleNamespace(items=[item], config=SimpleNamespace(option=SimpleNamespace(collectonly=False)))
    conftest.pytest_collection_finish(session)
    assert tried
