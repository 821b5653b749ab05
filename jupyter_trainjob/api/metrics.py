"""Prometheus metrics, in a registry of our own.

Names are ``trainjob_<what>_<unit>[_total]``: units are base units (seconds, bytes), counters end in ``_total``.
Labels hold only words that we choose or operators do (routes, methods, codes, phases, queues), never an owner, a
namespace or a job: those are personal and without bound. Label values that are known beforehand exist from the
start with 0, so that a dashboard or an alert is complete before the first failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.registry import Collector

from ..resources.trainjob import Phase

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
"""0.02 and 0.1 are what we promise for lists and for everything else."""


class Metrics:
    """What the API counts, and what it reads from the record when asked."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "trainjob_request_seconds",
            "Time to answer a request, without the time that it asked to wait for news.",
            ["route", "method", "code"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._jobs = Gauge(
            "trainjob_jobs", "Jobs in the record, by phase and queue.", ["phase", "queue"], registry=self.registry
        )
        self.subscribers = Gauge("trainjob_feed_subscribers", "Open streams of changes.", registry=self.registry)
        self.log_bytes = Counter(
            "trainjob_log_served_bytes", "Bytes of logs that were sent to clients.", registry=self.registry
        )
        self.output_bytes = Counter(
            "trainjob_output_served_bytes", "Bytes of outputs that were sent to clients.", registry=self.registry
        )
        self.upload_bytes = Counter(
            "trainjob_upload_received_bytes", "Bytes of uploads that were received.", registry=self.registry
        )

    def expect(self, requests: Iterable[tuple[str, str, str]]) -> None:
        """Make the (route, method, code) that are known beforehand."""
        for route, method, code in requests:
            self._seconds.labels(route, method, code)

    def request(self, route: str, method: str, code: int, seconds: float) -> None:
        """One request was answered."""
        self._seconds.labels(route, method, str(code)).observe(seconds)

    def jobs(self, counts: Mapping[str, Mapping[Phase, int]]) -> None:
        """What the record says now: queue → phase → jobs. Queues that are gone are forgotten."""
        self._jobs.clear()
        for queue, phases in counts.items():
            for phase in Phase:
                self._jobs.labels(phase.value, queue).set(phases.get(phase, 0))

    def collected(self) -> Collected:
        """What everything that counts says now. Asked on the event loop, where what it reads is changed."""
        return Collected(self.registry.collect())


class Collected(Collector):
    """Families of one moment, which may be written out in another thread."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """They."""
        return self._families

    def text(self) -> bytes:
        """The exposition, in :data:`CONTENT_TYPE`."""
        return generate_latest(self)
