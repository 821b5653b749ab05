"""Scala: the jars of a list of ``group:artifact:version``, with all that they need, resolved by Maven.

Maven's folder of what it fetched is a build's own and goes with it: an artefact's description may name repositories,
so what one person's list brings must not be taken for another's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import Any
from xml.etree import ElementTree as Xml

from ..sandbox import LAUNCH_ENV
from .box import Box, BuildFailed, NeverBuilt
from .recipes import Found, Recipe, Site, existing_paths, proxy_environment

_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_MAVEN = "http://maven.apache.org/POM/4.0.0"
_SETTINGS = "http://maven.apache.org/SETTINGS/1.0.0"


class JarsRecipe(Recipe):
    """``ivy``."""

    tool = "Maven"

    def __init__(self, site: Site) -> None:
        self._site = site

    def check(self, text: str, *, forbids_processes: bool) -> None:
        """Maven is all that it takes."""
        self._program()

    def identity(self) -> dict[str, Any]:
        """Jars run everywhere: only whose they are counts."""
        return {"repository": self._site.maven_repository}

    def _program(self) -> str:
        found = shutil.which("mvn", path=LAUNCH_ENV["PATH"]) or shutil.which("mvn")
        if not found:
            raise NeverBuilt("there is no Maven on this server (mvn is not on its PATH)", "ask the operator for it")
        return found

    def _own_settings(self) -> str:
        path = os.path.expanduser("~/.m2/settings.xml")
        return path if os.path.isfile(path) else ""

    def binds(self) -> list[str]:
        """Maven and Java, their settings, and a repository that is a folder."""
        home = os.path.dirname(os.path.dirname(os.path.realpath(self._program())))
        java = [os.path.realpath(path) for path in [os.environ.get("JAVA_HOME", "")] if path]
        java += [f"/etc/{name}" for name in sorted(os.listdir("/etc")) if name.startswith("java-")]
        named = [home, *java, self._own_settings(), self._site.maven_repository, *proxy_environment().values()]
        return existing_paths(named)

    def build(self, box: Box, text: str, cache: str) -> list[dict[str, str]]:
        """One ``pom.xml`` that needs them all, then copy what that needs."""
        coordinates = [tuple(line.split(":")) for line in text.split()]
        _pom(coordinates).write(os.path.join(box.scratch, "pom.xml"), "utf-8", xml_declaration=True)
        jars = f"{box.root}/jars"
        command = [self._program(), "-B", "-q", "-f", f"{box.tmp}/pom.xml", _PLUGIN, f"-DoutputDirectory={jars}"]
        command += ["-DincludeScope=runtime", f"-Dmaven.repo.local={box.tmp}/m2", f"-Duser.home={box.tmp}/home"]
        if self._site.maven_repository:
            path = os.path.join(box.scratch, "settings.xml")
            _mirror(self._site.maven_repository).write(path, "utf-8", xml_declaration=True)
            command += ["-s", f"{box.tmp}/settings.xml"]
        elif self._own_settings():
            command += ["-s", self._own_settings()]
        java = {"JAVA_HOME": os.environ["JAVA_HOME"]} if os.environ.get("JAVA_HOME") else {}
        if box.run(command, {**proxy_environment(), **java}) != 0:
            raise BuildFailed("")
        return _jars(os.path.join(box.root, "jars"))

    def found(self, root: str) -> Found:
        """Its jars, by name."""
        folder = f"{root}/jars"
        return Found(root, jars=tuple(f"{folder}/{name}" for name in _names(folder)))


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".jar"))
    except FileNotFoundError:
        return []


def _jars(folder: str) -> list[dict[str, str]]:
    found = []
    for name in _names(folder):
        with open(os.path.join(folder, name), "rb") as file:
            digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else _digest(file)
        found.append({"name": name, "version": "", "sha256": digest.hexdigest()})
    return found


def _digest(file: Any) -> Any:
    digest = hashlib.sha256()
    while chunk := file.read(2**20):
        digest.update(chunk)
    return digest


def _pom(coordinates: list[tuple[str, ...]]) -> Xml.ElementTree[Xml.Element]:
    project = Xml.Element("project", xmlns=_MAVEN)
    for name, value in (
        ("modelVersion", "4.0.0"),
        ("groupId", "trainjob"),
        ("artifactId", "requirements"),
        ("version", "1"),
        ("packaging", "pom"),
    ):
        Xml.SubElement(project, name).text = value
    dependencies = Xml.SubElement(project, "dependencies")
    for coordinate in coordinates:
        dependency = Xml.SubElement(dependencies, "dependency")
        for name, value in zip(("groupId", "artifactId", "version"), coordinate, strict=True):
            Xml.SubElement(dependency, name).text = value
    return Xml.ElementTree(project)


def _mirror(url: str) -> Xml.ElementTree[Xml.Element]:
    settings = Xml.Element("settings", xmlns=_SETTINGS)
    mirror = Xml.SubElement(Xml.SubElement(settings, "mirrors"), "mirror")
    for name, value in (("id", "operators"), ("mirrorOf", "*"), ("url", url)):
        Xml.SubElement(mirror, name).text = value
    return Xml.ElementTree(settings)
