"""Sweeps: one job for each point of a grid, sent in one request, watched and compared as one."""

from __future__ import annotations

import html
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import ops, submit, typed, view
from .effects import Sleep, Steps
from .errors import Conflict, InputError, NotFound, WaitTimeout
from .jobs import metric_series
from .ops import Json
from .session import Session
from .spec import FINAL_PHASES, NAME_LABEL, SWEEP_LABEL, JobOptions

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Unpack

    from .sync import Client, Job

Points = Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Any]]
"""A grid (``{"lr": [0.1, 0.01], "depth": [2, 4]}``: every combination), or the points themselves."""
PHASES = ("Succeeded", "Failed", "Cancelled", "Running", "Admitted", "Queued")
_LOOK_SECONDS = (0.5, 3.0)


def points_of(sweep: Points, repeat: int = 1) -> list[dict[str, Any]]:
    """The parameters of each job; ``repeat``: each point so often."""
    if isinstance(sweep, Mapping):
        names = list(sweep)
        values = [[item] if isinstance(item, (str, bytes)) else list(item) for item in sweep.values()]
        found = [dict(zip(names, point, strict=True)) for point in itertools.product(*values)]
    else:
        found = [dict(point) for point in sweep]
    if repeat < 1:
        raise InputError(f"repeat={repeat}: there is nothing to do.", remedy="Write a whole number from 1 on.")
    if not found:
        raise InputError("The sweep has no point.", remedy="Give each parameter at least one value.")
    return [dict(point) for point in found for _ in range(repeat)]


def sweep_cell(
    session: Session,
    code: str,
    sweep: Points = (),
    **options: Unpack[JobOptions],
) -> Steps[Json]:
    """Send ``code`` away as one job for each point of ``sweep``; ``max_parallel=3`` runs three at once, ``repeat=10``
    each point ten times.
    """
    return (yield from submit.submit_cell(session, code, **_with(options, sweep)))


def sweep_notebook(
    session: Session,
    notebook: str | Path,
    sweep: Points = (),
    **options: Unpack[JobOptions],
) -> Steps[Json]:
    """The same with a notebook."""
    return (yield from submit.submit_notebook(session, notebook, **_with(options, sweep)))


def sweep_script(
    session: Session,
    script: str | Path,
    sweep: Points = (),
    **options: Unpack[JobOptions],
) -> Steps[Json]:
    """The same with a script."""
    return (yield from submit.submit_script(session, script, **_with(options, sweep)))


def sweep_folder(
    session: Session,
    project: str | Path,
    entry: str | None,
    sweep: Points = (),
    **options: Unpack[JobOptions],
) -> Steps[Json]:
    """The same with a folder."""
    given = _with(options, sweep)
    return (yield from submit.submit_folder(session, project, entry, **given))


def _with(options: JobOptions, sweep: Points) -> JobOptions:
    given = options.copy()
    given["points"] = points_of(sweep or ({},), given.pop("repeat", 1))
    return given


def find(session: Session, name: str, namespace: str | None = None) -> Steps[Json]:
    """The sweep of this name, or the latest of this short name."""
    space = yield from session.namespace(namespace)
    found = yield from ops.list_jobs(session, namespace=space, labels=f"{SWEEP_LABEL}={name}", limit=1)
    if not found:
        short = f"{SWEEP_LABEL},{NAME_LABEL}={name}"
        found = yield from ops.list_jobs(session, namespace=space, labels=short, limit=1)
    if not found:
        raise NotFound(
            f"There is no sweep {name!r} in the namespace {space!r}.",
            remedy="list -l jupyter-trainjob/sweep shows all.",
        )
    return {"sweep": found[0]["spec"]["sweep"]["name"], "namespace": space, "items": []}


def read(session: Session, name: str, namespace: str) -> Steps[list[Json]]:
    """Its jobs by their place in it; of one that was sent again, the latest."""
    jobs = yield from ops.list_jobs(session, namespace=namespace, labels=f"{SWEEP_LABEL}={name}", limit=None)
    latest: dict[int, Json] = {}
    for job in jobs:  # newest first
        latest.setdefault(int((job["spec"].get("sweep") or {}).get("index", 0)), job)
    return [latest[index] for index in sorted(latest)]


def rows(session: Session, jobs: Sequence[Json]) -> Steps[list[Json]]:
    """A row for each job: its name, the parameters that differ, its state, how long it ran, and of each metric the
    latest value.
    """
    found = []
    for resource in jobs:
        job = view.JobView(resource)
        names = (job.spec.get("sweep") or {}).get("point") or []
        given = job.spec.get("parameters") or {}
        row: Json = {"job": job.name}
        row |= {name: typed.decode(given[name]) for name in names if name in given}
        row |= {"state": job.phase, "reason": job.reason if job.phase == "Failed" else "", "seconds": _seconds(job)}
        if job.status.get("attempts"):
            told = yield from metric_series(session, job, max_points=10)
            row |= {name: one.get("last") for name, one in (told.get("metrics") or {}).items()}
        found.append(row)
    return found


def _seconds(job: view.JobView) -> float | None:
    attempts = job.status.get("attempts") or [{}]
    return view.seconds_between(attempts[-1].get("start"), attempts[-1].get("end"))


