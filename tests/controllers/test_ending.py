"""From recorded evidence to phase and reason: one line a case."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from jupyter_trainjob.backends.base import AttemptRef, Observation
from jupyter_trainjob.controllers.ending import ending
from jupyter_trainjob.resources.trainjob import Cancel, CellSource, Phase, Reason, Resources, TrainJobSpec

SPEC = TrainJobSpec(
    source=CellSource(code="1"),
    resources=Resources(cpu="1", memory="1Gi", disk="2Gi", processes=64, open_files=256, file_size="1Gi"),
    time_limit_seconds=300,
)


def seen(evidence: dict[str, Any] | None = None, end: Any = None, state: Any = "ended") -> Observation:
    claims = {"end": end} if end is not None else {}
    return Observation(AttemptRef("u", 1), state, evidence=evidence or {}, claims=claims)


ERROR = {"ename": "ValueError", "evalue": "no", "traceback": "…", "cellId": "c", "cellIndex": 0, "line": 3}

CASES = [
    ("the code ran through", {"exitCode": 0}, {"outcome": "ok"}, Phase.SUCCEEDED, Reason.COMPLETED),
    ("the code failed", {"exitCode": 0}, {"outcome": "error", "error": ERROR}, Phase.FAILED, Reason.CODE_ERROR),
    ("the kernel died", {"exitCode": 0}, {"outcome": "kernelDied"}, Phase.FAILED, Reason.KERNEL_DIED),
    (
        "the kernel died because memory ran out",
        {"exitCode": 0, "limit": "OutOfMemory"},
        {"outcome": "kernelDied"},
        Phase.FAILED,
        Reason.OUT_OF_MEMORY,
    ),
    (
        "a job that claims success over a limit that struck is not believed",
        {"exitCode": 0, "limit": "TimeLimit"},
        {"outcome": "ok"},
        Phase.FAILED,
        Reason.TIME_LIMIT,
    ),
    (
        "cancelled",
        {"cancelled": "enough", "signal": 15},
        {"outcome": "interrupted"},
        Phase.CANCELLED,
        Reason.CANCELLED_BY_USER,
    ),
    ("cancelled and killed", {"cancelled": "", "signal": 9}, None, Phase.CANCELLED, Reason.CANCELLED_BY_USER),
    (
        "a cancel that came too late",
        {"cancelled": "x", "exitCode": 0},
        {"outcome": "ok"},
        Phase.SUCCEEDED,
        Reason.COMPLETED,
    ),
    ("the runner was killed", {"signal": 9}, None, Phase.FAILED, Reason.RUNNER_LOST),
    ("the runner crashed", {"exitCode": 1, "message": "ImportError"}, None, Phase.FAILED, Reason.RUNNER_LOST),
    ("claimed success with a bad exit", {"exitCode": 3}, {"outcome": "ok"}, Phase.FAILED, Reason.RUNNER_LOST),
    ("the machine restarted", {"hostRestarted": True}, None, Phase.FAILED, Reason.HOST_RESTARTED),
    ("a limit we don't know", {"limit": "Nonsense"}, None, Phase.FAILED, Reason.UNKNOWN),
    ("nothing is known", {}, None, Phase.FAILED, Reason.UNKNOWN),
    ("a forged report", {}, ["not", "a", "dict"], Phase.FAILED, Reason.UNKNOWN),
]


@pytest.mark.parametrize(
    ("evidence", "end", "phase", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_endings(evidence: dict[str, Any], end: Any, phase: Phase, reason: Reason) -> None:
    how = ending(SPEC, seen(evidence, end))
    assert (how.phase, how.reason) == (phase, reason)
    assert how.message or phase is Phase.SUCCEEDED


def test_gone_by_another_hand() -> None:
    assert ending(SPEC, seen(state="gone")).reason is Reason.DELETED_EXTERNALLY


def test_what_is_gone_after_a_cancel_is_cancelled() -> None:
    cancel = Cancel(requested_at=datetime(2026, 1, 1, tzinfo=timezone.utc), by="ada", message="enough")
    how = ending(SPEC.model_copy(update={"cancel": cancel}), seen(state="gone"))
    assert (how.phase, how.message) == (Phase.CANCELLED, "Cancelled by ada: enough")


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("ImageError", "Check the image's name, or ask the operator for it."),
        ("Unschedulable", "Ask for less, or choose another queue or profile."),
        ("Evicted", "Run it again with retry."),
        ("NodeLost", "Run it again with retry."),
        ("Preempted", "Run it again with retry."),
        ("DeletedExternally", "Run it again with retry."),
    ],
)
def test_what_the_cluster_did_is_told_with_a_remedy(limit: str, says: str) -> None:
    how = ending(SPEC, seen({"limit": limit, "message": "So it was."}))
    assert how.reason is Reason(limit)
    assert how.message == f"So it was. {says}"


def test_a_runner_that_was_lost_is_told_once_and_with_what_to_do() -> None:
    began = "The process that runs the code ended with"
    assert ending(SPEC, seen({"signal": 9})).message == f"{began} signal 9 before it reported. Run it again with retry."
    told = ending(SPEC, seen({"exitCode": 1, "message": "Its last words: ImportError"})).message
    assert told == (f"{began} exit status 1 before it reported. Its last words: ImportError. Run it again with retry.")


def test_messages_name_the_limit_and_the_remedy() -> None:
    told = ending(SPEC, seen({"limit": "OutOfMemory", "message": "It held 1.2Gi at its peak."})).message
    assert told == "It held 1.2Gi at its peak. Ask for more with --memory, or hold less at once."
    told = ending(SPEC, seen({"limit": "TimeLimit"})).message
    assert told == "It ran longer than its 300 s. Ask for more with --time-limit."


def test_a_code_error_names_the_line() -> None:
    how = ending(SPEC, seen({"exitCode": 0}, {"outcome": "error", "error": ERROR}))
    assert how.message == "ValueError: no (line 3)"
    assert how.error is not None and how.error.line == 3


def test_an_oversized_claim_is_cut() -> None:
    how = ending(
        SPEC, seen({"exitCode": 0}, {"outcome": "error", "error": {"ename": "E" * 9999, "traceback": "t" * 10**6}})
    )
    assert how.error is not None
    assert len(how.error.ename) == 200 and len(how.error.traceback) == 64 * 1024


def test_a_kernel_that_died_before_the_code_began_is_not_told_to_have_died_by_it() -> None:
    error = {"ename": "KernelDied", "evalue": "The kernel exited with status 1 before the code began."}
    how = ending(SPEC, seen({"exitCode": 0}, {"outcome": "kernelDied", "error": error}))
    assert how.reason is Reason.KERNEL_DIED
    assert (
        how.message
        == f"{error['evalue']} What it began with may be why: variables of --env, the image, the environment."
    )
