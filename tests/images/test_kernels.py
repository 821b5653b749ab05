"""The images of the kernels run a notebook as pods do: read-only root, uid 1000, no rights, no network."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .archives import TOP, why_not
from .boxes import Box, box

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(why_not()), reason=f"images can't be built here: {why_not()}"),
]
KERNELS = ("python", "r", "scala")
PRINTS = {
    "python": "import os\nprint(6 * 7, os.getuid())",
    "r": 'cat(6 * 7, system("id -u", intern = TRUE), "\\n")',
    "scala": 'println(s"${6 * 7} ${System.getProperty("user.name")}")',
}
PRINTED = {"python": b"42 1000\n", "r": b"42 1000 \n", "scala": b"42 trainjob\n"}
PLOTS = {
    "python": "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.title('Grüße')\nplt.show()",
    "r": 'plot(c(1, 3, 2), main = "Grüße")',
}
OURS = ("tmp", "var/tmp", "run/lock", "work", "trainjob")
"""What everybody, or the image's person, may write."""


@pytest.fixture(scope="module", params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> Iterator[Box]:
    with box(request.param) as found:
        yield found


def test_a_cell_prints(kernel: Box, tmp_path: Path) -> None:
    ended = kernel.job(tmp_path, PRINTS[kernel.name], language=kernel.name)
    assert ended.end["outcome"] == "ok", (ended.end, ended.stderr)
    assert ended.log == PRINTED[kernel.name]
    assert ended.status == 0
    assert ended.stderr == "", "the runner has nothing to complain about: every folder that it needs may be written"
    assert list((tmp_path / "work").iterdir()) == [], "caches and settings do not lie among the job's outputs"


def test_a_plot_is_drawn(kernel: Box, tmp_path: Path) -> None:
    if kernel.name not in PLOTS:
        return
    ended = kernel.job(tmp_path, PLOTS[kernel.name], language=kernel.name)
    assert ended.end["outcome"] == "ok", (ended.end, ended.log, ended.stderr)
    shown = [output["data"] for output in ended.notebook.cells[-1].outputs if "data" in output]
    assert any(base64.b64decode(data.get("image/png", "")).startswith(b"\x89PNG") for data in shown), shown
    assert b"font" not in ended.log.lower(), ended.log


def test_without_the_runner_jupyter_runs_the_same_notebook(kernel: Box, tmp_path: Path) -> None:
    """What a bare Job of the image would do."""
    notebook = {
        "cells": [
            {"cell_type": "code", "source": "1 + 1", "metadata": {}, "outputs": [], "execution_count": None, "id": "a"}
        ],
        "metadata": {
            "kernelspec": {"name": {"python": "python3", "r": "ir", "scala": "scala"}[kernel.name], "display_name": ""}
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a.ipynb").write_text(json.dumps(notebook))
    (tmp_path / "work" / "a.ipynb").chmod(0o666)
    done = kernel.run(tmp_path, "jupyter", "execute", "--inplace", "a.ipynb")
    assert done.returncode == 0, done.stderr.decode()
    assert "2" in (tmp_path / "work" / "a.ipynb").read_text().partition("text/plain")[2][:60]


def test_its_user_may_write_nothing_else(kernel: Box, tmp_path: Path) -> None:
    """Even if the root were not read-only."""
    done = kernel.run(
        tmp_path,
        *("find", "/", "-xdev", "(", "-type", "d", "-o", "-type", "f", ")", "-writable", "-print"),
        writable=True,
    )
    found = [path for path in done.stdout.decode().split() if not path[1:].startswith(OURS)]
    assert found == []


def test_nothing_in_it_gives_more_rights(kernel: Box, tmp_path: Path) -> None:
    done = kernel.run(tmp_path, "find", "/", "-xdev", "-type", "f", "-perm", "/6000")
    assert done.stdout == b""


def test_it_says_what_it_is(kernel: Box) -> None:
    assert kernel.config["User"] == "1000:1000"
    assert kernel.config["WorkingDir"] == "/work"
    labels = kernel.config["Labels"]
    assert labels["org.opencontainers.image.version"]
    assert labels["org.opencontainers.image.base.name"].startswith("localhost/trainjob/base:")
    assert labels["org.opencontainers.image.licenses"] == "BSD-3-Clause"


def test_the_build_leaves_nothing_of_itself(kernel: Box) -> None:
    """No mirror, no certificate, no list of packages, and no word of them in its history."""
    root = kernel.root
    assert not any((root / "run" / "secrets").glob("*"))
    assert not (root / "etc" / "pip.conf").exists()
    assert not any((root / "var" / "cache" / "apt" / "archives").glob("*.deb"))
    assert {path.name for path in (root / "var" / "lib" / "apt" / "lists").glob("*")} <= {"partial", "lock", "auxfiles"}
    assert not any("PIP_" in text or "PROXY" in text.upper() for text in kernel.config["Env"])
    assert "src=" not in json.dumps(kernel.history)


def test_it_has_the_part_of_us_that_a_pod_needs_and_no_more(kernel: Box, tmp_path: Path) -> None:
    ours = kernel.root / "opt" / "trainjob" / "jupyter_trainjob"
    there = {path.name for path in ours.iterdir()} - {"__pycache__"}
    assert there == {"__init__.py", "_version.py", "runner", "storage", "resources", "backends"}
    for path in (TOP / "jupyter_trainjob" / "runner").rglob("*.py"):
        assert (ours / path.relative_to(TOP / "jupyter_trainjob")).exists(), path
    done = kernel.run(tmp_path, "python", "-c", "import jupyter_trainjob")
    assert b"No module named 'jupyter_trainjob'" in done.stderr, (
        "code of a job has the module of jobs, and only in a job"
    )


def test_both_containers_of_a_pod_start_from_it(kernel: Box, tmp_path: Path) -> None:
    """With the standard library alone."""
    modules = sorted(
        path.stem
        for path in (kernel.root / "opt/trainjob/jupyter_trainjob/backends/kubernetes/pod").glob("*.py")
        if path.stem != "__main__"
    )
    code = "import importlib, sys; sys.path.insert(0, '/opt/trainjob'); [*map(importlib.import_module, sys.argv[1:])]"
    names = [f"jupyter_trainjob.backends.kubernetes.pod.{name}" for name in modules if name != "__init__"]
    assert {"main", "sidecar"} <= set(modules)
    done = kernel.run(tmp_path, "/usr/bin/python3", "-I", "-c", code, *names)
    assert done.returncode == 0, done.stderr.decode()


def test_python_has_what_courses_import(kernel: Box, tmp_path: Path) -> None:
    if kernel.name != "python":
        return
    ended = kernel.job(
        tmp_path,
        "import numpy, pandas, scipy.stats, sklearn.datasets, sklearn.linear_model, matplotlib, numpy.testing\n"
        "data = sklearn.datasets.load_iris(as_frame=True).frame\n"
        "model = sklearn.linear_model.LogisticRegression(max_iter=500).fit(data[data.columns[:4]], data.target)\n"
        "print(model.coef_.shape)",
    )
    assert ended.log == b"(3, 4)\n", (ended.log, ended.stderr)


def test_scala_comes_with_our_part_of_its_kernel_compiled(kernel: Box, tmp_path: Path) -> None:
    if kernel.name != "scala":
        return
    code = 'println(kernel.interpreter("Scala").get.getClass.getName)\n'
    code += "val options = java.lang.management.ManagementFactory.getRuntimeMXBean.getInputArguments.toArray\n"
    code += 'println(options.mkString(" ").contains("SharedArchiveFile"))'
    ended = kernel.job(tmp_path, code, language="scala")
    assert ended.log == b"jupyter_trainjob.Interpreter\ntrue\n", (ended.end, ended.stderr)