class SweepView:
    """The jobs of a sweep as they were last read."""

    def __init__(self, made: Mapping[str, Any]) -> None:
        self.name = str(made.get("sweep") or "")
        self.namespace = str(made.get("namespace") or "")
        self._size = len(made.get("items") or ())
        self.resources: list[Json] = []

    def take(self, resources: list[Json]) -> None:
        """These were read."""
        self.resources = resources
        self._size = max(self._size, len(resources))

    def __len__(self) -> int:
        return self._size

    @property
    def counts(self) -> dict[str, int]:
        """How many are in each phase; those that there are none in are left out."""
        found = [str(job["status"]["phase"]) for job in self.resources]
        return {phase: found.count(phase) for phase in PHASES if phase in found}

    @property
    def done(self) -> int:
        """How many have ended."""
        return sum(count for phase, count in self.counts.items() if phase in FINAL_PHASES)

    @property
    def finished(self) -> bool:
        """Whether all have ended."""
        return bool(self.resources) and self.done == len(self.resources)

    @property
    def succeeded(self) -> bool:
        """Whether all have ended well."""
        return self.finished and set(self.counts) == {"Succeeded"}

    def describe(self) -> str:
        """``digits-x7k2p: 5 of 12 done (4 Succeeded, 1 Failed, 3 Running, 4 Queued)``"""
        counts = ", ".join(f"{count} {phase}" for phase, count in self.counts.items())
        return f"{self.name}: {self.done} of {len(self)} done" + (f" ({counts})" if counts else "")

    def bar(self, width: int = 30) -> str:
        """One bar for all of them."""
        full = width * self.done // max(1, len(self))
        return f"[{'#' * full}{'.' * (width - full)}] {self.describe()}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.describe()}>"

    def _repr_html_(self) -> str:
        return (
            f"<div><progress value='{self.done}' max='{max(1, len(self))}'></progress> "
            f"{html.escape(self.describe())}</div>"
        )


def refresh(session: Session, sweep: SweepView) -> Steps[None]:
    """Read all of its jobs."""
    sweep.take((yield from read(session, sweep.name, sweep.namespace)))


def wait(session: Session, sweep: SweepView, timeout: float | None, progress: bool | None) -> Steps[None]:
    """Come back when all have ended. ``progress``: show one bar meanwhile (on a terminal by default).

    :class:`WaitTimeout` after ``timeout`` seconds.
    """
    shows = sys.stderr.isatty() if progress is None else progress
    end = None if timeout is None else time.monotonic() + timeout
    pause, said = _LOOK_SECONDS[0], ""
    yield from refresh(session, sweep)
    while not sweep.finished:
        if shows and sweep.bar() != said:
            said = sweep.bar()
            _say(f"\r{said}\x1b[K")
        if end is not None and time.monotonic() + pause > end:
            raise WaitTimeout(
                f"{sweep.describe()} after {timeout:g} s.", remedy="They go on; wait longer, or cancel them."
            )
        yield Sleep(pause)
        pause = min(_LOOK_SECONDS[1], pause * 1.2)
        yield from refresh(session, sweep)
    if shows:
        _say(f"\r{sweep.bar()}\x1b[K\n")


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def cancel(session: Session, sweep: SweepView, message: str) -> Steps[None]:
    """Stop all that have not ended."""
    yield from refresh(session, sweep)
    for resource in sweep.resources:
        job = view.JobView(resource)
        if not job.finished:
            try:
                yield from ops.act(session, job.namespace, job.uid, "cancel", message)
            except (Conflict, NotFound):
                continue  # it ended, or was deleted, since it was read
    yield from refresh(session, sweep)


def table(session: Session, sweep: SweepView) -> Steps[list[Json]]:
    """Its rows, as it is now."""
    yield from refresh(session, sweep)
    return (yield from rows(session, sweep.resources))


def frame_of(found: list[Json]) -> Any:
    """Rows as a DataFrame; :class:`InputError` where there is no pandas."""
    try:
        import pandas  # type: ignore[import-untyped]
    except ImportError:
        raise InputError(
            "The table of a sweep is a DataFrame, and pandas is not installed here.",
            remedy="Install pandas, or take rows(), which is a list.",
        ) from None
    return pandas.DataFrame(found)


class Sweep(SweepView):
    """The jobs of a sweep as they were last read; :meth:`refresh` reads again."""

    def __init__(self, client: Client, made: Mapping[str, Any]) -> None:
        super().__init__(made)
        self.client = client

    def _run(self, op: Callable[..., Steps[Any]], *args: Any) -> Any:
        return self.client.transport.run(op(self.client.session, self, *args))

    def refresh(self) -> Sweep:
        """Read all of its jobs."""
        self._run(refresh)
        return self

    @property
    def jobs(self) -> list[Job]:
        """Its jobs, in the order of the points."""
        from .sync import Job

        if not self.resources:
            self.refresh()
        return [Job(self.client, resource) for resource in self.resources]

    def wait(self, timeout: float | None = None, *, progress: bool | None = None) -> Sweep:
        """Come back when all have ended. ``progress``: show one bar meanwhile (on a terminal by default).

        :class:`WaitTimeout` after ``timeout`` seconds.
        """
        self._run(wait, timeout, progress)
        return self

    def cancel(self, message: str = "") -> Sweep:
        """Stop all that have not ended."""
        self._run(cancel, message)
        return self

    def rows(self) -> list[Json]:
        """A row for each job: ``{job, parameters…, state, reason, seconds, metrics…}``."""
        found: list[Json] = self._run(table)
        return found

    def results(self) -> Any:
        """The same as a DataFrame."""
        return frame_of(self.rows())


__all__ = ["Points", "Sweep", "SweepView", "find", "points_of"]
