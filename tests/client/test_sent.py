"""What a job is made of and gets, in whole lives: scripts, folders, others' outputs, languages, metrics, archives."""

from __future__ import annotations

import asyncio
import math
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from jupyter_trainjob.client import AsyncClient, Client, Conflict, InputError, Invalid

from ..served import Served

LIMITS = {"cpu": "1", "memory": "512Mi", "time_limit": "2m"}


def has(client: Client, language: str) -> bool:
    return any(kernel["language"] == language for kernel in client.kernels())


@pytest.fixture
def r(client: Client) -> None:
    if not has(client, "r"):
        pytest.skip("there is no R kernel")


def test_a_script_runs_and_its_lines_are_the_files(client: Client, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("lr = 0.5\nscore = lr * 2\nprint(score)\n")
    job = client.submit_script(tmp_path / "train.py", outputs=["score"], **LIMITS)
    assert job.short_name == "train" and job.wait(60, check=True).result("score") == 1.0
    (tmp_path / "bad.py").write_text("x = 1\n\n1 / 0\n")
    assert client.submit_script("bad.py", folder=str(tmp_path), block=True).error["line"] == 3
    (tmp_path / "syntax.py").write_text("x = 1\ny = (\n")
    with pytest.raises(Invalid, match="line 2"):
        client.submit_script(tmp_path / "syntax.py")


def test_an_r_script(client: Client, tmp_path: Path, r: None) -> None:
    (tmp_path / "total.R").write_text("total <- sum((1:10)^2)\ncat(total, '\\n')\n")
    job = client.submit_script(tmp_path / "total.R", **LIMITS)
    assert job.wait(90, check=True).logs() == "385 \n" and job.spec["environment"]["language"] == "r"


def test_a_folder_runs_its_entry_beside_its_files(client: Client, tmp_path: Path) -> None:
    project = tmp_path / "My Project"
    (project / "lib").mkdir(parents=True)
    (project / "lib/tools.py").write_text("def double(x):\n    return 2 * x\n")
    (project / "main.py").write_text("from lib.tools import double\nvalue = double(int(open('n.txt').read()))\n")
    (project / "n.txt").write_text("21")
    (project / "secret.key").write_text("x")
    (project / ".gitignore").write_text("*.key\n")
    job = client.submit_folder(project, "main.py", outputs=["value"], **LIMITS)
    assert job.short_name == "my-project" and job.wait(60, check=True).result("value") == 42
    same = client.submit_folder(project, "main.py", dry_run=True)
    assert same.spec["source"]["digest"] == job.spec["source"]["digest"]
    with pytest.raises(InputError, match=r"--entry mian\.py: there is no such file"):
        client.submit_folder(project, "mian.py")


def test_what_another_job_left_is_there(client: Client) -> None:
    code = "import os\nos.makedirs('tables/deep')\nopen('tables/a.csv', 'w').write('1')\nopen('m.pt', 'w').write('2')"
    first = client.submit_cell(code, name="clean", block=True, **LIMITS)
    job = client.submit_cell(
        "import os\nfound = [open(p).read() for p in ('tables/a.csv', 'in/model', 'clean/m.pt')]",
        inputs=["clean:tables/", f"{first.uid}:m.pt=in/model", "clean:."],
        outputs=["found"],
        **LIMITS,
    )
    assert {item["job"] for item in job.spec["inputs"]} == {first.uid}
    assert job.wait(60, check=True).result("found") == ["1", "2", "2"]
    with pytest.raises(Invalid, match=r"left no file and no folder 'table'\. It left: m\.pt, tables/a\.csv"):
        client.submit_cell("1", inputs=["clean:table"])
    with pytest.raises(Invalid, match="there is no job 'nobody'"):
        client.submit_cell("1", inputs=["nobody:x"])
    with pytest.raises(InputError, match=r"--input clean: this names no file of a job"):
        client.submit_cell("1", inputs="clean")


def test_an_address_that_the_operator_does_not_allow(client: Client) -> None:
    with pytest.raises(Invalid, match=r"ask the operator to allow it"):
        client.submit_cell("1", uris=["https://example.org/a.csv"])


def test_metrics_come_as_a_table_and_as_series(client: Client) -> None:
    code = (
        "from jupyter_trainjob import log_metric\n"
        "for step in range(2000):\n    log_metric('loss', 1 / (step + 1), step)\n"
        "log_metric('acc', float('nan'), 0)\nlog_metric('acc', 0.5, 0.5)"
    )
    job = client.submit_cell(code, name="metrics", **LIMITS)
    assert job.metrics().empty
    job.wait(60, check=True)
    table = job.metrics()
    assert list(table.columns) == ["name", "step", "value", "time"] and len(table) == 2002
    loss = table[table.name == "loss"]
    assert loss.step.tolist() == list(range(2000)) and loss.value.iloc[-1] == 1 / 2000
    assert (pd.Timestamp.now("UTC") - table.time).between(pd.Timedelta(0), pd.Timedelta("5min")).all()
    points = [point for point in job.metric_points() if point["name"] == "acc"]
    assert math.isnan(points[0]["value"]) and points[1]["step"] == 0.5
    series = job.metric_series(["loss"], max_points=50)["metrics"]
    assert list(series) == ["loss"] and series["loss"]["count"] == 2000 and len(series["loss"]["points"]) <= 50
    assert client.submit_cell("1", block=True).metrics().empty


def test_metrics_on_an_event_loop(served: Served, client: Client) -> None:
    job = client.submit_cell("from jupyter_trainjob import log_metric\nlog_metric('a', 1, 1)", block=True, **LIMITS)

    async def look() -> list[dict[str, object]]:
        async with AsyncClient(served.url, served.token) as there:
            again = await there.job(job.uid)
            assert len(await again.metrics()) == 1
            return [point async for point in again.metric_points()]

    assert [point["value"] for point in asyncio.run(look())] == [1.0]


def test_use_and_advice(client: Client) -> None:
    job = client.submit_cell("x = bytearray(50_000_000)", name="advised", block=True, **LIMITS)
    assert job.usage()["used"]["peakMemoryBytes"] > 50_000_000
    advice = job.advice()
    assert advice["runs"] == 1 and advice["resources"]["memory"].endswith("Mi") and advice["timeLimitSeconds"] == 60


def test_all_that_a_job_left_is_one_archive(client: Client, tmp_path: Path) -> None:
    job = client.submit_cell("y = 1\nfor n in range(1100): open(f'{n}.txt', 'w').write('x')", outputs=["y"], block=True)
    assert job.succeeded and len(job.files()) == 1000
    assert {(item["path"], item["size"]) for item in job.all_files()} == {(f"{n}.txt", 1) for n in range(1100)}
    saved = job.save_archive(tmp_path)
    assert saved == tmp_path / f"{job.name}.tar" and list(tmp_path.iterdir()) == [saved]
    with tarfile.open(saved) as archive:
        assert {"notebook.ipynb", "results/y", "files/1099.txt"} <= set(archive.getnames())
    assert job.save_archive(tmp_path / "new/all.tar").stat().st_size == saved.stat().st_size
    small = client.submit_cell("open('a', 'w').write('xy')", block=True)
    assert small.all_files() == [{"path": "a", "size": 2}]


def test_variables_of_python_stay_pickled_and_others_go_as_data(client: Client, r: None) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    python = client.submit_cell("1", variables={"f": len, "df": frame}, hold=True)
    sent = python.spec["inputs"]
    assert [item["names"] for item in sent] == [["f", "df"]] and sent[0].get("format", "cloudpickle") == "cloudpickle"
    for kernel in ("R", "ir"):
        sent = client.submit_cell("1", kernel=kernel, variables={"n": 3, "df": frame}, hold=True).spec["inputs"]
        assert [(item["names"], item["format"]) for item in sent] == [(["n"], "json"), (["df"], "frame")]
    with pytest.raises(InputError, match=r"--in f: f is of the type builtin_function_or_method, which R can't get"):
        client.submit_cell("1", kernel="r", variables={"f": len})
    with pytest.raises(Invalid, match=r"there is no kernel 'julia'; there are: "):
        client.submit_cell("1", kernel="julia", variables={"n": 3})
    client.cancel_all()


def test_a_job_is_done_again_as_it_was(client: Client) -> None:
    job = client.submit_cell(
        "score = lr * n", name="again", parameters={"lr": 0.5, "n": 4}, outputs=["score"], **LIMITS
    )
    job.wait(60, check=True)
    same, other = job.rerun(), job.rerun({"lr": float("inf")})
    assert same.short_name == "again" and same.uid != job.uid
    assert same.wait(60, check=True).result("score") == 2.0
    assert other.wait(60, check=True).result("score") == math.inf
    held = client.submit_cell("1", hold=True)
    with pytest.raises(Conflict, match="only one that has ended can be run again"):
        held.rerun()
    held.cancel()
