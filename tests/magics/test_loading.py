"""How the magic gets into a kernel, how it finds the server from there, and what it does inside a job."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from websocket import create_connection

from jupyter_trainjob.client import Client

from ..served import Served
from .conftest import Kernel


def test_the_configuration_loads_it_and_costs_little(kernel: Kernel) -> None:
    ran = kernel.run(
        "import sys\nprint('jupyter_trainjob' in get_ipython().extension_manager.loaded,"
        " 'jupyter_trainjob.client' in sys.modules, 'httpx' in sys.modules)"
    )
    assert ran.stdout == "True False False\n"
    timed = kernel.run(
        "import time\nfor name in list(sys.modules):\n"
        "    if name.startswith('jupyter_trainjob'): del sys.modules[name]\n"
        "get_ipython().extension_manager.loaded.discard('jupyter_trainjob')\n"
        "t = time.process_time()\nget_ipython().extension_manager.load_extension('jupyter_trainjob')\n"
        "print((time.process_time() - t) * 1000)"
    )
    assert float(timed.stdout) < 30


def test_no_server_names_all_four_places(start_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    kernel = start_kernel(JUPYTER_RUNTIME_DIR=str(tmp_path / "none"))
    ran = kernel.run("%%trainjob\nprint(1)")
    assert ran.ename == "ServerNotFound"
    for place in ("arguments:", "the environment:", "JupyterHub:", "a running Jupyter server:"):
        assert place in ran.traceback
    assert "JUPYTER_TRAINJOB_URL and JUPYTER_TRAINJOB_TOKEN not set" in ran.traceback
    assert ".py" not in ran.traceback


def test_a_wrong_token_says_where_it_came_from(start_kernel: Callable[..., Kernel], served: Served) -> None:
    kernel = start_kernel(JUPYTER_TRAINJOB_URL=served.url, JUPYTER_TRAINJOB_TOKEN="wrong")
    ran = kernel.run("%%trainjob\nprint(1)")
    assert ran.ename == "Unauthorized"
    assert "the environment variable JUPYTER_TRAINJOB_TOKEN" in ran.evalue and "restart the kernel" in ran.evalue
    assert "wrong" not in ran.evalue, "the token itself is not shown"


def test_a_kernel_of_the_server_itself_needs_no_set_up(served: Served) -> None:
    headers = {"Authorization": f"token {served.token}"}
    with httpx.Client(base_url=served.url, headers=headers, trust_env=False, timeout=60) as http:
        uid = http.post("api/kernels", json={"name": "python3"}).json()["id"]
        try:
            socket = create_connection(
                f"{served.url.replace('http', 'ws')}api/kernels/{uid}/channels?token={served.token}", timeout=60
            )
            header = {"msg_id": "m1", "msg_type": "execute_request", "username": "", "session": "s", "version": "5.3"}
            code = (
                "%load_ext jupyter_trainjob\n%trainjob limits\nimport os\n"
                "print(sorted(k for k in os.environ if k.startswith('JUPYTER_TRAINJOB')))"
            )
            content = {
                "code": code,
                "silent": False,
                "store_history": True,
                "allow_stdin": False,
                "user_expressions": {},
            }
            socket.send(
                json.dumps(
                    {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
                )
            )
            printed, end = "", time.monotonic() + 60
            while time.monotonic() < end:
                message = json.loads(socket.recv())
                if message["parent_header"].get("msg_id") != "m1":
                    continue
                if message["msg_type"] == "stream":
                    printed += message["content"]["text"]
                if message["msg_type"] == "execute_reply":
                    break
            time.sleep(0.2)
            socket.close()
        finally:
            http.delete(f"api/kernels/{uid}")
    assert "You are " in printed
    assert "['JUPYTER_TRAINJOB_TOKEN', 'JUPYTER_TRAINJOB_URL']" in printed


def as_notebook(*sources: str) -> bytes:
    cells = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
        for n, source in enumerate(sources)
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


def test_a_notebook_that_contains_the_magic_runs_its_cells_in_place(client: Client) -> None:
    note = "[%%trainjob inside a job: the cell runs here, in place]\n"
    notebook = as_notebook(
        "%%trainjob --name inner --cpu 2 --param n=20 --param word='a b'\nprint(n + 1, word)\nn * 2",
        "%%trainjob\nimport asyncio\nawait asyncio.sleep(0)\nprint('awaited')",
    )
    job = client.submit_notebook_bytes(notebook, "nested.ipynb").wait(60, check=True)
    assert job.logs() == f"{note}21 a b\n40\n{note}awaited\n"
    assert not client.jobs(text="inner")


def test_an_error_in_place_is_at_its_line_and_verbs_are_not_available(client: Client) -> None:
    failed = client.submit_notebook_bytes(as_notebook("%%trainjob\na = 1\nb = a / 0"), "n.ipynb").wait(60)
    assert failed.error["ename"] == "ZeroDivisionError" and failed.error["line"] == 3
    listed = client.submit_notebook_bytes(as_notebook("%trainjob list"), "n.ipynb").wait(60)
    assert listed.phase == "Failed" and "%trainjob is not available inside a job" in listed.logs()
