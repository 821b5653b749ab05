"""The queues, as those see them who may change them."""

from __future__ import annotations

import json
import os
import re
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from jupyter_trainjob import Client

from .conftest import execute, job_row

pytestmark = [pytest.mark.ui, pytest.mark.slow]

TOP = Path(__file__).parents[2]


def request(lab: Any, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"token {lab.token}", "Content-Type": "application/json"}
    asked = urllib.request.Request(f"{lab.url}trainjob/api/v1/{path}", data, headers, method=method)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture
def queue(lab: Any) -> Iterator[str]:
    """A queue of the test's own."""
    name = f"course-{uuid.uuid4().hex[:5]}"
    spec = {
        "description": "Exercises",
        "limits": {"runningJobs": 1, "cpu": "2"},
        "perUserBudget": {"coreHours": 8},
        "maxTimeLimitSeconds": 600,
        "approval": {"withinSeconds": 3600},
    }
    request(lab, "POST", "queues", {"kind": "Queue", "metadata": {"name": name}, "spec": spec})
    yield name


def view(page: Page, queue: str) -> Locator:
    execute(page, "trainjob:queues")
    found = page.locator(".jp-TrainJobQueues")
    found.get_by_role("button", name=queue).click()
    expect(found.get_by_role("heading", name=queue)).to_be_visible()
    return found


@pytest.mark.parametrize(("theme", "word"), [("JupyterLab Light", "light"), ("JupyterLab Dark", "dark")])
def test_it_shows_use_and_who_waits_and_is_steered(
    panel: Callable[..., Locator], client: Client, page: Page, queue: str, theme: str, word: str, tmp_path: Path
) -> None:
    """TRAINJOB_PICTURES: a folder for the docs' pictures."""
    panel(theme=theme)
    code = "import time\ntime.sleep(120)"
    jobs = [client.submit_cell(code, name=f"j{number}", queue=queue, cpu="0.1", memory="256Mi") for number in range(3)]
    found = view(page, queue)
    row = found.get_by_role("row").filter(has=page.get_by_role("button", name=queue))
    expect(row).to_contain_text(re.compile(r"running jobs: 1 of 1.*CPUs: \S+ of 2"))
    line = found.get_by_role("region", name=f"Who waits in {queue}")
    expect(line.locator("tbody tr")).to_have_count(2)
    expect(line.locator("tbody tr").nth(0)).to_contain_text(jobs[1].name)
    expect(line.locator("tbody tr").nth(0)).to_contain_text(re.compile("limit|full|running"))
    expect(row).to_contain_text("each person 8 CPU-hours in 168 h")
    page.screenshot(path=Path(os.environ.get("TRAINJOB_PICTURES", tmp_path)) / f"queues-{word}.png")
    line.get_by_role("button", name=f"To the front: {jobs[2].name}").click()
    expect(line.locator("tbody tr").nth(0)).to_contain_text(jobs[2].name)
    found.get_by_role("button", name="Hold", exact=True).click()
    expect(row).to_contain_text("held: nothing starts")
    found.get_by_role("button", name="Drain").click()
    expect(row).to_contain_text("draining: takes nothing new")
    found.get_by_role("button", name="Open", exact=True).click()
    expect(row).to_contain_text("open")
    line.get_by_role("button", name=f"Hold: {jobs[1].name}").click()
    expect(line.get_by_role("button", name=f"Release: {jobs[1].name}")).to_be_visible()
    page.evaluate((TOP / "labextension" / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8"))
    checked = page.evaluate("() => axe.run('.jp-TrainJobQueues')")
    assert checked["passes"], "axe has looked at nothing"
    assert not checked["violations"], json.dumps(checked["violations"], indent=1)[:4000]
    for job in jobs:
        job.cancel()


def test_what_is_beyond_the_limits_is_approved_or_refused(
    panel: Callable[..., Locator], client: Client, page: Page, queue: str
) -> None:
    shown = panel()
    good, bad = (
        client.submit_cell("print(1)", name=name, queue=queue, time_limit="1h", cpu="0.1", memory="256Mi")
        for name in ("good", "bad")
    )
    expect(job_row(shown, "good")).to_contain_text("Waits for approval")
    found = view(page, queue)
    line = found.get_by_role("region", name=f"Who waits in {queue}")
    expect(line.locator("tbody tr")).to_have_count(2)
    expect(line.get_by_role("button", name=re.compile("Earlier|To the front"))).to_have_count(0)
    line.get_by_role("button", name=f"Refuse…: {bad.name}").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("an hour is too long")
    page.get_by_role("dialog").get_by_role("button", name="Refuse", exact=True).click()
    expect(job_row(shown, "bad")).to_have_attribute("data-phase", "Cancelled")
    assert "an hour is too long" in bad.wait().resource["status"]["message"]
    line.get_by_role("button", name=f"Approve…: {good.name}").click()
    page.get_by_role("dialog").get_by_role("button", name="Approve", exact=True).click()
    expect(job_row(shown, "good")).to_have_attribute("data-phase", "Succeeded", timeout=30_000)


def test_a_limit_is_changed_and_what_somebody_else_changed_is_not_lost(
    panel: Callable[..., Locator], lab: Any, page: Page, queue: str
) -> None:
    panel()
    found = view(page, queue)

    def change(value: str) -> None:
        page.get_by_role("dialog").get_by_role("button", name="Go on").click()
        page.get_by_role("dialog").get_by_role("textbox").fill(value)
        page.get_by_role("dialog").get_by_role("button", name="Set").click()

    found.get_by_role("button", name="Change a limit…").click()
    change("5")
    row = found.get_by_role("row").filter(has=page.get_by_role("button", name=queue))
    expect(row).to_contain_text("running jobs: 0 of 5")

    found.get_by_role("button", name="Change a limit…").click()
    theirs = request(lab, "GET", f"queues/{queue}")
    theirs["spec"]["limits"]["runningJobs"] = 9
    request(lab, "PUT", f"queues/{queue}", theirs)
    change("7")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Somebody else has changed {queue}")
    expect(row).to_contain_text("running jobs: 0 of 9")
    dialog.get_by_role("button", name="Change it").click()
    expect(row).to_contain_text("running jobs: 0 of 7")

    found.get_by_role("button", name="Change a limit…").click()
    change("-3")
    expect(page.locator(".Toastify__toast")).to_contain_text(re.compile("spec.limits.runningJobs|greater"))
