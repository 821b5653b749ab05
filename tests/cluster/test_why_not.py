"""Who reads that the cluster's tests were skipped reads why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .cluster import why_not


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
