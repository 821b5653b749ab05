"""Where the parsers of R and Scala are found: through the kernelspecs. Pure but for the files that are looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_trainjob.api.sources.rparser import r_program
from jupyter_trainjob.api.sources.scalatools import ScalaTools, scala_tools


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def jars(folder: Path, version: str = "2.13.16", parts: tuple[str, ...] = ("compiler", "library", "reflect")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in [*(f"scala-{part}-{version}.jar" for part in parts), "scala-xml_2.13-2.1.0.jar", "other.jar"]:
        (folder / name).touch()
    return folder


def found(tools: ScalaTools | None) -> list[str]:
    assert tools is not None
    return [jar.name for jar in tools.jars]


WHOLE = ["scala-compiler-2.13.16.jar", "scala-library-2.13.16.jar", "scala-reflect-2.13.16.jar"]


@pytest.fixture
def java(tmp_path: Path) -> Path:
    return program(tmp_path / "jdk" / "bin" / "java")


def test_almonds_on_its_class_path_with_its_java(tmp_path: Path, java: Path) -> None:
    folder = jars(tmp_path / "almond")
    paths = ":".join(str(path) for path in folder.iterdir())
    argv = [str(java), "-Xmx512m", "-cp", paths, "almond.ScalaKernel", "--connection-file", "{connection_file}"]
    tools = scala_tools([{"language": "scala", "argv": argv}], {})
    assert found(tools) == WHOLE
    assert tools is not None and tools.java == str(java)


def test_a_class_path_may_name_a_folder(tmp_path: Path, java: Path) -> None:
    argv = [str(java), "-classpath", f"{jars(tmp_path / 'almond')}/*", "almond.ScalaKernel"]
    assert found(scala_tools([{"language": "Scala", "argv": argv}], {})) == WHOLE


def test_torees_in_spark_with_the_java_of_the_environment(tmp_path: Path, java: Path) -> None:
    jars(tmp_path / "spark" / "jars", "2.12.18")
    spec = {"language": "scala", "argv": ["/x/run.sh"], "env": {"SPARK_HOME": str(tmp_path / "spark")}}
    names = [name.replace("2.13.16", "2.12.18") for name in WHOLE]
    assert found(scala_tools([spec], {"PATH": str(java.parent)})) == names
    tools = scala_tools([spec], {"PATH": "/nowhere", "JAVA_HOME": str(tmp_path / "jdk")})
    assert tools is not None and tools.java == str(java)
    assert scala_tools([spec], {"PATH": "/nowhere"}) is None


def test_the_second_kernel_is_taken_where_the_first_has_none(tmp_path: Path, java: Path) -> None:
    specs = [
        {"language": "python", "argv": ["python"]},
        {"language": "scala", "argv": ["launcher"]},
        {"language": "scala", "argv": [str(java), "-cp", f"{jars(tmp_path / 'almond')}/*", "main"]},
    ]
    assert found(scala_tools(specs, {})) == WHOLE


@pytest.mark.parametrize("parts", [("compiler", "library"), ()])
def test_no_compiler_of_one_version_is_none(tmp_path: Path, java: Path, parts: tuple[str, ...]) -> None:
    jars(tmp_path / "almond", parts=parts)
    jars(tmp_path / "almond", "2.12.18", ("reflect",))
    argv = [str(java), "-cp", f"{tmp_path / 'almond'}/*", "main"]
    assert scala_tools([{"language": "scala", "argv": argv}], {}) is None
    assert scala_tools([{"language": "scala"}, {}], {}) is None


def test_what_is_made_is_named_after_all_that_made_it(tmp_path: Path, java: Path) -> None:
    folder = jars(tmp_path / "almond")
    tools = ScalaTools(str(java), tuple(folder / name for name in WHOLE))
    key = tools.key(b"source")
    assert key == tools.key(b"source") != tools.key(b"other source")
    (folder / WHOLE[0]).write_text("another compiler")
    assert tools.key(b"source") != key


def test_the_r_of_the_kernel_then_that_on_the_path(tmp_path: Path) -> None:
    own = program(tmp_path / "own" / "R")
    common = program(tmp_path / "common" / "R")
    path = str(common.parent)
    assert r_program([{"language": "R", "argv": [str(own), "--slave"]}], path) == str(own)
    assert r_program([{"language": "R", "argv": ["R", "--slave"]}], path) == str(common)
    assert r_program([{"language": "R", "argv": ["/gone/R"]}], path) == str(common)
    assert r_program([{"language": "R", "argv": ["/bin/wrapper.sh"]}, {"language": "r"}], path) == str(common)
    assert r_program([{"language": "python", "argv": [str(own)]}], "/nowhere") == ""
