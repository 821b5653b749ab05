"""What the languages' own parsers say of code before it is queued. R and Scala are the real ones, where they are."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from jupyter_trainjob.api.sources import installed_kernelspecs
from jupyter_trainjob.api.sources.findings import Complaint
from jupyter_trainjob.api.sources.language import Language
from jupyter_trainjob.api.sources.python import Python
from jupyter_trainjob.api.sources.r import R
from jupyter_trainjob.api.sources.rparser import RParser, r_program
from jupyter_trainjob.api.sources.scala import Scala
from jupyter_trainjob.api.sources.scalaparser import ScalaParser
from jupyter_trainjob.api.sources.scalatools import scala_tools

needs_r = pytest.mark.skipif(not r_program(installed_kernelspecs()), reason="there is no R here")
needs_scala = [
    pytest.mark.slow,
    pytest.mark.skipif(
        scala_tools(installed_kernelspecs(), os.environ) is None, reason="there is no Scala kernel here"
    ),
]
MIB = 1024 * 1024


@pytest.fixture(scope="session")
def scala_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parsers")


@pytest.fixture(scope="module")
def scala(scala_cache: Path) -> Iterator[Scala]:
    made = Scala(ScalaParser(installed_kernelspecs, scala_cache, patience_seconds=120))
    yield made
    made.close()


@pytest.fixture
def r() -> R:
    return R(RParser(installed_kernelspecs))


def told(complaint: Complaint | None) -> str:
    return "" if complaint is None else complaint.error("spec.source.code").message


def first_line(complaint: Complaint | None) -> int:
    assert complaint is not None
    return complaint.line


# R


@needs_r
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x <- 1\nx y", "line 2: unexpected symbol: x y"),
        ("f(1", "line 1: unexpected end of input: f(1"),
        ("x <- 1 +\n\n", "line 1: unexpected end of input: x <- 1 +"),
        ("if (a) b\nelse c", "line 2: unexpected 'else': else c"),
        ("x <- “a”", "line 1: unexpected input: x <- “a”"),
        ("a <- 1\n\n# why\nb <- a |> 3\n", "line 4: The pipe operator requires a function call as RHS: b <- a |> 3"),
        ("function(a,\n  a) 1", "line 2: repeated formal argument 'a': a) 1"),
        ("%%trainjob --name x\ny\nx y", "line 3: unexpected symbol: x y"),
        ("%%bash\nls", "line 1: unexpected SPECIAL: %%bash"),
    ],
)
def test_what_is_no_r_is_told_with_its_line(r: R, code: str, message: str) -> None:
    assert told(r.complaints([code])[0]) == message


@needs_r
@pytest.mark.parametrize(
    "code",
    [
        "x <- 1\r\ny <- 2\r\n",
        "größe <- 'ü 世界'; print(größe)",
        "sq <- \\(x) x^2\nc(1, 2) |> sq()",
        'r"---(a "quoted" )---"',
        "%%trainjob --name digits\nx <- 1",
        "x <- '%in%'; 1 %in% x  # 'not closed",
        "",
        "# only a comment",
        "f() <- 2",  # wrong, but R tells only when it runs
    ],
)
def test_what_is_r_is_accepted(r: R, code: str) -> None:
    assert r.complaints([code]) == [None]


@needs_r
def test_nothing_of_the_code_is_evaluated(r: R, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert r.complaints([f"file.create({str(mark)!r})\nquit(status = 3)", "x y"])[1] is not None
    assert not mark.exists()


@needs_r
def test_r_sees_nothing_of_the_servers_environment(r: R, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A profile that the environment names would run in R's process."""
    mark = tmp_path / "mark"
    profile = tmp_path / "profile.R"
    profile.write_text(f"file.create({str(mark)!r})")
    for name in ("R_PROFILE", "R_PROFILE_USER", "R_ENVIRON", "R_ENVIRON_USER"):
        monkeypatch.setenv(name, str(profile))
    assert told(r.complaints(["x y"])[0])
    assert not mark.exists()


@needs_r
def test_many_cells_are_one_look(r: R) -> None:
    began = time.monotonic()
    found = r.complaints(["x <- 1\ny <- f(x)"] * 300 + ["x y"])
    assert [index for index, complaint in enumerate(found) if complaint] == [300]
    assert time.monotonic() - began < 5


def test_without_r_all_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert R(RParser(list)).complaints(["x y", "("]) == [None, None]


