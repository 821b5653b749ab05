"""The arrows between the rooms point one way. The table is that of docs/architecture.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "jupyter_trainjob"

MAY_IMPORT: dict[str, set[str]] = {
    "resources": set(),
    "store": {"resources"},
    "storage": set(),
    "scheduling": {"resources"},
    "backends": {"storage", "resources"},
    "controllers": {"scheduling", "backends", "storage", "store", "resources"},
    "api": {"store", "storage", "scheduling", "resources"},
    "runner": set(),
    "client": set(),
    "verbs": {"client"},
    "magics": {"verbs", "client"},
    # Admin verbs start a server, examine and deploy one; job verbs talk to one: test_job_verbs_need_no_server holds it.
    "cli": {"verbs", "client", "api", "app", "config", "backends", "scheduling", "storage", "store", "resources"},
}
EVERYWHERE = {"_version"}
ROOF = {"__init__", "__main__", "app", "config", "_version"}
"""What wires everything and may import all."""


def imports_of(path: Path) -> set[str]:
    """The rooms of ours that a module names in any import, also inside functions."""
    package = ["jupyter_trainjob", *path.relative_to(PACKAGE).with_suffix("").parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            targets = [f"{stem}.{alias.name}" for alias in node.names] if stem == "jupyter_trainjob" else [stem]
        for target in targets:
            parts = target.split(".")
            if parts[0] == "jupyter_trainjob" and len(parts) > 1:
                found.add(parts[1])
    return found


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "labextension" not in path.parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_one_way(path: Path) -> None:
    room = room_of(path)
    if room in ROOF:
        return
    assert room in MAY_IMPORT, f"{room} is no room of the design: add it to docs/architecture.md and here"
    allowed = MAY_IMPORT[room] | {room} | EVERYWHERE
    assert imports_of(path) <= allowed, f"{path.relative_to(PACKAGE)} may import only {sorted(allowed)}"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if room_of(path) in ("storage", "runner", "client")], ids=str
)
def test_no_pydantic_where_start_up_counts(path: Path) -> None:
    names = {
        (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else alias.name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert not names & {"pydantic", "sqlalchemy"}


def test_only_the_s3_store_needs_more_than_python() -> None:
    """Supervisors and pods load the rest of storage/ at every job's start."""
    for path in MODULES:
        names = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0)
            for name in (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            )
        }
        if room_of(path) == "storage" and not path.name.startswith("s3"):
            assert names <= sys.stdlib_module_names, f"{path.name} may import the standard library only"
        elif room_of(path) != "storage":
            assert "minio" not in names, f"{path.relative_to(PACKAGE)} imports minio; only storage/s3*.py may"


def test_a_server_loads_nothing_that_only_some_need() -> None:
    """Each of these is megabytes in everybody's server."""
    heavy = ["IPython", "alembic", "httpx", "kubernetes", "minio", "nbclient", "numpy", "pandas", "pyseccomp"]
    code = "import sys, jupyter_server.serverapp; before = set(sys.modules); import jupyter_trainjob.app\n"
    code += f"print(*[name for name in {heavy!r} if name in sys.modules and name not in before])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_small(path: Path) -> None:
    if "versions" in path.parts:
        return
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450, "is there a second idea in it?"
