"""What the docs show is run, and what they take from the code is current."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from .pages import PAGES, TOP, blocks


def test_what_is_generated_is_current() -> None:
    done = subprocess.run(
        [sys.executable, TOP / "scripts" / "docs.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_example_is_committed_without_outputs() -> None:
    notebook = nbformat.read(TOP / "examples" / "digits.ipynb", 4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


@pytest.fixture(scope="module")
def server(jupyter_servers: Callable[..., Any]) -> Any:
    return jupyter_servers()


@pytest.mark.slow
def test_the_example_runs(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a kernel that finds the server as any other does, through the running-server file."""
    for key, value in server.environment.items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(TOP / "examples" / "digits.ipynb", 4)
    resources = {"metadata": {"path": str(server.root)}}
    NotebookClient(notebook, timeout=120, resources=resources, kernel_name="python3").execute()
    printed = {cell.id: json.dumps(cell.get("outputs", [])) for cell in notebook.cells}
    assert "application/vnd.trainjob+json" in printed["train"]
    assert "digits-" in printed["list"]
    assert "epoch 40 of 40" in printed["logs"]
    assert float(json.loads(printed["score"])[0]["data"]["text/plain"]) > 0.9
    assert "MLPClassifier" in printed["model"]
    assert "report.txt" in printed["files"]
    assert "pictures are misread" in printed["block"]
    assert "text/plain" in printed["worst"]


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("docs/users.md", "python"))
def test_the_python_of_the_users_page_runs(server: Any, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], env=server.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    if "sweep" in code:
        assert done.stdout.count("Succeeded") == 4 and "depth" in done.stdout, done.stdout
    else:
        assert done.stdout.split() == ["Succeeded", "42", "42"]
