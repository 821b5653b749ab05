"""``jupyter trainjob simulate``: files in, a table or JSON out, and errors that say what to mend."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jupyter_trainjob.cli import main

TRACE = """; MaxProcs: 4
1 0 -1 100 4 -1 -1 4 100 -1 1 1 1 -1 1 -1 -1 -1
2 0 -1 50 2 -1 -1 2 50 -1 1 2 1 -1 2 -1 -1 -1
"""
QUEUES = """
kind: Queue
metadata: {name: lab}
---
kind: Queue
metadata: {name: q1}
spec: {parent: lab, weight: 2, guaranteed: {cpu: 2}}
---
kind: Queue
metadata: {name: course}
spec: {parent: lab, budget: {coreHours: 10, windowSeconds: 3600}}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("trace.swf").write_text(TRACE)
    Path("queues.yaml").write_text(QUEUES)
    return tmp_path


def test_a_table(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "trace.swf", "-q", "queues.yaml", "--map", "2=course"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("2 jobs in 2 min, jobs waited for 2 min of it\nutilisation 83.3%, fairness (Jain) 1.000\n")
    assert "course     1  2 min  2 min  2 min  2 min" in told


def test_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "trace.swf", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["jobs"] == 2 and found["queues"]["default"]["mean"] == 50
    assert {"waitSeconds", "utilisation", "fairness", "users"} <= set(found)


def test_past_use_that_is_soon_forgotten(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ada used the machine first and Bob later: who is next depends on how long that counts."""
    jobs = [(1, 0, 3000, 1), (2, 100_000, 1000, 2), (3, 100_001, 10, 1), (4, 100_002, 10, 2)]
    text = "; MaxProcs: 4\n"
    for number, submit, took, user in jobs:
        text += f"{number} {submit} -1 {took} 4 -1 -1 4 {took} -1 1 {user} 1 -1 1 -1 -1 -1\n"
    Path("trace.swf").write_text(text)

    def waits(*words: str) -> dict[str, float]:
        assert main(["simulate", "trace.swf", "-o", "json", *words]) == 0
        return {user: told["max"] for user, told in json.loads(capsys.readouterr().out)["users"].items()}

    assert waits() == {"u1": 1009, "u2": 998}
    assert waits("--half-life", "0.1") == {"u1": 999, "u2": 1008}


def test_what_was_lent_is_taken_back(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Queue 1 has borrowed all when a job of queue 2 comes, to which half is guaranteed."""
    Path("lab.yaml").write_text(
        "[{metadata: {name: lab}}, {metadata: {name: q1}, spec: {parent: lab}},"
        " {metadata: {name: q2}, spec: {parent: lab, guaranteed: {cpu: '4'}, reclaim: true}}]"
    )
    lines = [f"{n} {when} -1 100 -1 -1 -1 4 100 -1 1 {n} 1 -1 {queue} -1 -1 -1" for n, when, queue in
             ((1, 0, 1), (2, 0, 1), (3, 10, 2))]  # fmt: skip
    Path("lent.swf").write_text("; MaxProcs: 8\n" + "\n".join(lines) + "\n")
    for options, expected in (([], 0), (["--preemptible", "q1"], 1)):
        assert main(["simulate", "lent.swf", "-q", "lab.yaml", "-o", "json", *options]) == 0
        assert json.loads(capsys.readouterr().out)["preemptions"] == expected
    assert main(["simulate", "lent.swf", "-q", "lab.yaml", "--preemptible", "q3"]) == 2
    assert "--preemptible q3: the configuration has only lab, q1, q2." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (
            ["-q", "queues.yaml"],
            1,
            "trace.swf: line 3: job 2 is of queue 2, and the configuration has only course, lab, q1",
        ),
        (["--half-life", "0"], 2, "--half-life '0' is no number from 0.01 to 36500"),
        (["--ageing", "soon"], 2, "--ageing 'soon' is no number from 0.01 to 36500"),
        (["--nodes", "1x3"], 1, "trace.swf: line 2: job 1 has 4 processors, the machine 3"),
        (["--nodes", "many"], 2, "--nodes 'many' is not a count of nodes and their CPUs; write such as 16x64"),
        (["--memory", "lots"], 2, "--memory: 'lots' is no quantity"),
        (["--map", "2=nowhere"], 2, "--map '2=nowhere': there is no queue 'nowhere'; there are default"),
        (["-q", "missing.yaml"], 2, "missing.yaml can't be read: No such file or directory"),
    ],
)
def test_what_does_not_fit_is_told(
    files: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, message: str
) -> None:
    assert main(["simulate", "trace.swf", *words]) == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metadata: {name: a}\nspec: {weight: 0}", "weight"),
        ("kind: Profile", "q.yaml: object 1 is a Profile, and only Queue objects belong here"),
        ("metadata: {name: a}\nspec: {parent: b}", "q.yaml: queue a has the parent 'b', which is not there"),
        (
            "[{metadata: {name: a}, spec: {parent: b}}, {metadata: {name: b}, spec: {parent: a}}]",
            "q.yaml: the parents go round in a circle: a → b → a",
        ),
        ("[{metadata: {name: a}}, {metadata: {name: a}}]", "q.yaml: there are two queues 'a'; give one another name"),
        ("metadata: {name: a}\nspec: {admission: Paused}", "queue a is paused: its jobs would wait for ever"),
        ("metadata: {name: a}\nspec: {kueue: {localQueue: x}}", "queue a is Kueue's (spec.kueue)"),
        ("a: [", "q.yaml is no YAML"),
        ("", "q.yaml holds no Queue"),
    ],
)
def test_queues_that_are_none_are_told(
    files: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    Path("q.yaml").write_text(text)
    assert main(["simulate", "trace.swf", "-q", "q.yaml"]) == 2
    assert message in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--help"]) == 0
    assert "Standard Workload Format" in capsys.readouterr().out


def test_an_empty_trace_is_told(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.swf").write_text("; MaxProcs: 4\n")
    assert main(["simulate", "empty.swf"]) == 2
    assert "empty.swf has no job that ran; is it in the Standard Workload Format?" in capsys.readouterr().err
