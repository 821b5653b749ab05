"""Python, R and Scala behave alike: one table of what a job does, three languages."""

from __future__ import annotations

import re
import signal
import subprocess
import time

import pytest

from .harness import notebook, run, start
from .kernels import needs_r, needs_scala
from .test_kernelspecs import put as put_kernel

PYTHON, R, SCALA = "python", "R", "scala"
LANGUAGES = [PYTHON, pytest.param(R, marks=needs_r), pytest.param(SCALA, marks=[needs_scala, pytest.mark.slow])]
QUICK = LANGUAGES[:2]
SECONDS = 240.0

WAY_THROUGH = {
    PYTHON: [
        "lr = 1",
        "print('first')\nimport sys\nprint('second', file=sys.stderr)",
        "def g(n):\n    return n + 1\n\nlr * 2",
        "print(7)\n\ng('a')",
    ],
    R: [
        "lr <- 1",
        "cat('first\\n')\nmessage('second')",
        "g <- function(n) {\n  n + 1\n}\nlr * 2",
        "cat(7, '\\n', sep = '')\n\ng('a')",
    ],
    SCALA: [
        "val lr: Double = 1",
        'println("first")\nSystem.err.println("second")',
        "def g(n: String): Int =\n  n.toInt + 1\n\nList(lr)\n  .map(_ * 2)\n  .sum",
        'println(7)\n\ng("a")',
    ],
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_parameters_streams_results_and_an_honest_error(tmp_path, language):
    cells = WAY_THROUGH[language]
    made = notebook((cells[0], ["parameters"]), *cells[1:], "never(")
    made.cells[3].metadata["trainjob"] = {"firstLine": 2}  # as of a cell below %%trainjob
    ended = run(tmp_path, made, language=language, parameters={"lr": 2.5}, seconds=SECONDS)
    text = re.sub(r"\x1b\[[0-9;]*m", "", ended.log.decode())
    assert re.match(r"first\nsecond\n(\[1\] )?5(\.0)?\n7\n", text), text
    error = ended.end["error"]
    assert (ended.outcome, error["cellId"], error["cellIndex"], error["line"]) == ("error", "cell-3", 3, 4)
    kinds = {PYTHON: "TypeError", R: "Error", SCALA: "java.lang.NumberFormatException"}
    assert error["ename"] == kinds[language]
    assert error["evalue"]
    assert error["evalue"] in error["traceback"]
    assert re.search(r"line 4\b", error["traceback"])
    cells = ended.notebook.cells
    assert cells[1].metadata.tags == ["injected-parameters"]
    assert [(one.name, one.text) for one in cells[2].outputs] == [("stdout", "first\n"), ("stderr", "second\n")]
    assert "5" in cells[3].outputs[-1].data["text/plain"]
    assert cells[4].outputs[-1].output_type == "error"
    assert ended.notebook.metadata.language_info.name.lower() == language.lower()
    progress = [(one["cellsDone"], one["cells"]) for one in ended.of("progress")]
    assert progress == [(0, 6), (1, 6), (2, 6), (3, 6), (4, 6)]


SYNTAX = {PYTHON: "x = 1\ny = = 2", R: "x <- 1\ny <- <- 2"}


@pytest.mark.parametrize("language", QUICK)  # Scala's start takes long: its turn is below, with others
def test_a_cell_that_can_not_be_read_does_nothing_and_names_its_line(tmp_path, language):
    made = notebook("\n" + SYNTAX[language])
    made.cells[0].metadata["trainjob"] = {"firstLine": 2}
    ended = run(tmp_path, made, language=language, seconds=SECONDS)
    error = ended.end["error"]
    assert (ended.outcome, error["line"]) == ("error", 4)
    assert error["ename"] == "SyntaxError"


LEAVING = {
    PYTHON: "import sys\nprint('a')\nsys.exit({})",
    R: "cat('a\\n')\ntry(quit(status = {}))\ncat('b\\n')",
    SCALA: 'println("a")\ntry sys.exit({}) catch {{ case e: Exception => println("b") }}',
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_leaving_ends_the_job_with_its_status(tmp_path, language):
    ended = run(tmp_path, notebook(LEAVING[language].format(3), "never("), language=language, seconds=SECONDS)
    assert ended.log.startswith(b"a\n")
    assert b"b\n" not in ended.log
    error = ended.end["error"]
    assert (ended.outcome, error["ename"], error["evalue"]) == ("error", "SystemExit", "3")


SLOW_PRINTS = {
    PYTHON: "import time\nfor i in range(3):\n    print(time.time())\n    time.sleep(0.5)",
    R: "for (i in 1:3) {\n  cat(format(as.numeric(Sys.time()), digits = 15), '\\n', sep = '')\n  Sys.sleep(0.5)\n}",
    SCALA: "for (i <- 1 to 3) {\n  println(System.currentTimeMillis / 1000.0)\n  Thread.sleep(500)\n}",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_lines_come_as_they_are_printed_and_leaving_with_zero_ends_the_job_well(tmp_path, language):
    runner = start(tmp_path, notebook(SLOW_PRINTS[language], LEAVING[language].format(0), "never("), language=language)
    late = []
    for count in (1, 2, 3):
        runner.wait_for(lambda count=count: runner.log.count(b"\n") >= count, SECONDS)
        late.append(time.time() - float(runner.log.split()[count - 1].decode()))
    assert max(late) < 0.9, late  # at the cell's end, the first would come after a second
    ended = runner.finish(SECONDS)
    assert (ended.outcome, ended.end["error"]) == ("ok", None)
    assert ended.log.endswith(b"\na\n")


FOREVER = {
    PYTHON: "import time\nprint('on')\nwhile True:\n    time.sleep(0.1)",
    R: "cat('on\\n')\nrepeat Sys.sleep(0.1)",
    SCALA: 'println("on")\nwhile (true) Thread.sleep(100)',
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_running_cell_can_be_interrupted(tmp_path, language):
    runner = start(tmp_path, notebook(FOREVER[language], "never("), language=language)
    runner.wait_for(lambda: b"on\n" in runner.log, SECONDS)
    runner.process.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    ended = runner.finish(20)
    assert ended.outcome == "interrupted"
    assert time.monotonic() - begin < 9
    assert ended.notebook.cells[0].outputs[0].text.startswith("on\n")


DYING = {
    PYTHON: "print('on')\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    R: "cat('on\\n')\ntools::pskill(Sys.getpid(), 9)\nSys.sleep(9)",
    SCALA: 'println("on")\nimport scala.sys.process._\ns"kill -9 ${ProcessHandle.current.pid}".!',
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_kernel_that_dies_leaves_what_it_had_printed(tmp_path, language):
    ended = run(tmp_path, notebook(DYING[language]), language=language, seconds=SECONDS)
    assert (ended.outcome, ended.end["error"]["ename"]) == ("kernelDied", "KernelDied")
    assert ended.log.startswith(b"on\n")


MANY = {
    PYTHON: "for i in range(300_000):\n    print(i)\nprint('x' * 10_000_000)",
    R: "for (i in 0:299999) cat(i, '\\n', sep = '')\ncat(strrep('x', 1e7), '\\n', sep = '')",
    SCALA: 'for (i <- 0 until 300000) println(i)\nprintln("x" * 10000000)',
}


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_of_much_output_is_lost(tmp_path, language):
    numbers = b"".join(b"%d\n" % i for i in range(300_000))
    wanted = numbers.replace(b"100000\n", b"1e+05\n").replace(b"200000\n", b"2e+05\n") if language == R else numbers
    ended = run(tmp_path, notebook(MANY[language]), language=language, seconds=SECONDS)
    assert ended.outcome == "ok", ended.end
    found = ended.log
    assert found.endswith(b"\n" + b"x" * 10_000_000 + b"\n")
    assert found[:-10_000_001] in (wanted, numbers)
    assert (tmp_path / "out" / "notebook.ipynb").stat().st_size < 4_000_000


ASKING = {PYTHON: "input('?')", R: "readline('?')"}


@pytest.mark.parametrize("language", QUICK)
def test_input_fails_with_a_remedy_and_does_not_hang(tmp_path, language):
    ended = run(tmp_path, notebook(ASKING[language]), language=language, seconds=SECONDS)
    assert ended.outcome == "error"
    assert "has nobody to answer it in a job. Pass the value as a parameter" in ended.end["error"]["evalue"]


# R alone


@needs_r
def test_r_plots_are_kept_between_what_is_printed(tmp_path):
    code = "cat('before\\n')\nplot(1:3)\nplot(3:1)\ncat('after\\n')"
    ended = run(tmp_path, notebook(code), language="R")
    outputs = ended.notebook.cells[0].outputs
    images = [one for one in outputs if one.output_type == "display_data" and "image/png" in one.data]
    assert len(images) == 2
    assert all(len(one.data["image/png"]) > 1000 for one in images)
    assert "trainjob_mark" not in str(outputs)
    told = b"plot without title [in the executed notebook]\n"
    assert ended.log == b"before\nafter\n" + 2 * told  # IRkernel sends the last at the end


@needs_r
def test_r_displays_stay_in_their_place(tmp_path):
    code = """
for (i in 1:200) {
  cat('out', i, '\\n')
  message('err ', i)
  IRdisplay::display_html(paste0('<b>', i))
}"""
    ended = run(tmp_path, notebook(code), language="R")
    wanted = "".join(f"out {i} \nerr {i}\n<text/html>\n" for i in range(1, 201))
    assert ended.log.decode() == wanted


@needs_r
@pytest.mark.parametrize(
    ("code", "ename", "line", "words"),
    [
        ("f <- function() {\n  stop('boom')\n}\n\nf()", "Error", 2, "Error in f() (line 2): boom"),
        ("x <- 1\nlog('a')", "Error", 2, "non-numeric argument to mathematical function"),
        ("for (i in 1:3) {\n  if (i == 2) {\n    stop('at ', i)\n  }\n}", "Error", 3, "at 2"),
        ("sapply(1:2, function(i) {\n  stop('in sapply')\n})", "Error", 2, "in sapply"),
        ("stop(structure(class = c('mine', 'error', 'condition'), list(message = 'm', call = NULL)))", "mine", 1, "m"),
        ("options(warn = 2)\nas.integer('x')", "Error", 2, "NAs introduced by coercion"),
        ("f <- function(n) f(n + 1)\nf(1)", "", 2, ""),
        ("stop('\\u00fc\\n\"quoted\"')", "Error", 1, 'ü\n"quoted"'),
        ("head <- 3; deparse <- 4; c <- 5\nstop('all mine')", "Error", 2, "all mine"),
    ],
)
def test_r_errors_tell_the_users_line(tmp_path, code, ename, line, words):
    ended = run(tmp_path, notebook(code), language="R")
    error = ended.end["error"]
    assert ended.outcome == "error"
    assert error["ename"] == ename or not ename
    assert error["line"] == line or not ename
    assert words in error["traceback"]


@needs_r
def test_r_code_keeps_its_ways(tmp_path):
    code = """
suppressMessages(message("not this")); suppressWarnings(warning("nor this"))
caught <- capture.output(print(3))
r <- tryCatch(stop("held"), error = function(e) "caught", finally = cat("finally\\n"))
withCallingHandlers(message("mine"), message = function(m) { cat("seen\\n"); invokeRestart("muffleMessage") })
try(stop("shown"))
warning("careful")
f <- function() { on.exit(cat("left\\n")); warning("in f"); invisible(9) }
f()
system("echo sub; echo err >&2")
cat("[", caught, r, "]\\n")
sink("kept.txt"); cat("to a file\\n"); sink()
cat(readLines("kept.txt"), "\\n")
x <- 5; (x)
NULL
invisible(3)
"""
    ended = run(tmp_path, notebook(code), language="R")
    assert ended.outcome == "ok", ended.end
    assert ended.log.decode().splitlines() == [
        "finally",
        "seen",
        'Error in try(stop("shown")) : shown',
        "Warning message:",
        "careful",
        "Warning message in f():",
        "in f",
        "left",
        "sub",
        "err",
        "[ [1] 3 caught ]",
        "to a file ",
        "[1] 5",
        "NULL",
    ]


@needs_r
def test_r_keeps_to_its_processors(tmp_path):
    code = "cat(getOption('mc.cores'), Sys.getenv('OMP_NUM_THREADS'), Sys.getenv('R_DATATABLE_NUM_THREADS'))"
    assert run(tmp_path, notebook(code), language="R", threads=3).log == b"3 3 3"


# What there must be


def test_a_language_without_a_kernel_is_named_with_those_there_are(tmp_path):
    ended = run(tmp_path, notebook("1"), language="cobol")
    assert "There is no kernel for 'cobol' here; there are: " in ended.of("failed")[0]["message"]


@needs_r
def test_r_with_too_few_open_files_is_refused_with_a_remedy(tmp_path):
    ended = run(tmp_path, notebook("1"), language="R", rlimits={"nofile": 128})
    told = ended.of("failed")[0]["message"]
    assert told == (
        "R does not start with fewer than 256 open files, and this job may have 128. "
        "Set resources.openFiles to 1024, or choose a profile that does."
    )
    assert run(tmp_path, notebook("1"), language="R", rlimits={"nofile": 256}).outcome == "ok"


def test_r_packages_that_are_gone_are_no_error_of_the_codes(tmp_path, monkeypatch):
    put_kernel(tmp_path, "some", {"argv": ["false"], "language": "R"})
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    gone = str(tmp_path / "environment" / "library")
    ended = run(tmp_path, notebook("library(tiny)"), language="R", kernel="some", libraries=[gone])
    message = f"The R packages of this job are gone: there is no folder {gone!r}. Run it again with retry."
    assert [event["message"] for event in ended.of("failed")] == [message] and not ended.of("started")


@needs_r
def test_r_finds_the_packages_of_its_libraries(tmp_path):
    source = tmp_path / "tiny"
    source.mkdir()
    (source / "DESCRIPTION").write_text("Package: tiny\nVersion: 1.0\nTitle: T\nDescription: D.\nLicense: none\n")
    (source / "NAMESPACE").write_text("export(answer)\n")
    (source / "R").mkdir()
    (source / "R" / "a.R").write_text("answer <- function() 42\n")
    library = tmp_path / "library"
    library.mkdir()
    subprocess.run(["R", "CMD", "INSTALL", f"--library={library}", str(source)], check=True, capture_output=True)
    ended = run(tmp_path, notebook("cat(tiny::answer())"), language="R", libraries=[str(library)])
    assert ended.log == b"42"
