"""Submitting without magics: the notebook by its form, cells by menu and keys, also in R."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, expect

from jupyter_trainjob import Client

from .conftest import CARD, FIRST_START_MS, execute, job_row, open_page, run_cell, until

pytestmark = [pytest.mark.ui, pytest.mark.slow]

TOP = Path(__file__).parents[2]
SLOWEST_START_MS = 180_000
"""Of a job in Scala, whose submit starts a compiler as well."""


def unique(name: str) -> str:
    return f"{name}{uuid.uuid4().hex[:5]}"


def kernel_of(server: Any, language: str) -> str:
    """The name of the jobs' kernel of a language; the test is skipped where there is none."""
    for _ in range(60):
        try:
            kernels = server.get("trainjob/api/v1/kernels")["kernels"]
            break
        except urllib.error.HTTPError as error:  # a server that has just started asks for them still
            if error.code != 503:
                raise
            time.sleep(1)
    found = next((one["name"] for one in kernels if one["language"] == language.lower()), None)
    if found is None:
        pytest.skip(f"there is no kernel of {language} here")
    return str(found)


def parameters() -> Any:
    code = "rate = 0.1  # how fast it learns\nrounds: int = 3"
    return nbformat.v4.new_code_cell(code, metadata={"tags": ["parameters"]})


