"""The URL table."""

from __future__ import annotations

from typing import Any

from ...resources.base import Resource
from ...resources.queue import Queue
from ...resources.registry import KINDS
from ...resources.trainjob import TrainJob
from .. import PREFIX
from ..base import UnknownHandler
from ..status import StatusErrors
from ..stream import ChangesStreamHandler
from . import about, blobs, changes, jobs, logs, outputs, resources, series, usage

JOB = "/namespaces/{namespace}/trainjobs/{name}"

PATTERNS = {
    "{namespace}": r"(?P<namespace>[^/]+)",
    "{name}": r"(?P<name>[^/]+)",
    "{verb}": r"(?P<verb>cancel|hold|release|front|approve|reject)",
    "{turn}": r"(?P<turn>pause|drain|open)",
    "{part}": r"(?P<part>results|files)",
    "{path}": r"(?P<path>.+)",
    "{digest}": r"(?P<digest>[^/]+)",
    "{kind}": r"(?P<kind>[^/]+)",
    "notebook": r"(?P<part>notebook)",
}

Route = tuple[str, type[StatusErrors], dict[str, Any]]


def cluster_routes(model: type[Resource]) -> list[Route]:
    """The routes of a cluster-wide kind."""
    return [
        (f"/{model.PLURAL}", resources.ClusterListHandler, {"model": model}),
        (f"/{model.PLURAL}/{{name}}", resources.ClusterHandler, {"model": model}),
    ]


QUEUE = "/queues/{name}"


ROUTES: list[Route] = [
    ("/me", about.MeHandler, {}),
    ("/trainjobs", jobs.AllJobsHandler, {"model": TrainJob}),
    ("/inspect", jobs.InspectHandler, {}),
    ("/namespaces/{namespace}/trainjobs", jobs.JobsHandler, {"model": TrainJob}),
    ("/namespaces/{namespace}/batches", jobs.BatchesHandler, {}),
    (JOB, jobs.JobHandler, {"model": TrainJob}),
    (f"{JOB}/{{verb}}", jobs.VerbHandler, {"model": TrainJob}),
    (f"{JOB}/retry", jobs.RetryHandler, {"model": TrainJob}),
    (f"{JOB}/rerun", jobs.RerunHandler, {"model": TrainJob}),
    (f"{JOB}/why", jobs.WhyHandler, {"model": TrainJob}),
    (f"{JOB}/metrics", series.PointsHandler, {"model": TrainJob}),
    (f"{JOB}/metrics/series", series.SeriesHandler, {"model": TrainJob}),
    (f"{JOB}/usage", usage.UsageHandler, {"model": TrainJob}),
    (f"{JOB}/advice", usage.AdviceHandler, {"model": TrainJob}),
    (f"{JOB}/log", logs.LogHandler, {"model": TrainJob}),
    (f"{JOB}/log/search", logs.LogSearchHandler, {"model": TrainJob}),
    (f"{JOB}/outputs", outputs.OutputsHandler, {"model": TrainJob}),
    (f"{JOB}/outputs/archive", outputs.ArchiveHandler, {"model": TrainJob}),
    (f"{JOB}/outputs/notebook", outputs.OutputHandler, {"model": TrainJob}),
    (f"{JOB}/outputs/{{part}}/{{path}}", outputs.OutputHandler, {"model": TrainJob}),
    *[route for model in KINDS.values() if not model.NAMESPACED for route in cluster_routes(model)],
    (f"{QUEUE}/{{turn}}", resources.TurnHandler, {"model": Queue}),
    ("/bundles", blobs.BundleHandler, {}),
    ("/bundles/missing", blobs.MissingHandler, {}),
    ("/blobs/{digest}", blobs.BlobHandler, {}),
    ("/changes", changes.ChangesHandler, {}),
    ("/changes/stream", ChangesStreamHandler, {}),
    ("/kernels", about.KernelsHandler, {}),
    ("/schemas", about.SchemasHandler, {}),
    ("/schemas/{kind}", about.SchemaHandler, {}),
    ("/openapi.yaml", about.OpenApiHandler, {}),
    ("/healthz", about.HealthHandler, {}),
    ("/readyz", about.ReadyHandler, {}),
    ("/metrics", about.MetricsHandler, {}),
]


def pattern(route: str) -> str:
    """The regular expression of a route, without the server's base URL."""
    text = route.replace(".", r"\.")
    for word, expression in PATTERNS.items():
        text = text.replace(word, expression)
    return PREFIX + text


def url_specs() -> list[Route]:
    """What Tornado is given: the table, and behind it an answer for all that is not in it."""
    specs: list[Route] = [(pattern(route), handler, {**options, "route": route}) for route, handler, options in ROUTES]
    return [*specs, (PREFIX + r"(?:/.*)?", UnknownHandler, {"route": "unknown"})]


def known_requests() -> list[tuple[str, str, str]]:
    """(route, method, code) that exist in the metrics from the start: each operation's success and failure."""
    return [
        (route, method, code)
        for route, handler, _ in ROUTES
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        if method in handler.methods()
        for code in ("200", "500")
    ]
