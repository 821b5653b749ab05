"""Our code for Scala's kernels, compiled beforehand: when it is used, and that nothing but the start differs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_trainjob.runner.languages import toree
from tests.scala import MAKES

from .harness import notebook, run
from .kernels import needs_scala

IN_USE = """
println(kernel.interpreter("Scala").get.getClass.getName)
val options = java.lang.management.ManagementFactory.getRuntimeMXBean.getInputArguments.toArray.mkString(" ")
println(options.contains("SharedArchiveFile"), options.contains("-Dmine=1"))
println(demo.Tiny.answer())
println(spark.range(3).map(_ + demo.Tiny.answer()).collect().sum)
println(spark.createDataset(Seq(Pair(1, "x"))).map(_.a + 1).first(), sc.parallelize(1 to 4).map(_ * 2).sum)
kernel.interpreter("SQL").isDefined
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """That of a kernel which looks like Toree's, with SPARK_HOME and PATH."""
    for name in ("kernel/bin/run.sh", "kernel/lib/toree-assembly-1.jar", "spark/jars/a.jar", "java/bin/java"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
        file.chmod(0o755)
    return [str(tmp_path / "kernel/bin/run.sh"), "--profile", "{connection_file}"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"SPARK_HOME": str(tmp_path / "spark"), "PATH": str(tmp_path / "java/bin")}


def put_ready(place: Path, command: list[str], environment: dict[str, str]) -> Path:
    kernel = toree.toree(command, environment)
    assert kernel is not None
    folder = place / kernel.key()
    folder.mkdir(parents=True)
    (folder / toree.AGENT).write_text("a jar")
    (folder / toree.READY).write_text('{"interpreters": ["Scala:ours", "SQL:theirs"]}')
    return folder


def test_what_was_made_comes_in_beside_the_options_of_others(
    tmp_path: Path, command: list[str], environment: dict[str, str]
) -> None:
    folder = put_ready(tmp_path / "a place", command, environment)
    environment |= {"SPARK_DIST_CLASSPATH": "/mine.jar", "SPARK_SUBMIT_OPTS": "-Dmine", "SPARK_LAUNCHER_OPTS": "-Xmx1m"}
    found = toree.variables(command, environment, str(tmp_path / "a place"))
    jars = f"/mine.jar:{tmp_path}/kernel/lib/toree-assembly-1.jar:{folder}/agent.jar"
    plugins = "-Ddefault_interpreter_plugin.0=Scala:ours -Ddefault_interpreter_plugin.1=SQL:theirs"
    assert found["SPARK_DIST_CLASSPATH"] == jars
    assert found["SPARK_SUBMIT_OPTS"] == f"{plugins} -Dmine"
    assert found["SPARK_LAUNCHER_OPTS"].endswith(" -Xmx1m")
    (folder / toree.CLASSES).write_text("x")
    told = toree.variables(command, environment, str(tmp_path / "a place"))["SPARK_SUBMIT_OPTS"]
    assert told == f'{plugins} "-XX:SharedArchiveFile={folder}/classes.jsa" -Dmine'


@pytest.mark.parametrize(
    "change",
    [
        lambda folder, environment: (folder / "spark/jars/b.jar").write_text("x"),
        lambda folder, environment: (folder / "spark/jars/a.jar").write_text("longer"),
        lambda folder, environment: os.utime(folder / "kernel/lib/toree-assembly-1.jar", (1, 1)),
        lambda folder, environment: os.utime(folder / "java/bin/java", (1, 1)),
        lambda folder, environment: (folder / "kernel/lib/toree-assembly-1.jar").unlink(),
        lambda folder, environment: environment.update(JAVA_HOME=str(folder / "other")),
        lambda folder, environment: environment.update(SPARK_CONF_DIR="/mine"),
        lambda folder, environment: environment.update(TOREE_OPTS="--spark-context-initialization-mode eager"),
        lambda folder, environment: environment.pop("SPARK_HOME"),
    ],
)
def test_a_kernel_that_is_not_what_it_was_made_for_is_left_alone(
    tmp_path: Path,
    command: list[str],
    environment: dict[str, str],
    change: Callable[[Path, dict[str, str]], object],
) -> None:
    put_ready(tmp_path / "place", command, environment)
    assert toree.variables(command, environment, str(tmp_path / "place"))
    change(tmp_path, environment)
    assert toree.variables(command, environment, str(tmp_path / "place")) == {}


def test_no_other_kernel_gets_it(tmp_path: Path, environment: dict[str, str]) -> None:
    assert toree.variables(["java", "-cp", "almond.jar"], environment, str(tmp_path)) == {}


def test_what_is_half_made_is_not_used(tmp_path: Path, command: list[str], environment: dict[str, str]) -> None:
    (put_ready(tmp_path / "place", command, environment) / toree.READY).write_text("")
    assert toree.variables(command, environment, str(tmp_path / "place")) == {}


def test_a_jar_that_is_gone_is_not_used(tmp_path: Path, command: list[str], environment: dict[str, str]) -> None:
    (put_ready(tmp_path / "place", command, environment) / toree.AGENT).unlink()
    assert toree.variables(command, environment, str(tmp_path / "place")) == {}


def test_making_it_where_there_is_no_such_kernel_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    told = subprocess.run([*MAKES, str(tmp_path / "place")], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert told == "There is no kernel of Toree here.\n"


@needs_scala
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("javac") is None, reason="no javac to make a jar with")
def test_jars_spark_and_options_of_the_jobs_own_work_with_it(tmp_path: Path, scala_compiled: Path) -> None:
    again = subprocess.run([*MAKES, str(scala_compiled)], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert again.endswith(": was there\n")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "Tiny.java").write_text(
        "package demo;\npublic class Tiny { public static int answer() { return 42; } }\n"
    )
    subprocess.run(["javac", "demo/Tiny.java"], cwd=tmp_path, check=True)
    subprocess.run(["jar", "cf", "tiny.jar", "demo/Tiny.class"], cwd=tmp_path, check=True)
    ended = run(
        tmp_path,
        notebook("case class Pair(a: Int, b: String)", IN_USE),
        language="scala",
        compiled=str(scala_compiled),
        environment={"SPARK_OPTS": f"--jars {tmp_path}/tiny.jar", "SPARK_SUBMIT_OPTS": "-Dmine=1"},
        seconds=240,
    )
    assert ended.outcome == "ok", (ended.end["error"], ended.log.decode())
    assert [line for line in ended.log.decode().splitlines() if " WARN " not in line] == [
        "jupyter_trainjob.Interpreter",
        "(true,true)",
        "42",
        "129",
        "(2,20.0)",
        "true",
    ]
