"""The pod's code lies in every image: the standard library is enough for it, and it starts at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import jupyter_trainjob
from jupyter_trainjob.backends import rules
from jupyter_trainjob.backends.kubernetes.pod import files, orders
from jupyter_trainjob.runner import early

from .pods import CODE, Pod

ROOT = str(Path(jupyter_trainjob.__file__).parents[1])
LIST = """
import sys
sys.path.insert(0, {root!r})
import jupyter_trainjob.backends.kubernetes.pod.{part}
{more}
import json
print(json.dumps(sorted(sys.modules)))
"""


def modules(part: str, more: str = "") -> set[str]:
    code = LIST.format(root=ROOT, part=part, more=more)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True, text=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("part", "more"),
    [("main", ""), ("sidecar", "import jupyter_trainjob.storage.signed, jupyter_trainjob.resources.folder")],
)
def test_nothing_but_the_standard_library_and_a_few_of_ours(part: str, more: str) -> None:
    found = modules(part, more)
    ours = {name for name in found if name.startswith("jupyter_trainjob.")}
    assert {name.split(".")[0] for name in found - ours} <= {*sys.stdlib_module_names, "jupyter_trainjob", "__main__"}
    rooms = ("backends.kubernetes.pod", "backends.local", "storage", "resources", "resources.folder")
    allowed = ("backends", "backends.kubernetes", "backends.onecell", "backends.rules")
    for name in ours:
        name = name.removeprefix("jupyter_trainjob.")
        assert name.startswith(rooms) or name in allowed, name
    assert not {name for name in ours if name.endswith((".base", ".prepare", ".backend"))} - {
        "jupyter_trainjob.storage.base"
    }


def test_main_imports_little_before_the_runner_starts() -> None:
    heavy = {"asyncio", "subprocess", "ssl", "http.client", "tarfile", "hashlib", "socket", "dataclasses", "pathlib"}
    assert not modules("main") & heavy


def test_the_parts_run_without_site_packages(pod: Pod) -> None:
    """So a foreign image's packages can't get in their way."""
    pod.options = ["-I", "-S"]
    assert pod.run("print(1)") == (0, 0), pod.words()


def test_a_part_that_is_none_is_refused() -> None:
    done = subprocess.run([sys.executable, "-I", CODE, "pilot"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "main|sidecar" in done.stderr


def test_whoever_starts_the_runner_speaks_as_it_does() -> None:
    """The runner imports nothing of ours, so its number can't be theirs."""
    assert early.PROTOCOL == rules.RUNNER_PROTOCOL


def test_orders_without_a_window_have_the_one_that_servers_give() -> None:
    assert orders._DEFAULTS["windowBytes"] == files.WINDOW_BYTES
