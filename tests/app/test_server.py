"""The whole server as a process: what its kernels get, what survives it, two on one folder, how it stops."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from jupyter_trainjob.resources.base import ObjectMeta
from jupyter_trainjob.resources.queue import Queue, QueueSpec
from jupyter_trainjob.store import Store

from ..benchmarks.server import RunningServer, running_server

pytestmark = pytest.mark.slow

FINAL = ("Succeeded", "Failed", "Cancelled")


def body(code: str, name: str = "j", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "jupyter-trainjob/v1",
        "kind": "TrainJob",
        "metadata": {"generateName": name},
        "spec": {"source": {"type": "cell", "code": code}, **spec},
    }


def submit(http: httpx.Client, code: str, name: str = "j", **spec: Any) -> str:
    namespace = http.get("me").json()["username"]
    answer = http.post(f"namespaces/{namespace}/trainjobs", json=body(code, name, **spec))
    assert answer.status_code == 201, answer.text
    return f"namespaces/{namespace}/trainjobs/{answer.json()['metadata']['uid']}"


def wait_for(
    http: httpx.Client, path: str, check: Callable[[dict[str, Any]], bool], seconds: float = 60
) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = http.get(path).json()
        if check(job["status"]):
            return job
        assert time.monotonic() < deadline, job["status"]
        time.sleep(0.05)


def is_final(status: dict[str, Any]) -> bool:
    return status["phase"] in FINAL


def text_of(http: httpx.Client, path: str) -> str:
    return http.get(f"{path}/log", params={"offset": 0, "limit": 1_000_000}).text


def kill(server: RunningServer) -> None:
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(10)


def test_a_cell_goes_all_the_way_and_comes_back() -> None:
    with running_server() as server, server.http() as http:
        path = submit(
            http, "print('hello')\nopen('made.txt', 'w').write('x')\nscore = 0.5", outputs={"names": ["score"]}
        )
        job = wait_for(http, path, is_final)
        assert job["status"]["phase"] == "Succeeded", job["status"]["message"]
        assert text_of(http, path) == "hello\n"
        assert job["status"]["outputs"]["notebook"] is True
        outputs = http.get(f"{path}/outputs").json()
        assert [item["path"] for item in outputs["files"]] == ["made.txt"]
        assert [item["name"] for item in outputs["results"]] == ["score"]
        notebook = http.get(f"{path}/outputs/notebook").json()
        assert notebook["cells"][0]["outputs"][0]["text"] in ("hello\n", ["hello\n"])
        assert job["status"]["attempts"][0]["usage"]["peakMemoryBytes"] > 10_000_000


def test_a_server_killed_in_mid_run_loses_nothing(tmp_path: Path) -> None:
    data = f"--TrainJobExtension.data_dir={tmp_path / 'data'}"
    code = "import time\nfor n in range(60):\n    print(n, flush=True)\n    time.sleep(0.05)"
    with running_server(data) as first, first.http() as http:
        path = submit(http, code)
        queued = submit(http, "print('later')", schedulingGates=[{"type": "hold"}])
        wait_for(http, path, lambda status: status["phase"] == "Running")
        kill(first)
    with running_server(data) as second, second.http() as http:
        job = wait_for(http, path, is_final)
        assert job["status"]["phase"] == "Succeeded", job["status"]["message"]
        assert len(job["status"]["attempts"]) == 1
        assert text_of(http, path).split() == [str(n) for n in range(60)]
        http.post(f"{queued}/release").raise_for_status()
        assert wait_for(http, queued, is_final)["status"]["phase"] == "Succeeded"


def test_two_servers_on_one_folder_work_as_one(tmp_path: Path) -> None:
    data = f"--TrainJobExtension.data_dir={tmp_path / 'data'}"
    with running_server(data) as first, running_server(data) as second, first.http() as one, second.http() as two:
        leading = [http.get("readyz").json()["checks"]["controllers"]["leading"] for http in (one, two)]
        assert sorted(leading) == [False, True]
        path = submit(two, "print('by the other')")
        assert wait_for(one, path, is_final)["status"]["phase"] == "Succeeded"
        assert text_of(two, path) == text_of(one, path) == "by the other\n"
        kill(first)
        started = time.monotonic()
        later = submit(two, "print('alone')")
        assert wait_for(two, later, is_final)["status"]["phase"] == "Succeeded"
        assert time.monotonic() - started < 15


def test_a_graceful_stop_says_what_goes_on_and_what_waits(tmp_path: Path) -> None:
    data = f"--TrainJobExtension.data_dir={tmp_path / 'data'}"
    with running_server(data) as server, server.http() as http:
        path = submit(http, "import time\ntime.sleep(6)\nprint('done')")
        submit(http, "print(1)", resources={"cpu": "2"})
        wait_for(http, path, lambda status: status["phase"] == "Running")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        log = server.log_text()
        assert "Without the server 1 running job goes on; 1 queued job waits for the next start." in log
    with running_server(data) as again, again.http() as http:
        assert wait_for(http, path, is_final)["status"]["phase"] == "Succeeded"
        assert text_of(http, path) == "done\n"


def test_kernels_are_given_a_token_that_only_our_api_takes() -> None:
    with (
        running_server() as server,
        httpx.Client(headers={"Authorization": f"token {server.token}"}, timeout=30) as admin,
    ):
        kernel = admin.post(f"{server.url}/api/kernels", json={"name": "python3"}).json()["id"]
        child = next(
            process
            for process in server.process.children(recursive=True)
            if "ipykernel_launcher" in " ".join(process.cmdline())
        )
        environment = child.environ()
        token, url = environment["JUPYTER_TRAINJOB_TOKEN"], environment["JUPYTER_TRAINJOB_URL"]
        assert url == f"{server.url}/trainjob/api/v1"
        mine = {"Authorization": f"trainjob {token}"}
        assert httpx.get(f"{url}/me", headers=mine).json()["operator"] is True
        assert httpx.get(f"{server.url}/api/kernels", headers=mine).status_code == 403
        assert httpx.get(f"{server.url}/api/kernels", headers={"Authorization": f"token {token}"}).status_code == 403
        wrong = httpx.get(f"{url}/me", headers={"Authorization": "trainjob wrong"})
        assert wrong.status_code == 401
        assert "The token is not one that this server knows." in wrong.json()["message"]
        admin.delete(f"{server.url}/api/kernels/{kernel}")


def test_an_unknown_backend_option_is_named_at_start() -> None:
    with (
        pytest.raises(RuntimeError, match="unknown option 'minimum'"),
        running_server("--TrainJobExtension.backends={'local': {'type': 'local', 'minimum': 1}}"),
    ):
        pass


def test_a_queue_that_names_no_backend_moves_with_the_configuration(tmp_path: Path) -> None:
    data = f"--TrainJobExtension.data_dir={tmp_path / 'data'}"
    with running_server(data) as server, server.http() as http:
        here = wait_for(http, submit(http, "print(1)"), is_final)
        assert here["status"]["attempts"][0]["backend"] == "local"
        asked = http.get("metrics").text
        assert "# TYPE trainjob_backend_watch_lag_seconds gauge" in asked and 'backend="local"' not in asked
    other = "--TrainJobExtension.backends={'other': {'type': 'local'}, 'local': {'type': 'local'}}"
    with running_server(data, other) as server, server.http() as http:
        there = wait_for(http, submit(http, "print(1)"), is_final)
        assert there["status"]["attempts"][0]["backend"] == "other"


def test_a_backend_that_cannot_start_is_said_to_whoever_asks() -> None:
    with (
        pytest.raises(RuntimeError, match=r"could not start: .*/nope/python"),
        running_server("--LocalBackendSettings.python=/nope/python"),
    ):
        pass


def test_the_log_says_how_jobs_are_kept_apart_and_which_queue_has_no_backend(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with Store.open(f"sqlite:///{data / 'record.sqlite'}") as store:
        spec = QueueSpec(backend="cluster")
        store.write(lambda writer: writer.create(Queue(metadata=ObjectMeta(name="gpu", owner="system"), spec=spec)))
    with running_server(f"--TrainJobExtension.data_dir={data}") as server, server.http() as http:
        level = http.get("readyz").json()["checks"]["controllers"]["backends"]
        assert level == {"local": "local"}
        lines = [line.partition("] ")[2] for line in server.log_text().splitlines()]
    assert [line for line in lines if line.startswith("backend local: jobs run in a sandbox of level '")]
    assert (
        "queue gpu: its backend 'cluster' is not in TrainJobExtension.backends (there are: local), so that its jobs "
        "wait for ever; add it, or change the queue's spec.backend"
    ) in lines


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_not_ready_and_does_not_flood_the_log(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "none", disk], check=True)
    try:
        with running_server(f"--TrainJobExtension.data_dir={disk / 'data'}") as server, server.http() as http:
            held = submit(http, "print(1)", schedulingGates=[{"type": "hold"}])
            with open(disk / "ballast", "wb", buffering=0) as ballast, contextlib.suppress(OSError):
                while True:
                    ballast.write(bytes(2**16))
            for _ in range(40):
                http.post(f"{held}/hold")
                refused = http.post("namespaces/root/trainjobs", json=body("x = '" + "y" * 100_000 + "'"))
                time.sleep(0.1)
            assert refused.status_code == 503
            assert "the disk may be full" in refused.json()["message"]
            ready = http.get("readyz")
            assert ready.status_code == 503
            told = ready.json()["checks"]["disk"]
            assert told["ok"] is False
            assert "free on the disk of the data folder; at least 64Mi are needed. Free some space." in told["message"]
            time.sleep(6)
            log = server.log_text()
            assert "Traceback" not in log, log[-4000:]
            assert log.count("the disk is full. Free some space") == 1
            (disk / "ballast").unlink()
            http.post(f"{held}/release").raise_for_status()
            assert wait_for(http, held, is_final)["status"]["phase"] == "Succeeded"
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_all_options_are_explained() -> None:
    import sys

    text = subprocess.run(
        [sys.executable, "-m", "jupyter_trainjob", "--help-all"], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    for word in (
        "TrainJobExtension.data_dir",
        "LocalBackendSettings.minimum_isolation",
        "TrainJobExtension.remote_url",
    ):
        assert word in text
    assert os.environ.get("JUPYTER_TRAINJOB_TOKEN") is None
