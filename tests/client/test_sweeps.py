"""Sweeps as people use them: sent at once, waited for with one bar, compared in one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_trainjob.client import AsyncClient, AsyncSweep, Client, InputError, NotFound, Sweep, WaitTimeout
from jupyter_trainjob.client.sweeps import points_of

from ..served import Served

CODE = """
from jupyter_trainjob import log_metric
log_metric("loss", lr * depth, 1)
log_metric("loss", lr / depth, 2)
if depth == 4 and lr == 0.5:
    raise ValueError("it diverged")
"""


def test_a_grid_is_every_combination() -> None:
    assert points_of({"lr": [1, 2], "name": "x"}) == [{"lr": 1, "name": "x"}, {"lr": 2, "name": "x"}]
    assert points_of([{"a": 1}, {"a": 2}], repeat=2) == [{"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}]
    with pytest.raises(InputError, match="The sweep has no point"):
        points_of({"lr": []})
    with pytest.raises(InputError, match="repeat=0: there is nothing to do"):
        points_of({"lr": [1]}, 0)


def test_a_sweep_from_its_sending_to_its_table(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    grid = {"lr": [0.5, 0.25], "depth": [2, 4]}
    sweep = client.sweep_cell(CODE, grid, name="grid", max_parallel=2, time_limit="2m", cpu="500m", memory="300Mi")
    assert len(sweep) == 4
    with pytest.raises(WaitTimeout, match=r"^grid-\w+: \d of 4 done"):
        sweep.wait(0)
    sweep.wait(120, progress=True)
    assert f"[{'#' * 30}] {sweep.name}: 4 of 4 done (3 Succeeded, 1 Failed)" in capsys.readouterr().err
    assert sweep.finished and not sweep.succeeded
    table = sweep.results()
    assert list(table.columns) == ["job", "depth", "lr", "state", "reason", "seconds", "loss"]
    assert list(table.lr) == [0.5, 0.5, 0.25, 0.25] and list(table.depth) == [2, 4, 2, 4]
    assert list(table.loss) == [0.25, 0.125, 0.125, 0.0625]
    assert list(table.state) == ["Succeeded", "Failed", "Succeeded", "Succeeded"]
    assert table.reason[1] == "CodeError"
    assert [job.name for job in sweep.jobs] == list(table.job)
    again = client.sweep("grid")
    assert again.name == sweep.name
    assert "<progress value='4' max='4'>" in again.refresh()._repr_html_()
    retried = sweep.jobs[1].retry()
    assert sweep.rows()[1]["job"] == retried.name, "of a point that was sent again, the latest"
    retried.cancel()


def test_a_script_many_times_and_all_stopped(client: Client, tmp_path: Path) -> None:
    script = tmp_path / "sleep.py"
    script.write_text("import time; time.sleep(600)")
    sweep = client.sweep_script(script, repeat=3, max_parallel=1, time_limit="15m")
    assert len({job.spec["seed"] for job in sweep.jobs}) == 3
    sweep.cancel("enough").wait(60)
    assert sweep.counts == {"Cancelled": 3}


def test_a_sweep_that_is_not_there(client: Client) -> None:
    with pytest.raises(NotFound, match="There is no sweep 'nothing' in the namespace"):
        client.sweep("nothing")


@pytest.mark.asyncio
async def test_the_same_on_an_event_loop(served: Served) -> None:
    async with AsyncClient(served.url, served.token) as client:
        sweep = await client.sweep_cell("y = x", {"x": [1, 2]}, name="beside", max_parallel=1, time_limit="2m")
        assert len(sweep) == 2 and sweep.name in [one.name for one in [await client.sweep("beside")]]
        assert (await sweep.wait(120)).succeeded
        assert [row["x"] for row in await sweep.rows()] == [1, 2]
        assert list((await sweep.results()).state) == ["Succeeded", "Succeeded"]
        assert [job.phase for job in await sweep.jobs()] == ["Succeeded", "Succeeded"]
        other = await client.sweep_cell("import time; time.sleep(600)", repeat=2, max_parallel=1, time_limit="15m")
        await (await other.cancel("enough")).wait(60)
        assert other.counts == {"Cancelled": 2}


def test_both_faces_of_a_sweep_have_the_same_verbs() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(Sweep) == public(AsyncSweep)
