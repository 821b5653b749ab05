"""Python: a venv that holds the requirements' closure, and behind it the runtime's own packages.

The venv is one of the runtime's base interpreter, so what is installed is exactly what was asked for; a ``.pth`` file
then puts the runtime's ``site-packages`` behind it, so that ``ipykernel`` and what the runtime offers is found and the
requirements win.

pip's cache is shared by all builds, so nothing of a stranger's may ever write into it: a first pass takes wheels only
and may start no process at all. Only if that fails, and the operator lets it (:attr:`.Site.builds`), does a second pass
run, which builds from source, without the cache. It has the network of the host: pip fetches and builds in one go, as a
source package's metadata, and so what else is needed, is known only after code of its own has run.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from functools import cached_property
from typing import Any

from ....resources.requirements import beyond_wheels, has_hashes, shown
from ..runtime import Runtime, inspect
from .box import Box, BuildFailed, NeverBuilt
from .recipes import Found, Recipe, Site, existing_paths, proxy_environment, read_inside

_ASK = """
import importlib.util, json, os, sys, sysconfig
pip = importlib.util.find_spec("pip")
runner = os.path.join(os.path.dirname(pip.origin), "__pip-runner__.py") if pip and pip.origin else ""
print(json.dumps({
    "version": sys.version,
    "tag": sys.implementation.cache_tag,
    "platform": sysconfig.get_platform(),
    "base": os.path.realpath(sys.base_prefix),
    "site": [p for p in sys.path if os.path.basename(p) in ("site-packages", "dist-packages") and os.path.isdir(p)],
    "pip": runner if os.path.exists(runner) else "",
}))
"""
_BEHIND = """
import json, os, sys, sysconfig
root, behind = sys.argv[1], json.loads(sys.argv[2])
folder = sysconfig.get_path("purelib", vars={"base": root, "platbase": root})
os.makedirs(folder, exist_ok=True)
with open(os.path.join(folder, "zz-trainjob-runtime.pth"), "w") as file:
    for path in behind:
        file.write("import site; site.addsitedir(%r)\\n" % path)
"""
_CHECK = "import ipykernel.kernelapp"
_ASK_SECONDS = 60
_NOT_OURS = frozenset(
    {
        "break-system-packages",
        "cache-dir",
        "config-settings",
        "dry-run",
        "editable",
        "global-option",
        "log",
        "no-cache-dir",
        "no-clean",
        "python",
        "prefix",
        "quiet",
        "report",
        "require-virtualenv",
        "requirement",
        "root",
        "src",
        "target",
        "upgrade",
        "user",
        "verbose",
    }
)
"""Options of the server's pip that are about another installation than ours."""
_NO_MATTER = frozenset(
    {
        "cert",
        "client-cert",
        "default-timeout",
        "disable-pip-version-check",
        "keyring-provider",
        "no-color",
        "progress-bar",
        "proxy",
        "retries",
        "root-user-action",
        "timeout",
    }
)
"""Options that make no other environment."""


