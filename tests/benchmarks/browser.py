"""A real JupyterLab and a real Chromium for the benchmarks of the front end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import JupyterServer, a_free_port
from tests.ui.conftest import FLAGS

LAB = "#jp-main-dock-panel"


@contextlib.contextmanager
def lab(prepare: Callable[[Path], None] | None = None, *options: str) -> Iterator[JupyterServer]:
    """A JupyterLab of its own; ``prepare(data_dir)`` may fill the job service's folder before it starts."""
    with tempfile.TemporaryDirectory(prefix="trainjob-bench-", ignore_cleanup_errors=True) as folder:
        data_dir = Path(folder) / "jobs"
        data_dir.mkdir()
        if prepare is not None:
            prepare(data_dir)
        server = JupyterServer(
            Path(folder) / "home", a_free_port(), options=[f"--TrainJobExtension.data_dir={data_dir}", *options]
        )
        server.home.mkdir()
        _quiet(server)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise RuntimeError("there is no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[*FLAGS, "--js-flags=--expose-gc", "--enable-precise-memory-info"]
        )
        try:
            yield browser
        finally:
            browser.close()


def open_lab(page: Page, server: JupyterServer) -> None:
    """An empty Lab, ready."""
    page.goto(f"{server.url}lab?reset&token={server.token}")
    page.wait_for_selector(LAB, timeout=120_000)
    page.evaluate("() => window.jupyterapp.restored")


def execute(page: Page, command: str, **arguments: object) -> None:
    """Run one of Lab's commands without waiting for its end."""
    page.evaluate("([id, args]) => void window.jupyterapp.commands.execute(id, args)", [command, arguments])


def cpu_seconds(session: Any) -> float:
    """What the page's main thread has worked so far."""
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


def owner() -> str:
    """Who the local user of a server is that this process starts."""
    import getpass

    return os.environ.get("USER") or getpass.getuser()


def _quiet(server: JupyterServer) -> None:
    file = server.home / "config/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
