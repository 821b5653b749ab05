"""A job whose environment is there already against one without requirements, in turn on the same server.

Both are timed from the client's call to the first log line that a client can read. The environment is built once, by
the job before the first round; its one package is a wheel in a folder, so that no index is asked.
"""

from __future__ import annotations

import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from jupyter_trainjob.client import Client

from .server import RunningServer, running_server
from .stats import median, percentile

LIMIT_S = 0.3


def make_wheel(folder: Path) -> None:
    """A wheel of one module."""
    info = "tinybench-1.0.dist-info"
    with zipfile.ZipFile(folder / "tinybench-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("tinybench.py", "x = 1\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinybench\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def first_line(server: RunningServer, code: str, requirements: str = "") -> tuple[float, dict[str, Any]]:
    """Seconds from the call to the first log line, and the job as it ended."""
    with Client(url=f"{server.url}/trainjob/api/v1", token=server.token) as client, server.http() as http:
        start = time.perf_counter()
        job = client.submit_cell(code, name="bench", requirements=requirements)
        path = f"namespaces/{job.namespace}/trainjobs/{job.uid}/log"
        while True:
            answer = http.get(path, params={"offset": 0, "wait": 20})
            answer.raise_for_status()
            if answer.content:
                break
            if job.refresh().phase == "Failed":
                raise RuntimeError(str(job.resource["status"]))
        seconds = time.perf_counter() - start
        job.wait(60)
        if answer.content.split() != [b"1"] or job.phase != "Succeeded":
            raise RuntimeError(f"{job.resource['status']} with the log {answer.content!r}")
        return seconds, job.resource


def run(*, quick: bool = False) -> dict[str, Any]:
    """Medians of 20 pairs, after the build and one warm-up of each."""
    rounds = 4 if quick else 20
    plain, cached = [], []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)  # builds have a user of their own
        make_wheel(place)
        listed = place / "requirements.txt"
        listed.write_text("tinybench==1.0\n")
        options = (f"find-links={place}", "no-index=true")
        with running_server(*(f"--LocalBackendSettings.pip_options={one}" for one in options)) as server:
            built, resource = first_line(server, "import tinybench; print(tinybench.x)", str(listed))
            for number in range(rounds + 1):
                for with_list in (False, True) if number % 2 else (True, False):  # neither always comes second
                    if with_list:
                        seconds, resource = first_line(server, "import tinybench; print(tinybench.x)", str(listed))
                    else:
                        seconds, _ = first_line(server, "print(1)")
                    if number:
                        (cached if with_list else plain).append(seconds)
    later = round(median(cached) - median(plain), 3)
    return {
        "benchmark": "env_cache",
        "rounds": rounds,
        "isolation": resource["status"]["attempts"][-1]["isolation"],
        "built_first_line_s": round(built, 3),
        "cached_first_line_median_s": median(cached, 3),
        "cached_first_line_p95_s": percentile(cached, 95, 3),
        "plain_first_line_median_s": median(plain, 3),
        "cached_later_median_s": later,
        "pass": later <= LIMIT_S and bool(resource["status"]["environmentLock"]),
    }