class PythonRecipe(Recipe):
    """``requirements.txt``."""

    tool = "pip"

    def __init__(self, runtime: Runtime, site: Site) -> None:
        self._runtime, self._site = runtime, site

    @cached_property
    def _told(self) -> dict[str, Any]:
        return _ask(self._runtime.python)

    @cached_property
    def _pip(self) -> tuple[str, list[str]]:
        """The file that runs pip in another interpreter, and the host paths that it needs."""
        if self._told["pip"]:
            return self._told["pip"], []
        own = _ask(sys.executable)["pip"]
        if not own:
            raise BuildFailed(
                f"there is no pip of version 22.3 or later for {self._runtime.python}; the operator installs one there"
            )
        return own, list(inspect(sys.executable, []).binds)

    @cached_property
    def _options(self) -> dict[str, str]:
        """pip's options as the operator has set them for the server: variables, configuration files, ours."""
        return {**_configured(), **self._site.pip}

    def check(self, text: str, *, forbids_processes: bool) -> None:
        """Where only wheels may come: nothing that brings more."""
        if self._site.builds != "wheels":
            return
        if beyond := beyond_wheels(text):
            raise NeverBuilt(
                f"this server installs wheels of its index only, and {shown(beyond)!r} asks for more", "leave it out"
            )
        if not forbids_processes:
            raise NeverBuilt(
                "this server can't hold pip to wheels, for it runs as root without user ids for its jobs",
                "the operator gives it some (uid_first, uid_last), or lets it build from source (environment_builds)",
            )

    def identity(self) -> dict[str, Any]:
        """The interpreter, its packages' place, and what decides which package is taken."""
        told = self._told
        options = {key: value for key, value in self._options.items() if key not in _NO_MATTER}
        return {
            "interpreter": [told[key] for key in ("version", "tag", "platform", "base")],
            "behind": told["site"],
            "options": options,
            "wheelsOnly": self._site.builds == "wheels",
        }

    def binds(self) -> list[str]:
        """pip, and the files that its options name."""
        named = [*self._options.values(), *proxy_environment().values()]
        return [self._told["base"], *self._pip[1], *existing_paths(named)]

    def build(self, box: Box, text: str, cache: str) -> list[dict[str, str]]:
        """A venv, the wheels or all, the runtime behind it; then see whether a kernel would start."""
        python = self._runtime.python
        with open(os.path.join(box.scratch, "requirements.txt"), "w", encoding="utf-8") as file:
            file.write(text)
        self._venv(box)
        if not self._install(box, text, cache):
            raise BuildFailed("")
        behind = [python, "-I", "-S", "-c", _BEHIND, box.root, json.dumps(self._told["site"])]
        if box.run(behind, network=False) != 0:
            raise BuildFailed("the environment can't be joined with the runtime's packages")
        if box.run([f"{box.root}/bin/python", "-I", "-c", _CHECK], network=False) != 0:
            raise BuildFailed(
                "no kernel starts with these packages, for some of them don't go together with its own; name ipykernel "
                "in the list, too, or ask for other versions"
            )
        return _packages(os.path.join(box.scratch, "report.json"))

    def _venv(self, box: Box) -> None:
        command = [self._runtime.python, "-I", "-m", "venv", "--without-pip", "--clear", box.root]
        if box.run(command, network=False) != 0:
            raise BuildFailed(f"{self._runtime.python} makes no virtual environment")

    def _install(self, box: Box, text: str, cache: str) -> bool:
        beyond, wheels = beyond_wheels(text), self._site.builds == "wheels"
        if not beyond and box.can_forbid_processes:
            if (
                box.run(
                    self._command(box, text, ["--only-binary", ":all:"], cache),
                    self._environment(),
                    cache=cache,
                    processes=0,
                )
                == 0
            ):
                return True
            if wheels:
                return False
            self._venv(box)
        return box.run(self._command(box, text, [], ""), self._environment()) == 0

    def _command(self, box: Box, text: str, options: list[str], cache: str) -> list[str]:
        command = [f"{box.root}/bin/python", "-I", self._pip[0], "install", "--no-input", "--progress-bar", "off"]
        command += ["--disable-pip-version-check", "--no-warn-script-location"]
        command += ["--cache-dir", cache] if cache else ["--no-cache-dir"]
        command += ["--require-hashes"] if has_hashes(text) else []
        command += [*options, "--report", f"{box.tmp}/report.json", "-r", f"{box.tmp}/requirements.txt"]
        return command

    def _environment(self) -> dict[str, str]:
        options = {f"PIP_{key.upper().replace('-', '_')}": value for key, value in self._options.items()}
        return {**proxy_environment(), **options, "PIP_CONFIG_FILE": os.devnull, "PYTHONNOUSERSITE": "1"}

    def found(self, root: str) -> Found:
        """Its interpreter."""
        return Found(root, interpreter=f"{root}/bin/python", paths=(f"{root}/bin",))


def _ask(python: str) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [python, "-I", "-c", _ASK], capture_output=True, timeout=_ASK_SECONDS, check=True, env={"PATH": os.defpath}
        )
        told: dict[str, Any] = json.loads(done.stdout)
        return told
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise BuildFailed(f"the interpreter {python} for jobs does not run: {error}") from error


def _configured() -> dict[str, str]:
    """What ``pip config list`` of the server's own interpreter tells, for ``pip install``; variables win."""
    command = [sys.executable, "-I", "-m", "pip", "config", "list"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildFailed(f"the options of the server's pip can't be asked for: {error}") from error
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in done.stdout.splitlines() if done.returncode == 0 else []:
        section, dot, rest = line.partition(".")
        key, equals, value = rest.partition("=")
        if dot and equals and section in sections and key not in _NOT_OURS:
            sections[section][key] = " ".join(str(ast.literal_eval(value)).split())
    return {**sections["global"], **sections["install"], **sections[":env:"]}


def _packages(report: str) -> list[dict[str, str]]:
    """From pip's report, which the build could have written over: every field is taken for what it is, a text."""
    try:
        installed = json.loads(read_inside(report))["install"]
        found = []
        for item in installed:
            archive = item["download_info"].get("archive_info") or {}
            digest = (archive.get("hashes") or {}).get("sha256", "")
            metadata = item["metadata"]
            found.append({"name": str(metadata["name"]), "version": str(metadata["version"]), "sha256": str(digest)})
        return sorted(found, key=lambda one: one["name"].lower())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BuildFailed("pip's report of what it installed can't be read") from error
