"""``submit --sweep`` and ``sweep``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_trainjob.client import Client


def test_a_sweep_on_the_command_line(trainjob: Callable[..., Any], client: Client, tmp_path: Path) -> None:
    (tmp_path / "add.py").write_text("print(a, b)")
    options = ("--sweep", "a=1,[2,3]", "--sweep", "b=x", "--max-parallel", "1", "--hold", "--time-limit", "1m")
    done = trainjob("submit", "add.py", *options)
    assert done.status == 0, done.err
    name = done.out.split(":")[0]
    assert done.out == f"{name}: 2 jobs; the table: sweep {name}\n"
    table = trainjob("sweep", "add")
    head, first, second = table.out.splitlines()
    assert head.split() == ["job", "a", "b", "state"]
    assert first.split()[1:] == ["1", "x", "Queued"] and second.split("  ")[1:3] == ["[2, 3]", "x"]
    assert table.err == f"{name}: 0 of 2 done (2 Queued)\n"
    client.sweep(name).cancel()
    refused = trainjob("submit", "add.py", "--max-parallel", "2")
    assert refused.status != 0
    assert "--max-parallel is for --sweep and --repeat." in refused.err
