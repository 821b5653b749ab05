"""TrainJobs: list, submit, and the verbs."""

from __future__ import annotations

from ...resources.trainjob import TrainJob
from ..base import TrainJobHandler, authorized, takes
from ..query import AllJobsQuery, DeleteJobQuery, JobsQuery, SubmitQuery
from .resources import KindHandler


class JobHandlerBase(KindHandler):
    """Base of what is about one job."""

    async def job(self, verb: str, namespace: str, name: str) -> TrainJob:
        """The job that the URL means, if one may ``verb`` it; the answer will tell its full name."""
        found = await self.services.records.find(self.identity, verb, TrainJob, namespace, name)
        self.set_header("X-TrainJob-Resolved", found.metadata.name)
        return found

    async def write_job(self, job: TrainJob, *, status: int = 200) -> None:
        """End the request with the job."""
        self.write_json(await self.services.views.one(self.identity, job), status=status)


class AllJobsHandler(JobHandlerBase):
    """Jobs of all namespaces that one may see."""

    @authorized("read")
    @takes(AllJobsQuery)
    async def get(self, query: AllJobsQuery) -> None:
        """A page of them, newest first."""
        self.write_json(await self.services.records.list(self.identity, self.model, query))


class JobsHandler(JobHandlerBase):
    """Jobs of one namespace."""

    @authorized("read")
    @takes(JobsQuery)
    async def get(self, query: JobsQuery, namespace: str) -> None:
        """A page of them, newest first."""
        self.write_json(await self.services.records.list(self.identity, self.model, query, namespace))

    @authorized("write")
    @takes(SubmitQuery)
    async def post(self, query: SubmitQuery, namespace: str) -> None:
        """A new job, or with dryRun what it would be."""
        job = await self.services.submission.submit(self.identity, namespace, self.read_json(), query.dry_run)
        answer = self.dry_answer if query.dry_run else self.new_answer
        await answer(job)

    async def new_answer(self, job: TrainJob) -> None:
        """It is there."""
        self.created(await self.services.views.one(self.identity, job), job.metadata.name)

    async def dry_answer(self, job: TrainJob) -> None:
        """It would be."""
        self.write_json(self.services.views.stored(self.identity, job))


class BatchesHandler(TrainJobHandler):
    """Many jobs at once."""

    @authorized("write")
    async def post(self, namespace: str) -> None:
        """All of them, or none: the points of a sweep, or jobs that may depend on each other."""
        jobs = await self.services.batches.submit(self.identity, namespace, self.read_json())
        sweep = jobs[0].spec.sweep
        items = [{"name": job.metadata.name, "uid": job.metadata.uid} for job in jobs]
        self.write_json({"sweep": sweep.name if sweep is not None else "", "items": items}, status=201)


class InspectHandler(TrainJobHandler):
    """What a job would be, before it is sent."""

    @authorized("write")
    async def post(self) -> None:
        """Language, kernel, the parameters that its code takes, and all that is wrong with it so far."""
        self.write_json(await self.services.submission.inspect(self.identity, self.read_json()))


class JobHandler(JobHandlerBase):
    """One job."""

    @authorized("read")
    async def get(self, namespace: str, name: str) -> None:
        """It, with its position and an estimate while it waits."""
        await self.write_job(await self.job("get", namespace, name))

    @authorized("write")
    async def patch(self, namespace: str, name: str) -> None:
        """It, with other labels, annotations or priority."""
        job = await self.job("update", namespace, name)
        await self.write_job(await self.services.verbs.patch(self.identity, job, self.read_json()))

    @authorized("write")
    @takes(DeleteJobQuery)
    async def delete(self, query: DeleteJobQuery, namespace: str, name: str) -> None:
        """It goes; 202 while it still has to end first."""
        job = await self.job("delete", namespace, name)
        job, gone = await self.services.verbs.delete(self.identity, job, query.propagation)
        await self.write_job(job, status=200 if gone else 202)


class VerbHandler(JobHandlerBase):
    """cancel, hold and release: the job as it is afterwards."""

    @authorized("write")
    async def post(self, namespace: str, name: str, verb: str) -> None:
        """Do it. The body may hold a message."""
        job = await self.job(verb, namespace, name)
        act = getattr(self.services.verbs, verb)  # the URL table lets no other word through
        await self.write_job(await act(self.identity, job, self.read_message()))


class RetryHandler(JobHandlerBase):
    """retry: a new job of the same spec."""

    @authorized("write")
    async def post(self, namespace: str, name: str) -> None:
        """Make it."""
        job = await self.job("retry", namespace, name)
        await self.write_job(await self.services.verbs.retry(self.identity, job, self.read_message()), status=201)


class RerunHandler(JobHandlerBase):
    """rerun: a new job that does what this one did."""

    @authorized("write")
    async def post(self, namespace: str, name: str) -> None:
        """Make it."""
        job = await self.job("retry", namespace, name)
        made = await self.services.verbs.rerun(self.identity, job, self.read_parameters())
        await self.write_job(made, status=201)


class WhyHandler(JobHandlerBase):
    """Why a job does not run yet."""

    @authorized("read")
    async def get(self, namespace: str, name: str) -> None:
        """Its place, what it waits for, and which limit of which queue stands in the way."""
        job = await self.job("why", namespace, name)
        self.write_json(await self.services.views.why(job))
