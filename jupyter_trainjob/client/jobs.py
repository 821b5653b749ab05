"""The verbs on one job, each written once as a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from . import archive, download, logs, ops, results, typed
from . import metrics as points
from .effects import Request, Steps, offload
from .errors import Conflict, JobFailed, NotFound
from .logs import LogText
from .ops import Json
from .session import Session
from .view import JobView


def address(session: Session, job: JobView) -> Steps[str]:
    """What a command names it by: its name, and ``-n NAMESPACE`` where it is not in one's own."""
    own = yield from session.namespace(None)
    return job.name if job.namespace == own else f"{job.name} -n {job.namespace}"


def refresh(session: Session, job: JobView) -> Steps[Json]:
    """Read it again."""
    return (yield from ops.get_job(session, job.uid, job.namespace))


def wait(session: Session, job: JobView, timeout: float | None = None, *, check: bool = False) -> Steps[Json]:
    """Come back when it is final. :class:`WaitTimeout` after ``timeout`` seconds; with ``check``, :class:`JobFailed`
    unless it succeeded. A server that is restarted meanwhile is waited for."""
    resource = yield from ops.wait(session, job.namespace, job.uid, timeout)
    if check:
        raise_unless_succeeded(JobView(resource))
    return resource


def raise_unless_succeeded(job: JobView) -> None:
    """:class:`JobFailed` with the job's own traceback, for a job that ended otherwise."""
    if not job.finished or job.succeeded:
        return
    raise JobFailed(
        f"The job {job.name} {'was cancelled' if job.phase == 'Cancelled' else 'failed'}: {job.describe()}",
        phase=job.phase,
        job_reason=job.reason,
        traceback=str(job.error.get("traceback", "")),
    )


def cancel(session: Session, job: JobView, message: str = "") -> Steps[Json]:
    """Stop it, or take it out of the queue."""
    return (yield from ops.act(session, job.namespace, job.uid, "cancel", message))


def hold(session: Session, job: JobView, message: str = "") -> Steps[Json]:
    """Keep it from starting until it is released."""
    return (yield from ops.act(session, job.namespace, job.uid, "hold", message))


def release(session: Session, job: JobView, message: str = "") -> Steps[Json]:
    """Take the hold away."""
    return (yield from ops.act(session, job.namespace, job.uid, "release", message))


def front(session: Session, job: JobView, message: str = "") -> Steps[Json]:
    """Let it be the first of its queue; for instructors of it and operators."""
    return (yield from ops.act(session, job.namespace, job.uid, "front", message))


def approve(session: Session, job: JobView, message: str = "") -> Steps[Json]:
    """Let it go beyond its owner's limits; for instructors of its queue and operators."""
    return (yield from ops.act(session, job.namespace, job.uid, "approve", message))


def reject(session: Session, job: JobView, message: str = "") -> Steps[Json]:
    """End it without having run, where it waits for an approval; for instructors of its queue and operators."""
    return (yield from ops.act(session, job.namespace, job.uid, "reject", message))


def retry(session: Session, job: JobView, message: str = "") -> Steps[Json]:
    """Submit the same once more, as a new job."""
    return (yield from ops.act(session, job.namespace, job.uid, "retry", message))


def rerun(session: Session, job: JobView, parameters: Mapping[str, Any] | None = None) -> Steps[Json]:
    """Submit a new job of what this one did, as recorded: code, inputs, exact environment, limits, parameters, seed.

    ``parameters`` go over the recorded ones. :class:`Conflict` before the job's end, or where something is gone.
    """
    given = {name: typed.encode(item, name) for name, item in (parameters or {}).items()}
    body = {"parameters": given} if given else {}
    return (yield from session.json(Request("POST", ops.job_path(job.namespace, job.uid, "rerun"), json=body)))


def delete(session: Session, job: JobView, *, propagation: str = "cascade") -> Steps[bool]:
    """Remove it with its logs and outputs; True when it is gone, False while it still has to stop."""
    return (yield from ops.delete_job(session, job.namespace, job.uid, propagation))


def patch(session: Session, job: JobView, patch: Json) -> Steps[Json]:
    """Merge patch of labels, annotations, ``spec.priority``."""
    return (yield from ops.patch_job(session, job.namespace, job.uid, patch))


def why(session: Session, job: JobView) -> Steps[Json]:
    """Why it waits: ``{position, waitingFor, estimatedStart, blockers: [{limit, scope, queue, requested, used, maximum,
    message, remedy}]}``; amounts as people write them, ``""`` where none applies."""
    return (yield from ops.why(session, job.namespace, job.uid))


def outputs(session: Session, job: JobView, *, attempt: int | None = None) -> Steps[Json]:
    """``{notebook, results[], files[], filesTotal, bytesTotal}`` of the latest attempt, or another."""
    return (yield from ops.outputs(session, job.namespace, job.uid, attempt))


def list_results(session: Session, job: JobView) -> Steps[list[Json]]:
    """The variables that came back: ``[{name, size, type, error}]``."""
    return (yield from outputs(session, job)).get("results") or []


def files(session: Session, job: JobView) -> Steps[list[Json]]:
    """The files that the job wrote: ``[{path, size}]``; the server lists up to 1,000."""
    return (yield from outputs(session, job)).get("files") or []


