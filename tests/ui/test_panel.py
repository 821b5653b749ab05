"""The list of jobs at the left side of JupyterLab."""

from __future__ import annotations

import json
import os
import re
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from jupyter_trainjob import Client

from .conftest import FIRST_START_MS, execute, job_row

pytestmark = [pytest.mark.ui, pytest.mark.slow]

TOP = Path(__file__).parents[2]
EVIL = "<img src=x onerror=window.hacked=1>"

STEPS = """import time
from jupyter_trainjob import log_metric, progress
for step in range(60):
    log_metric("loss", 1 / (step + 1), step)
    progress((step + 1) / 60, f"step {step + 1} of 60")
    time.sleep(0.5)"""


def unique(name: str) -> str:
    """A name that no other job of the server has."""
    return f"{name}{uuid.uuid4().hex[:5]}"


def test_a_job_is_followed_from_the_line_to_its_end(panel: Callable[..., Locator], client: Client, page: Page) -> None:
    shown, name = panel(), unique("steps")
    job = client.submit_cell(STEPS, name=name, cpu="0.1", memory="256Mi")
    row = job_row(shown, name)
    expect(row).to_have_attribute("data-phase", "Running")
    expect(row).to_contain_text(re.compile(r"step \d+ of 60"))
    expect(row).to_contain_text(re.compile(r"loss 0\.\d+"))
    expect(row.locator("polyline")).to_have_attribute("points", re.compile(r"\d+\.\d,\d+\.\d \d+"))
    expect(page.locator(".jp-TrainJobStatus")).to_contain_text(re.compile(r"Jobs: [1-9]\d* running"))
    row.hover()
    row.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(row).to_have_attribute("data-phase", "Cancelled")
    row.hover()
    row.get_by_role("button", name="Run again").click()
    expect(row).to_have_count(2)
    job.refresh()
    assert job.phase == "Cancelled"
    client.job(name).cancel()


def test_what_others_named_stays_text(panel: Callable[..., Locator], client: Client, page: Page) -> None:
    name = unique("evil")
    client.submit_cell(f"raise ValueError({EVIL!r})", name=name, labels={"evil": "x"}).wait()
    shown = panel()
    expect(job_row(shown, name)).to_contain_text(EVIL)
    shown.get_by_role("searchbox", name="Find jobs").fill(EVIL)
    expect(shown).to_contain_text("No job passes the filter.")
    assert shown.locator("img").count() == 0
    assert page.evaluate("() => window.hacked") is None


def test_a_server_that_was_deceived_deceives_no_reader(
    panel: Callable[..., Locator], client: Client, page: Page
) -> None:
    """No server lets such names in; were one of them there, it would still be text."""
    name = unique("forged")
    client.submit_cell("print(1)", name=name).wait()

    def forge(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        for job in body.get("items", [body]):
            if job["metadata"]["name"].startswith(name):
                job["metadata"] |= {"name": f"{name}-{EVIL}", "owner": EVIL, "labels": {EVIL: EVIL}}
                job["spec"]["queue"] = EVIL
                job["status"] |= {"phase": "Failed", "reason": EVIL, "message": EVIL}
                job["status"]["conditions"] = [{"type": EVIL, "status": "False", "message": EVIL}]
        route.fulfill(response=answer, json=body)

    page.route(re.compile("/trainjob/api/v1/(namespaces/[^/]+/)?trainjobs([?]|/[^/]+$)"), forge)
    shown = panel()
    row = job_row(shown, name)
    expect(row).to_contain_text(EVIL)
    shown.get_by_role("button", name="Filter").click()
    expect(shown.get_by_label("Queue").locator("option", has_text=EVIL)).to_have_count(1)
    row.dblclick()
    view = page.locator(".jp-TrainJobView:visible")
    expect(view.get_by_role("heading", name=EVIL)).to_be_visible()
    view.get_by_role("tab", name="What happened").click()
    expect(view.get_by_role("tabpanel", name="What happened")).to_contain_text(EVIL)
    page.wait_for_timeout(500)  # an image that can't be loaded would have said so by now
    assert page.evaluate("() => window.hacked") is None


def test_many_are_cancelled_and_run_again_at_once(panel: Callable[..., Locator], client: Client, page: Page) -> None:
    name = unique("many")
    jobs = [client.submit_cell("import time\ntime.sleep(90)", name=name, cpu="0.1", memory="256Mi") for _ in range(3)]
    shown = panel()
    shown.get_by_role("searchbox", name="Find jobs").fill(name)
    rows = shown.locator(".jp-TrainJobRow[data-phase]")
    expect(rows).to_have_count(3)
    rows.first.click()
    rows.last.click(modifiers=["Shift"])
    expect(shown).to_contain_text("3 selected")
    bulk = shown.locator(".jp-TrainJobs-bulk")
    bulk.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_contain_text("Cancel 3 jobs?")
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(shown.locator(".jp-TrainJobRow[data-phase=Cancelled]")).to_have_count(3, timeout=30_000)
    bulk.get_by_role("button", name="Run again").click()
    expect(rows).to_have_count(6)
    assert {job.refresh().phase for job in jobs} == {"Cancelled"}
    for again in client.jobs(text=name):
        again.cancel()


def test_a_refused_verb_says_why_in_the_servers_words(
    panel: Callable[..., Locator], client: Client, page: Page
) -> None:
    name = unique("quick")
    job = client.submit_cell("import time\ntime.sleep(90)", name=name, cpu="0.1", memory="256Mi")
    row = job_row(panel(), name)
    expect(row).to_have_attribute("data-phase", "Running")
    row.hover()
    row.get_by_role("button", name="Cancel").click()
    job.cancel()
    job.wait()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".Toastify__toast")).to_contain_text(re.compile(rf"{name}-\w+: .*(ended|over|Cancelled)"))


