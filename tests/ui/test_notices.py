"""The end of a job that was sent with --notify, as a person is told of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocket, expect

from .conftest import CARD, FIRST_START_MS, close, run_cell, save, until

pytestmark = [pytest.mark.ui, pytest.mark.slow]

TOAST = ".Toastify__toast"


def state(page: Page, number: int = 0) -> Any:
    return page.locator(CARD).nth(number).locator(".jp-TrainJobCard-state")


def reopen(page: Page, server: Any) -> None:
    """Lab as it was left: not reset, as the tests' other pages are."""
    page.goto(f"{server.url}lab?token={server.token}")
    page.wait_for_selector("#jp-main-dock-panel", timeout=FIRST_START_MS)


def test_it_is_told_though_the_notebook_is_closed(
    opened: Callable[..., Page], lab: Any, sockets: list[WebSocket], tmp_path: Path
) -> None:
    page = opened("%%trainjob --name told --notify\nimport time\ntime.sleep(5)\n1 / 0", name="told.ipynb")
    run_cell(page)
    expect(state(page)).to_have_text("Running")
    close(page)
    toast = page.locator(TOAST)
    expect(toast).to_contain_text(re.compile(r"told-\w+: Failed: error in the code, after \d+ s\. ZeroDivisionError"))
    expect(toast).to_have_class(re.compile("error"))
    page.wait_for_timeout(1000)  # it slides in
    page.screenshot(path=tmp_path / "notice.png")
    assert len(sockets) == 1, "the status bar's, which is the panel's and the cards'"

    toast.get_by_role("button", name="Open executed notebook").click()
    expect(page.get_by_role("tab", name=re.compile("told-"))).to_be_visible()
    expect(page.locator(".jp-Notebook")).to_contain_text("ZeroDivisionError")
    save(page)
    page.wait_for_timeout(1500)  # Lab saves its state a moment after a change
    reopen(page, lab)
    page.wait_for_timeout(3000)
    expect(page.locator(TOAST)).to_have_count(0)  # told once


def test_it_is_told_by_the_next_page_where_none_was_open(opened: Callable[..., Page], lab: Any) -> None:
    page = opened("%%trainjob --name away --notify\nimport time\ntime.sleep(5)", name="away.ipynb")
    run_cell(page)
    expect(state(page)).to_have_text("Running")
    save(page)
    page.wait_for_timeout(1500)
    page.goto("about:blank")
    ended = "trainjob/api/v1/trainjobs?phase=Succeeded&labelSelector=jupyter-trainjob/name=away"
    until(page, lambda: lab.get(ended)["items"], "the job ends")
    reopen(page, lab)
    expect(page.locator(TOAST)).to_contain_text(re.compile(r"away-\w+: Succeeded, after \d+ s\."))
    expect(page.locator(TOAST)).to_have_class(re.compile("success"))


def test_the_browser_tells_who_has_allowed_it_and_looks_elsewhere(opened: Callable[..., Page], page: Page) -> None:
    """Its own class shows the notice; beside that it is written down. That the tab is hidden is only said."""
    page.context.grant_permissions(["notifications"])
    page.add_init_script(
        """(() => {
          window.told = [];
          window.away = false;
          Object.defineProperty(document, 'hidden', { get: () => window.away });
          window.Notification = class extends window.Notification {
            constructor(title, options) { super(title, options); window.told.push([title, options.tag]); }
          };
        })()"""
    )
    opened("%%trainjob --name first --notify\n1", "%%trainjob --name second --notify\n1 / 0", name="elsewhere.ipynb")
    run_cell(page, 0)
    expect(page.locator(TOAST)).to_contain_text("first-", timeout=FIRST_START_MS)
    assert page.evaluate("() => window.told") == [], "who looks at the page sees Lab's own"
    run_cell(page, 1)
    expect(state(page, 1)).to_be_visible()
    page.evaluate("() => { window.away = true; }")
    until(page, lambda: page.evaluate("() => window.told.length"), "the browser tells")
    [[words, tag]] = page.evaluate("() => window.told")
    assert re.match(r"second-\w+: Failed: error in the code", words)
    assert tag


def test_who_does_not_ask_is_not_told(opened: Callable[..., Page]) -> None:
    page = opened("%%trainjob --name quiet\nimport time\ntime.sleep(2)")
    run_cell(page)
    expect(state(page)).to_have_text("Succeeded", timeout=30_000)
    page.wait_for_timeout(1000)
    expect(page.locator(TOAST)).to_have_count(0)


def test_all_cards_of_a_page_share_one_connection(opened: Callable[..., Page], sockets: list[WebSocket]) -> None:
    code = "%%trainjob --name {} --cpu 100m\nimport time\ntime.sleep(1)"
    page = opened(*(code.format(name) for name in ("one", "two", "three")), name="three.ipynb")
    for index in range(3):
        run_cell(page, index)
    for index in range(3):
        expect(state(page, index)).to_have_text("Succeeded", timeout=60_000)
    assert len(sockets) == 1
    assert not sockets[0].is_closed()
    close(page)
    page.evaluate("() => void window.jupyterapp.commands.execute('trainjob:panel')")
    expect(page.locator(".jp-TrainJobRow[data-phase=Succeeded]").first).to_be_visible()
    assert len(sockets) == 1
