"""A job in its pod, from the orders to the last word."""

from __future__ import annotations

import os
import signal

from .pods import PREFIX, Pod


def test_a_cell_runs_and_all_of_it_comes_home(real: Pod) -> None:
    code = "print('hello')\nopen('made.txt', 'w').write('kept')\nscore = 0.5\n_ = open('other.bin', 'w').write('left')"
    assert real.run(code, keep=["*.txt"], results=["score"]) == (0, 0), real.words()
    state = real.state
    assert state["state"] == "ended" and state["failed"] is None and state["ready"]
    assert state["claims"]["end"]["outcome"] == "ok" and state["claims"]["started"]
    assert state["main"]["exitCode"] == 0 and not state["main"]["limit"]
    assert state["log"] == {"size": 6, "stored": 6, "complete": True, "gap": None, "missing": 0}
    assert [state["files"], state["filesTotal"], state["filesBytes"]] == [[{"path": "made.txt", "size": 4}], 1, 4]
    assert real.log() == b"hello\n" and real.joined().complete and real.log() == b"hello\n"
    assert real.store.get(f"{PREFIX}files/made.txt") == b"kept"
    assert state["notebook"] and "".join(real.json("notebook.ipynb")["cells"][0]["outputs"][0]["text"]) == "hello\n"
    assert [one["name"] for one in state["claims"]["end"]["results"]] == ["score"]
    assert real.store.stat(f"{PREFIX}results/score").size > 0
    assert real.json("usage.json")["columns"][0] == "seconds"
    last = real.termination
    assert last["delivered"] and last["log"] == state["log"] and last["claims"]["end"]["outcome"] == "ok"


def test_an_error_of_the_code_is_told_and_ends_well(real: Pod) -> None:
    assert real.run("print('before')\n1 / 0") == (0, 0)
    error = real.state["claims"]["end"]["error"]
    assert error["ename"] == "ZeroDivisionError" and error["line"] == 2
    assert real.log().startswith(b"before\n") and b"ZeroDivisionError" in real.log()
    assert real.termination["claims"]["end"]["error"]["ename"] == "ZeroDivisionError"


def test_sigterm_saves_what_there_is(real: Pod) -> None:
    real.orders("print('begun', flush=True)\nimport time\ntime.sleep(60)")
    real.start()
    real.until(lambda: real.log() == b"begun\n")
    assert real.main is not None
    real.main.send_signal(signal.SIGTERM)
    assert real.wait(20) == (0, 0), real.words()
    assert real.state["claims"]["end"]["outcome"] == "interrupted" and real.state["main"]["terminated"]
    assert real.json("notebook.ipynb")["cells"][0]["outputs"][0]["text"] == ["begun\n"]


def test_code_that_ignores_sigterm_is_killed_and_its_log_is_whole(pod: Pod) -> None:
    pod.orders(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('x' * 100000, flush=True)\n"
        "time.sleep(60)",
        limits={"graceSeconds": 1},
    )
    pod.start()
    pod.until(lambda: len(pod.log()) == 100001)
    assert pod.main is not None
    pod.main.send_signal(signal.SIGTERM)
    assert pod.wait(20) == (128 + signal.SIGKILL, 0), pod.words()
    assert pod.ended["signal"] == signal.SIGKILL and pod.ended["exitCode"] is None
    assert "end" not in pod.state["claims"] and pod.state["log"]["complete"] and len(pod.log()) == 100001


def test_more_than_its_disk_ends_a_job_with_what_to_do_about_it(pod: Pod) -> None:
    code = "import time; open('big', 'wb').write(bytes(3 * 2**20)); time.sleep(60)"
    assert pod.run(code, limits={"diskBytes": 2**21}, seconds=20) == (0, 0)
    assert (pod.state["main"]["limit"], pod.state["main"]["message"]) == (
        "DiskLimit",
        "The job's files, with its notebook, results and metrics, took more than its 2 MiB of disk. Ask for more with "
        "--disk, or write less.",
    )


def test_the_time_limit_runs_from_the_codes_begin(pod: Pod) -> None:
    assert pod.run("import time; time.sleep(60)", limits={"timeLimitSeconds": 1}, seconds=20) == (0, 0)
    main = pod.state["main"]
    assert (main["limit"], main["message"]) == ("TimeLimit", "The job ran longer than its 1 s.")
    assert pod.state["claims"]["end"]["outcome"] == "interrupted"


