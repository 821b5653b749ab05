"""A one-cell job against ``jupyter execute`` of the same notebook: same interpreter, same kernelspec, in turn.

Ours is timed from the client's call to the first log line that a client can read, and to Succeeded as a client sees
it; theirs from its start to its end.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from jupyter_trainjob.client import Client

from .server import RunningServer, running_server
from .stats import median, percentile

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jupyter_trainjob.client.spec import JobOptions

CODE = "print(1)"


def execute_once(notebook: Path) -> float:
    """Wall seconds of ``jupyter execute``."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "jupyter", "execute", str(notebook)],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def submit_once(server: RunningServer, code: str = CODE, **options: Unpack[JobOptions]) -> tuple[float, float, str]:
    """Seconds to the first log line, which is 1, and to Succeeded, and the isolation the job had."""
    with Client(url=f"{server.url}/trainjob/api/v1", token=server.token) as client, server.http() as http:
        start = time.perf_counter()
        job = client.submit_cell(code, name="latency", **options)
        path = f"namespaces/{job.namespace}/trainjobs/{job.uid}/log"
        while True:
            answer = http.get(path, params={"offset": 0, "wait": 20})
            answer.raise_for_status()
            if answer.content or answer.headers["X-Log-Complete"] == "true":
                break
        first_line = time.perf_counter() - start
        job.wait(60)
        done = time.perf_counter() - start
    if answer.content.split() != [b"1"] or job.phase != "Succeeded":
        raise RuntimeError(f"{job.phase} with the log {answer.content!r}")
    return first_line, done, str(job.resource["status"]["attempts"][-1]["isolation"])


def run(*, quick: bool = False) -> dict[str, Any]:
    """Medians of 20 pairs after one warm-up of each."""
    rounds = 4 if quick else 20
    lines, dones, theirs = [], [], []
    with running_server() as server, tempfile.TemporaryDirectory() as folder:
        notebook = Path(folder) / "one.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)]), notebook)
        isolation = ""
        for number in range(rounds + 1):
            first_line, done, isolation = submit_once(server)
            other = execute_once(notebook)
            if number:
                lines.append(first_line)
                dones.append(done)
                theirs.append(other)
    figures = {
        "benchmark": "submit_latency",
        "rounds": rounds,
        "isolation": isolation,
        "first_line_median_s": median(lines, 3),
        "succeeded_median_s": median(dones, 3),
        "succeeded_p95_s": percentile(dones, 95, 3),
        "jupyter_execute_median_s": median(theirs, 3),
        "first_line_to_execute_ratio": round(median(lines) / median(theirs), 3),
        "succeeded_to_execute_ratio": round(median(dones) / median(theirs), 3),
    }
    reached = median(lines) < median(theirs) and median(dones) < median(theirs) and isolation != "process"
    return {**figures, "pass": reached}
