"""A kernel that is started before its job is known, and then is the job's as any other."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from jupyter_trainjob.resources.trainjob import FIRST_CHOSEN_SEED
from jupyter_trainjob.runner import early

from .harness import Runner, launch, notebook
from .kernels import needs_r

TOLD = "['TRAINJOB_JOB_UID'], ['TRAINJOB_ATTEMPT'], ['TRAINJOB_SEED']"


def wait(folder: Path, environ: dict[str, str] | None = None, **job: Any) -> Runner:
    """A runner that waits for ``folder``/in/job.json with its kernel ready."""
    for name in ("work", "out", "in"):
        (folder / name).mkdir()
    orders = {
        "runnerProtocol": 1,
        "uid": "warm-1",
        "attempt": 0,
        "language": "python",
        "notebook": "",
        "work": str(folder / "work"),
        "out": str(folder / "out"),
        "seed": FIRST_CHOSEN_SEED,
        **job,
    }
    (folder / "in" / "waiting.json").write_text(json.dumps(orders))
    runner = launch(folder, [str(folder / "in" / "waiting.json"), str(folder / "in" / "job.json")], environ)
    runner.wait_for(lambda: b'"waiting"' in runner.raw_events)
    return runner


def give(runner: Runner, code: str, **job: Any) -> None:
    """The job's orders, and the word that they are there."""
    folder = runner.folder
    (folder / "in" / "notebook.ipynb").write_text(json.dumps(notebook(code)))
    orders = json.loads((folder / "in" / "waiting.json").read_text())
    orders |= {"uid": "ada1", "attempt": 3, "notebook": str(folder / "in" / "notebook.ipynb"), **job}
    (folder / "in" / "job.json").write_text(json.dumps(orders))
    os.kill(runner.process.pid, signal.SIGUSR1)


def test_the_job_has_its_own_environment_inputs_parameters_and_results(tmp_path: Path) -> None:
    runner = wait(tmp_path)
    assert not runner.log and b'"started"' not in runner.raw_events
    data = tmp_path / "data.csv"
    data.write_text("1,2\n")
    code = (
        "import os, pathlib\n"
        "names = ['TRAINJOB_JOB_UID', 'TRAINJOB_ATTEMPT', 'TRAINJOB_SEED', 'PYTHONHASHSEED']\n"
        "print(*[os.environ[name] for name in names])\n"
        "print(pathlib.Path('data.csv').read_text(), lr)\n"
        "answer = 42"
    )
    inputs = [{"path": "data.csv", "source": str(data)}]
    give(runner, code, seed=FIRST_CHOSEN_SEED + 7, inputs=inputs, parameters={"lr": 0.5}, results=["answer"])
    ended = runner.finish()
    assert ended.outcome == "ok", ended.end
    assert ended.log == f"ada1 tj-ada1-3 {FIRST_CHOSEN_SEED + 7} 0\n1,2\n 0.5\n".encode()
    assert ended.end["results"][0]["name"] == "answer" and not ended.end["results"][0]["error"]
    assert ended.notebook.metadata["language_info"]["name"] == "python"
    assert [event["type"] for event in ended.events][:3] == ["hello", "waiting", "started"]


def test_random_numbers_are_those_of_a_kernel_that_was_started_for_the_job(tmp_path: Path) -> None:
    code = "import random, numpy\nprint(random.random(), numpy.random.rand(), hash('x'))"
    logs = []
    for number, seed in enumerate((FIRST_CHOSEN_SEED + 7, FIRST_CHOSEN_SEED + 7, FIRST_CHOSEN_SEED + 8)):
        (tmp_path / str(number)).mkdir()
        runner = wait(tmp_path / str(number))
        give(runner, code, seed=seed)
        logs.append(runner.finish().log.split())
    (tmp_path / "cold").mkdir()
    from .harness import run

    cold = run(tmp_path / "cold", notebook(code), seed=FIRST_CHOSEN_SEED + 7).log.split()
    assert logs[0] == logs[1] == cold
    assert logs[2][:2] != logs[0][:2]


@needs_r
def test_r_waits_too(tmp_path: Path) -> None:
    runner = wait(tmp_path, language="R")
    give(runner, "cat(Sys.getenv('TRAINJOB_JOB_UID'), runif(1), '\\n')", language="R", seed=FIRST_CHOSEN_SEED + 7)
    ended = runner.finish()
    assert ended.of("waiting") == [{"type": "waiting"}], "it rehearsed, and that went well"
    log = ended.log
    from .harness import run

    (tmp_path / "cold").mkdir()
    cold = run(tmp_path / "cold", notebook("cat(runif(1))"), language="R", seed=FIRST_CHOSEN_SEED + 7).log
    assert log.split() == [b"ada1", *cold.split()]


@needs_r
@pytest.mark.parametrize(
    ("function", "when", "words"),
    [
        ("parse", "identical(list(...)$srcfile$filename, '<cell>')", "no parsing today"),
        ("srcfilecopy", "identical(..1, '<cell>')", "our code did not tell how it ended"),
    ],
)
def test_a_rehearsal_that_fails_is_told_and_the_kernel_waits_all_the_same(
    tmp_path: Path, function: str, when: str, words: str
) -> None:
    """R's own profile breaks what cells are run by: where our code tells how they end, and before it can."""
    profile = tmp_path / "profile.R"
    profile.write_text(
        f"local({{ real <- {function}; unlockBinding('{function}', baseenv()); assign('{function}', function(...) "
        f"if ({when}) stop('no parsing today') else real(...), baseenv()) }})\n"
    )
    runner = wait(tmp_path, {"R_PROFILE_USER": str(profile)}, language="R")
    give(runner, "1", language="R")
    [told] = runner.finish().of("waiting")
    assert told["unready"].startswith("a cell that does nothing failed: ") and words in told["unready"]


def test_orders_that_cant_be_read_end_it_with_the_reason(tmp_path: Path) -> None:
    runner = wait(tmp_path)
    (tmp_path / "in" / "job.json").write_text("{")
    os.kill(runner.process.pid, signal.SIGUSR1)
    ended = runner.finish()
    assert ended.outcome == "error" and "can't read its orders" in ended.end["error"]["evalue"]


def test_a_kernel_that_dies_while_it_waits_is_told(tmp_path: Path) -> None:
    runner = wait(tmp_path)
    children = Path(f"/proc/{runner.process.pid}/task/{runner.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    ended = runner.finish()
    assert ended.outcome == "kernelDied" and "before the code began" in ended.end["error"]["evalue"]


def test_being_told_to_stop_while_it_waits_ends_it(tmp_path: Path) -> None:
    runner = wait(tmp_path)
    runner.process.terminate()
    assert runner.finish().outcome == "interrupted"


@pytest.mark.parametrize(("seed", "hashes"), [(0, "0"), (7, "7"), (FIRST_CHOSEN_SEED, "0"), (2**32 - 1, "0")])
def test_seeds_that_were_chosen_share_one_hash_seed(seed: int, hashes: str) -> None:
    assert early.hash_seed(seed) == hashes
    assert early.FIRST_CHOSEN_SEED == FIRST_CHOSEN_SEED
