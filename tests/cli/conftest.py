"""The command as people run it: a process, against a real server.

- ``trainjob(*words, input=..., **environment)``: runs it, gives exit status, stdout, stderr
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..served import Served, client, served

__all__ = ["client", "served"]


@dataclass
class Done:
    status: int
    out: str
    err: str


@pytest.fixture
def trainjob(served: Served, tmp_path: Path) -> Callable[..., Done]:
    def run(*words: str, input: str = "", **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "jupyter_trainjob.cli", *words],
            env={**served.environment, **environment},
            cwd=tmp_path,
            input=input,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return run