def test_the_keyboard_reaches_all(panel: Callable[..., Locator], client: Client, page: Page) -> None:
    name = unique("keys")
    client.submit_cell("import time\ntime.sleep(90)", name=name, cpu="0.1", memory="256Mi")
    shown = panel()
    row = job_row(shown, name)
    expect(row).to_have_attribute("data-phase", "Running")
    shown.get_by_role("searchbox").fill(name)
    expect(shown.locator(".jp-TrainJobRow[data-phase]")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(shown.get_by_role("treegrid")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    expect(row).to_have_count(0)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(row).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Shift+F10")
    expect(page.get_by_role("menuitem", name="Cancel")).to_be_visible()
    page.keyboard.press("Escape")
    expect(shown.get_by_role("treegrid")).to_be_focused()
    page.keyboard.press("Delete")
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").press("Enter")
    expect(row).to_have_attribute("data-phase", "Cancelled")


def test_filters_are_kept_under_a_name(panel: Callable[..., Locator], client: Client, page: Page) -> None:
    name = unique("sweep")
    client.submit_cell("print(1)", name=name, labels={"sweep": name}).wait()
    shown = panel()
    shown.get_by_role("button", name="Filter").click()
    shown.get_by_label("Label").fill(f"sweep={name}")
    expect(shown.locator(".jp-TrainJobRow[data-phase]")).to_have_count(1)
    shown.get_by_role("button", name="Save…").click()
    page.get_by_role("dialog").get_by_role("textbox").fill(name)
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(shown.get_by_label("Saved")).to_have_value(name)
    page.wait_for_timeout(1500)  # Lab writes settings a moment after
    shown = panel()
    shown.get_by_role("button", name="Filter").click()
    shown.get_by_label("Saved").select_option(name)
    expect(shown.locator(".jp-TrainJobRow[data-phase]")).to_have_count(1)
    expect(shown.get_by_label("Label")).to_have_value(f"sweep={name}")
    shown.get_by_role("button", name="Forget").click()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_it_can_be_read_by_all(
    panel: Callable[..., Locator], client: Client, page: Page, theme: str, tmp_path: Path
) -> None:
    client.submit_cell("1 / 0", name="wrong").wait()
    running = client.submit_cell(STEPS, name=unique("steps"), cpu="0.1", memory="256Mi")
    shown = panel(theme=theme)
    expect(shown.locator(".jp-TrainJobRow[data-phase=Running] polyline").first).to_be_visible()
    shown.get_by_role("button", name="Filter").click()
    shown.locator(".jp-TrainJobRow[data-phase]").first.click()
    pictures = Path(os.environ.get("TRAINJOB_PICTURES", tmp_path))
    page.screenshot(path=pictures / f"panel-{theme.split()[1].lower()}.png")
    page.evaluate((TOP / "labextension" / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("() => axe.run('.jp-TrainJobs')")
    assert found["passes"], "axe has looked at nothing"
    assert not found["violations"], json.dumps(found["violations"], indent=1)[:4000]
    running.cancel()


def test_it_says_that_it_reconnects_and_comes_back(
    jupyter_servers: Callable[..., Any], panel: Callable[..., Locator], page: Page
) -> None:
    server = jupyter_servers()
    shown = panel(server)
    with Client(server.url, token=server.token) as client:
        client.submit_cell("import time\ntime.sleep(20)", name="patient")
    row = job_row(shown, "patient")
    expect(row).to_have_attribute("data-phase", "Running", timeout=FIRST_START_MS)
    server.stop(signal.SIGKILL)
    expect(shown.locator(".jp-TrainJobs-away")).to_have_text("Reconnecting…")
    expect(page.locator(".jp-TrainJobStatus")).to_contain_text("reconnecting")
    server.start()
    expect(row).to_have_attribute("data-phase", "Succeeded", timeout=FIRST_START_MS)
    expect(shown.locator(".jp-TrainJobs-away")).to_have_text("")


def test_the_panel_is_found_by_palette_and_launcher(panel: Callable[..., Locator], page: Page) -> None:
    shown = panel()
    execute(page, "application:toggle-left-area")
    expect(shown).to_be_hidden()
    page.locator(".jp-LauncherCard", has_text="Jobs").click()
    expect(shown).to_be_visible()
