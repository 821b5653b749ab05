"""A job in the main area: log, cells, metrics, files, what happened; and several beside each other."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from jupyter_trainjob import Client

from .conftest import execute, job_row

pytestmark = [pytest.mark.ui, pytest.mark.slow]

TOP = Path(__file__).parents[2]
EVIL = "<img src=x onerror=window.hacked=1>"


def unique(name: str) -> str:
    return f"{name}{uuid.uuid4().hex[:5]}"


def opened(page: Page, job: Any) -> Locator:
    """The view of a job, as a double click in the panel opens it."""
    execute(page, "trainjob:open", uid=job.uid, namespace=job.namespace, name=job.name)
    view = page.locator(".jp-TrainJobView:visible")
    expect(view.get_by_role("heading", name=job.name)).to_be_visible()
    return view


def part(view: Locator, name: str) -> Locator:
    view.get_by_role("tab", name=name, exact=True).click()
    return view.get_by_role("tabpanel", name=name, exact=True)


def test_its_log_is_live_and_all_of_it_can_be_reached(
    panel: Callable[..., Locator], client: Client, page: Page
) -> None:
    name = unique("talk")
    code = (
        "import time\nfor n in range(30_000):\n    print(f'line {n:08} ' + '.' * 50)\n"
        "print('\\033[32mgreen\\033[0m', flush=True)\ntime.sleep(4)\nprint('the last one')"
    )
    job = client.submit_cell(code, name=name, cpu="0.2", memory="256Mi")
    job_row(panel(), name).dblclick()
    view = page.locator(".jp-TrainJobView:visible")
    log = view.get_by_role("log")
    expect(log).to_contain_text("line 00029999")
    expect(log.locator(".tj-ansi-green-fg")).to_have_text("green")
    expect(log).to_contain_text("the last one")
    assert log.locator(".jp-TrainJobLog-line").count() < 200
    view.get_by_role("button", name="Start").click()
    expect(log).to_contain_text("line 00000000")
    expect(view.get_by_label("Follow")).not_to_be_checked()
    view.get_by_label("Search the log").fill("LINE 00012345".lower())
    expect(log.locator(".jp-mod-hit")).to_contain_text("line 00012345")
    expect(view).to_contain_text("1 of 1")
    with page.expect_download() as download:
        view.get_by_role("button", name="Download").click()
    text = Path(download.value.path()).read_text("utf-8")
    assert text.splitlines()[12345].startswith("line 00012345")
    assert len(text.splitlines()) == 30_002
    view.get_by_role("button", name="End", exact=True).click()
    expect(log).to_contain_text("the last one")
    job.wait()


def test_cells_files_and_events_tell_what_became_of_it(
    panel: Callable[..., Locator], client: Client, page: Page, lab: Any
) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# A title"),
            nbformat.v4.new_code_cell(f"print({EVIL!r})\nopen('table.csv', 'w').write('a,b\\n1,2\\n')"),
            nbformat.v4.new_code_cell(
                "from IPython.display import HTML\nHTML('<script>window.hacked = 1</script>bold')"
            ),
            nbformat.v4.new_code_cell("1 / 0"),
            nbformat.v4.new_code_cell("print('never')"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, lab.root / "story.ipynb")
    job = client.submit_notebook(str(lab.root / "story.ipynb"), name=unique("story"))
    job.wait()
    panel()
    view = opened(page, job)
    expect(view.locator(".jp-TrainJobView-state")).to_have_text("Failed: error in the code")
    cells = part(view, "Cells")
    expect(cells.get_by_role("heading", name="A title")).to_be_visible()
    expect(cells).to_contain_text(EVIL)
    expect(cells).to_contain_text("ZeroDivisionError")
    states = cells.locator("[data-state]").evaluate_all("nodes => nodes.map(node => node.dataset.state)")
    assert states == ["done", "done", "done", "failed", "waiting"]
    files = part(view, "Files")
    files.get_by_role("button", name="Look at table.csv").click()
    expect(files.locator(".jp-TrainJobFiles-shown")).to_contain_text("a,b")
    events = part(view, "What happened")
    expect(events).to_contain_text(re.compile(r"Sent by \w+"))
    expect(events).to_contain_text(re.compile(r"ran on .+isolation"))
    expect(events).to_contain_text("Ended: error in the code.")
    assert page.evaluate("() => window.hacked") is None
    assert view.locator("img").count() == 0


@pytest.mark.parametrize(("theme", "word"), [("JupyterLab Light", "light"), ("JupyterLab Dark", "dark")])
def test_a_sweep_is_compared_in_a_table_and_in_plots(
    panel: Callable[..., Locator], client: Client, page: Page, theme: str, word: str, tmp_path: Path
) -> None:
    name = unique("sweep")
    code = "from jupyter_trainjob import log_metric\nfor n in range(20):\n    log_metric('loss', rate / (n + 1), n)"
    for rate in (0.5, 0.1, 2.0):
        client.submit_cell(code, name=name, parameters={"rate": rate}, labels={"sweep": name}).wait()
    shown = panel(theme=theme)
    shown.get_by_role("searchbox").fill(name)
    expect(shown.locator(".jp-TrainJobRow[data-phase]")).to_have_count(3)
    shown.get_by_role("treegrid").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Control+a")
    expect(shown).to_contain_text("3 selected")
    shown.get_by_role("button", name="Compare").click()
    table = page.get_by_role("table", name="Jobs beside each other")
    expect(table.get_by_role("row")).to_have_count(4)
    table.get_by_role("button", name="loss (last)").click()
    rates = table.locator("tbody tr td.jp-mod-number:nth-child(4)")
    expect(rates).to_have_text(["0.1", "0.5", "2"])
    table.get_by_role("button", name="loss (last)").click()
    expect(rates).to_have_text(["2", "0.5", "0.1"])
    page.evaluate((TOP / "labextension" / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("() => axe.run('.jp-TrainJobCompare')")
    assert found["passes"], "axe has looked at nothing"
    assert not found["violations"], json.dumps(found["violations"], indent=1)[:4000]
    page.screenshot(path=Path(os.environ.get("TRAINJOB_PICTURES", tmp_path)) / f"compare-{word}.png")
    plot = page.locator(".jp-TrainJobPlot")
    expect(plot).to_contain_text(re.compile(rf"{name}-\w+: last 0\.1, least 0\.1, most 2"))
    table.get_by_role("checkbox").first.uncheck()
    expect(plot.locator(".u-series")).to_have_count(3)
    axis = page.locator("[data-axis='p:rate']")
    axis.scroll_into_view_if_needed()
    box = axis.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40, steps=4)
    page.mouse.up()
    expect(table.get_by_role("checkbox", checked=True)).to_have_count(1)
    expect(plot.locator(".u-series")).to_have_count(2)
    expect(plot).to_contain_text("last 0.1, least 0.1, most 2")
    shown.get_by_role("button", name="Label…").click()
    page.get_by_role("dialog").get_by_role("textbox").fill(f"seen={name}")
    page.get_by_role("dialog").get_by_role("button", name="Set").click()
    shown.get_by_role("searchbox").fill(f"seen={name}")
    expect(shown.locator(".jp-TrainJobRow[data-phase]")).to_have_count(3)


@pytest.mark.parametrize(("theme", "word"), [("JupyterLab Light", "light"), ("JupyterLab Dark", "dark")])
def test_it_can_be_read_by_all(
    panel: Callable[..., Locator], client: Client, page: Page, theme: str, word: str, tmp_path: Path
) -> None:
    """axe finds nothing in either theme. TRAINJOB_PICTURES: a folder for the docs' pictures."""
    pictures = Path(os.environ.get("TRAINJOB_PICTURES", tmp_path))
    code = (
        "import time\nfrom jupyter_trainjob import log_metric, progress\nfor n in range(1, 100):\n"
        "    print(f'epoch {n:2} of 99   \\033[32mloss {1 / n:.3f}\\033[0m')\n"
        "    log_metric('loss', 1 / n, n)\n    progress(n / 99, f'epoch {n} of 99')\n"
        "    time.sleep(0.2)"
    )
    job = client.submit_cell(code, name=unique("digits"), cpu="0.2", memory="256Mi")
    panel(theme=theme)
    view = opened(page, job)
    expect(view.get_by_role("log")).to_contain_text("epoch 20 of 99")
    page.evaluate((TOP / "labextension" / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8"))
    for name in ("Log", "Cells", "Metrics", "Files", "What happened"):
        part(view, name)
        page.wait_for_timeout(1500)
        if name in ("Log", "Metrics"):
            page.screenshot(path=pictures / f"job-{name.lower()}-{word}.png")
        if name == "Log":
            view.get_by_label("Search the log").fill("epoch  7 of")
            expect(view.locator(".jp-TrainJobLog-line.jp-mod-hit")).to_contain_text("epoch  7 of 99")
        found = page.evaluate("() => axe.run('.jp-TrainJobView')")
        assert found["passes"], "axe has looked at nothing"
        assert not found["violations"], name + json.dumps(found["violations"], indent=1)[:4000]
    job.cancel()


def test_the_keyboard_goes_through_its_parts(panel: Callable[..., Locator], client: Client, page: Page) -> None:
    job = client.submit_cell("print('words')", name=unique("keys"))
    job.wait()
    panel()
    view = opened(page, job)
    expect(view.get_by_role("log")).to_contain_text("words")
    view.get_by_role("tab", name="Log").focus()
    page.keyboard.press("ArrowRight")
    expect(view.get_by_role("tab", name="Cells")).to_be_focused()
    page.keyboard.press("End")
    expect(view.get_by_role("tabpanel", name="What happened")).to_be_visible()
    page.keyboard.press("Home")
    view.get_by_role("log").focus()
    page.keyboard.press("/")
    expect(view.get_by_label("Search the log")).to_be_focused()


def test_it_is_there_again_after_a_reload(panel: Callable[..., Locator], client: Client, page: Page, lab: Any) -> None:
    job = client.submit_cell("print('words')", name=unique("kept"))
    job.wait()
    panel()
    opened(page, job)
    time.sleep(2)  # Lab saves its state a moment after a change
    page.goto(f"{lab.url}lab?token={lab.token}")
    expect(page.locator(".jp-TrainJobView").get_by_role("log")).to_contain_text("words", timeout=60_000)
