"""The same cards in Jupyter Notebook 7, which has the same front end in another frame."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, expect

from jupyter_trainjob import Client

from .conftest import CARD, FIRST_START_MS, run_cell, until

pytestmark = [pytest.mark.ui, pytest.mark.slow]


@pytest.fixture(scope="module")
def classic(jupyter_servers: Callable[..., Any]) -> Any:
    return jupyter_servers(application="notebook")


def write(server: Any, name: str, code: str) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, server.root / name)


def open_notebook(page: Page, server: Any, name: str) -> None:
    page.goto(f"{server.url}notebooks/{name}?token={server.token}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=FIRST_START_MS)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=FIRST_START_MS)


def test_a_card_is_live_there_and_after_a_reload(classic: Any, page: Page, tmp_path: Path) -> None:
    code = (
        "%%trainjob --name seven --notify\nimport time\n"
        "for step in range(1, 7):\n    print(f'step {step}')\n    time.sleep(1)"
    )
    write(classic, "seven.ipynb", code)
    open_notebook(page, classic, "seven.ipynb")
    run_cell(page)
    card = page.locator(CARD)
    state = card.locator(".jp-TrainJobCard-state")
    expect(card.get_by_role("log")).to_contain_text("step 2", timeout=FIRST_START_MS)
    expect(state).to_have_text("Running")
    page.screenshot(path=tmp_path / "notebook7.png")
    expect(state).to_have_text("Succeeded", timeout=30_000)
    expect(card.get_by_role("log")).to_contain_text("step 6")
    expect(page.locator(".Toastify__toast")).to_contain_text(re.compile(r"seven-\w+: Succeeded, after \d+ s\."))

    page.locator("[data-command='docmanager:save']").first.click()
    until(page, lambda: "step 6" in (classic.root / "seven.ipynb").read_text("utf-8"), "the notebook is saved")
    open_notebook(page, classic, "seven.ipynb")
    expect(state).to_have_text("Succeeded")
    expect(card.get_by_role("log")).to_contain_text("step 6")
    name = card.locator(".jp-TrainJobCard-name").inner_text()
    with page.context.expect_page() as other:
        card.get_by_role("button", name="Open executed notebook").click()
    expect(other.value.locator(".jp-Notebook")).to_contain_text("step 6", timeout=FIRST_START_MS)
    assert (classic.root / f"{name}.ipynb").exists()
    other.value.close()


def test_an_end_is_told_on_the_page_of_files(classic: Any, page: Page) -> None:
    write(classic, "left.ipynb", "%%trainjob --name left --notify\nimport time\ntime.sleep(9)")
    open_notebook(page, classic, "left.ipynb")
    run_cell(page)
    expect(page.locator(CARD).locator(".jp-TrainJobCard-state")).to_have_text("Running")
    page.goto(f"{classic.url}tree?token={classic.token}")
    expect(page.locator(".Toastify__toast")).to_contain_text(
        re.compile(r"left-\w+: Succeeded, after \d+ s\."), timeout=FIRST_START_MS
    )


def test_a_file_that_names_a_job_shows_it(classic: Any, page: Page) -> None:
    with Client(classic.url, token=classic.token) as client:
        job = client.submit_cell("print('seen in a document')", name="document").wait()
    reference = {"uid": job.uid, "namespace": job.namespace, "name": job.name}
    (classic.root / "document.trainjob").write_text(json.dumps(reference))
    page.goto(f"{classic.url}edit/document.trainjob?token={classic.token}")
    view = page.locator(".jp-TrainJobView")
    expect(view.get_by_role("log")).to_contain_text("seen in a document", timeout=FIRST_START_MS)
    view.get_by_role("tab", name="What happened").click()
    expect(view).to_contain_text("Succeeded.")
