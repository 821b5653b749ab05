"""A job's random numbers begin at its seed: the same run tells the same ones again. Scala's turn: test_scala_data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_trainjob.runner import inkernel

from .harness import notebook, run
from .kernels import needs_r

DRAWS = {
    "python": "import random\nprint(random.random(), hash('x'))\nimport numpy as np\nprint(np.random.rand())",
    "R": "cat(runif(3), sample(1000, 1), rnorm(1))",
}


@pytest.mark.parametrize("language", ["python", pytest.param("R", marks=needs_r)])
def test_the_same_seed_gives_the_same_numbers_and_another_one_others(tmp_path: Path, language: str) -> None:
    logs = []
    for number, seed in enumerate((7, 7, 2**32 - 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        ended = run(folder, notebook(DRAWS[language]), language=language, seed=seed)
        assert ended.outcome == "ok", ended.end
        logs.append(ended.log.split())
    assert logs[0] == logs[1]
    assert not set(logs[0]) & set(logs[2])


def test_it_is_in_the_environment_and_a_hash_seed_of_the_jobs_own_stays(tmp_path: Path) -> None:
    code = "import os; print(os.environ['TRAINJOB_SEED'], os.environ['PYTHONHASHSEED'])"
    ended = run(tmp_path, notebook(code), seed=5, environment={"PYTHONHASHSEED": "9"})
    assert ended.log == b"5 9\n"


def test_without_a_seed_nothing_is_fixed(tmp_path: Path) -> None:
    code = "import os; print([name for name in os.environ if 'SEED' in name])"
    assert run(tmp_path, notebook(code)).log == b"[]\n"


def test_numpy_is_not_imported_for_it_and_is_seeded_when_it_is() -> None:
    code = f"""
import runpy, sys
ours = runpy.run_path({inkernel.__file__!r})
ours["_seed"](3)
assert "numpy" not in sys.modules
import numpy
first = numpy.random.rand()
numpy.random.seed(3)
assert numpy.random.rand() == first
assert not [one for one in sys.meta_path if type(one).__name__ == "_SeedsNumPy"]
ours["_seed"](3)
assert numpy.random.rand() == first
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
