"""A real browser on a real JupyterLab.

- ``browser``: Debian's Chromium
- ``lab``: a Jupyter server with the installed extension and front end
- ``sockets``: the page's connections to the feed, closed ones too
- ``client``: the Python client of that server
- ``panel``: call it; the page shows the jobs panel of a Lab without a notebook
- ``opened``: call it with a notebook's cells; the page shows it. ``theme`` may be "JupyterLab Dark"
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Error, Locator, Page, WebSocket, expect, sync_playwright

from jupyter_trainjob import Client

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

CARD = ".jp-TrainJobCard"
FIRST_START_MS = 60_000

expect.set_options(timeout=20_000)


@pytest.fixture(autouse=True)
def jp_asyncio_loop() -> None:
    """None of pytest-jupyter's loops here: the browser's own loop runs in this thread all the time."""


@pytest.fixture(autouse=True)
def jp_server_cleanup() -> None:
    """Nothing to clean: the servers here are processes of their own."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Of this package alone: while it lives, its loop runs in this thread, and no other test may have one."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def lab(jupyter_servers: Callable[..., Any]) -> Any:
    return jupyter_servers()


@pytest.fixture(scope="package")
def client(lab: Any) -> Iterator[Client]:
    with Client(lab.url, token=lab.token) as client:
        yield client


def settings(server: Any, plugin: str, **values: object) -> None:
    """Write a user's settings of one of JupyterLab's own plugins."""
    package, name = plugin.split(":")
    file = server.home / "config" / "lab" / "user-settings" / package / f"{name}.jupyterlab-settings"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab; the test fails if a script on it failed."""
    page = browser.new_page(viewport={"width": 1100, "height": 1000})
    page.set_default_timeout(90_000)  # a picture of a page takes long on a machine that runs much else
    failures: list[str] = []
    page.on("pageerror", lambda error: None if notebooks_own(error) else failures.append(error.stack or str(error)))
    yield page
    page.close()
    assert not failures, failures


def notebooks_own(error: Error) -> bool:
    """Notebook 7.6 fails so on every page, also where our extension is disabled."""
    stack = error.stack or ""
    ours = "jupyter-trainjob" in stack
    return "reading 'schema'" in error.message and "/notebook_core." in stack and not ours


@pytest.fixture
def sockets(page: Page) -> list[WebSocket]:
    seen: list[WebSocket] = []
    page.on("websocket", lambda socket: seen.append(socket) if "/changes/stream" in socket.url else None)
    return seen


@pytest.fixture
def opened(lab: Any, page: Page) -> Callable[..., Page]:
    counter = 0

    def show(*cells: Any, name: str = "", theme: str = "JupyterLab Light") -> Page:
        nonlocal counter
        counter += 1
        settings(lab, "@jupyterlab/apputils-extension:themes", theme=theme)
        settings(lab, "@jupyterlab/apputils-extension:notification", fetchNews="false", checkForUpdates=False)
        notebook = nbformat.v4.new_notebook(
            cells=[cell if isinstance(cell, dict) else nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        path = Path(lab.root) / (name or f"page-{counter}.ipynb")
        nbformat.write(notebook, path)
        open_page(page, lab, path.name)
        return page

    return show


@pytest.fixture
def panel(lab: Any, page: Page) -> Callable[..., Locator]:
    def show(server: Any = lab, theme: str = "JupyterLab Light") -> Locator:
        settings(server, "@jupyterlab/apputils-extension:themes", theme=theme)
        settings(server, "@jupyterlab/apputils-extension:notification", fetchNews="false", checkForUpdates=False)
        page.goto(f"{server.url}lab?reset&token={server.token}")
        page.wait_for_selector("#jp-main-dock-panel", timeout=FIRST_START_MS)
        page.evaluate("() => window.jupyterapp.restored")
        page.wait_for_selector(".jp-LauncherCard", timeout=FIRST_START_MS)  # it comes late, and takes the keyboard
        execute(page, "trainjob:panel")
        found = page.locator(".jp-TrainJobs")
        expect(found.get_by_role("treegrid", name="Jobs")).to_be_visible()
        return found

    return show


def execute(page: Page, command: str, **arguments: object) -> None:
    """Run one of Lab's commands, and do not wait for its end: it may ask something."""
    page.evaluate("([id, args]) => void window.jupyterapp.commands.execute(id, args)", [command, arguments])


def job_row(panel: Locator, name: str) -> Locator:
    """The row of the job whose name begins so."""
    return panel.locator(".jp-TrainJobRow[data-phase]").filter(has_text=re.compile(rf"^{name}-"))


def open_page(page: Page, server: Any, name: str) -> None:
    """Show a notebook alone, without the panels beside it; ready when its kernel is."""
    page.goto(f"{server.url}lab/tree/{name}?reset&token={server.token}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=FIRST_START_MS)
    page.wait_for_function(
        """() => {
          const panel = window.jupyterapp.shell.currentWidget;
          return panel?.sessionContext?.session?.kernel?.status === 'idle';
        }""",
        timeout=FIRST_START_MS,
    )


def run_cell(page: Page, index: int = 0) -> None:
    """Run a code cell. A page that is still busy with its start may drop the keys: they are pressed again then."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(index)
    prompt = cell.locator(".jp-InputPrompt")
    before = prompt.inner_text()
    for _ in range(3):
        cell.locator(".cm-content").click()
        expect(cell.locator(".cm-editor.cm-focused")).to_be_visible()
        page.keyboard.press("Control+Enter")
        try:
            expect(prompt).not_to_have_text(before, timeout=5_000)
        except AssertionError:
            continue
        return
    raise AssertionError(f"the cell does not run: its prompt is still {before!r}")


def until(page: Page, happened: Callable[[], object], what: str) -> None:
    """Wait until ``happened()``, while the page's events come in."""
    for _ in range(200):
        if happened():
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{what}: not in 20 seconds")


def save(page: Page) -> None:
    """Save the notebook and wait for it."""
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")


def close(page: Page) -> None:
    """Save and close the notebook. The kernel may bring the card's text up to date in between: then Lab asks again."""
    save(page)
    page.evaluate("() => void window.jupyterapp.commands.execute('application:close')")
    answer = page.locator(".jp-Dialog").get_by_role("button", name="Save", exact=True)

    def closed() -> bool:
        if answer.is_visible():
            answer.click()
        return page.locator(CARD).count() == 0

    until(page, closed, "the notebook is closed")
