"""Where a Scala kernel's compiler is: in its jars. Pure but for looking at files."""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_JAR = re.compile(r"scala-(?P<part>compiler|library|reflect)-(?P<version>2\.\d+\.\d+)\.jar\Z")
_PARTS = frozenset({"compiler", "library", "reflect"})
_CLASS_PATH = frozenset({"-cp", "-classpath", "--class-path"})


@dataclass(frozen=True)
class ScalaTools:
    """A Java and the three jars that make a Scala 2 compiler."""

    java: str
    jars: tuple[Path, ...]

    @property
    def class_path(self) -> str:
        """For ``-cp``."""
        return ":".join(map(str, self.jars))

    def key(self, *more: bytes) -> str:
        """Names what is made with them: 16 hexadecimal digits."""
        told = [(str(jar), jar.stat().st_size, jar.stat().st_mtime_ns) for jar in self.jars]
        return hashlib.sha256(repr([told, self.java, *more]).encode()).hexdigest()[:16]


def scala_tools(specs: Iterable[Mapping[str, Any]], environment: Mapping[str, str]) -> ScalaTools | None:
    """Those of the first Scala kernel that has them: Almond's on its class path, Toree's in Spark.

    ``specs`` are kernel.json files, read; ``environment`` is that of the server, which kernels inherit. Scala 3 has
    another compiler: its kernels have none of these jars, so there is None.
    """
    for spec in specs:
        if str(spec.get("language", "")).lower() != "scala":
            continue
        argv = [str(part) for part in spec.get("argv") or ()]
        settings = {**environment, **(spec.get("env") or {})}
        java = _java(argv, settings)
        jars = _compiler([*_class_path(argv), *_spark(settings)])
        if java and jars:
            return ScalaTools(java, jars)
    return None


def _java(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    path = environment.get("PATH")
    if argv and Path(argv[0]).name == "java":
        return shutil.which(argv[0], path=path) or ""
    home = environment.get("JAVA_HOME")
    return (shutil.which(str(Path(home, "bin", "java"))) if home else None) or shutil.which("java", path=path) or ""


def _class_path(argv: Sequence[str]) -> Iterator[Path]:
    for option, value in itertools.pairwise(argv):
        if option in _CLASS_PATH:
            for part in value.split(":"):
                if part.endswith("/*"):
                    yield from sorted(Path(part[:-2]).glob("*.jar"))
                elif part:
                    yield Path(part)


def _spark(environment: Mapping[str, str]) -> list[Path]:
    home = environment.get("SPARK_HOME")
    return sorted(Path(home, "jars").glob("scala-*.jar")) if home else []


def _compiler(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The three jars of one version; none where one is missing."""
    versions: dict[str, dict[str, Path]] = {}
    for path in paths:
        found = _JAR.match(path.name)
        if found and path.is_file():
            versions.setdefault(found["version"], {}).setdefault(found["part"], path)
    whole = [parts for parts in versions.values() if parts.keys() == _PARTS]
    return tuple(whole[0][part] for part in sorted(_PARTS)) if whole else ()
