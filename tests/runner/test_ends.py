"""How a job ends: failed if and only if the code failed, and where."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_trainjob.runner.inkernel import honest

from .harness import launch, notebook, run, start
from .kernels import needs_r


def test_the_error_names_cell_and_line_and_is_plain_text(tmp_path):
    ended = run(tmp_path, notebook("x = 1", "def f():\n    return 1 / 0\n\nprint('a')\nf()", "print('never')"))
    error = ended.end["error"]
    assert ended.outcome == "error"
    assert (error["ename"], error["evalue"]) == ("ZeroDivisionError", "division by zero")
    assert (error["cellId"], error["cellIndex"], error["line"]) == ("cell-1", 1, 2)
    assert "\x1b" not in error["traceback"]
    assert "----> 2     return 1 / 0" in error["traceback"]
    assert re.search(rb"\x1b\[(0;)?31mZeroDivisionError", ended.log), "in colour, as IPython 8 and 9 write it"
    assert b"never" not in ended.log
    assert ended.notebook.cells[1].outputs[-1].ename == "ZeroDivisionError"


@pytest.mark.parametrize(
    ("code", "where"),
    [
        ("def f():\n    return 1 / rate\n\nf()", "File lib/train.py, line 2, in f()"),
        ("x = 1\ny = = 2", "File lib/train.py, line 2\n"),
        ("\n\n1 / rate", "File lib/train.py, line 3\n"),
    ],
)
def test_a_script_has_no_cells_its_errors_name_the_file(tmp_path, code, where):
    made = notebook(code)
    made.cells[0].metadata["trainjob"] = {"file": "lib/train.py"}
    ended = run(tmp_path, made, parameters={"rate": 0})
    said = ended.end["error"]["traceback"]
    assert where in said and "In[" not in said and "In [" not in said
    assert ended.end["error"]["line"] == int(re.search(r"line (\d+)", where)[1])


def test_a_script_is_named_also_where_python_itself_tells_of_it_and_only_there(tmp_path):
    made = notebook(
        "import inspect, traceback, warnings\n"
        "def f():\n    return 1 / 0\n"
        "try: f()\nexcept ZeroDivisionError: traceback.print_exc()\n"
        "warnings.warn('old')\n"
        "print(inspect.getsource(f))\n"
        "get_ipython().run_cell('1 / 0').error_in_exec"
    )
    made.cells[0].metadata["trainjob"] = {"file": "train.py"}
    ended = run(tmp_path, made, results=["f"])
    said = re.sub(r"\x1b\[[0-9;]*m", "", ended.log.decode())
    assert 'File "train.py", line 3, in f\n    return 1 / 0\n' in said
    assert "train.py:6: UserWarning: old\n" in said
    assert "def f():\n    return 1 / 0\n\n" in said
    assert re.search(r"Cell In ?\[\d\], line 1\n", said), "what it runs as a cell of its own is one"


@pytest.mark.parametrize(
    ("code", "ename", "line"),
    [
        ("x = 1\ny = = 2", "SyntaxError", 2),
        ("if True:\npass", "IndentationError", 2),
        ("import json\n\njson.loads('{')", "JSONDecodeError", 3),
        ("%%time\nx = 1\nraise KeyError('k')", "KeyError", 3),
        ("\n \n%%time\nraise KeyError('k')", "KeyError", 4),
        ("\n\n1 / 0", "ZeroDivisionError", 3),
        ("import sys\nsys.exit(3)", "SystemExit", 2),
        ("exit(1)", "SystemExit", 1),
        ("raise RuntimeError('x' * 1_000_000)", "RuntimeError", 1),
        ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError", 2),
        ("%nosuchmagic", "UsageError", 1),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", 1),
    ],
)
def test_what_fails_is_told_with_its_line(tmp_path, code, ename, line):
    ended = run(tmp_path, notebook(code))
    error = ended.end["error"]
    assert (ended.outcome, error["ename"], error["line"]) == ("error", ename, line)
    assert len(error["traceback"].encode()) <= 64 * 1024
    assert len(json.dumps(ended.end)) < 400_000


@pytest.mark.parametrize(
    "code", ["import sys; sys.exit(0)", "import sys; sys.exit()", "exit()", "quit()", "raise SystemExit"]
)
def test_leaving_with_zero_ends_the_job_well_and_skips_the_rest(tmp_path, code):
    ended = run(tmp_path, notebook(f"x = 1\nprint('a')\n{code}", "print('never')"), results=["x"])
    assert (ended.outcome, ended.end["error"]) == ("ok", None)
    assert ended.end["results"][0]["error"] == ""
    assert b"never" not in ended.log
    assert ended.log == b"a\n"
    assert ended.notebook.cells[0].outputs[-1].output_type == "stream"


def test_a_cell_tagged_raises_exception_may_fail(tmp_path):
    ended = run(
        tmp_path, notebook(("1 / 0", ["raises-exception"]), ("print('skipped')", ["skip-execution"]), "print('on')")
    )
    assert ended.outcome == "ok"
    assert ended.log.endswith(b"on\n")
    assert b"skipped" not in ended.log


def test_input_fails_with_a_remedy_and_does_not_hang(tmp_path):
    ended = run(tmp_path, notebook("input('name?')"))
    assert ended.end["error"]["evalue"] == (
        "input() has nobody to answer it in a job. Pass the value as a parameter (--param name=value)."
    )


def test_sigterm_interrupts_saves_and_says_so(tmp_path):
    cells = "print('one')", "import time\nprint('two')\ntime.sleep(60)", "print('three')"
    runner = start(tmp_path, notebook(*cells), results=["x"])
    runner.wait_for(lambda: b"two" in runner.log)
    runner.process.send_signal(signal.SIGTERM)
    ended = runner.finish(10)
    assert ended.outcome == "interrupted"
    assert b"KeyboardInterrupt" in ended.log
    assert b"three" not in ended.log
    assert ended.notebook.cells[0].outputs[0].text == "one\n"
    assert ended.end["results"] == [
        {"name": "x", "size": 0, "type": "", "python": "", "error": "the code did not finish"}
    ]


def test_sigterm_ends_code_that_will_not_be_interrupted_within_the_grace(tmp_path):
    code = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(60)"
    runner = start(tmp_path, notebook(code), graceSeconds=3)
    runner.wait_for(lambda: b"deaf" in runner.log)
    runner.process.send_signal(signal.SIGTERM)
    assert runner.finish(5).outcome == "interrupted"


def test_sigterm_before_the_kernel_is_up(tmp_path):
    runner = start(tmp_path, notebook("print(1)"))
    runner.wait_for(lambda: b"hello" in runner.raw_events)
    runner.wait_for(lambda: _handles_sigterm(runner.process.pid))
    runner.process.send_signal(signal.SIGTERM)
    assert runner.finish(20).outcome == "interrupted"


def _handles_sigterm(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line for line in text.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def test_orders_of_another_protocol_are_refused_by_name(tmp_path):
    ended = run(tmp_path, notebook("print(1)"), runnerProtocol=2)
    assert ended.status == 2
    assert ended.of("failed") == [
        {
            "type": "failed",
            "ename": "JobFileError",
            "message": "The job was written for runner protocol 2; this runner speaks 1. "
            "Run it with the runner of the server that made it.",
        }
    ]
    assert ended.of("end") == []


def test_orders_that_can_not_be_read_are_named(tmp_path):
    ended = launch(tmp_path, [str(tmp_path / "nothing.json")]).finish()
    assert ended.status == 2
    assert "can't read its orders" in ended.of("failed")[0]["message"]


def test_a_missing_descriptor_is_named(tmp_path):
    done = subprocess.run(
        [sys.executable, "-I", "-m", "jupyter_trainjob.runner", "x"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "The runner needs descriptor 3 for its events; it is not open.\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"nbformat": 5, "nbformat_minor": 0, "metadata": {}, "cells": []}',
            "has notebook format 5",
        ),
        ("{", "can't be read as a notebook"),
        ("[]", "is no notebook"),
        ('{"nbformat": 4, "cells": 3}', "is a damaged notebook"),
        (None, "There is no notebook 'notebook.ipynb'."),
    ],
)
def test_a_notebook_that_can_not_be_run_says_why(tmp_path, text, message):
    ended = run(tmp_path, text)
    assert ended.outcome == "error"
    assert ended.end["error"]["ename"] == "NotebookError"
    assert message in ended.end["error"]["evalue"]


def test_a_notebook_of_an_old_format_runs(tmp_path):
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": ""},
        "worksheets": [{"cells": [{"cell_type": "code", "language": "python", "input": ["print(3)"], "outputs": []}]}],
    }
    ended = run(tmp_path, json.dumps(old))
    assert (ended.outcome, ended.log) == ("ok", b"3\n")


def test_an_empty_notebook_succeeds(tmp_path):
    assert run(tmp_path, notebook()).outcome == "ok"


def test_an_unknown_kernel_is_named_with_those_there_are(tmp_path):
    ended = run(tmp_path, notebook("print(1)"), kernel="nosuch")
    assert ended.status == 2
    assert "There is no kernel 'nosuch' here; there are: " in ended.of("failed")[0]["message"]


def test_a_named_kernel_runs(tmp_path):
    ended = run(tmp_path, notebook("import sys\nprint('n', file=sys.stderr)\n1/1"), kernel="python3")
    assert (ended.outcome, ended.log) == ("ok", b"n\n1.0\n")


def test_a_kernel_that_can_not_start_says_what_it_said(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "sitecustomize.py").write_text("raise SystemExit('no kernel today')")
    ended = start(tmp_path, notebook("1"), environment={"PYTHONPATH": str(tmp_path / "work")}).finish()
    assert ended.outcome == "kernelDied"
    assert "before the code began." in ended.end["error"]["evalue"]
    assert "no kernel today" in ended.end["error"]["evalue"]


def test_as_first_process_it_reaps_orphans(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("making a pid namespace needs root or user namespaces")
    code = """
