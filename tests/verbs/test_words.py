"""Numbers, times and reasons as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from jupyter_trainjob.client import view
from jupyter_trainjob.verbs import printing
from jupyter_trainjob.verbs.context import Show
from jupyter_trainjob.verbs.looking import why_lines


@pytest.mark.parametrize(
    ("count", "said"), [(1, "1 job"), ("1", "1 job"), (0, "0 jobs"), (2, "2 jobs"), ("500m", "500m jobs")]
)
def test_one_is_not_many(count: Any, said: str) -> None:
    assert view.count_text(count, "job") == said


def test_limits_of_a_queue_count_in_words() -> None:
    queue = {
        "metadata": {"name": "q"},
        "spec": {"limits": {"runningJobs": 1, "cpu": "1", "memory": "2Gi"}, "perUser": {"runningJobs": 2, "gpu": 1}},
    }
    text = printing.text(Show("Queue", [queue]))
    assert "1 job, 1 CPU, 2Gi memory" in text and "2 jobs, 1 GPU" in text


def test_parameters_are_shown_as_they_were_typed() -> None:
    parameters = {"lr": {"$type": "float", "value": "NaN"}, "day": {"$type": "date", "value": "2026-11-22"}, "n": 3}
    job = {"metadata": {"name": "j"}, "spec": {"parameters": parameters}, "status": {"phase": "Queued"}}
    assert "Parameters:  lr=NaN, day=2026-11-22, n=3\n" in printing.detail(job)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import time

    monkeypatch.setenv("TZ", "UTC-3")  # POSIX: three hours east
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_times_are_local_and_to_the_minute(zone: None) -> None:
    assert view.local_text("2020-01-02T22:30:59.123456Z") == "2020-01-03 01:30"
    now = datetime.now(timezone.utc)
    assert view.local_text(now.isoformat()) == f"{now + timedelta(hours=3):%H:%M}"
    assert view.local_text(None) == ""
    job = {"metadata": {"name": "j", "creationTimestamp": "2020-01-02T22:30:59Z"}, "status": {"phase": "Queued"}}
    assert "Created:     2020-01-03 01:30\n" in printing.detail(job)


def test_a_reason_is_said_once(zone: None) -> None:
    job = view.JobView({"metadata": {"name": "j-1"}, "status": {"phase": "Queued", "waitingFor": "All CPUs are busy."}})
    answer = {
        "position": 2,
        "waitingFor": "All CPUs are busy; 1 job is ahead.",
        "estimatedStart": "2020-01-02T22:30:59.123456Z",
        "blockers": [
            {"message": "all CPUs are busy", "remedy": "Wait."},
            {"message": "no GPU is free", "remedy": "Ask for none."},
        ],
    }
    assert why_lines(job, answer) == [
        "j-1: Queued, position 2",
        "  All CPUs are busy; 1 job is ahead.",
        "  Wait.",
        "  No GPU is free.",
        "  Ask for none.",
        "  It starts at 2020-01-03 01:30 at the latest, unless others come first.",
    ]


def test_help_is_in_two_columns_at_any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_trainjob.verbs.parser import Parser
    from jupyter_trainjob.verbs.table import VERBS

    for width in (80, 100, 300):
        monkeypatch.setenv("COLUMNS", str(width))
        for verb in VERBS.values():
            lines = Parser(f"jupyter trainjob {verb.name}", verb.help, verb.arguments).format_help().splitlines()
            assert max(map(len, lines)) <= min(width, 110)
            rows = [line for line in lines if line.startswith("  ")]
            if width >= 100:
                options = [line for line in rows if line.startswith("  -")]
                assert all("  " in line[2:] for line in options), "the text is beside its option, not below it"


def test_a_list_paints_the_state_and_not_a_message_that_repeats_it() -> None:
    job = {"metadata": {"name": "j"}, "spec": {}, "status": {"phase": "Failed", "message": "Failed to open it."}}
    text = printing.text(Show("TrainJob", [job]), colour=True)
    assert text.count("\x1b[0m") == 1 and "  \x1b[31mFailed\x1b[0m" in text and " Failed to open it." in text
