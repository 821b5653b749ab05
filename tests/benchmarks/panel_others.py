"""jupyter-scheduler's list of as many jobs as ``panel_10k`` shows, in a JupyterLab of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .browser import LAB, chromium, execute
from .others import environment
from .server import free_port

PINS = ("jupyterlab>=4.4,<5", "jupyter-scheduler>=2.11,<3")
JOBS = 10_000
NEVER_S = 15

FILL = """import sys
from jupyter_scheduler.orm import Job, create_session, create_tables
create_tables(sys.argv[1])
with create_session(sys.argv[1])() as session:
    session.add_all(
        Job(name=f"job-{n:05}", status="IN_PROGRESS", input_filename="a.ipynb", runtime_environment_name="others",
            output_formats=["ipynb"], create_time=1_700_000_000_000 + n, start_time=1_700_000_000_000 + n)
        for n in range(int(sys.argv[2]))
    )
    session.commit()
"""
CHANGE = """import sys
from jupyter_scheduler.orm import Job, create_session
with create_session(sys.argv[1])() as session:
    session.query(Job).update({"status": "COMPLETED"})
    session.commit()
"""
ROWS = (
    "() => [...document.querySelectorAll('#jp-main-dock-panel tr')].filter(row => /job-\\d{5}/.test(row.textContent))"
)
OPEN = f"""() => new Promise(resolve => {{
  const began = performance.now();
  void window.jupyterapp.commands.execute('scheduling:list-jobs-from-launcher');
  const rows = {ROWS};
  const look = () => rows().length
    ? requestAnimationFrame(() => resolve(performance.now() - began)) : requestAnimationFrame(look);
  look();
}})"""
RELOAD = f"""() => new Promise(resolve => {{
  const began = performance.now();
  const rows = {ROWS};
  const buttons = [...document.querySelectorAll('#jp-main-dock-panel button')];
  buttons.find(button => /reload/i.test(button.textContent)).click();
  const look = () => rows().some(row => /completed/i.test(row.textContent))
    ? requestAnimationFrame(() => resolve(performance.now() - began)) : requestAnimationFrame(look);
  look();
}})"""


@contextlib.contextmanager
def theirs(jobs: int) -> Iterator[tuple[str, str]]:
    """The page's address and the record's, of a server whose record holds ``jobs`` jobs that run."""
    python = environment(PINS) / "python"
    with tempfile.TemporaryDirectory(prefix="trainjob-others-", ignore_cleanup_errors=True) as name:
        folder, port, token = Path(name), free_port(), secrets.token_hex(16)
        record = f"sqlite:///{folder / 'scheduler.sqlite'}"
        subprocess.run([python, "-c", FILL, record, str(jobs)], check=True)
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "HOME")
        given = {one: str(folder / one.lower()) for one in names}
        for path in given.values():
            Path(path).mkdir()
        quiet = folder / "jupyter_config_dir/lab/user-settings/@jupyterlab/apputils-extension"
        quiet.mkdir(parents=True)
        told = json.dumps({"fetchNews": "false", "checkForUpdates": False})
        (quiet / "notification.jupyterlab-settings").write_text(told)
        command = [python, "-m", "jupyterlab", "--allow-root", "--no-browser", "--expose-app-in-browser"]
        command += [f"--ServerApp.port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
        command += [f"--SchedulerApp.db_url={record}"]
        command += ["--SchedulerApp.environment_manager_class=jupyter_scheduler.environments.StaticEnvironmentManager"]
        with (folder / "lab.log").open("wb") as log:
            clean = {key: value for key, value in os.environ.items() if key != "JUPYTER_PATH"}
            process = subprocess.Popen(command, env={**clean, **given}, cwd=folder, stdout=log, stderr=log)
            try:
                _wait(f"http://127.0.0.1:{port}/api/status?token={token}", process)
                yield f"http://127.0.0.1:{port}/lab?reset&token={token}", record
            finally:
                process.terminate()
                process.wait(30)


def run(*, quick: bool = False) -> dict[str, Any]:
    """What is on the screen when, and whether a change is."""
    waits = 3 if quick else NEVER_S
    with theirs(JOBS) as (address, record), chromium() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(address)
        page.wait_for_selector(LAB, timeout=120_000)
        page.evaluate("() => window.jupyterapp.restored")
        paint = page.evaluate(OPEN)
        page.wait_for_timeout(2000)
        rows = page.evaluate(f"() => ({ROWS})().length")
        subprocess.run([environment(PINS) / "python", "-c", CHANGE, record], check=True)
        page.wait_for_timeout(waits * 1000)
        seen = page.evaluate(f"() => ({ROWS})().some(row => /completed/i.test(row.textContent))")
        reloaded = page.evaluate(RELOAD)
        execute(page, "application:close-all")
        page.close()
    return {
        "benchmark": "panel_others",
        "jobs": JOBS,
        "first_paint_ms": round(paint),
        "rows": rows,
        "waited_s": waits,
        "change_seen": seen,
        "reload_ms": round(reloaded),
        "pass": True,
    }


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > until or process.poll() is not None:
                raise
            time.sleep(0.3)