@needs_r
def test_what_r_has_not_said_in_time_is_accepted(tmp_path: Path) -> None:
    """A program in R's place that says one thing and then nothing more; it is ended."""
    slow = tmp_path / "R"
    slow.write_text("#!/bin/sh\necho '1 unexpected symbol'\nexec sleep 60\n")
    slow.chmod(0o755)
    parser = RParser(lambda: [{"language": "R", "argv": [str(slow)]}], answer_seconds=0.5)
    found = parser.complaints(["x y", "x y"])
    assert (told(found[0]), found[1]) == ("line 1: unexpected symbol: x y", None)
    assert not [child for child in psutil.Process().children() if "sleep" in child.cmdline()]


# Scala


class TestScala:
    pytestmark = needs_scala

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("val x = 1\nval y = ", "line 2: illegal start of simple expression: val y ="),
            ("def f(x: Int) = {\n  x\n", "line 2: '}' expected but eof found: x"),
            ("}", "line 1: eof expected but '}' found: }"),
            ('val é = "ü"\nval = 3', "line 2: illegal start of simple pattern: val = 3"),
            ('println("abc)', 'line 1: unclosed string literal: println("abc)'),
            ("%AddJar http://x\nval = 3", "line 2: illegal start of simple pattern: val = 3"),
            ("%%trainjob --name x\n\nval = 3", "line 3: illegal start of simple pattern: val = 3"),
        ],
    )
    def test_what_is_no_scala_is_told_with_its_line(self, scala: Scala, code: str, message: str) -> None:
        assert told(scala.complaints([code])[0]) == message

    @pytest.mark.parametrize(
        "code",
        [
            "val x = 1\nprintln(x)\nimport scala.util._\ncase class A(b: Int)\nA(1)",
            "import $ivy.`org.typelevel::cats-core:2.3.0`\nimport cats._",
            "%AddJar http://x.example/a.jar\n%lsmagic\nval x = 1",
            "%%html\n<b>no Scala</b>",
            "%%trainjob --name x\nval x = 1",
            "private lazy val x: Option[Int] = None\r\nx\r\n",
            'val s = """a % b\n%c"""',
            "unknown + 1",  # wrong, but no matter of syntax
            "",
        ],
    )
    def test_what_is_scala_is_accepted(self, scala: Scala, code: str) -> None:
        assert scala.complaints([code]) == [None]

    def test_one_process_serves_all(self, scala: Scala) -> None:
        scala.complaints(["1"])
        pid = scala._parser.pid
        began = time.monotonic()
        found = scala.complaints(["val x = 1\ndef f(x: Int) = x"] * 100 + ["val ="])
        assert [index for index, complaint in enumerate(found) if complaint] == [100]
        assert time.monotonic() - began < 3
        assert scala._parser.pid == pid

    def test_threads_that_ask_at_once_each_get_their_own_answers(self, scala: Scala) -> None:
        found: dict[int, int] = {}

        def ask(number: int) -> None:
            found[number] = first_line(scala.complaints(["1\n" * number + "val ="])[0])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {number: number + 1 for number in range(1, 9)}

    def test_one_that_was_killed_is_started_again(self, scala: Scala) -> None:
        scala.complaints(["1"])
        old = scala._parser.pid
        assert old is not None
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: scala._parser.pid is None)
        assert first_line(scala.complaints(["val ="])[0]) == 1
        assert scala._parser.pid not in (None, old)

    def test_it_has_nothing_of_the_servers_environment(
        self, scala_cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dno.secret=here")
        monkeypatch.setenv("TRAINJOB_TEST_SECRET", "s3cret")
        made = Scala(ScalaParser(installed_kernelspecs, scala_cache, patience_seconds=60))
        try:
            assert first_line(made.complaints(["val ="])[0]) == 1
            seen = Path(f"/proc/{made._parser.pid}/environ").read_bytes()
            assert {line.split(b"=")[0] for line in seen.split(b"\0") if line} == {
                b"PATH", b"LC_ALL", b"LANGUAGE", b"HOME", b"TMPDIR"
            }  # fmt: skip
        finally:
            made.close()

    def test_it_is_not_waited_for_beyond_patience_and_is_there_later(self, scala_cache: Path) -> None:
        made = Scala(ScalaParser(installed_kernelspecs, scala_cache, patience_seconds=0.05))
        try:
            began = time.monotonic()
            assert made.complaints(["val ="]) == [None]
            assert time.monotonic() - began < 1
            wait_until(lambda: made._parser.pid is not None)
            assert first_line(made.complaints(["val ="])[0]) == 1
        finally:
            made.close()

    def test_it_ends_when_nobody_asked_for_a_while_and_when_it_is_closed(self, scala_cache: Path) -> None:
        made = Scala(ScalaParser(installed_kernelspecs, scala_cache, patience_seconds=60, idle_seconds=0.3))
        assert first_line(made.complaints(["val ="])[0]) == 1
        first = made._parser.pid
        wait_until(lambda: not Path(f"/proc/{first}").exists())
        assert first_line(made.complaints(["val ="])[0]) == 1
        second = made._parser.pid
        made.close()
        assert not Path(f"/proc/{second}").exists()
        assert made.complaints(["val ="]) == [None]

    def test_closing_while_it_compiles_ends_that_too(self, tmp_path: Path) -> None:
        made = Scala(ScalaParser(installed_kernelspecs, tmp_path, patience_seconds=0.3))
        assert made.complaints(["val ="]) == [None]
        made.close()
        assert list(tmp_path.iterdir()) == []


def test_without_a_compiler_scala_is_accepted_at_once(tmp_path: Path) -> None:
    for made in (Scala(ScalaParser(list, tmp_path)), Scala(ScalaParser(installed_kernelspecs, None))):
        began = time.monotonic()
        assert made.complaints(["val ="]) == [None]
        assert time.monotonic() - began < 1
        made.close()


def test_closing_while_the_start_ends_by_itself(tmp_path: Path) -> None:
    """The thread that starts it forgets itself at its end, which may come between two questions for it."""

    ended = threading.Thread(target=int)
    ended.start()
    ended.join()

    class Vanishing(ScalaParser):
        asked = 0

        @property
        def _starting(self) -> threading.Thread | None:
            self.asked += 1
            return ended if self.asked == 1 else None

        @_starting.setter
        def _starting(self, thread: threading.Thread | None) -> None:
            pass

    Vanishing(list, tmp_path).close()


def test_a_compiler_that_does_not_start_is_told_once_to_the_operator(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho out of luck\nexit 1\n")
    java.chmod(0o755)
    jars = [tmp_path / f"scala-{part}-2.13.16.jar" for part in ("compiler", "library", "reflect")]
    for jar in jars:
        jar.touch()
    spec = {"language": "scala", "argv": [str(java), "-cp", ":".join(map(str, jars)), "almond.ScalaKernel"]}
    made = Scala(ScalaParser(lambda: [spec], tmp_path / "cache"))
    assert made.complaints(["val ="]) == [None]
    assert made.complaints(["val ="]) == [None]
    assert [record.message for record in caplog.records] == [
        "Scala can't be checked before it is queued: its parser can't be compiled: out of luck"
    ]
    made.close()


# Hostile texts


HOSTILE = [
    "(" * MIB,
    "{" * MIB,
    "[" * MIB,
    ")" * MIB,
    "-" * (MIB - 1) + "1",
    "f(" * (MIB // 2),
    "'" * (MIB - 1),
    '"' + "\\" * (MIB - 2),
    "a" * MIB,
    "1" * MIB,
    "x+" * (MIB // 2 - 1) + "1",
    "x = 1;" * (MIB // 6),
    "\n" * MIB,
    "`" * (MIB - 1),
    "/*" * (MIB // 2),
    "a\0b",
    "\0" * MIB,
    "x = '\ud800'",
    "if (a) " * (MIB // 7),
    'r"(' * (MIB // 3),
    "%" * MIB,
    "%a\n" * (MIB // 3),
]


def survives(language: Language, text: str) -> None:
    began = time.monotonic()
    language.complaints([text])
    language.declared(text)
    language.uses(text, ["lr"])
    seconds = time.monotonic() - began
    assert seconds < 8, f"{seconds:.1f} s for {text[:20]!r}…"  # a busy machine; 4 s on an idle one


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:6]))
def test_hostile_python_gets_an_answer(text: str) -> None:
    survives(Python(), text)


@needs_r
@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:6]))
def test_hostile_r_gets_an_answer(r: R, text: str) -> None:
    survives(r, text)
    assert first_line(r.complaints(["x y"])[0]) == 1


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:6]))
class TestHostileScala:
    pytestmark = needs_scala

    def test_gets_an_answer_and_the_next_one_too(self, scala: Scala, text: str) -> None:
        scala.complaints(["1"])
        survives(scala, text)
        assert first_line(scala.complaints(["val ="])[0]) == 1


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)
