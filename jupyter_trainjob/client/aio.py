"""The face on an event loop: :class:`AsyncClient` and :class:`AsyncJob`. The same verbs, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from . import jobs as on_job
from . import ops, submit, sweeps
from .base import ClientBase, like
from .effects import Steps
from .ops import Json
from .session import Session
from .sweeps import SweepView
from .transport import AsyncTransport
from .view import JobView

P = ParamSpec("P")
T = TypeVar("T")


def _async(
    op: Callable[Concatenate[Session, P], Steps[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    @like(op, 1)
    async def verb(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.transport.run(op(self.session, *args, **kwargs))

    return verb


def _async_job(
    op: Callable[Concatenate[Session, P], Steps[Json]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, AsyncJob]]:
    @like(op, 1)
    async def verb(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncJob:
        return AsyncJob(self, await self.transport.run(op(self.session, *args, **kwargs)))

    return verb


def _async_jobs(
    op: Callable[Concatenate[Session, P], Steps[list[Json]]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, list[AsyncJob]]]:
    @like(op, 1)
    async def verb(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> list[AsyncJob]:
        return [AsyncJob(self, item) for item in await self.transport.run(op(self.session, *args, **kwargs))]

    return verb


def _async_sweep(
    op: Callable[Concatenate[Session, P], Steps[Json]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, AsyncSweep]]:
    @like(op, 1)
    async def verb(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncSweep:
        return AsyncSweep(self, await self.transport.run(op(self.session, *args, **kwargs)))

    return verb


class AsyncClient(ClientBase):
    """The same as :class:`Client` on an event loop: every verb is awaited."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.transport = AsyncTransport()

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    me = _async(ops.me)
    job = _async_job(ops.get_job)
    jobs = _async_jobs(ops.list_jobs)
    submit_cell = _async_job(submit.submit_cell)
    submit_notebook = _async_job(submit.submit_notebook)
    submit_notebook_bytes = _async_job(submit.submit_notebook_bytes)
    submit_script = _async_job(submit.submit_script)
    submit_folder = _async_job(submit.submit_folder)
    sweep = _async_sweep(sweeps.find)
    sweep_cell = _async_sweep(sweeps.sweep_cell)
    sweep_notebook = _async_sweep(sweeps.sweep_notebook)
    sweep_script = _async_sweep(sweeps.sweep_script)
    sweep_folder = _async_sweep(sweeps.sweep_folder)
    create = _async_job(ops.create_job)
    cancel_all = _async_jobs(on_job.cancel_all)
    things = _async(ops.list_things)
    thing = _async(ops.get_thing)
    put_thing = _async(ops.put_thing)
    delete_thing = _async(ops.delete_thing)
    turn_queue = _async(ops.turn_queue)
    upload_file = _async(ops.upload_file)
    upload_bytes = _async(ops.upload_bytes)
    changes = _async(ops.changes)
    inspect = _async(ops.inspect)
    language = _async(submit.language)
    kernels = _async(ops.kernels)

    async def queues(self) -> list[Json]:
        """All queues that one may see, with their use."""
        return await self.things("queues")

    async def profiles(self) -> list[Json]:
        """All profiles."""
        return await self.things("profiles")


