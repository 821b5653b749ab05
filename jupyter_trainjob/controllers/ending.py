"""From evidence to phase and reason, as a pure function over recorded cases.

What outside saw (supervisor, kubelet) goes before what the runner reports, that before anything else; where nothing
tells, the answer is Unknown and never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backends.base import Observation
from ..resources.trainjob import CodeError, Phase, Reason, TrainJobSpec

MAX_TEXT = 64 * 1024


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    phase: Phase
    reason: Reason
    message: str
    error: CodeError | None = None
    again: bool = True
    """Whether another attempt may help."""


def ending(spec: TrainJobSpec, seen: Observation, making_room: str = "") -> Ending:
    """What the end of an attempt means. ``seen.state`` is ``ended`` or ``gone``. ``making_room``: why it was told to
    end for others, if it was.
    """
    evidence = seen.evidence
    claim = _end_claim(seen.claims)
    error = _code_error(claim)
    note = str(evidence.get("message") or "")[:MAX_TEXT]
    if seen.state == "gone" and spec.cancel is not None:
        return Ending(Phase.CANCELLED, Reason.CANCELLED_BY_USER, cancelled(spec, "", spec.cancel.message))
    if seen.state == "gone" and making_room:
        return preempted(making_room)
    if seen.state == "gone":
        return Ending(
            Phase.FAILED,
            Reason.DELETED_EXTERNALLY,
            "What ran the job is gone, and not by our hand; nothing tells how far it came. Run it again with retry.",
        )
    if evidence.get("hostRestarted"):
        return Ending(
            Phase.FAILED, Reason.HOST_RESTARTED, "The machine restarted while the job ran. Run it again with retry."
        )
    limit = evidence.get("limit")
    if limit:
        reason = _reason(str(limit))
        note = note or (f"The backend calls it {str(limit)[:100]!r}." if reason is Reason.UNKNOWN else "")
        return Ending(Phase.FAILED, reason, _limit_message(reason, spec, note), error)
    outcome = claim.get("outcome") if claim else None
    if evidence.get("cancelled") is not None and outcome != "ok" and making_room and spec.cancel is None:
        return preempted(making_room)
    if evidence.get("cancelled") is not None and outcome != "ok":
        text = str(evidence["cancelled"]).strip()[:500]
        return Ending(Phase.CANCELLED, Reason.CANCELLED_BY_USER, cancelled(spec, "", text), error)
    exit_code = evidence.get("exitCode")
    if outcome == "ok" and exit_code in (0, None):
        return Ending(Phase.SUCCEEDED, Reason.COMPLETED, "")
    if outcome == "error":
        words = ". ".join(filter(None, [_code_message(error), _missing_package(spec, error)]))
        return Ending(Phase.FAILED, Reason.CODE_ERROR, words, error)
    if outcome == "kernelDied" and error is not None and not error.cell_id:
        why = "What it began with may be why: variables of --env, the image, the environment."
        return Ending(Phase.FAILED, Reason.KERNEL_DIED, " ".join(filter(None, (error.evalue[:500], why, note))), error)
    if outcome == "kernelDied":
        return Ending(
            Phase.FAILED,
            Reason.KERNEL_DIED,
            "The kernel died while the code ran: it was ended by the code itself or crashed in a library. "
            "The last lines of the log show how far it came." + (f" {note}" if note else ""),
            error,
        )
    if outcome == "interrupted":
        return Ending(
            Phase.FAILED, Reason.RUNNER_LOST, "The job was told to end by something else than a cancel. " + note, error
        )
    if exit_code is not None or evidence.get("signal") is not None:
        how = f"signal {evidence['signal']}" if evidence.get("signal") else f"exit status {exit_code}"
        words = f"The process that runs the code ended with {how} before it reported. {note}".strip().rstrip(".")
        return Ending(Phase.FAILED, Reason.RUNNER_LOST, f"{words}. Run it again with retry.")
    return Ending(Phase.FAILED, Reason.UNKNOWN, f"Nothing tells how the job ended. {note}".strip())


def preempted(why: str) -> Ending:
    """It made room for others."""
    return Ending(Phase.FAILED, Reason.PREEMPTED, f"It made room: {why}.")


def cancelled(spec: TrainJobSpec, when: str, text: str) -> str:
    """By whom, when (`` before it started``) and why."""
    by = f" by {spec.cancel.by}" if spec.cancel is not None and spec.cancel.by else ""
    return f"Cancelled{by}{when}: {text}" if text else f"Cancelled{by}{when}."


def _end_claim(claims: dict[str, Any]) -> dict[str, Any]:
    claim = claims.get("end")
    return claim if isinstance(claim, dict) else {}


def _reason(text: str) -> Reason:
    try:
        return Reason(text)
    except ValueError:
        return Reason.UNKNOWN


def _code_error(claim: dict[str, Any]) -> CodeError | None:
    raw = claim.get("error")
    if not isinstance(raw, dict):
        return None
    line, index = raw.get("line"), raw.get("cellIndex")
    return CodeError(
        ename=str(raw.get("ename") or "Error")[:200],
        evalue=str(raw.get("evalue") or "")[:4096],
        traceback=str(raw.get("traceback") or "")[-MAX_TEXT:],
        cell_id=str(raw.get("cellId") or "")[:64],
        cell_index=index if isinstance(index, int) else None,
        line=line if isinstance(line, int) else None,
    )


def _code_message(error: CodeError | None) -> str:
    if error is None:
        return "The code raised an error."
    where = ""
    if error.line is not None:
        where = f" (line {error.line}" + (f" of cell {error.cell_index + 1})" if error.cell_index else ")")
    return f"{error.ename}: {error.evalue}"[:1000] + where


_MISSING_R_PACKAGE = "there is no package called"


def _missing_package(spec: TrainJobSpec, error: CodeError | None) -> str:
    """For code that did not find a package: which environment it had, and what to do."""
    python = error is not None and error.ename == "ModuleNotFoundError"
    if error is None or not (python or _MISSING_R_PACKAGE in error.evalue):
        return ""
    asked = spec.environment.requirements
    profile = f"profile {spec.profile!r}, " if spec.profile else ""
    file = "requirements.txt" if python else "renv.lock"
    if asked is None:
        return (
            f"The environment of this job: {profile}no requirements of its own. Send a list with what is missing: "
            f"--requirements {file} (or --files, if it is a file of yours)."
        )
    return (
        f"The environment of this job: {profile}{asked.format} {asked.digest[:15]}…. Add what is missing to that list "
        f"(--requirements {asked.format}), or send it with --files if it is a file of yours."
    )


_REMEDIES = {
    Reason.OUT_OF_MEMORY: "Ask for more with --memory, or hold less at once.",
    Reason.TIME_LIMIT: "Ask for more with --time-limit.",
    Reason.STORAGE_ERROR: "The operator finds the job's folder kept as it was.",
    Reason.STARTUP_TIMEOUT: "Run it again with retry; if it stays, tell the operator.",
    Reason.RUNNER_LOST: "Run it again with retry.",
    Reason.IMAGE_ERROR: "Check the image's name, or ask the operator for it.",
    Reason.UNSCHEDULABLE: "Ask for less, or choose another queue or profile.",
    Reason.EVICTED: "Run it again with retry.",
    Reason.NODE_LOST: "Run it again with retry.",
    Reason.PREEMPTED: "Run it again with retry.",
    Reason.DELETED_EXTERNALLY: "Run it again with retry.",
}


def _limit_message(reason: Reason, spec: TrainJobSpec, note: str) -> str:
    """What the backend says, else our own words; then what to do."""
    need = spec.resources
    told = {
        Reason.OUT_OF_MEMORY: f"It needed more than its {need.memory} of memory.",
        Reason.TIME_LIMIT: f"It ran longer than its {spec.time_limit_seconds} s.",
        Reason.PROCESS_LIMIT: f"It wanted more than its {need.processes} processes and threads.",
        Reason.DISK_LIMIT: f"It wrote more than its {need.disk} of disk.",
        Reason.FILE_SIZE_LIMIT: f"It wrote a file of more than {need.file_size}.",
        Reason.OPEN_FILES_LIMIT: f"It opened more than its {need.open_files} files at once.",
        Reason.STARTUP_TIMEOUT: "Its kernel did not come up in time.",
        Reason.STORAGE_ERROR: "What it wrote could not be stored.",
    }
    words = note or told.get(reason, f"It ended for a reason that the backend calls {reason.value}.")
    return f"{words} {_REMEDIES.get(reason, '')}".strip()
