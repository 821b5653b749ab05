"""``/me``, schemas, the document, health and metrics."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from jupyter_trainjob.api.services import Services
from jupyter_trainjob.controllers.source import SnapshotSource
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .conftest import Caller, Run, Server, Submit, cell

pytestmark = pytest.mark.asyncio


async def test_me_tells_who_where_what_and_how_much(instructor: Caller, submit: Submit) -> None:
    await submit(instructor)
    me = (await instructor("GET", "/me", expect=200)).json()
    assert me["username"] == "ines"
    assert me["operator"] is False
    assert me["namespaces"] == [{"name": "ines", "role": "own"}, {"name": "ml101", "role": "instructor"}]
    assert {"kind": "TrainJob", "namespace": "ml101"}.items() <= next(
        item.items() for item in me["permissions"] if item.get("namespace") == "ml101"
    )
    assert me["use"] == [{"queue": "default", "runningJobs": 0, "queuedJobs": 1, "cpu": "0", "memory": "0", "gpu": 0}]
    assert me["limits"]["queues"][0]["queuedJobs"] == 1000
    assert me["storedBytes"] == 0


async def test_schemas_are_the_models(alice: Caller) -> None:
    kinds = (await alice("GET", "/schemas", expect=200)).json()["kinds"]
    assert kinds == ["Profile", "Queue", "TrainJob"]
    for kind in kinds:
        Draft202012Validator.check_schema((await alice("GET", f"/schemas/{kind}", expect=200)).json())
    schema = (await alice("GET", "/schemas/TrainJob")).json()
    Draft202012Validator(schema).validate({**cell(), "kind": "TrainJob"})
    assert "TrainJob, Queue, Profile" in (await alice.refused("GET", "/schemas/Pod", 404))["remedy"]


async def test_the_document_is_served(alice: Caller) -> None:
    response = await alice("GET", "/openapi.yaml", expect=200)
    assert yaml.safe_load(response.text)["openapi"].startswith("3.1")


async def test_health_is_told_to_anybody(nobody: Caller) -> None:
    assert (await nobody("GET", "/healthz", expect=200)).json() == {"status": "ok"}
    ready = (await nobody("GET", "/readyz", expect=200)).json()
    assert ready["ready"] is True
    assert set(ready["checks"]) == {"store", "objects"}


async def test_a_full_disk_and_a_lost_controller_are_not_ready(
    nobody: Caller, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def controller() -> dict[str, Any]:
        return {"ok": True, "message": "leads", "leader": True}

    async def hangs() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"ok": True, "message": ""}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jupyter_trainjob.api.about.CHECK_SECONDS", 0.2)
    monkeypatch.setattr(FilesystemStore, "put", full)
    server.services.checks = {"controller": controller, "backends": hangs}
    checks = (await nobody("GET", "/readyz", expect=503)).json()["checks"]
    assert checks["controller"]["leader"] is True
    assert "No space left" in checks["objects"]["message"]
    assert checks["backends"]["message"].startswith("No answer within")


async def test_metrics_are_complete_before_the_first_failure(
    operator: Caller, alice: Caller, submit: Submit, run: Run
) -> None:
    await alice.refused("GET", "/metrics", 403)
    await submit(alice)
    job = await submit(alice)
    await run(job)
    text = (await operator("GET", "/metrics", expect=200)).text
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["trainjob_jobs", ("phase", "Queued"), ("queue", "default")] == 1
    assert samples["trainjob_jobs", ("phase", "Running"), ("queue", "default")] == 1
    assert samples["trainjob_jobs", ("phase", "Failed"), ("queue", "default")] == 0
    route = ("route", "/namespaces/{namespace}/trainjobs")
    count = "trainjob_request_seconds_count"
    assert samples[count, ("code", "201"), ("method", "POST"), route] == 2
    assert samples[count, ("code", "500"), ("method", "POST"), route] == 0
    assert samples["trainjob_feed_subscribers",] == 0
    assert "alice" not in text
    assert job["metadata"]["name"] not in text
    for name in {sample[0] for sample in samples}:
        assert re.match(r"trainjob_[a-z_]+\Z", name)


async def test_what_is_counted_is_read_where_it_is_changed(operator: Caller, server: Server) -> None:
    seen: list[object] = []

    class Backends(Collector):
        def collect(self) -> Iterator[Metric]:
            with suppress(RuntimeError):  # none runs in another thread
                seen.append(asyncio.get_running_loop())
            return iter((GaugeMetricFamily("trainjob_seen", "That it was asked.", len(seen)),))

    server.services.metrics.registry.register(Backends())
    before = len(seen)
    assert f"trainjob_seen {before + 1}.0" in (await operator("GET", "/metrics", expect=200)).text
    assert seen[before:] == [asyncio.get_running_loop()]


async def test_waiting_as_asked_is_not_counted_as_slow(operator: Caller, submit: Submit) -> None:
    job = await submit(operator)
    await operator("GET", f"/namespaces/olga/trainjobs/{job['metadata']['name']}/log?wait=1.2", expect=200)
    text = (await operator("GET", "/metrics")).text
    line = next(
        line
        for line in text.splitlines()
        if line.startswith("trainjob_request_seconds_bucket")
        and "/log" in line
        and 'code="200"' in line
        and 'le="1.0"' in line
    )
    assert line.endswith(" 1.0")


async def test_what_nobody_knows_is_one_route_and_one_method(operator: Caller) -> None:
    for method in ("BREW", "TRACE"):
        await operator.http.request(method, "/me")
    for number in range(5):
        await operator.refused("GET", f"/nothing/{number}", 404)
    text = (await operator("GET", "/metrics")).text
    assert "BREW" not in text
    assert "nothing" not in text
    assert 'route="unknown"' in text


async def test_any_number_of_waiting_jobs_is_told_as_no_bound(operator: Caller, alice: Caller) -> None:
    body = {"metadata": {"name": "wide"}, "spec": {"queuedPerUser": None}}
    await operator("POST", "/queues", json=body, expect=201)
    queues = (await alice("GET", "/me", expect=200)).json()["limits"]["queues"]
    assert {one["queue"]: one["queuedJobs"] for one in queues} == {"default": 1000, "wide": None}


async def test_what_all_queues_use_is_one_look_at_the_record(
    operator: Caller, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        await operator("POST", "/queues", json={"metadata": {"name": name}}, expect=201)
    looks: list[Any] = []
    take = SnapshotSource.take

    async def counted(self: SnapshotSource) -> Any:
        looks.append(self)
        return await take(self)

    monkeypatch.setattr(SnapshotSource, "take", counted)
    for path in ("/me", "/queues"):
        await operator("GET", path, expect=200)
        assert len(looks) == 1
        looks.clear()
