"""Two people at one service, each in a JupyterLab and a browser of their own."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from jupyter_trainjob import Client
from jupyter_trainjob.api.tokens import Person, TokenFile
from tests.api import processes

from .conftest import FIRST_START_MS, execute, job_row, settings

pytestmark = [pytest.mark.ui, pytest.mark.slow]


def shown(browser: Browser, server: Any) -> tuple[Page, Locator]:
    settings(server, "@jupyterlab/apputils-extension:notification", fetchNews="false", checkForUpdates=False)
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    page.goto(f"{server.url}lab?reset&token={server.token}")
    page.wait_for_selector("#jp-main-dock-panel", timeout=FIRST_START_MS)
    page.evaluate("() => window.jupyterapp.restored")
    execute(page, "trainjob:panel")
    panel = page.locator(".jp-TrainJobs")
    expect(panel.get_by_role("treegrid", name="Jobs")).to_be_visible()
    return page, panel


def test_neither_sees_the_others_jobs(browser: Browser, jupyter_servers: Callable[..., Any], tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.yaml")
    tokens = {name: file.add(Person(name)) for name in ("sam", "tess")}
    with processes.service(tmp_path / "service", tmp_path / "tokens.yaml") as service:
        labs = {
            name: jupyter_servers(
                f"--TrainJobExtension.remote_url={service.url}", f"--TrainJobExtension.remote_token={tokens[name]}"
            )
            for name in tokens
        }
        with Client(labs["sam"].url, token=labs["sam"].token) as client:
            job = client.submit_cell("print('of sam alone')", name="private")
            job.wait()
        sams, panel = shown(browser, labs["sam"])
        expect(job_row(panel, "private")).to_have_attribute("data-phase", "Succeeded")
        expect(panel.get_by_label("Whose jobs")).to_be_hidden()  # there is nobody else to see
        other, panel = shown(browser, labs["tess"])
        expect(panel).to_contain_text("No jobs yet.")
        execute(other, "trainjob:open", uid=job.uid, namespace=job.namespace, name=job.name)
        view = other.locator(".jp-TrainJobView")
        expect(view).to_contain_text("This job is gone, or it is not yours to see.")
        expect(view).not_to_contain_text("of sam alone")
        execute(other, "trainjob:queues")
        queues = other.locator(".jp-TrainJobQueues")
        expect(queues.get_by_role("heading", name="default")).to_be_visible()
        expect(queues.get_by_role("button", name="Change a limit…")).to_have_count(0)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            address = f"{labs['tess'].url}trainjob/api/v1/namespaces/sam/trainjobs/{job.uid}"
            urllib.request.urlopen(
                urllib.request.Request(address, headers={"Authorization": f"token {labs['tess'].token}"}), timeout=10
            )
        sams.close()
        other.close()