def _of_async_job(
    op: Callable[Concatenate[Session, JobView, P], Steps[T]],
) -> Callable[Concatenate[AsyncJob, P], Coroutine[Any, Any, T]]:
    @like(op, 2)
    async def verb(self: AsyncJob, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.client.transport.run(op(self.client.session, self, *args, **kwargs))

    return verb


def _updates_async(
    op: Callable[Concatenate[Session, JobView, P], Steps[Json]],
) -> Callable[Concatenate[AsyncJob, P], Coroutine[Any, Any, AsyncJob]]:
    @like(op, 2)
    async def verb(self: AsyncJob, /, *args: P.args, **kwargs: P.kwargs) -> AsyncJob:
        self.resource = await self.client.transport.run(op(self.client.session, self, *args, **kwargs))
        return self

    return verb


class AsyncJob(JobView):
    """A job of an :class:`AsyncClient`."""

    def __init__(self, client: AsyncClient, resource: Mapping[str, Any]) -> None:
        super().__init__(resource)
        self.client = client

    address = _of_async_job(on_job.address)
    refresh = _updates_async(on_job.refresh)
    cancel = _updates_async(on_job.cancel)
    hold = _updates_async(on_job.hold)
    release = _updates_async(on_job.release)
    front = _updates_async(on_job.front)
    approve = _updates_async(on_job.approve)
    reject = _updates_async(on_job.reject)
    patch = _updates_async(on_job.patch)
    delete = _of_async_job(on_job.delete)
    why = _of_async_job(on_job.why)
    outputs = _of_async_job(on_job.outputs)
    results = _of_async_job(on_job.list_results)
    result = _of_async_job(on_job.result)
    files = _of_async_job(on_job.files)
    download = _of_async_job(on_job.fetch)
    download_all = _of_async_job(on_job.fetch_all)
    notebook = _of_async_job(on_job.notebook)
    metrics = _of_async_job(on_job.metrics)
    metric_series = _of_async_job(on_job.metric_series)
    usage = _of_async_job(on_job.usage)
    advice = _of_async_job(on_job.advice)
    save_archive = _of_async_job(on_job.save_archive)
    all_files = _of_async_job(on_job.all_files)
    logs = _of_async_job(on_job.log)

    async def wait(self, timeout: float | None = None, *, check: bool = False) -> AsyncJob:
        """Come back when it is final; see :func:`.jobs.wait`."""
        self.resource = await self.client.transport.run(on_job.wait(self.client.session, self, timeout))
        if check:
            on_job.raise_unless_succeeded(self)
        return self

    async def retry(self, message: str = "") -> AsyncJob:
        """Submit the same once more, as a new job, which is returned."""
        return AsyncJob(self.client, await self.client.transport.run(on_job.retry(self.client.session, self, message)))

    async def rerun(self, parameters: Mapping[str, Any] | None = None) -> AsyncJob:
        """A new job that does what this one did, as recorded; see :func:`.jobs.rerun`."""
        run = self.client.transport.run
        return AsyncJob(self.client, await run(on_job.rerun(self.client.session, self, parameters)))

    async def metric_points(self, *, attempt: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """The points ``{name, step, value, time}`` one by one as they are read: for more than memory holds."""
        steps = on_job.metric_points(self.client.session, self, attempt=attempt)
        async for piece in self.client.transport.iterate(steps):
            for point in piece:
                yield point

    def follow(self, *, tail: int | None = None) -> AsyncIterator[str]:
        """The log in pieces until the job is final."""
        return self.client.transport.iterate(on_job.follow(self.client.session, self, tail=tail))


class AsyncSweep(SweepView):
    """The jobs of a sweep of an :class:`AsyncClient` as they were last read; :meth:`refresh` reads again."""

    def __init__(self, client: AsyncClient, made: Mapping[str, Any]) -> None:
        super().__init__(made)
        self.client = client

    async def _run(self, op: Callable[..., Steps[Any]], *args: Any) -> Any:
        return await self.client.transport.run(op(self.client.session, self, *args))

    async def refresh(self) -> AsyncSweep:
        """Read all of its jobs."""
        await self._run(sweeps.refresh)
        return self

    async def jobs(self) -> list[AsyncJob]:
        """Its jobs, in the order of the points."""
        if not self.resources:
            await self.refresh()
        return [AsyncJob(self.client, resource) for resource in self.resources]

    async def wait(self, timeout: float | None = None, *, progress: bool | None = None) -> AsyncSweep:
        """Come back when all have ended; see :meth:`.Sweep.wait`."""
        await self._run(sweeps.wait, timeout, progress)
        return self

    async def cancel(self, message: str = "") -> AsyncSweep:
        """Stop all that have not ended."""
        await self._run(sweeps.cancel, message)
        return self

    async def rows(self) -> list[Json]:
        """A row for each job: ``{job, parameters…, state, reason, seconds, metrics…}``."""
        found: list[Json] = await self._run(sweeps.table)
        return found

    async def results(self) -> Any:
        """The same as a DataFrame."""
        return sweeps.frame_of(await self.rows())
