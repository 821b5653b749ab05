"""``jupyter trainjob …``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
import yaml

from jupyter_trainjob.client import Client

from ..served import Served
from .conftest import Done

Trainjob = Callable[..., Done]
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {
            "cell_type": "code",
            "id": "a",
            "metadata": {"tags": ["parameters"]},
            "source": "answer = 6",
            "outputs": [],
            "execution_count": None,
        },
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {},
            "source": "print(answer * 7)",
            "outputs": [],
            "execution_count": None,
        },
    ],
}


def test_submit_block_prints_the_log_and_the_status_says_how_it_went(trainjob: Trainjob, tmp_path: Path) -> None:
    (tmp_path / "work.ipynb").write_text(json.dumps(NOTEBOOK))
    done = trainjob("submit", "work.ipynb", "--block", "--param", "answer=7")
    assert (done.status, done.out) == (0, "49\n"), done
    bad = {**NOTEBOOK, "cells": [{**NOTEBOOK["cells"][1], "source": "print('so far')\n1/0"}]}  # type: ignore[dict-item,index]
    failed = trainjob("submit", "-", "--block", "--name", "bad", input=json.dumps(bad))
    assert failed.status == 3 and failed.out.startswith("so far\n") and "ZeroDivisionError" in failed.out
    assert trainjob("wait", "bad").status == 3
    assert trainjob("logs", "bad", "-f").status == 3
    assert trainjob("results", "bad").out == "No results.\n"


def test_outputs_in_four_formats(trainjob: Trainjob, client: Client) -> None:
    job = client.submit_cell("print(1)", name="formats", hold=True, labels={"course": "f"})
    assert job.name in trainjob("list").out
    assert trainjob("list", "-o", "name", "-l", "course=f").out == f"{job.name}\n"
    listed = json.loads(trainjob("list", "-o", "json", "-l", "course=f").out)
    assert listed["kind"] == "TrainJobList" and listed["items"][0]["metadata"]["uid"] == job.uid
    assert yaml.safe_load(trainjob("show", job.name, "-o", "yaml").out)["spec"]["source"]["code"] == "print(1)"
    shown = trainjob("show", "formats")
    assert f"Name:        {job.name}\n" in shown.out and f"formats is {job.name}" in shown.err
    assert trainjob("list", "--phase", "Failed", "-l", "course=f").out == "No jobs.\n"
    assert trainjob("why", job.name).out.startswith(f"{job.name}: Queued")
    assert trainjob("wait", job.name, "--timeout", "1s").status == 124
    assert trainjob("release", job.name).status == 0
    assert trainjob("wait", job.name).status == 0
    cancelled = trainjob("cancel", job.name)
    assert cancelled.status == 1 and job.name in cancelled.err
    assert trainjob("delete", job.name).out in (f"{job.name}: deleted\n", f"{job.name}: is being deleted\n")
    for _ in range(100):
        gone = trainjob("show", job.name)
        if gone.status:
            break
    assert gone.status == 1 and job.name in gone.err


def test_why_says_each_thing_once(trainjob: Trainjob, client: Client) -> None:
    queue = {"kind": "Queue", "apiVersion": "jupyter-trainjob/v1", "metadata": {"name": "narrow"}}
    client.put_thing("queues", {**queue, "spec": {"limits": {"runningJobs": 1}}})
    running = client.submit_cell("import time; time.sleep(60)", name="first", queue="narrow", time_limit="2m")
    jobs = [client.submit_cell("1", name=f"later-{n}", queue="narrow", time_limit="2m") for n in range(2)]
    while running.refresh().phase != "Running":
        time.sleep(0.1)
    said = trainjob("why", jobs[1].name).out
    answer = jobs[1].why()
    assert set(answer["blockers"][0]) == {
        "limit", "scope", "queue", "requested", "used", "maximum", "message", "remedy"
    }  # fmt: skip
    lines = said.splitlines()
    assert lines[0] == f"{jobs[1].name}: Queued, position 2"
    assert "1 job is ahead" in lines[1] and "narrow" in lines[1]
    for sentence in re.split(r"[.;]\s*", said):
        assert not sentence.strip() or said.count(sentence) == 1, said
    assert re.search(r"It starts at \d\d:\d\d at the latest, unless others come first\.\n", said), said
    assert "Z" not in said and "T1" not in said and "1 jobs" not in said
    assert "1 job" in trainjob("queues").out and "1 jobs" not in trainjob("queues").out
    assert "It does not wait." in trainjob("why", running.name).out
    held = client.submit_cell("1", name="held", hold=True)
    told = trainjob("why", held.name).out.splitlines()
    assert told[0] == f"{held.name}: Queued"
    assert re.fullmatch(r"  \S+ put it on hold\.", told[1])
    assert told[2:] == ["  Release it: %trainjob release NAME (in Python job.release())."]
    client.cancel_all()


def test_jobs_of_another_namespace(trainjob: Trainjob, client: Client) -> None:
    there = client.submit_cell("1", name="abroad", namespace="course", hold=True)
    assert there.name in trainjob("list", "-n", "course").out
    assert there.name not in trainjob("list").out
    everywhere = trainjob("list", "-A").out
    assert everywhere.startswith("NAMESPACE") and re.search(rf"course +\S+ +{there.name}", everywhere)
    none = trainjob("list", "no-such-name")
    assert none.out == "No jobs.\n"
    assert none.err == "Looked in your own namespace; -n NAMESPACE looks in another, -A in all.\n"
    assert "Looked in the namespace course; " in trainjob("list", "no-such-name", "-n", "course").err
    lost = trainjob("logs", "abroad")
    assert lost.status == 1 and f"{there.name} is in the namespace 'course': say -n course" in lost.err
    assert trainjob("logs", "abroad", "-n", "course").status == 0
    there.cancel()


def test_what_is_to_be_typed_next_names_the_namespace_where_it_must(trainjob: Trainjob, client: Client) -> None:
    there = client.submit_cell("1", name="afar", namespace="course", hold=True)
    here = client.submit_cell("1", name="near", hold=True)
    held = trainjob("hold", "afar", "-n", "course")
    release = f"jupyter trainjob release {there.name} -n course"
    assert held.out == f"{there.name}: held; release it with: {release}\n"
    assert trainjob(*release.split()[2:]).out == f"{there.name}: released\n"
    assert trainjob("hold", "near").out.endswith(f"release it with: jupyter trainjob release {here.name}\n")
    there.cancel()
    here.cancel()


def test_verbs_on_several_jobs_do_what_they_can_and_tell_each_failure(trainjob: Trainjob, client: Client) -> None:
    jobs = [client.submit_cell("1", name=f"several-{n}", hold=True) for n in range(2)]
    first, second = (job.name for job in jobs)

    def told(verb: str, *names: str) -> Done:
        done = trainjob(verb, *names)
        *failures, count = done.err.splitlines()
        assert done.status == 1 and count == f"This failed for {len(failures)} of {len(names)} jobs.", done
        for failure, name in zip(failures, ["nope", "neither"], strict=False):
            assert failure.startswith(f"There is no TrainJob {name!r}"), done.err
        return done

    assert told("hold", "nope", first, "neither", second).out.count("held; release it with") == 2
    assert told("release", "nope", first).out == f"{first}: released\n"
    assert jobs[0].wait(60).succeeded
    mixed = trainjob("cancel", first, "nope", second)
    assert mixed.status == 1 and mixed.out.startswith(f"{second}: cancel")
    assert first in mixed.err.splitlines()[0] and "'nope'" in mixed.err and mixed.err.endswith("2 of 3 jobs.\n")
    waited = trainjob("wait", "nope", first)
    assert waited.status == 1 and waited.out.startswith(f"{first}: Succeeded")
    assert waited.err.startswith("There is no TrainJob 'nope'") and len(waited.err.splitlines()) == 1
    assert told("delete", "nope", first, second).out.count("deleted\n") == 2


def test_no_colour_and_no_cut_when_piped(trainjob: Trainjob, client: Client) -> None:
    job = client.submit_cell("print(1)", name="n" * 57, hold=True)
    listed = trainjob("list", COLUMNS="40").out
    assert job.name in listed and "\x1b" not in listed
    job.cancel()


def test_on_a_terminal_the_table_fits_and_has_colours(served: Served, client: Client) -> None:
    job = client.submit_cell("print(1)", name="n" * 57, hold=True)
    # The terminal gets its size when the child runs already, so that it has to wait for a word. What the tests run in
    # may tell a width of its own.
    environment = {key: value for key, value in served.environment.items() if key != "COLUMNS"}
    code = "import os, sys; input(); os.execv(sys.executable, [sys.executable, '-m', 'jupyter_trainjob.cli', 'list'])"
    child = pexpect.spawn(
        sys.executable,
        ["-c", code],
        env={**environment, "TERM": "xterm"},
        dimensions=(24, 60),
        echo=False,
        encoding="utf-8",
    )
    child.sendline()
    child.expect(pexpect.EOF)
    assert child.before is not None
    lines = child.before.replace("\r", "").splitlines()
    assert "\x1b[33mQueued\x1b[0m" in child.before
    assert [line for line in lines if len(re.sub(r"\x1b\[[0-9]+m", "", line)) > 60] == []
    assert "…" in child.before
    job.cancel()


def test_a_terminal_is_not_steered_by_a_log(served: Served, client: Client) -> None:
    code = r"print('\x1b[31mred\x1b[0m \x1b]52;c;ZXZpbA==\x07\x1b[2Jend\x1b]0;title\x07')"
    job = client.submit_cell(code, name="steering").wait(60, check=True)
    child = pexpect.spawn(
        sys.executable, ["-m", "jupyter_trainjob.cli", "logs", job.name], env=served.environment, encoding="utf-8"
    )
    child.expect(pexpect.EOF)
    assert child.before == "\x1b[31mred\x1b[0m end\r\n"
    piped = subprocess.run(
        [sys.executable, "-m", "jupyter_trainjob.cli", "logs", job.name], env=served.environment, capture_output=True
    )
    assert b"\x1b]52;c" in piped.stdout, "a file gets what was printed"


def test_interrupting_logs_f_is_clean_and_the_job_goes_on(served: Served, client: Client) -> None:
    job = client.submit_cell("import time\nprint('on', flush=True)\ntime.sleep(60)", name="interrupted")
    child = pexpect.spawn(
        sys.executable, ["-m", "jupyter_trainjob.cli", "logs", "-f", job.name], env=served.environment, encoding="utf-8"
    )
    child.expect("on\r\n", timeout=30)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert child.before is not None and "Interrupted; jobs go on." in child.before and "Traceback" not in child.before
    assert job.refresh().phase == "Running"
    job.cancel()


def test_a_reader_that_goes_away_is_no_accident(served: Served, client: Client) -> None:
    job = client.submit_cell("for i in range(200_000): print(i)", name="piped").wait(60, check=True)
    done = subprocess.run(
        f"{sys.executable} -m jupyter_trainjob.cli logs {job.name} | head -2; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        env=served.environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "0\n1\n" and done.stderr == "" and done.returncode == 141


def test_usage(trainjob: Trainjob) -> None:
    assert "there is no verb 'lst'. Did you mean list" in trainjob("lst").err
    assert trainjob("lst").status == 2
    unknown = trainjob("logs", "x", "--fllow")
    assert unknown.status == 2 and "unknown option --fllow. Did you mean --follow?" in unknown.err
    behind = trainjob("submit", "--", "-x.py", "--dry-run")
    assert behind.status == 2 and "--dry-run stands behind --, where nothing is an option" in behind.err
    assert trainjob("show").err.endswith("are required: NAME. See jupyter trainjob show --help.\n")
    assert trainjob("submit", "nope.ipynb").err == "There is no notebook nope.ipynb. Check the path.\n"
    help_ = trainjob("--help")
    assert help_.status == 0 and "exit status:" in help_.out and "apply" in help_.out
    assert "--tail N" in trainjob("logs", "--help").out
    assert trainjob("version").out.strip() == trainjob("--version").out.strip() != ""


def test_no_server_and_a_wrong_token(trainjob: Trainjob, served: Served, tmp_path: Path) -> None:
    none = trainjob("list", JUPYTER_RUNTIME_DIR=str(tmp_path / "none"))
    assert none.status == 4 and "a running Jupyter server: no file jpserver-*.json" in none.err
    wrong = trainjob("--url", served.url, "--token", "wrong", "list")
    assert wrong.status == 1 and "It came from the arguments" in wrong.err
    nobody = trainjob("--url", "http://127.0.0.1:9", "list")
    assert nobody.status == 4 and "does not answer" in nobody.err


def test_the_entry_point_is_a_jupyter_command(served: Served) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from jupyter_trainjob.cli import main; sys.exit(main(['queues']))"],
        env=served.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.startswith("NAME")


@pytest.mark.parametrize("word", ["serve", "token"])
def test_server_verbs_are_handed_on(trainjob: Trainjob, word: str) -> None:
    done = trainjob(word, "--help")
    assert done.status == 0 and word in done.out


def test_start_up_is_quick(trainjob: Trainjob) -> None:
    began = time.monotonic()
    trainjob("version")
    assert time.monotonic() - began < 2