def test_the_open_notebook_is_submitted_by_a_form(opened: Callable[..., Page], client: Client, tmp_path: Path) -> None:
    name = unique("form")
    page = opened(parameters(), "print('rate is', rate)", name=f"{name}.ipynb")
    page.locator(".jp-NotebookPanel-toolbar").get_by_role("button", name="Submit the notebook as a job").click()
    form = page.locator(".jp-TrainJobSubmit")
    expect(form.get_by_role("status")).to_contain_text(re.compile("It would"))
    expect(form.get_by_label("rate")).to_have_attribute("placeholder", "0.1")
    expect(form).to_contain_text("how fast it learns")
    expect(form).to_contain_text(re.compile(r"Of the whole process tree\. · left empty: 1Gi"))
    page.screenshot(path=tmp_path / "form.png")

    form.get_by_label("Time limit").fill("soon")
    expect(form).to_contain_text("'soon' is no duration.")
    form.get_by_label("Time limit").fill("5m")
    form.get_by_label("CPUs").fill("4000")
    expect(form).to_contain_text(re.compile(r"4000 CPUs is more than .+ Ask for at most \d+\."))
    expect(form.get_by_label("CPUs")).to_have_attribute("aria-invalid", "true")
    form.get_by_label("CPUs").fill("")
    form.get_by_label("rate").fill("1e999")
    expect(form).to_contain_text("can’t be carried: no float holds it")
    form.get_by_label("rate").fill("0.5")
    expect(form.get_by_role("status")).to_contain_text(re.compile("It would"))
    form.get_by_label("Name", exact=True).fill("<img src=x onerror=window.hacked=1>")
    expect(form.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
    form.get_by_label("Time limit").fill("<img src=x onerror=window.hacked=1>")
    expect(form).to_contain_text("'<img src=x onerror=window.hacked=1>' is no duration.")
    assert form.locator("img").count() == 0
    form.get_by_label("Time limit").fill("5m")
    form.get_by_label("Name", exact=True).fill(name)
    expect(form.get_by_role("status")).to_contain_text(re.compile("It would"))
    form.get_by_role("button", name="Submit").click()
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    toast = page.locator(".Toastify__toast")
    expect(toast).to_contain_text(re.compile(rf"{name}-\w+ is sent\."))
    toast.get_by_role("button", name="Show").click()
    expect(page.locator(".jp-TrainJobView").get_by_role("log")).to_contain_text("rate is 0.5", timeout=30_000)
    assert client.job(name).wait().phase == "Succeeded"


def test_the_form_can_be_read_by_all(opened: Callable[..., Page], client: Client) -> None:
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page = opened(parameters(), theme=theme)
        execute(page, "trainjob:submit-notebook")
        form = page.locator(".jp-TrainJobSubmit")
        expect(form.get_by_role("status")).to_contain_text("It would")
        form.get_by_label("Time limit").fill("soon")
        expect(form).to_contain_text("'soon' is no duration.")
        page.evaluate((TOP / "labextension" / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8"))
        found = page.evaluate("() => axe.run('.jp-TrainJobSubmit')")
        assert found["passes"], "axe has looked at nothing"
        assert not found["violations"], json.dumps(found["violations"], indent=1)[:4000]


def test_the_form_is_filled_in_by_keys_alone(opened: Callable[..., Page], client: Client) -> None:
    name = unique("typed")
    page = opened(parameters(), "print('rate is', rate)", name=f"{name}.ipynb")
    execute(page, "trainjob:submit-notebook")
    form = page.locator(".jp-TrainJobSubmit")
    expect(form.get_by_label("Name", exact=True)).to_be_focused()
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(form.get_by_label("Time limit")).to_be_focused()
    page.keyboard.type("soon")
    page.keyboard.press("Enter")  # which in Lab's dialogs is the button that closes
    expect(form).to_contain_text("'soon' is no duration.")
    expect(form.get_by_label("Time limit")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("5m")
    page.keyboard.press("Tab")
    page.keyboard.type("0.7")
    expect(form.get_by_role("status")).to_contain_text("It would")
    form.get_by_role("button", name="Submit").press("Enter")
    expect(page.locator(".Toastify__toast")).to_contain_text(re.compile(rf"{name}-\w+ is sent\."))
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    assert "rate is 0.7" in str(client.job(name).wait().logs())


def test_a_cell_is_submitted_from_its_menu(opened: Callable[..., Page], client: Client) -> None:
    page = opened("print('sent as it is')", name=f"{unique('menu')}.ipynb")
    page.locator(".jp-CodeCell").click(button="right")
    page.get_by_role("menuitem", name="Submit the cell as a job").click()
    card = page.locator(CARD)
    expect(card.locator(".jp-TrainJobCard-state")).to_have_text("Succeeded", timeout=30_000)
    expect(card.get_by_role("log")).to_have_text("sent as it is")
    name = card.locator(".jp-TrainJobCard-name").inner_text()
    page.locator(".jp-CodeCell .jp-cell-toolbar").get_by_role("button", name="Submit the cell as a job").click()
    expect(card.locator(".jp-TrainJobCard-name")).not_to_have_text(name)
    expect(card.locator(".jp-TrainJobCard-state")).to_have_text("Succeeded", timeout=30_000)


def test_what_is_wrong_with_a_line_is_said(opened: Callable[..., Page]) -> None:
    page = opened("%%trainjob --cpus 2\nprint(1)", name=f"{unique('wrong')}.ipynb")
    page.locator(".jp-CodeCell .cm-content").click()
    page.keyboard.press("Control+Alt+Enter")
    expect(page.locator(".Toastify__toast")).to_contain_text("--cpus is no option of %%trainjob")
    expect(page.locator(CARD)).to_have_count(0)


@pytest.mark.parametrize(
    ("language", "code", "said", "error"),
    [
        ("R", "cat('this is', R.version$language, '\\n')\nstop('on line 3')", "this is R", "line 3"),
        ("scala", 'println(s"this is Scala ${6 * 7}")\nsys.error("on line 3")', "this is Scala 42", "line 3"),
    ],
)
def test_a_cell_in_another_language_has_the_same_first_line_and_card(
    lab: Any, client: Client, page: Page, language: str, code: str, said: str, error: str
) -> None:
    kernel = kernel_of(lab, language)
    name = unique(language.lower())
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(f"%%trainjob --name {name} --cpu 0.5\n{code}")],
        metadata={
            "kernelspec": {"name": kernel, "display_name": language, "language": language},
            "language_info": {"name": language},
        },
    )
    nbformat.write(notebook, lab.root / f"{name}.ipynb")
    page.goto(f"{lab.url}lab/tree/{name}.ipynb?reset&token={lab.token}")  # its kernel may come, or not: none is needed
    page.locator(".jp-CodeCell .cm-content").click(timeout=FIRST_START_MS)
    page.keyboard.press("Control+Alt+Enter")
    card = page.locator(CARD)
    expect(card.locator(".jp-TrainJobCard-state")).to_have_text("Failed: error in the code", timeout=SLOWEST_START_MS)
    expect(card.get_by_role("log")).to_contain_text(said)
    expect(card.locator(".jp-TrainJobCard-note")).to_contain_text(error)
    execute(page, "trainjob:panel")
    expect(job_row(page.locator(".jp-TrainJobs"), name)).to_have_attribute("data-phase", "Failed")


def test_running_such_a_cell_sends_it_and_all_others_run_as_ever(lab: Any, client: Client, page: Page) -> None:
    """The executor of its own: Shift+Enter is enough."""
    kernel = kernel_of(lab, "R")
    name = unique("run")
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("cat('here', 6 * 7)"),
            nbformat.v4.new_code_cell(f"%%trainjob --name {name} --cpu 0.5\ncat('there', 6 * 7)"),
        ],
        metadata={
            "kernelspec": {"name": kernel, "display_name": "R", "language": "R"},
            "language_info": {"name": "R"},
        },
    )
    nbformat.write(notebook, lab.root / f"{name}.ipynb")
    open_page(page, lab, f"{name}.ipynb")
    run_cell(page, 0)
    expect(page.locator(".jp-CodeCell").first.locator(".jp-OutputArea-output")).to_contain_text("here 42")
    page.locator(".jp-CodeCell .cm-content").nth(1).click()
    page.keyboard.press("Shift+Enter")
    card = page.locator(CARD)
    expect(card.locator(".jp-TrainJobCard-state")).to_have_text("Succeeded", timeout=FIRST_START_MS)
    expect(card.get_by_role("log")).to_have_text("there 42")


