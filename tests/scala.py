"""What a server compiles for Scala's kernels, made once for all tests: it takes a minute, and lies in the cache.

- ``scala_compiled``: the folder. Making it is tested with the local backend.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

MAKES = [sys.executable, "-m", "jupyter_trainjob.runner.languages.scalajar"]
MAKES_SECONDS = 900
"""It has bounds of its own, which together are longer than anything here may take."""


@pytest.fixture(scope="session")
def scala_compiled() -> Path:
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "jupyter-trainjob", "compiled")
    for failed in place.glob("*/failed.txt"):  # by an earlier run, and today a server would not try again
        failed.unlink()
    made = subprocess.run([*MAKES, str(place)], stdout=subprocess.PIPE, text=True, check=False, timeout=MAKES_SECONDS)
    assert made.returncode == 0 and re.search(r": (made|was there)$", made.stdout, re.M), made.stdout
    return place


def share_compiled(compiled: Path, *data_dirs: Path) -> None:
    """Let backends with these data folders, which are yet to be made, find it there."""
    for folder in data_dirs:
        folder.mkdir(parents=True)
        (folder / "compiled").symlink_to(compiled)
