"""A whole server with the cluster behind it, used from notebooks: what a student and an operator see."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from jupyter_trainjob.client import Client
from tests.magics.conftest import Kernel, Ran, kernel, plain, start_kernel

from . import objects
from .backends import bring_image
from .cluster import Cluster
from .servers import ClassServer, cluster_backend, say_store

__all__ = ["kernel", "start_kernel"]
pytestmark = [pytest.mark.cluster, pytest.mark.slow]
EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.ipynb"
SECONDS = 150
"""For whatever is waited for: a machine may be slow."""
SMALL = "--memory 512Mi --time-limit 2m"


@pytest.fixture(scope="module")
def room(cluster: Cluster) -> Iterator[str]:
    """A namespace for all jobs of this module."""
    name = f"tests-{secrets.token_hex(4)}"
    cluster.apply(objects.namespace(name))
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def served(cluster: Cluster, room: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClassServer]:
    bring_image(cluster)
    server = ClassServer(tmp_path_factory.mktemp("class"))
    say_store(server, cluster, room)
    server.say("TrainJobExtension.backends", {"cluster": cluster_backend(cluster, room, "python", "r", "scala")})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(served: ClassServer) -> Iterator[Client]:
    with served.client() as made:
        yield made
        made.cancel_all()


def jobs_in(cluster: Cluster, namespace: str) -> set[str]:
    return set(cluster.kubectl("-n", namespace, "get", "jobs", "-o", "name").split())


def until(look: Callable[[], Any], seconds: float = SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.2)
    return found


def test_the_card_of_a_cell_follows_the_pod(cluster: Cluster, room: str, kernel: Kernel, client: Client) -> None:
    code = (
        "from jupyter_trainjob import progress\nimport time\nprint('began')\nprogress(0.5, 'half of it')\n"
        "time.sleep(4)\nopen('made.txt', 'w').write('x' * 10)\nprint('done')"
    )
    ran = kernel.run(f"%%trainjob --name card {SMALL}\n{code}")
    assert ran.status == "ok" and len(ran.displays) == 1, ran
    words: set[str] = set()

    def shows(*wanted: str) -> Callable[[dict[str, Any]], bool]:
        return lambda update: all(word in update["data"]["text/plain"] for word in wanted)

    running = kernel.updates_until(shows("Running", "began", "50%", "half of it"), SECONDS)
    words.add(running["transient"]["display_id"])
    assert jobs_in(cluster, room), "it is a Job of the cluster"
    ended = kernel.updates_until(shows("Succeeded"), SECONDS)
    assert "done" in ended["data"]["text/html"]
    assert words == {ended["transient"]["display_id"]} == {ran.displays[0]["transient"]["display_id"]}

    status = client.job("card").resource["status"]
    attempt = status["attempts"][0]
    assert attempt["backend"] == "cluster" and attempt["node"] and attempt["isolation"] == "namespaces+cgroups"
    assert attempt["usage"]["peakMemoryBytes"] > 10 * 2**20 and attempt["usage"]["cpuSeconds"] > 0
    assert status["log"]["size"] == 11 and status["log"]["complete"]
    assert "made.txt" in kernel.run("%trainjob files card").stdout
    kernel.run("%trainjob download card made.txt")
    assert (kernel.folder / "made.txt").read_text() == "x" * 10
    kernel.run("%trainjob notebook card")
    (executed,) = json.loads((kernel.folder / f"{client.job('card').name}.ipynb").read_text())["cells"]
    text = "".join("".join(output.get("text", "")) for output in executed["outputs"])
    assert executed["execution_count"] == 1 and text == "began\ndone\n"
    until(lambda: not jobs_in(cluster, room))


def test_block_shows_lines_as_they_are_printed_and_brings_variables_back(kernel: Kernel, client: Client) -> None:
    seen: list[tuple[float, str]] = []

    def watch(message: dict[str, Any], ran: Ran) -> None:
        if message["msg_type"] == "stream":
            seen.append((time.time(), message["content"]["text"]))

    kernel.run("start, rates = 10, {'a': 0.5}")
    ran = kernel.run(
        f"%%trainjob --block --in start,rates --out model,score {SMALL}\n"
        "import time\n"
        "for i in range(start, start + 4):\n    print('at', time.time(), flush=True)\n    time.sleep(1.5)\n"
        "model, score = [start, rates], rates['a'] + 1",
        SECONDS,
        watch,
    )
    assert ran.status == "ok", ran
    assert re.fullmatch(r"(at [0-9.]+\n){4}", ran.stdout)
    assert len(seen) >= 3, "it came in pieces, as it was printed"
    first = float(ran.stdout.split()[1])
    assert min(at for at, text in seen if "at" in text) - first < 4.5, "the first came before the last was printed"
    assert kernel.run("print(model, score)").stdout == "[10, {'a': 0.5}] 1.5\n"


def test_following_the_log_of_a_job_that_is_then_cancelled(kernel: Kernel, client: Client) -> None:
    kernel.run(
        f"%%trainjob --name endless {SMALL}\nimport time\nopen('so-far', 'w').write('saved')\n"
        "for i in range(1000):\n    print('step', i, flush=True)\n    time.sleep(0.5)"
    )
    asked: list[str] = []

    def watch(message: dict[str, Any], ran: Ran) -> None:
        if "step 2\n" in ran.stdout and not asked:
            asked.append(client.job("endless").cancel("seen enough").phase)

    ran = kernel.run("%trainjob logs endless -f", SECONDS, watch)
    lines = [line for line in ran.stdout.splitlines() if line.startswith("step")]
    assert lines[:3] == ["step 0", "step 1", "step 2"] and asked == ["Running"]
    job = client.job("endless")
    assert job.phase == "Cancelled" and "seen enough" in job.resource["status"]["message"]
    assert "Cancelled" in ran.printed
    assert [item["path"] for item in job.files()] == ["so-far"], "what it had saved is kept"
    log = job.logs().splitlines()
    assert log[: len(lines)] == lines and job.resource["status"]["log"]["complete"]


def test_an_error_of_the_code_is_told_with_its_line(kernel: Kernel) -> None:
    ran = kernel.run(f"%%trainjob --name wrong --block {SMALL}\nx = 1\nprint('before')\n1 / (x - 1)", SECONDS)
    assert ran.status == "error" and "before" in ran.stdout
    assert "ZeroDivisionError: division by zero" in plain(ran.traceback + ran.evalue)
    shown = kernel.run("%trainjob show wrong").displays[0]["data"]["text/plain"]
    assert "Failed" in shown and "ZeroDivisionError" in shown


@pytest.mark.parametrize(
    ("language", "code", "printed"),
    [
        ("R", "total <- sum((1:10)^2)\ncat('R says', total, '\\n')", "R says 385"),
        ("scala", 'val total = (1 to 10).map(i => i * i).sum\nprintln(s"Scala says $total")', "Scala says 385"),
    ],
)
def test_other_languages_run_in_images_of_their_own(
    cluster: Cluster, kernel: Kernel, language: str, code: str, printed: str
) -> None:
    bring_image(cluster, language.lower())
    ran = kernel.run(
        f"%%trainjob --kernel {language} --block --out total --memory 1Gi --time-limit 5m\n{code}", 2 * SECONDS
    )
    assert ran.status == "ok" and printed in ran.stdout, ran
    assert kernel.run("print(int(total))").stdout == "385\n"


def test_what_no_node_has_is_refused_and_what_is_merely_taken_waits(kernel: Kernel, client: Client) -> None:
    before = len(client.jobs(limit=None))
    refused = kernel.run("%%trainjob --name giant --memory 64Ti\nprint(1)")
    said = plain(refused.stderr + refused.traceback)
    assert refused.status == "error" and "64Ti memory is more than any machine of 'cluster' has, " in said
    assert "Ask for at most " in said and len(client.jobs(limit=None)) == before

    refused = kernel.run("%%trainjob --cpu 900\n1")
    most = re.search(r"than any machine of 'cluster' has, (\S+)\. Ask", plain(refused.stderr + refused.traceback))
    assert most is not None
    first = client.submit_cell("import time\nprint('up')\ntime.sleep(600)", name="holds", cpu=most[1], memory="256Mi")
    until(lambda: first.refresh().phase == "Running")
    kernel.run(f"%%trainjob --name waits --cpu {most[1]} --memory 256Mi\nprint('my turn')")
    second = client.job("waits")
    time.sleep(2)
    assert second.refresh().phase == "Queued", "no pod that can't be placed is made"
    why = kernel.run("%trainjob why waits").stdout
    assert f"has 0 of {most[1]} CPUs free, the job needs {most[1]}" in why, why
    first.cancel()
    assert second.wait(SECONDS).phase == "Succeeded" and second.logs() == "my turn\n"


def test_a_server_that_was_killed_finds_its_jobs_again(cluster: Cluster, room: str, served: ClassServer) -> None:
    code = "import time\nfor i in range(100):\n    print('line', i, flush=True)\n    time.sleep(0.1)"
    with served.client() as client:
        job = client.submit_cell(code, name="outlives", memory="512Mi")
        waiting = client.submit_cell("print('after')", name="later", memory="512Mi", hold=True)
        until(lambda: "line 3\n" in job.logs())
        served.kill()
    there = jobs_in(cluster, room)
    assert there, "the pod goes on without the server"
    served.start()
    with served.client() as client:
        job = client.job(job.uid).wait(SECONDS)
        assert job.phase == "Succeeded" and len(job.resource["status"]["attempts"]) == 1
        assert job.logs() == "".join(f"line {i}\n" for i in range(100))
        client.job(waiting.uid).release()
        assert client.job(waiting.uid).wait(SECONDS).phase == "Succeeded"
    until(lambda: not jobs_in(cluster, room))


def run_notebook(server: ClassServer, folder: Path, whole: bool) -> list[str]:
    """The example as it is shipped, or its first job; what each of its cells printed."""
    notebook = nbformat.read(EXAMPLE, as_version=4)
    if not whole:
        last = next(index for index, cell in enumerate(notebook["cells"]) if cell["source"] == "%trainjob files digits")
        del notebook["cells"][last + 1 :]
    folder.mkdir()
    client = NotebookClient(
        notebook, timeout=2 * SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=server.kernel_environment())
    return [
        "".join(output.get("text", "") for output in cell["outputs"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def test_one_line_of_configuration_moves_a_class_into_the_cluster(
    cluster: Cluster, namespace: str, tmp_path: Path, soak: bool
) -> None:
    """The same server, the same record, the same notebook: no cell is changed, and no queue."""
    bring_image(cluster)
    server = ClassServer(tmp_path)
    say_store(server, cluster, namespace)
    printed = []
    for place in ("local", "cluster"):
        if place == "cluster":
            server.say("TrainJobExtension.backends", {"cluster": cluster_backend(cluster, namespace)})
        server.start()
        try:
            printed.append(run_notebook(server, tmp_path / place, soak))
            with server.client() as client:
                job = client.job("digits")
                assert job.phase == "Succeeded" and job.resource["status"]["attempts"][-1]["backend"] == place
        finally:
            server.stop()
    for cells in printed:
        assert "epoch 40 of 40" in cells[2], "the log was followed to its end"
        assert "report.txt" in cells[5]
    assert len(printed[0]) == len(printed[1]) == (10 if soak else 6)