def test_a_runner_that_says_nothing_is_a_startup_timeout(pod: Pod) -> None:
    sleeper = pod.root / "sleeper.py"
    sleeper.write_text("import time; time.sleep(60)")
    pod.environment["TRAINJOB_RUNNER"] = str(sleeper)
    assert pod.run(limits={"startupSeconds": 1, "graceSeconds": 1}, seconds=20) == (128 + signal.SIGTERM, 0)
    assert pod.state["main"]["limit"] == "StartupTimeout" and "had not begun 1 s" in pod.state["main"]["message"]


def test_a_runner_that_cant_be_started_is_told(pod: Pod) -> None:
    pod.environment["TRAINJOB_PYTHON"] = "/nowhere/python"
    main, sidecar = pod.run()
    assert main != 0 and sidecar == 0
    assert pod.state["main"]["limit"] == "BackendError" and "/nowhere/python" in pod.state["main"]["message"]


def test_a_runners_last_words_come_along(pod: Pod) -> None:
    broken = pod.root / "broken.py"
    broken.write_text("import sys; sys.exit('the runner is broken')")
    pod.environment["TRAINJOB_RUNNER"] = str(broken)
    assert pod.run() == (1, 0)
    assert pod.state["main"]["lastWords"] == "the runner is broken\n" and pod.state["main"]["exitCode"] == 1


def test_main_is_told_to_stop_before_it_began(pod: Pod) -> None:
    pod.orders()
    pod.start_main()
    assert pod.main is not None
    pod.until(lambda: _blocks_sigterm(pod.main.pid if pod.main else 0))
    pod.main.send_signal(signal.SIGTERM)
    assert pod.main.wait(10) == 143 and pod.ended["terminated"]


def _blocks_sigterm(pid: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        blocked = next(line for line in file if line.startswith("SigBlk"))
    return bool(int(blocked.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def test_processes_that_the_code_left_behind_are_ended(pod: Pod) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], start_new_session=True)\n"
        "open('pid', 'w').write(str(child.pid))"
    )
    assert pod.run(code) == (0, 0)
    pid = int((pod.root / "work" / "pid").read_text())
    assert not os.path.exists(f"/proc/{pid}")


def test_points_come_home_while_it_runs_and_to_the_end(pod: Pod) -> None:
    code = (
        "import os, time\n"
        "file = open(os.environ['TRAINJOB_METRICS'], 'a')\n"
        "for step in range(1000):\n    file.write(f'loss\\t{step}\\t0.5\\t1.0\\n')\n"
        "file.flush()\nwhile not os.path.exists('seen'):\n    time.sleep(0.02)\n"
        "file.write('loss\\t1000\\t0.5\\t1.0\\n')"
    )
    pod.orders(code)
    pod.start()
    pod.until(lambda: pod.log(f"{PREFIX}metrics/").count(b"\n") == 1000)
    assert pod.main is not None and pod.main.poll() is None
    (pod.root / "work" / "seen").touch()
    assert pod.wait() == (0, 0)
    assert pod.log(f"{PREFIX}metrics/").count(b"\n") == 1001 and pod.state["metrics"]["complete"]


def test_more_points_than_are_kept_are_told(pod: Pod) -> None:
    code = (
        "import os\nwith open(os.environ['TRAINJOB_METRICS'], 'w') as file:\n"
        "    for n in range(40):\n        file.write('loss\\t1\\t0.5\\t1.00\\n' * (2**20 // 16))\n"
    )
    assert pod.run(code) == (0, 0), pod.words()
    assert pod.state["metrics"]["size"] == 40 * 2**20 and pod.state["metrics"]["gap"] is not None
    told = next(one for one in pod.state["conditions"] if one["type"] == "MetricsComplete")
    assert told["status"] == "False" and told["reason"] == "Capped" and f"{32 * 2**20} bytes" in told["message"]


def test_the_notebook_is_there_after_each_save(real: Pod) -> None:
    cells = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": code, "outputs": [], "execution_count": None}
        for n, code in enumerate(["print('first')", "import time; time.sleep(60)"])
    ]
    real.orders(notebook={"inline": {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}})
    real.start()
    real.until(lambda: real.json("notebook.ipynb")["cells"][0]["outputs"][0]["text"] == ["first\n"])
    real.until(lambda: real.state["claims"]["progress"]["cellsDone"] == 1)
    assert real.main is not None and real.main.poll() is None
