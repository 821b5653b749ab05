"""The blocking face: :class:`Client` and :class:`Job`.

It holds no verb: each method is a verb of :mod:`.ops`, :mod:`.submit` or :mod:`.jobs`, run by the blocking transport.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from . import jobs as on_job
from . import ops, submit, sweeps
from .base import ClientBase, like
from .effects import Steps
from .logs import LogText
from .ops import Json
from .session import Session
from .sweeps import Sweep
from .transport import SyncTransport
from .view import JobView

P = ParamSpec("P")
T = TypeVar("T")


def _sync(op: Callable[Concatenate[Session, P], Steps[T]]) -> Callable[Concatenate[Client, P], T]:
    @like(op, 1)
    def verb(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.transport.run(op(self.session, *args, **kwargs))

    return verb


def _sync_job(op: Callable[Concatenate[Session, P], Steps[Json]]) -> Callable[Concatenate[Client, P], Job]:
    @like(op, 1)
    def verb(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        return Job(self, self.transport.run(op(self.session, *args, **kwargs)))

    return verb


def _sync_jobs(op: Callable[Concatenate[Session, P], Steps[list[Json]]]) -> Callable[Concatenate[Client, P], list[Job]]:
    @like(op, 1)
    def verb(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> list[Job]:
        return [Job(self, item) for item in self.transport.run(op(self.session, *args, **kwargs))]

    return verb


def _sync_sweep(op: Callable[Concatenate[Session, P], Steps[Json]]) -> Callable[Concatenate[Client, P], Sweep]:
    @like(op, 1)
    def verb(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Sweep:
        return Sweep(self, self.transport.run(op(self.session, *args, **kwargs)))

    return verb


class Client(ClientBase):
    """Talks to a trainjob server and blocks until it has the answer.

    ``url`` and ``token`` name the server; without them it is found: by ``JUPYTER_TRAINJOB_URL`` and ``_TOKEN`` (which
    kernels inherit), by JupyterHub's environment, by the files of running Jupyter servers. ``namespace`` replaces
    one's own as the default. ``notice`` is called with what a person should know ("reconnecting …").
    Not for several threads at once: :meth:`clone` it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.transport = SyncTransport()

    def clone(self) -> Client:
        """Another one with the same arguments, for another thread."""
        return Client(**self._arguments)

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def __del__(self) -> None:
        if hasattr(self, "transport") and not sys.is_finalizing():
            self.transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    me = _sync(ops.me)
    job = _sync_job(ops.get_job)
    jobs = _sync_jobs(ops.list_jobs)
    submit_cell = _sync_job(submit.submit_cell)
    submit_notebook = _sync_job(submit.submit_notebook)
    submit_notebook_bytes = _sync_job(submit.submit_notebook_bytes)
    submit_script = _sync_job(submit.submit_script)
    submit_folder = _sync_job(submit.submit_folder)
    sweep = _sync_sweep(sweeps.find)
    sweep_cell = _sync_sweep(sweeps.sweep_cell)
    sweep_notebook = _sync_sweep(sweeps.sweep_notebook)
    sweep_script = _sync_sweep(sweeps.sweep_script)
    sweep_folder = _sync_sweep(sweeps.sweep_folder)
    create = _sync_job(ops.create_job)
    cancel_all = _sync_jobs(on_job.cancel_all)
    things = _sync(ops.list_things)
    thing = _sync(ops.get_thing)
    put_thing = _sync(ops.put_thing)
    delete_thing = _sync(ops.delete_thing)
    turn_queue = _sync(ops.turn_queue)
    upload_file = _sync(ops.upload_file)
    upload_bytes = _sync(ops.upload_bytes)
    changes = _sync(ops.changes)
    inspect = _sync(ops.inspect)
    language = _sync(submit.language)
    kernels = _sync(ops.kernels)

    def queues(self) -> list[Json]:
        """All queues that one may see, with their use."""
        return self.things("queues")

    def profiles(self) -> list[Json]:
        """All profiles."""
        return self.things("profiles")