def result(session: Session, job: JobView, name: str, *, trust: bool = False) -> Steps[Any]:
    """A variable that came back, as an object: of R and Scala a DataFrame, or a plain value.

    Opening a pickle runs code of whoever wrote it: another person's is refused unless ``trust`` says otherwise. Frames
    and plain values run nothing. :class:`ResultError` says what is missing, or which Python wrote what this one can't
    read.
    """
    username = str((yield from session.connection()).me.get("username", ""))
    view = JobView((yield from refresh(session, job)))
    item = results.listed(name, (yield from outputs(session, job)), view.phase)
    if results.form(item) == results.PICKLE:
        results.check_owner(name, view.owner, username, trust)
    file = yield from download.temporary(session, ops.job_path(job.namespace, job.uid, "outputs", "results", name))
    with file:
        return (yield from offload(lambda: results.opened(name, file, item)))


def fetch(session: Session, job: JobView, path: str | None = None, to: str | Path | None = None) -> Steps[list[Path]]:
    """Download a file, a folder or glob of files, or all (``path=None``) into the folder ``to`` (here by default).

    Streamed and continued after a break; nothing is ever written outside ``to``. The files written are returned.
    """
    return (yield from download.files(session, job.namespace, job.uid, path, to))


def fetch_all(session: Session, job: JobView, to: str | Path, attempt: int | None = None) -> Steps[Path]:
    """Download all that an attempt left into the folder ``to``: ``notebook.ipynb``, ``results/``, ``files/``.

    One request, however many files there are; nothing is ever written outside ``to``, which is returned.
    """
    return (yield from archive.everything(session, job.namespace, job.uid, to, attempt))


def notebook(session: Session, job: JobView, to: str | Path | None = None) -> Steps[Path]:
    """Save the executed notebook, as ``<name>.ipynb`` unless ``to`` names the file or another folder."""
    return (yield from download.notebook(session, job.namespace, job.uid, to, job.name))


def log(session: Session, job: JobView, *, tail: int | None = None, attempt: int | None = None) -> Steps[LogText]:
    """The log as it is now, or its last ``tail`` lines."""
    return (yield from logs.whole(session, job.namespace, job.uid, tail=tail, attempt=attempt))


def follow(
    session: Session, job: JobView, *, tail: int | None = None, seen: Callable[[Json], None] = lambda job: None
) -> Steps[Json]:
    """Stream the log until the job is final; begin with the last ``tail`` lines, if given. ``seen``: see there."""
    return (yield from logs.follow(session, job.namespace, job.uid, tail=tail, seen=seen))


def metrics(session: Session, job: JobView, *, attempt: int | None = None) -> Steps[Any]:
    """All metrics that the code has logged so far: a DataFrame of name, step, value, time (UTC), a row a point.

    Without pandas a list of dicts with these keys. Of the latest attempt, or another.
    """
    return points.table((yield from points.gathered(session, job.namespace, job.uid, attempt)))


def metric_points(session: Session, job: JobView, *, attempt: int | None = None) -> Steps[int]:
    """Emit the points in lists as they are read, for more than memory holds; how many lines were no points."""
    return (yield from points.stream(session, job.namespace, job.uid, attempt))


def metric_series(
    session: Session,
    job: JobView,
    names: Iterable[str] = (),
    *,
    max_points: int = 500,
    attempt: int | None = None,
) -> Steps[Json]:
    """Metrics for a plot: ``{attempt, metrics: {name: {count, last, minimum, maximum, points}}, points, leftOut,
    complete}`` with at most ``max_points`` (10 to 10,000) points ``[step, value, time]`` of each; peaks stay. All
    metrics together get 100,000: of very many each gets fewer."""
    return (yield from points.series(session, job.namespace, job.uid, names, max_points, attempt))


def usage(session: Session, job: JobView, *, attempt: int | None = None) -> Steps[Json]:
    """What an attempt used: ``{attempt, requested, used, began, intervalSeconds, columns, rows}``."""
    params = (("attempt", str(attempt)),) if attempt else ()
    return (yield from session.json(Request("GET", ops.job_path(job.namespace, job.uid, "usage"), params)))


def advice(session: Session, job: JobView) -> Steps[Json]:
    """What to ask for the next time, from runs of the same code: ``{job, runs, used, resources, timeLimitSeconds,
    remarks}``; ``resources`` is empty where nothing is known."""
    return (yield from session.json(Request("GET", ops.job_path(job.namespace, job.uid, "advice"))))


def save_archive(session: Session, job: JobView, to: str | Path, attempt: int | None = None) -> Steps[Path]:
    """Save all that an attempt left as one tar file: ``notebook.ipynb``, ``results/…``, ``files/…``."""
    return (yield from archive.save(session, job.namespace, job.uid, Path(to), job.name, attempt))


def all_files(session: Session, job: JobView, *, attempt: int | None = None) -> Steps[list[Json]]:
    """All files that the job wrote: ``[{path, size}]``. Beyond 1,000 the archive is read for their names."""
    return (yield from archive.files(session, job.namespace, job.uid, attempt))


def cancel_all(session: Session, namespace: str | None = None) -> Steps[list[Json]]:
    """Cancel all of one's own jobs that are not finished, in one namespace or (None) in all; those that were."""
    username = str((yield from session.connection()).me.get("username", ""))
    open_phases = ("Queued", "Admitted", "Running")
    found = yield from ops.list_jobs(
        session,
        namespace=namespace,
        all_namespaces=namespace is None,
        owner=username,
        phases=open_phases,
        limit=None,
    )
    stopped = []
    for resource in found:
        meta = resource["metadata"]
        try:
            stopped.append((yield from ops.act(session, meta["namespace"], meta["uid"], "cancel")))
        except (Conflict, NotFound):
            continue  # it ended, or was deleted, between the listing and the cancel: nothing is left to stop
    return stopped
