"""Toree's kernel with our code compiled beforehand: what a start needs of it, and the orders that it takes.

:mod:`.scalajar` makes, in a folder ``<key>`` of a folder that the orders name, ``agent.jar`` (``interpreter.scala``,
``inkernel.scala`` and ``indata.scala``), ``classes.jsa`` (what the JVM has read of all classes that a start needs) and
at last ``ready.json``. They come into the kernel by variables that leave the options of user and kernelspec alone: the
jars behind all others on the class path, the interpreter as Toree's own setting. Where anything is not as it was when
they were made, the key is another, and the kernel compiles our code itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .scala import Scala

AGENT, CLASSES, READY = "agent.jar", "classes.jsa", "ready.json"
SOURCES = ("interpreter.scala", "inkernel.scala", "indata.scala")
PLACE = "TRAINJOB_COMPILED"
"""Names the folder where the orders don't: in an image that was made with one."""
_CHANGES = ("SPARK_CONF_DIR", "SPARK_PREPEND_CLASSES", "TOREE_OPTS")
"""With one of these set, the kernel is left as it is: they may hide what we bring, and it would not start."""


@dataclass(frozen=True)
class Toree:
    """What a kernelspec's ``run.sh`` starts."""

    java: str
    assembly: Path
    jars: Path
    """Spark's folder of jars."""

    def key(self) -> str:
        """Names what is made for it: 16 hexadecimal digits. Of files it tells size and time, as the JVM does."""
        files = [Path(os.path.realpath(self.java)), self.assembly, *sorted(self.jars.iterdir())]
        told: list[Any] = [(str(path), found.st_size, int(found.st_mtime)) for path in files for found in [path.stat()]]
        return hashlib.sha256(repr([self.java, told, *map(source, SOURCES)]).encode()).hexdigest()[:16]


def source(name: str) -> str:
    """One of :data:`SOURCES`."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def toree(command: Sequence[str], environment: Mapping[str, str]) -> Toree | None:
    """What ``command`` starts in ``environment``; None where it is no Toree, or one that we better leave alone."""
    script, home = Path(command[0] if command else ""), environment.get("SPARK_HOME", "")
    if script.name != "run.sh" or not home or any(environment.get(name) for name in _CHANGES):
        return None
    jars, java = Path(home, "jars"), environment.get("JAVA_HOME", "")
    found = shutil.which(f"{java}/bin/java" if java else "java", path=environment.get("PATH"))
    assemblies = list((script.parent.parent / "lib").glob("toree-assembly-*.jar"))
    if found is None or len(assemblies) != 1 or not jars.is_dir():
        return None
    return Toree(found, assemblies[0], jars)


def variables(command: Sequence[str], environment: Mapping[str, str], place: str) -> dict[str, str]:
    """Those that bring in what :mod:`.scalajar` left in ``place`` for this kernel; none where it left nothing."""
    try:
        kernel = toree(command, environment)
        folder = Path(place, kernel.key()) if kernel is not None else None
        ready = json.loads((folder / READY).read_bytes()) if folder is not None else {}
    except (OSError, ValueError):
        return {}
    if kernel is None or folder is None or not ready:
        return {}
    folder = Path(ready.get("folder") or folder)
    if not os.access(folder / AGENT, os.R_OK):
        return {}
    return brought(kernel, folder, ready["interpreters"], environment)


def brought(kernel: Toree, folder: Path, interpreters: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The same of ``folder``; ``interpreters`` are the kernel's, as in Toree's setting, with ours in its place."""
    options = [f"-Ddefault_interpreter_plugin.{number}={one}" for number, one in enumerate(interpreters)]
    if (folder / CLASSES).is_file():
        options.append(f'"-XX:SharedArchiveFile={folder / CLASSES}"')
    path = [environment.get("SPARK_DIST_CLASSPATH", ""), str(kernel.assembly), str(folder / AGENT)]
    # What puts the command together is a JVM of its own, for a moment.
    launcher = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", environment.get("SPARK_LAUNCHER_OPTS", "")]
    return {
        "SPARK_DIST_CLASSPATH": os.pathsep.join(filter(None, path)),
        "SPARK_SUBMIT_OPTS": " ".join(filter(None, [*options, environment.get("SPARK_SUBMIT_OPTS", "")])),
        "SPARK_LAUNCHER_OPTS": " ".join(filter(None, launcher)),
    }


class CompiledScala(Scala):
    """A kernel that has our code: it takes orders, which nobody has to compile."""

    def greet(self, answer_file: str, mark: bytes, seed: int | None) -> str:
        """The first order; who has our code answers."""
        return _order("begin", answer_file, mark.decode("ascii"), "" if seed is None else str(seed))

    def adopt(self, values: dict[str, str], seed: int | None) -> str:
        """An order, too."""
        words = [word for pair in values.items() for word in pair]
        return _order("adopt", "" if seed is None else str(seed), *words)

    def cell(self, source_file: str, answer_file: str) -> str:
        """Let it run the cell."""
        return _order("run", source_file, answer_file)

    def data(self) -> str:
        """It is there."""
        return ""

    def call(self, answer_file: str, function: str, args: tuple[Any, ...]) -> str:
        """Call one of its functions."""
        return _order(function, answer_file, *map(str, self.arguments(function, args)))


def _order(*words: str) -> str:
    return "//trainjob " + ",".join(
        base64.b64encode(word.encode("utf-8", "surrogateescape")).decode() for word in words
    )