def _of_job(op: Callable[Concatenate[Session, JobView, P], Steps[T]]) -> Callable[Concatenate[Job, P], T]:
    @like(op, 2)
    def verb(self: Job, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.client.transport.run(op(self.client.session, self, *args, **kwargs))

    return verb


def _updates(op: Callable[Concatenate[Session, JobView, P], Steps[Json]]) -> Callable[Concatenate[Job, P], Job]:
    @like(op, 2)
    def verb(self: Job, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        self.resource = self.client.transport.run(op(self.client.session, self, *args, **kwargs))
        return self

    return verb


class Job(JobView):
    """A job of a :class:`Client`. Its properties are those of the last reading; :meth:`refresh` reads again."""

    def __init__(self, client: Client, resource: Mapping[str, Any]) -> None:
        super().__init__(resource)
        self.client = client

    address = _of_job(on_job.address)
    refresh = _updates(on_job.refresh)
    cancel = _updates(on_job.cancel)
    hold = _updates(on_job.hold)
    release = _updates(on_job.release)
    front = _updates(on_job.front)
    approve = _updates(on_job.approve)
    reject = _updates(on_job.reject)
    patch = _updates(on_job.patch)
    delete = _of_job(on_job.delete)
    why = _of_job(on_job.why)
    outputs = _of_job(on_job.outputs)
    results = _of_job(on_job.list_results)
    result = _of_job(on_job.result)
    files = _of_job(on_job.files)
    download = _of_job(on_job.fetch)
    download_all = _of_job(on_job.fetch_all)
    notebook = _of_job(on_job.notebook)
    metrics = _of_job(on_job.metrics)
    metric_series = _of_job(on_job.metric_series)
    usage = _of_job(on_job.usage)
    advice = _of_job(on_job.advice)
    save_archive = _of_job(on_job.save_archive)
    all_files = _of_job(on_job.all_files)

    def wait(self, timeout: float | None = None, *, check: bool = False) -> Job:
        """Come back when it is final; see :func:`.jobs.wait`."""
        self.resource = self.client.transport.run(on_job.wait(self.client.session, self, timeout))
        if check:
            on_job.raise_unless_succeeded(self)
        return self

    def retry(self, message: str = "") -> Job:
        """Submit the same once more, as a new job, which is returned."""
        return Job(self.client, self.client.transport.run(on_job.retry(self.client.session, self, message)))

    def metric_points(self, *, attempt: int | None = None) -> Iterator[dict[str, Any]]:
        """The points ``{name, step, value, time}`` one by one as they are read: for more than memory holds."""
        for piece in self.client.transport.iterate(on_job.metric_points(self.client.session, self, attempt=attempt)):
            yield from piece

    def rerun(self, parameters: Mapping[str, Any] | None = None) -> Job:
        """A new job that does what this one did, as recorded; see :func:`.jobs.rerun`."""
        return Job(self.client, self.client.transport.run(on_job.rerun(self.client.session, self, parameters)))

    @overload
    def logs(
        self, follow: Literal[False] = False, *, tail: int | None = None, attempt: int | None = None
    ) -> LogText: ...

    @overload
    def logs(
        self, follow: Literal[True], *, tail: int | None = None, news: Callable[[Job], None] | None = None
    ) -> Iterator[str]: ...

    def logs(
        self,
        follow: bool = False,
        *,
        tail: int | None = None,
        attempt: int | None = None,
        news: Callable[[Job], None] | None = None,
    ) -> str | Iterator[str]:
        """The log as text; with ``follow`` an iterator over its pieces, which ends when the job is final.

        ``news`` is called when another state is seen meanwhile, before the next piece.
        """
        if follow:
            return self._follow(tail, news)
        return self.client.transport.run(on_job.log(self.client.session, self, tail=tail, attempt=attempt))

    def _follow(self, tail: int | None, news: Callable[[Job], None] | None) -> Iterator[str]:
        def seen(resource: Json) -> None:
            before, self.resource = self.phase, resource
            if news is not None and self.phase != before:
                news(self)

        end = yield from self.client.transport.iterate(on_job.follow(self.client.session, self, tail=tail, seen=seen))
        self.resource = end
