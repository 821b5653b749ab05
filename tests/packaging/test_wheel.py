"""The wheel that ``pip install .`` makes of what is committed, with no Node on the machine: all of it is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
STARTUP_BYTES = 88_000
"""``panel_10k`` allows 90 KB of script, and a little is for what Lab itself loads more of."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    clone = folder / "clone"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (TOP / name).is_file():
            target = clone / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, target)
    programs = folder / "bin"
    programs.mkdir()
    for program in ("sh", "env", "uname", "sed", "dirname", "basename"):
        (programs / program).symlink_to(str(shutil.which(program)))
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, clone],
        env={**os.environ, "PATH": str(programs)},
        stdin=subprocess.DEVNULL,
        check=True,
    )
    [file] = folder.glob("*.whl")
    return zipfile.ZipFile(file)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_holds_all_parts(wheel: zipfile.ZipFile) -> None:
    names = {name.partition(".data/data/")[2] or name for name in wheel.namelist()}
    assert {
        "etc/jupyter/jupyter_server_config.d/jupyter_trainjob.json",
        "etc/ipython/ipython_kernel_config.json",
        "share/jupyter/labextensions/jupyter-trainjob/install.json",
        "share/jupyter/labextensions/jupyter-trainjob/package.json",
        "share/jupyter/labextensions/jupyter-trainjob/static/style.js",
        "share/jupyter/labextensions/jupyter-trainjob-executor/install.json",
        "share/jupyter/labextensions/jupyter-trainjob-executor/package.json",
        "jupyter_trainjob/api/openapi.yaml",
        "jupyter_trainjob/py.typed",
        "jupyter_trainjob/locale/zh_CN/LC_MESSAGES/jupyter_trainjob.json",
        "jupyter_trainjob/_version.py",
        "jupyter_trainjob/_data/kernels/python/Dockerfile",
        "jupyter_trainjob/_data/kernels/mirrors",
    } <= names
    ours = subprocess.run(["git", "ls-files", "jupyter_trainjob"], cwd=TOP, capture_output=True, text=True, check=True)
    committed = {name for name in ours.stdout.split() if name.endswith(".py") and (TOP / name).exists()}
    assert not committed - names
    assert not any(name.startswith("tests/") for name in names)


@pytest.mark.slow
def test_the_front_end_is_small(wheel: zipfile.ZipFile) -> None:
    """What JupyterLab loads at its start: the rest comes when it is opened. ``panel_10k`` weighs a real page."""
    entries = [name for name in wheel.namelist() if "/static/remoteEntry." in name]
    assert len(entries) == 2, "ours, and that of the cells' executor"
    at_start = {*entries}
    for entry in entries:
        exposed = re.findall(
            r'"\./(?:index|extension|mimeExtension|style)":\(\)=>(.*?)\.then\(', wheel.read(entry).decode()
        )
        chunks = [
            f"{entry.rpartition('/')[0]}/{number}." for one in exposed for number in re.findall(r"\.e\((\d+)\)", one)
        ]
        assert chunks
        at_start |= {name for name in wheel.namelist() if name.startswith(tuple(chunks)) and name.endswith(".js")}
    assert len(at_start) >= 4
    assert sum(wheel.getinfo(name).file_size for name in at_start) <= STARTUP_BYTES
