"""What the controllers count. The naming rule is that of ``api/metrics.py``; owners are never a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..backends.base import Backend, BackendError
from ..resources.trainjob import Reason, TrainJob

WAIT_BUCKETS = (0.05, 0.25, 1, 5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)
RUN_BUCKETS = (0.5, 2, 10, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600)


class ControllerMetrics:
    """Counters of one server's controllers; a follower's stay at 0."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.leading = Gauge("trainjob_controller_leading", "1 where the controllers run here.", registry=registry)
        self.attempts = Counter(
            "trainjob_attempts_ended", "Attempts that ended, by reason.", ["reason"], registry=registry
        )
        for reason in Reason:
            self.attempts.labels(reason.value)
        self.wait = Histogram(
            "trainjob_queue_wait_seconds", "From queueing to admission.", buckets=WAIT_BUCKETS, registry=registry
        )
        self.run = Histogram(
            "trainjob_run_seconds", "From the start of the code to its end.", buckets=RUN_BUCKETS, registry=registry
        )
        self.passes = Counter(
            "trainjob_admission_passes", "Admission passes, by outcome.", ["outcome"], registry=registry
        )
        for outcome in ("nothing", "admitted", "outdated"):
            self.passes.labels(outcome)
        self.failures = Counter(
            "trainjob_reconcile_failures", "Steps of a controller that raised and are tried again.", registry=registry
        )

    def admitted(self, job: TrainJob, now: datetime) -> None:
        """A job left the queue."""
        since = job.status.queued or job.metadata.creation_timestamp
        if since is not None:
            self.wait.observe(max(0.0, (now - since).total_seconds()))

    def ended(self, job: TrainJob) -> None:
        """The latest attempt of a job ended."""
        attempt = job.status.attempt
        if attempt is None or attempt.reason is None:
            return
        self.attempts.labels(attempt.reason.value).inc()
        if attempt.start is not None and attempt.end is not None:
            self.run.observe(max(0.0, (attempt.end - attempt.start).total_seconds()))


class BackendCollector(Collector):
    """What backends tell of their dealings with a cluster, read from them when somebody asks."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends

    def describe(self) -> Iterator[Metric]:
        """The families, without asking anybody."""
        return iter(_families())

    def collect(self) -> Iterator[Metric]:
        """The families with a sample of each backend that has a cluster and was started."""
        requests, lag, slots, starts = _families()
        for name, backend in self._backends.items():
            try:
                told = backend.describe()
            except BackendError:  # not started
                continue
            if "requests" in told:
                requests.add_metric([name], told["requests"])
                lag.add_metric([name], told["lagSeconds"])
            for profile, warm in told.get("warm", {}).items():
                for state in ("size", "warm", "warming"):
                    slots.add_metric([name, profile, state], warm[state])
                for start, count in (("warm", warm["claimed"]), ("cold", warm["missed"])):
                    starts.add_metric([name, profile, start], count)
        return iter((requests, lag, slots, starts))


def _families() -> tuple[CounterMetricFamily, GaugeMetricFamily, GaugeMetricFamily, CounterMetricFamily]:
    return (
        CounterMetricFamily(
            "trainjob_backend_requests", "Requests that a backend sent to its cluster.", labels=["backend"]
        ),
        GaugeMetricFamily(
            "trainjob_backend_watch_lag_seconds",
            "How late the cluster's news of the backend's own writes came: 99 of 100 of the latest came sooner.",
            labels=["backend"],
        ),
        GaugeMetricFamily(
            "trainjob_warm_slots",
            "Kernels that wait for a job: how many there are to be (size), wait (warm), are on their way (warming).",
            labels=["backend", "profile", "state"],
        ),
        CounterMetricFamily(
            "trainjob_pool_starts",
            "Starts of jobs of profiles that are kept warm, in a kernel that waited (warm) and without one (cold).",
            labels=["backend", "profile", "start"],
        ),
    )
