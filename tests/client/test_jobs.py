"""Jobs that run for real, through both faces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jupyter_trainjob.client import AsyncClient, AsyncJob, Client, Conflict, Job, JobFailed, NotFound, WaitTimeout
from jupyter_trainjob.client.logs import LogText

from ..served import Served

CODE = """
import os
for number in range(3): print('line', number)
os.makedirs('out/deep'); open('out/deep/a b.txt', 'w').write('hello'); open('top.bin', 'wb').write(bytes(300_000))
score = {'accuracy': 0.9}
"""


def test_a_whole_life(client: Client, tmp_path: Path) -> None:
    job = client.submit_cell(CODE, name="life", cpu="1", memory="512Mi", time_limit="1m", outputs=["score"])
    assert job.phase == "Queued" and job.short_name == "life" and job.name.startswith("life-")
    assert job.wait(60, check=True).succeeded
    assert job.result("score") == {"accuracy": 0.9}
    assert job.logs() == "line 0\nline 1\nline 2\n" and isinstance(job.logs(), LogText)
    assert job.logs(tail=2) == "line 1\nline 2\n" and job.logs(tail=0) == ""
    assert "".join(job.logs(follow=True)) == job.logs()
    assert {item["path"] for item in job.files()} == {"out/deep/a b.txt", "top.bin"}
    assert job.download("top.bin", tmp_path / "renamed.bin") == [tmp_path / "renamed.bin"]
    assert sorted(job.download(None, tmp_path)) == [tmp_path / "out/deep/a b.txt", tmp_path / "top.bin"]
    assert (tmp_path / "out/deep/a b.txt").read_text() == "hello"
    assert job.download("out/*", tmp_path / "g")[0].name == "a b.txt"
    assert '"nbformat": 4' in job.notebook(tmp_path / "x.ipynb").read_text()
    with pytest.raises(NotFound, match="has no file 'nope'; it has: "):
        job.download("nope", tmp_path)
    assert client.job(job.uid).name == client.job("life").name == job.name
    with pytest.raises(Conflict):
        job.cancel()
    again = job.retry()
    assert again.uid != job.uid and again.wait(60).succeeded


def test_failing_code_raises_with_its_own_traceback(client: Client) -> None:
    job = client.submit_cell("def f():\n    raise KeyError('gone')\nf()", name="failing", block=True)
    assert job.phase == "Failed" and job.reason == "CodeError" and job.error["ename"] == "KeyError"
    with pytest.raises(JobFailed, match=r"failed: Failed after .* \(CodeError\): KeyError: 'gone'") as caught:
        job.wait(check=True)
    shown = "\n".join(caught.value._render_traceback_())
    assert "raise KeyError" in shown and "jupyter_trainjob/client" not in shown


def test_waiting_ends_in_time(client: Client) -> None:
    job = client.submit_cell("1", name="held", hold=True)
    began = time.monotonic()
    with pytest.raises(WaitTimeout, match=r"is Queued after 1 s\. It goes on"):
        job.wait(1)
    assert 0.9 < time.monotonic() - began < 4
    with pytest.raises(TimeoutError):
        job.wait(0)
    threading.Timer(0.5, lambda: client.clone().job(job.uid).cancel()).start()
    assert job.wait(30).phase == "Cancelled"


def test_characters_and_bytes_of_all_kinds(client: Client) -> None:
    code = "import sys\nprint('grüße ' * 3)\nsys.stdout.flush()\nimport os\ncount = os.write(1, b'\\xff\\xfe raw\\n')"
    job = client.submit_cell(code).wait(60, check=True)
    assert job.logs() == "grüße grüße grüße \n\ufffd\ufffd raw\n"
    assert "".join(job.logs(True)) == job.logs()


def test_variables_files_and_dependencies(client: Client, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "in.txt").write_text("from a file")
    first = client.submit_cell("print('first')", name="first")
    second = client.submit_cell(
        "text = open('d/in.txt').read() + f(n)",
        variables={"n": 2, "f": lambda n: "!" * n},
        files=["d"],
        folder=str(tmp_path),
        outputs=["text"],
        depends_on=["first"],
    )
    assert second.wait(60, check=True).result("text") == "from a file!!"
    assert first.refresh().succeeded


def test_listing(client: Client) -> None:
    jobs = [client.submit_cell("1", name="listed", hold=True, labels={"lot": "seven"}) for _ in range(3)]
    found = client.jobs(labels="lot=seven")
    assert [job.uid for job in found] == [job.uid for job in reversed(jobs)]
    assert len(client.jobs(labels="lot=seven", limit=2)) == 2
    assert len(client.jobs(labels="lot=seven", phases=["Running"])) == 0
    elsewhere = client.submit_cell("1", name="listed", namespace="course", hold=True)
    assert elsewhere.uid not in {job.uid for job in client.cancel_all(jobs[0].namespace)}
    jobs.append(client.submit_cell("1", name="listed", hold=True))
    assert {job.uid for job in client.cancel_all()} == {jobs[-1].uid, elsewhere.uid}


def test_following_shows_every_byte_of_the_next_attempt(served: Served, client: Client) -> None:
    # The first prints without a pause, so that a reader always has bytes and no reason to look at the job.
    code = (
        "import os, time\n"
        "first = os.environ['TRAINJOB_ATTEMPT'].endswith('-1')\n"
        "for n in range(2000 if first else 300):\n"
        "    print('first' if first else 'second', n, flush=True)\n"
        "    if first: time.sleep(0.02)\n"
    )
    job = client.submit_cell(code, name="again", retries=1)
    text, killed = "", False
    for piece in job.logs(True):
        text += piece
        if "first 60\n" in text and not killed:
            killed = True
            known = json.loads((served.folder / f"data/run/tj-{job.uid}-1/supervisor.json").read_text())
            os.kill(known["pid"], signal.SIGKILL)
    lines = text.splitlines()
    told = lines.index("[attempt 1 ended (RunnerLost); attempt 2 begins]")
    assert lines[told + 1 :] == [f"second {n}" for n in range(300)]
    assert lines[: min(told, 60)] == [f"first {n}" for n in range(60)]
    assert "".join(job.logs(True)) == "".join(f"second {n}\n" for n in range(300)), "one that begins later"
    assert "".join(job.logs(True, tail=2)) == "second 298\nsecond 299\n"


def test_a_name_that_is_elsewhere_is_told_with_the_place(client: Client) -> None:
    own = client.me()["namespaces"][0]["name"]
    with pytest.raises(NotFound) as nowhere:
        client.job("wanted")
    assert str(nowhere.value) == (
        f"There is no TrainJob 'wanted' in the namespace {own!r}. Look in another namespace with -n NAMESPACE "
        "(namespace=…), or list those of all that you may see with list -A."
    )
    there = client.submit_cell("1", name="wanted", namespace="course", hold=True)
    client.submit_cell("1", name="wanted-not", namespace="course", hold=True)
    for name in ("wanted", there.name):
        with pytest.raises(NotFound) as once:
            client.job(name)
        assert str(once.value) == (
            f"There is no TrainJob {name!r} in the namespace {own!r}. "
            f"{there.name} is in the namespace 'course': say -n course (namespace='course')."
        )
    client.submit_cell("1", name="wanted", namespace="course", hold=True)
    with pytest.raises(
        NotFound, match=r"Jobs of this name are in: course\. Say which with -n NAMESPACE \(namespace=…\)\."
    ):
        client.job("wanted")
    assert client.job("wanted", "course").short_name == "wanted"
    client.cancel_all("course")


@pytest.mark.asyncio
async def test_the_same_on_an_event_loop(served: Served, tmp_path: Path) -> None:
    async with AsyncClient(served.url, served.token) as client:
        (tmp_path / "in.txt").write_text("x" * 100_000)
        job = await client.submit_cell(
            "print(len(open('in.txt').read()))\nopen('o', 'w').write('1')\nx = 5",
            name="loop",
            outputs=["x"],
            files=["in.txt"],
            folder=str(tmp_path),
        )
        assert "".join([piece async for piece in job.follow()]).startswith("100000\n")
        assert (await job.wait(60, check=True)).succeeded
        assert await job.result("x") == 5 and "100000" in await job.logs()
        assert await job.download("o", tmp_path / "got") == [tmp_path / "got"]
        with pytest.raises(NotFound):
            await client.job("no-such")
        assert job.name in [one.name for one in await client.jobs()]


def test_both_faces_have_the_same_verbs() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(Client) - public(AsyncClient) == {"clone"}
    assert public(AsyncClient) <= public(Client)


def test_signatures_are_those_of_the_verbs() -> None:
    import inspect

    assert str(inspect.signature(Client.submit_cell)).startswith("(self, /, code: 'str', **options")
    assert str(inspect.signature(Job.result)) == "(self, /, name: 'str', *, trust: 'bool' = False)"
    assert Job.result.__doc__ == AsyncJob.result.__doc__


def test_importing_it_imports_neither_httpx_nor_anything_of_the_server() -> None:
    code = (
        "import sys, jupyter_trainjob.client\n"
        "heavy = ('httpx', 'pydantic', 'sqlalchemy', 'tornado', 'cloudpickle')\n"
        "bad = [n for n in sys.modules if n.split('.')[0] in heavy]\n"
        "ours = {n.split('.')[1] for n in sys.modules if n.startswith('jupyter_trainjob.')}\n"
        "print(bad, sorted(ours))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[] ['client']\n", done


def test_who_follows_a_log_hears_of_other_states_before_it_says_something(client: Client) -> None:
    job = client.submit_cell("print('said')", hold=True)
    seen: list[str] = []
    pieces = job.logs(True, news=lambda job: seen.append(job.phase))
    client.job(job.name).release()
    assert "".join(pieces) == "said\n"
    assert seen[-1] == "Succeeded" and len(set(seen)) == len(seen)