def test_a_cell_is_sent_from_its_own_notebook_while_another_is_looked_at(lab: Any, client: Client, page: Page) -> None:
    """A run of all goes on behind a copy in another language, whose cells have the same ids."""
    names = {language: unique(language.lower()) for language in ("R", "scala")}
    go = lab.root / f"{names['R']}.go"
    cells = {
        "R": (f"while (!file.exists('{go.name}')) Sys.sleep(0.1)", "cat('from R', 6 * 7)"),
        "scala": ("val waits = 1", 'println(s"from Scala ${6 * 7}")'),
    }
    for language, (first, code) in cells.items():
        sent = f"%%trainjob --name {names[language]} --cpu 0.5\n{code}"
        spec = {"name": kernel_of(lab, language), "display_name": language, "language": language}
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(first, id="first"), nbformat.v4.new_code_cell(sent, id="sent")],
            metadata={"kernelspec": spec, "language_info": {"name": language}},
        )
        nbformat.write(notebook, lab.root / f"{names[language]}.ipynb")
    open_page(page, lab, f"{names['R']}.ipynb")
    execute(page, "notebook:run-all-cells")
    execute(page, "docmanager:open", path=f"{names['scala']}.ipynb")
    shown = page.locator(".jp-NotebookPanel:visible")
    expect(shown.locator(".jp-CodeCell").nth(1)).to_contain_text("from Scala")
    shown.locator(".jp-CodeCell .cm-content").nth(1).click()
    go.touch()
    until(page, lambda: any(job.name.startswith(names["R"]) for job in client.jobs()), "R's cell is sent")
    expect(shown.locator(CARD)).to_have_count(0)
    expect(shown.locator(".jp-CodeCell").nth(1)).to_contain_text("from Scala")
    page.keyboard.press("Shift+Enter")
    state = shown.locator(CARD).locator(".jp-TrainJobCard-state")
    expect(state).to_have_text("Succeeded", timeout=SLOWEST_START_MS)
    expect(shown.locator(CARD).get_by_role("log")).to_have_text("from Scala 42")
    execute(page, "docmanager:open", path=f"{names['R']}.ipynb")
    expect(shown.locator(CARD).get_by_role("log")).to_have_text("from R 42", timeout=FIRST_START_MS)


def test_without_the_executor_lab_runs_cells_as_ever(jupyter_servers: Callable[..., Any], page: Page) -> None:
    """Who disables it has Lab's own back, and the menu and the keys still send cells."""
    server = jupyter_servers()
    config = server.home / "config" / "labconfig" / "page_config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"disabledExtensions": {"jupyter-trainjob-executor": True}}))
    language = {
        "kernelspec": {"name": kernel_of(server, "R"), "display_name": "R", "language": "R"},
        "language_info": {"name": "R"},
    }
    cells = [nbformat.v4.new_code_cell("cat('here', 6 * 7)"), nbformat.v4.new_code_cell("%%trainjob\ncat('there')")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=language), server.root / "plain.ipynb")
    open_page(page, server, "plain.ipynb")
    run_cell(page, 0)
    outputs = page.locator(".jp-CodeCell .jp-OutputArea-output")
    expect(outputs.first).to_contain_text("here 42")
    run_cell(page, 1)
    expect(outputs.nth(1)).to_contain_text("%%")  # R's own words: it knows no such line
    expect(page.locator(CARD)).to_have_count(0)
    page.keyboard.press("Control+Alt+Enter")
    expect(page.locator(CARD).get_by_role("log")).to_have_text("there", timeout=FIRST_START_MS)
