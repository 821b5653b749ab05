"""R: the packages of an ``renv.lock``, in exactly those versions, in a library folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cached_property
from typing import Any

from ..sandbox import LAUNCH_ENV
from .box import Box, BuildFailed, NeverBuilt
from .recipes import LEAVE_OUT, Found, Recipe, Site, existing_paths, proxy_environment

_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "install.R")
_ASK = 'cat(R.version.string, R.version$platform, R.home(), sep = "\\n")'
_ASK_SECONDS = 60
CRAN = "https://cloud.r-project.org"


class RRecipe(Recipe):
    """``renv.lock``."""

    tool = "R"

    def __init__(self, site: Site) -> None:
        self._site = site

    def check(self, text: str, *, forbids_processes: bool) -> None:
        """Its packages run code of theirs while they are built."""
        if self._site.builds == "wheels":
            raise NeverBuilt(
                "the packages of an renv.lock are always built from source, which runs code of theirs, and this server "
                "does not (environment_builds is 'wheels')",
                LEAVE_OUT,
            )
        _ = self._program

    @cached_property
    def _program(self) -> str:
        found = shutil.which("Rscript", path=LAUNCH_ENV["PATH"]) or shutil.which("Rscript")
        if not found:
            raise NeverBuilt("there is no R on this server (Rscript is not on its PATH)", "ask the operator for it")
        return found

    @cached_property
    def _told(self) -> list[str]:
        command = [self._program, "--vanilla", "-e", _ASK]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise BuildFailed(f"the server's R does not run: {error}") from error
        return done.stdout.splitlines()

    def identity(self) -> dict[str, Any]:
        """R's version, its platform, and whose packages are taken."""
        return {"R": self._told[:2], "repositories": list(self._site.r_repositories)}

    def binds(self) -> list[str]:
        """R itself, and repositories that are folders."""
        return existing_paths([self._told[2], *self._site.r_repositories, *proxy_environment().values()])

    def build(self, box: Box, text: str, cache: str) -> list[dict[str, str]]:
        """Fetch all; then, without a network, for code of theirs runs, install each after those that it needs."""
        packages: list[dict[str, str]] = json.loads(text)
        with open(os.path.join(box.scratch, "packages.tsv"), "w", encoding="utf-8") as file:
            for one in packages:
                repositories = self._site.r_repositories or tuple(filter(None, (one["repository"], CRAN)))
                file.write(f"{one['package']}\t{one['version']}\t{' '.join(repositories)}\n")
        shutil.copyfile(_SCRIPT, os.path.join(box.scratch, "install.R"))
        tmp = box.tmp
        command = [self._program, "--vanilla", f"{tmp}/install.R", f"{tmp}/packages.tsv", f"{box.root}/library"]
        environment = {**proxy_environment(), "R_LIBS_USER": f"{tmp}/none"}
        if box.run([*command, f"{tmp}/downloads", "fetch"], environment) != 0:
            raise BuildFailed("")
        if box.run([*command, f"{tmp}/downloads", "install"], environment, network=False) != 0:
            raise BuildFailed("")
        return [{"name": one["package"], "version": one["version"]} for one in packages]

    def found(self, root: str) -> Found:
        """Its library."""
        return Found(root, libraries=(f"{root}/library",))
