"""The panel in a real browser, its jobs in a real cluster."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from jupyter_trainjob import Client
from tests.benchmarks.browser import chromium, execute, open_lab
from tests.benchmarks.cluster import a_room
from tests.ui.conftest import job_row

from .cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.ui, pytest.mark.slow]

SLOW_MS = 150_000
"""For whatever is waited for: a machine may be slow."""
STEPS = """import time
from jupyter_trainjob import progress
for step in range(1, 21):
    print(f"step {step}")
    progress(step / 20, f"step {step} of 20")
    time.sleep(1)"""


def test_a_job_in_a_pod_is_seen_as_any_other(
    cluster: Cluster, python_image: None, jupyter_servers: Callable[..., Any]
) -> None:
    with a_room(cluster) as room:
        backends = {"cluster": room.backend()}
        server = jupyter_servers(*room.options, f"--TrainJobExtension.backends={backends!r}")
        with chromium() as browser, Client(server.url, token=server.token) as client:
            page = browser.new_page(viewport={"width": 1100, "height": 900})
            open_lab(page, server)
            execute(page, "trainjob:panel")
            job = client.submit_cell(STEPS, name="pods", memory="512Mi", time_limit="2m")
            row = job_row(page.locator(".jp-TrainJobs"), "pods")
            expect(row).to_have_attribute("data-phase", "Running", timeout=SLOW_MS)
            expect(row).to_contain_text(re.compile(r"step \d+ of 20"), timeout=SLOW_MS)
            row.dblclick()
            view = page.locator(".jp-TrainJobView")
            expect(view.get_by_role("log")).to_contain_text("step 20", timeout=SLOW_MS)
            expect(view.locator(".jp-TrainJobView-state")).to_have_text("Succeeded", timeout=SLOW_MS)
            view.get_by_role("tab", name="What happened").click()
            expect(view.get_by_role("tabpanel", name="What happened")).to_contain_text("ran on")
            assert job.wait().phase == "Succeeded"
        server.stop()