import os, subprocess, time
subprocess.run(["sh", "-c", "sleep 0.2 & exit 0"])
time.sleep(0.6)
states = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        states.append(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0])
    except FileNotFoundError:
        pass
print("zombies", states.count("Z"), "parent", os.getppid())
"""
    runner = start(tmp_path, notebook(code), before=["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"])
    ended = runner.finish()
    assert ended.log == b"zombies 0 parent 1\n"
    assert ended.outcome == "ok"


def test_what_was_set_before_the_code_failed_comes_back(tmp_path):
    ended = run(tmp_path, notebook("a = 1", "1 / 0", "b = 2"), results=["a", "b"])
    assert (ended.outcome, ended.end["error"]["ename"]) == ("error", "ZeroDivisionError")
    told = {one["name"]: one["error"] for one in ended.end["results"]}
    assert told == {"a": "", "b": "the code did not set a variable 'b'"}
    assert (tmp_path / "out" / "results" / "a").exists()


def test_results_that_have_no_place_are_told_and_fail_nothing(tmp_path):
    ended = run(tmp_path, notebook("x = 1\nopen('../out/results', 'w').close()"), results=["x"])
    assert ended.outcome == "ok"
    assert re.match(r"'x' could not be brought back: \[Errno \d+\] File exists: ", ended.end["results"][0]["error"])


@needs_r
def test_the_end_is_told_also_where_the_code_takes_from_the_runner_what_it_needs(tmp_path):
    # The folder where each cell's source is written for R, as with a /tmp that is full.
    code = "place <- file.path(dirname(Sys.getenv('IPYTHONDIR')), 'cell')\nunlink(place)\ncat(dir.create(place))"
    ended = run(tmp_path, notebook(code, "2"), language="R")
    assert (ended.status, ended.outcome, ended.log) == (0, "error", b"TRUE")
    assert ended.end["error"]["ename"] == "IsADirectoryError"
    assert "Is a directory" in ended.end["error"]["evalue"]
    assert ended.notebook.cells[0].outputs[0].text == "TRUE", "what it had is saved"
    assert "Traceback" in ended.stderr, "for the operator"


SWALLOWED = {
    "%%time": "%%time\nx = 1\nx / 0",
    "%time": "def f(y):\n    %time z = y / 0\nf(1)",
    "%run": "open('bad.py', 'w').write('x = 1\\nx / 0\\n')\n%run bad.py",
}


@pytest.mark.parametrize("code", SWALLOWED.values(), ids=SWALLOWED)
def test_a_magic_that_shows_an_error_and_swallows_it_fails_the_job(tmp_path, code):
    ended = run(tmp_path, notebook(code, "print('not reached')"))
    assert (ended.outcome, ended.end["error"]["ename"]) == ("error", "ZeroDivisionError")
    assert b"not reached" not in ended.log
    if code.startswith("%%time"):
        assert ended.end["error"]["line"] == 3


def test_an_error_that_the_code_dealt_with_and_showed_fails_nothing(tmp_path):
    code = "%%time\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    get_ipython().showtraceback()\nprint('on')"
    ended = run(tmp_path, notebook(code))
    assert ended.outcome == "ok"
    assert b"ZeroDivisionError" in ended.log and b"on\n" in ended.log


class Shell:
    """What a magic has of IPython's shell."""

    def __init__(self):
        self.shown = 0

    def showtraceback(self, *_args, **_kwargs):
        self.shown += 1


def swallowing(shell, module):
    """A magic, of ``module``, that does as ``%%time`` of IPython 8."""
    source = (
        "def magic(line, cell=None):\n    try:\n        1 / 0\n    except Exception:\n        shell.showtraceback()"
    )
    space = {"__name__": module, "shell": shell}
    exec(source, space)
    return space["magic"]


def test_what_ipython_shows_is_raised_and_what_the_code_shows_is_shown():
    shell = Shell()
    with pytest.raises(ZeroDivisionError):
        honest(swallowing(shell, "IPython.core.magics.execution"), shell)("", "")
    assert shell.shown == 0
    honest(swallowing(shell, "__main__"), shell)("", "")
    assert shell.shown == 1
    shell.showtraceback()
    assert shell.shown == 2
