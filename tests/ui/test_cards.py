"""The card of a job as a person sees it: live, true after a reload, and harmless."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, expect

from .conftest import CARD, FIRST_START_MS, open_page, run_cell, save

pytestmark = [pytest.mark.ui, pytest.mark.slow]

TOP = Path(__file__).parents[2]
EVIL = '<img src=x onerror="window.hacked = 1">'

CONTRASTS = """() => {
  const pen = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const luminance = colour => {
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data]
      .map(value => value / 255)
      .map(value => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return [...document.querySelectorAll('.jp-TrainJobCard-log span')].map(span => {
    const both = [getComputedStyle(span).color, getComputedStyle(span.closest('pre')).backgroundColor].map(luminance);
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  });
}"""
"""Of all that is painted in logs, against what is behind it (WCAG 2.2, 1.4.3). axe leaves out what is scrolled away."""


def state(page: Page, number: int = 0) -> Any:
    return page.locator(CARD).nth(number).locator(".jp-TrainJobCard-state")


def test_the_example_from_the_first_click_to_the_result(lab: Any, page: Page) -> None:
    example = TOP / "examples" / "digits.ipynb"
    (lab.root / "digits.ipynb").write_bytes(example.read_bytes())
    open_page(page, lab, "digits.ipynb")
    run_cell(page, 0)
    card = page.locator(CARD).first
    expect(state(page)).to_have_text("Running")
    log = card.get_by_role("log")
    expect(log).to_contain_text("of 40   loss")
    expect(state(page)).to_have_text("Running")  # the line was there while the job still ran
    expect(state(page)).to_have_text("Succeeded", timeout=60_000)
    expect(log).to_contain_text("epoch 40 of 40")
    expect(card).to_contain_text(re.compile(r"used \d+\.\d CPU seconds"))
    expect(card).not_to_contain_text("Reconnecting")

    card.get_by_role("button", name="Outputs").click()
    expect(card.get_by_role("link", name="score")).to_be_visible()
    with page.expect_download() as download:
        card.get_by_role("link", name="report.txt").click()
    assert Path(download.value.path()).read_text("utf-8").startswith("accuracy 0.9")

    card.get_by_role("button", name="Show more of the log").click()
    expect(log).to_contain_text("epoch  1 of 40")


def test_it_is_still_true_after_a_reload_without_its_kernel(opened: Callable[..., Page], lab: Any) -> None:
    page = opened("%%trainjob --name kept\nprint('what was printed')", name="kept.ipynb")
    run_cell(page)
    expect(state(page)).to_have_text("Succeeded", timeout=60_000)
    save(page)
    page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
    open_page(page, lab, "kept.ipynb")
    expect(state(page)).to_have_text("Succeeded")
    expect(page.locator(CARD).get_by_role("log")).to_have_text("what was printed")
    saved = nbformat.read(lab.root / "kept.ipynb", 4)
    [output] = saved.cells[0].outputs
    assert set(output.data["application/vnd.trainjob+json"]) == {"uid", "namespace", "name"}


def test_one_waits_for_the_other_and_is_told_so(opened: Callable[..., Page]) -> None:
    cell = "%%trainjob --name {} --cpu {}\nimport time\ntime.sleep({})"
    cpus = os.cpu_count() or 1
    page = opened(cell.format("first", cpus, 90), cell.format("second", cpus, 0))
    run_cell(page, 0)
    expect(state(page, 0)).to_have_text("Running")
    run_cell(page, 1)
    expect(state(page, 1)).to_have_text("Queued, number 1 in line")
    expect(page.locator(CARD).nth(1).locator(".jp-TrainJobCard-note")).to_contain_text(re.compile(r"\w"))
    cancel(page, 0)
    expect(state(page, 0)).to_have_text("Cancelled")
    expect(state(page, 1)).to_have_text("Succeeded", timeout=30_000)


def cancel(page: Page, number: int = 0) -> None:
    page.locator(CARD).nth(number).get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()


def test_cancel_asks_first_and_run_again_makes_another(opened: Callable[..., Page], lab: Any) -> None:
    page = opened("%%trainjob --name long\nimport time\nprint('begun')\ntime.sleep(90)", name="long.ipynb")
    run_cell(page)
    expect(page.locator(CARD).get_by_role("log")).to_contain_text("begun")
    page.locator(CARD).get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Let it run").click()
    expect(state(page)).to_have_text("Running")
    cancel(page)
    expect(state(page)).to_have_text("Cancelled")
    page.locator(CARD).first.get_by_role("button", name="Run again").click()
    expect(state(page, 1)).to_have_text("Running")
    save(page)
    open_page(page, lab, "long.ipynb")
    expect(state(page, 1)).to_have_text("Running")  # found again, though the notebook knows only the first
    cancel(page, 1)
    expect(state(page, 1)).to_have_text("Cancelled")


def test_a_failure_says_where(opened: Callable[..., Page]) -> None:
    page = opened("%%trainjob --name wrong\nprint('so far')\n1 / 0")
    run_cell(page)
    expect(state(page)).to_have_text("Failed: error in the code")
    card = page.locator(CARD)
    expect(card.locator(".jp-TrainJobCard-note")).to_contain_text("ZeroDivisionError: division by zero")
    expect(card.get_by_label("Traceback")).to_be_hidden()
    card.locator("summary").click()
    expect(card.get_by_label("Traceback")).to_contain_text("1 / 0")


def test_the_log_is_not_shown_twice_where_it_is_printed_below(opened: Callable[..., Page]) -> None:
    again = """from IPython.display import display
from jupyter_trainjob import Client
job = Client().job("once")
reference = {"uid": job.uid, "namespace": job.namespace, "name": job.name, "log": "below"}
display({"application/vnd.trainjob+json": reference}, raw=True)"""
    page = opened("%%trainjob --name once\nfor n in range(20):\n    print('what was printed')", again)
    run_cell(page, 0)
    expect(state(page)).to_have_text("Succeeded", timeout=30_000)
    expect(page.locator(CARD).first.get_by_role("log")).to_contain_text("what was printed")
    run_cell(page, 1)
    expect(state(page, 1)).to_have_text("Succeeded")
    page.wait_for_timeout(1500)
    below = page.locator(CARD).nth(1)
    expect(below.locator("[role=log]")).to_be_hidden()
    expect(below).not_to_contain_text("what was printed")
    expect(below.get_by_role("button", name="Show more of the log")).to_have_count(0)


def test_the_executed_notebook_is_offered_once_there_is_one(opened: Callable[..., Page], lab: Any) -> None:
    inner = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("print('first')"), nbformat.v4.new_code_cell("import time\ntime.sleep(90)")],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(inner, lab.root / "inner.ipynb")
    page = opened(
        "from jupyter_trainjob import Client\njob = Client().submit_notebook('inner.ipynb', name='steps')\njob",
        "%%trainjob --name single\nimport time\nprint('begun')\ntime.sleep(90)",
        name="outer.ipynb",
    )
    offer = {"name": "Open executed notebook"}
    run_cell(page, 0)
    expect(page.locator(CARD).first).to_contain_text("1 of 2 cells", timeout=30_000)
    run_cell(page, 1)
    expect(page.locator(CARD).nth(1).get_by_role("log")).to_contain_text("begun")
    expect(page.locator(CARD).nth(1).get_by_role("button", **offer)).to_have_count(0)
    cancel(page, 1)
    page.locator(CARD).first.get_by_role("button", **offer).click()
    expect(page.get_by_role("tab", name=re.compile("steps-"))).to_be_visible()
    expect(page.locator(".jp-Notebook:visible")).to_contain_text("first")
    page.get_by_role("tab", name="outer.ipynb").click()
    cancel(page, 0)
    expect(state(page)).to_have_text("Cancelled")


def test_what_a_job_prints_stays_text(opened: Callable[..., Page]) -> None:
    code = f"""%%trainjob --name evil --out thing
from pathlib import Path
evil = {EVIL!r}
print(evil)
Path(evil.replace("/", "") + ".txt").write_text(evil)
thing = type(evil, (), {{"__reduce__": lambda self: (str, ())}})()
raise ValueError(evil)"""
    page = opened(code)
    run_cell(page)
    card = page.locator(CARD)
    expect(state(page)).to_have_text("Failed: error in the code", timeout=30_000)
    expect(card.get_by_role("log")).to_contain_text(EVIL)
    expect(card.locator(".jp-TrainJobCard-note")).to_contain_text(EVIL)
    card.get_by_role("button", name="Outputs").click()
    expect(card.get_by_role("link", name=re.compile("onerror.*txt"))).to_be_visible()
    assert card.locator("img").count() == 0
    assert page.evaluate("() => window.hacked") is None


def test_a_forged_output_stays_text_and_tells_nothing(opened: Callable[..., Page]) -> None:
    def forged(**reference: str) -> Any:
        data = {"application/vnd.trainjob+json": reference, "text/plain": "forged"}
        return nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("display_data", data)])

    uid = "00000000-0000-4000-8000-000000000000"
    page = opened(
        forged(uid=uid, namespace=EVIL, name=EVIL), forged(uid="../../me", namespace="x", name="y"), name="forged.ipynb"
    )
    expect(state(page)).to_have_text("This job is gone, or it is not yours to see.")
    expect(page.locator(".jp-TrainJobCard-name")).to_have_text(EVIL)
    expect(page.locator(".jp-TrainJobOutput").nth(1)).to_have_text("This output names no job.")
    assert page.locator(".jp-TrainJobOutput img").count() == 0
    assert page.evaluate("() => window.hacked") is None


def test_the_executed_notebook_opens_untrusted(opened: Callable[..., Page], lab: Any) -> None:
    page = opened("%%trainjob --name shown\nfrom IPython.display import HTML\nHTML('<b>bold</b>')")
    run_cell(page)
    expect(state(page)).to_have_text("Succeeded", timeout=30_000)
    name = page.locator(".jp-TrainJobCard-name").inner_text()
    page.get_by_role("button", name="Open executed notebook").click()
    expect(page.get_by_role("tab", name=re.compile(name))).to_be_visible()
    saved = nbformat.read(lab.root / f"{name}.ipynb", 4)
    assert saved.cells[0].outputs
    kept = lab.get(f"api/contents/{name}.ipynb")
    cells = kept["content"]["cells"]
    assert not any(cell["metadata"].get("trusted") for cell in cells)


def test_the_keyboard_reaches_all(opened: Callable[..., Page]) -> None:
    page = opened("%%trainjob --name keys\nimport time\nprint('one')\ntime.sleep(90)")
    run_cell(page)
    card = page.locator(CARD)
    expect(card.get_by_role("log")).to_contain_text("one")
    card.get_by_role("log").focus()
    page.keyboard.press("Tab")
    expect(card.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Cancel keys-")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Cancel the job").press("Enter")
    expect(state(page)).to_have_text("Cancelled")


@pytest.mark.parametrize(("theme", "word"), [("JupyterLab Light", "light"), ("JupyterLab Dark", "dark")])
def test_it_can_be_read_by_all(opened: Callable[..., Page], tmp_path: Path, theme: str, word: str) -> None:
    """axe finds nothing, in either theme, wide or narrow. TRAINJOB_PICTURES: a folder for the docs' pictures."""
    pictures = Path(os.environ.get("TRAINJOB_PICTURES", tmp_path))
    code = """%%trainjob --name digits --cpu 1 --memory 1Gi --time-limit 5m
import time
for epoch in range(1, 40):
    print(f"epoch {epoch:2} of 39   \\033[32maccuracy {1 - 0.6 / epoch:.1%}\\033[0m")
    time.sleep(0.5 if epoch < 8 else 2)"""
    done = "%%trainjob --name done --out score\nfrom pathlib import Path\nscore = 1\nPath('report.txt').write_text('1')"
    broken = "%%trainjob --name broken\nfor word in ['colour']:\n    {}[word]"  # IPython paints the keywords
    page = opened(code, broken, done, theme=theme)
    run_cell(page, 0)
    expect(page.locator(CARD).first.get_by_role("log")).to_contain_text("epoch  8", timeout=30_000)
    page.locator(CARD).first.screenshot(path=pictures / f"card-running-{word}.png")
    run_cell(page, 1)
    expect(state(page, 1)).to_have_text("Failed: error in the code")
    page.screenshot(path=pictures / f"notebook-{word}.png")
    page.locator(CARD).nth(1).locator("summary").click()
    run_cell(page, 2)
    expect(state(page, 2)).to_have_text("Succeeded", timeout=30_000)
    page.locator(CARD).nth(2).get_by_role("button", name="Outputs").click()
    expect(page.get_by_role("link", name="report.txt")).to_be_visible()
    page.evaluate((TOP / "labextension" / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8"))
    for width in (1100, 420):
        page.set_viewport_size({"width": width, "height": 1000})
        if width < 600:
            page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
        page.wait_for_timeout(500)
        page.screenshot(path=tmp_path / f"notebook-{word}-{width}.png")
        for card in page.locator(CARD).all():
            sizes = card.evaluate("node => [node.scrollWidth, node.clientWidth]")
            assert sizes[0] <= sizes[1], f"in {width} pixels the card does not fit: {sizes}"
        assert min(page.evaluate(CONTRASTS)) >= 4.5
        found = page.evaluate("() => axe.run('.jp-TrainJobCard')")
        assert found["passes"], "axe has looked at nothing"
        assert not found["violations"], json.dumps(found["violations"], indent=1)[:4000]
    cancel(page, 0)
    expect(state(page, 0)).to_have_text("Cancelled")


def test_it_comes_back_when_the_server_does(jupyter_servers: Callable[..., Any], page: Page) -> None:
    server = jupyter_servers()
    code = "%%trainjob --name patient\nimport time\nprint('begun')\ntime.sleep(12)\nprint('done')"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, server.root / "patient.ipynb")
    open_page(page, server, "patient.ipynb")
    run_cell(page)
    expect(page.locator(CARD).get_by_role("log")).to_contain_text("begun")
    server.stop(signal.SIGKILL)
    expect(page.locator(CARD)).to_contain_text("Reconnecting")
    expect(state(page)).to_have_text("Running")
    server.start()
    expect(state(page)).to_have_text("Succeeded", timeout=FIRST_START_MS)
    expect(page.locator(CARD).get_by_role("log")).to_have_text("begun\ndone")
    expect(page.locator(CARD)).not_to_contain_text("Reconnecting")
