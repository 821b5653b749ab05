"""A student's day, from the first cell to what is left of it, on one page."""

from __future__ import annotations

import re
import tarfile
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from jupyter_trainjob import Client

from .conftest import CARD, FIRST_START_MS, execute, job_row, open_page, run_cell, save

pytestmark = [pytest.mark.ui, pytest.mark.slow]

TRAIN = """%%trainjob --name {} --cpu 0.2 --memory 256Mi --out best
import time
from pathlib import Path
from jupyter_trainjob import log_metric, progress
for epoch in range(1, 26):
    print(f"epoch {{epoch}}")
    log_metric("loss", 1 / epoch, epoch)
    progress(epoch / 25, f"epoch {{epoch}} of 25")
    time.sleep(1)
best = 1 / epoch
Path("report.txt").write_text("the report")"""


def test_a_students_day(opened: Callable[..., Page], lab: Any, client: Client) -> None:
    name = f"day{uuid.uuid4().hex[:5]}"
    page = opened(TRAIN.format(name), name=f"{name}.ipynb")
    state = page.locator(CARD).locator(".jp-TrainJobCard-state")

    # the cell is sent, and its card lives
    run_cell(page)
    expect(page.locator(CARD).get_by_role("log")).to_contain_text("epoch 2", timeout=FIRST_START_MS)
    expect(state).to_have_text("Running")
    save(page)

    # the browser is reloaded in the middle: the card goes on, and so does the panel beside it
    open_page(page, lab, f"{name}.ipynb")
    expect(state).to_have_text("Running")
    execute(page, "trainjob:panel")
    panel = page.locator(".jp-TrainJobs")
    row = job_row(panel, name)
    expect(row).to_contain_text(re.compile(r"epoch \d+ of 25"))
    expect(row).to_contain_text(re.compile(r"loss 0\.\d+"))
    expect(page.locator(".jp-TrainJobStatus")).to_contain_text("running")

    # one click shows the log; its end is there when the job's is
    row.hover()
    row.get_by_role("button", name="Show the log").click()
    view = page.locator(".jp-TrainJobView")
    expect(view.get_by_role("log")).to_contain_text("epoch 25", timeout=FIRST_START_MS)
    expect(view.locator(".jp-TrainJobView-state")).to_have_text("Succeeded")
    expect(row).to_have_attribute("data-phase", "Succeeded")

    # what it left is downloaded and opened
    row.hover()
    with page.expect_download() as download:
        row.get_by_role("button", name="Download outputs").click()
    with tarfile.open(download.value.path()) as archive:
        assert {"notebook.ipynb", "files/report.txt"} <= set(archive.getnames())
    row.hover()
    row.get_by_role("button", name="Open executed notebook").click()
    expect(page.get_by_role("tab", name=re.compile(f"{name}-"))).not_to_have_count(0)

    # it runs again, and is thought better of
    row.hover()
    row.get_by_role("button", name="Run again").click()
    again = panel.locator(".jp-TrainJobRow[data-phase=Running]").filter(has_text=name)
    expect(again).to_have_count(1, timeout=FIRST_START_MS)
    again.hover()
    again.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(panel.locator(".jp-TrainJobRow[data-phase=Cancelled]").filter(has_text=name)).to_have_count(1)
    assert sorted(job.phase for job in client.jobs(text=name)) == ["Cancelled", "Succeeded"]
