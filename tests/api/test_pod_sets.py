"""Jobs of several pods: refused where no backend runs them, and where their pods could never all fit."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from jupyter_trainjob.api import submission
from jupyter_trainjob.api.limits import refusals
from jupyter_trainjob.api.services import Services
from jupyter_trainjob.backends.base import NodeCapacity
from jupyter_trainjob.resources.quantity import byte_count

from .conftest import Caller, OneBackend, cell
from .test_submission import fields

pytestmark = pytest.mark.asyncio


class Gangs(OneBackend):
    """Runs jobs of several pods, on nodes of so many CPUs."""

    def __init__(self, *cpus: int) -> None:
        super().__init__()
        self.nodes = [NodeCapacity(f"n{index}", cpu * 1000, byte_count("16Gi")) for index, cpu in enumerate(cpus)]

    def offers(self, backend: str) -> frozenset[str]:
        return frozenset({"podSets"})

    async def check_job(self, *what: Any) -> list[Any]:
        return []


def gang(count: int, cpu: str, **spec: Any) -> dict[str, Any]:
    return cell(podSets=[{"name": "workers", "count": count, "resources": {"cpu": cpu}}], **spec)


async def test_no_backend_of_today_runs_them(alice: Caller) -> None:
    found = await fields(alice, gang(2, "1"))
    assert found["spec.podSets"] == {
        "field": "spec.podSets",
        "message": "the job has 2 pods, and the queue 'default' runs each job in one",
        "value": "2 pods",
        "remedy": "Leave spec.podSets out. No queue here has jobs of several pods.",
    }
    await alice("POST", "/namespaces/alice/trainjobs", json=gang(1, "1"), expect=201)


async def test_pods_that_never_fit_one_by_one(alice: Caller, services: Services, operator: Caller) -> None:
    services.submission._backends = Gangs(4, 4)
    await alice("POST", "/namespaces/alice/trainjobs", json=gang(2, "4"), expect=201)
    for count, cpu in ((1, "8"), (3, "3"), (9, "1")):
        found = await fields(alice, gang(count, cpu))
        pods = "1 pod" if count == 1 else f"{count} pods"
        cpus = "1 CPU" if cpu == "1" else f"{cpu} CPUs"
        message = found["spec.podSets"]["message"]
        assert message.startswith(f"{pods} of {cpus} and ")
        assert message.endswith(" do not fit on the 2 machines of 'local' one by one, even if nothing else runs")


async def test_limits_are_of_all_pods_together(alice: Caller, services: Services, operator: Caller) -> None:
    services.submission._backends = Gangs(64)
    body = {"metadata": {"name": "few"}, "spec": {"limits": {"cpu": "6"}}}
    await operator("POST", "/queues", json=body, expect=201)
    found = await fields(alice, gang(4, "2", queue="few"))
    assert found["spec.resources.cpu"]["message"].startswith("8 CPUs is more than the queue 'few' has")
    await alice("POST", "/namespaces/alice/trainjobs", json=gang(3, "2", queue="few"), expect=201)


async def test_names_are_their_own(alice: Caller) -> None:
    body = cell(podSets=[{"name": "a"}, {"name": "a"}])
    assert "two pod sets are called 'a'" in (await fields(alice, body))["spec.podSets"]["message"]


def kinds(number: int, count: int, cpu: str) -> dict[str, Any]:
    sets = [
        {"name": f"k{index}", "count": count, "resources": {"cpu": cpu, "memory": f"{index + 1}Mi"}}
        for index in range(number)
    ]
    return cell(podSets=sets)


async def test_what_is_not_decided_in_so_many_steps_is_not_refused(
    alice: Caller, services: Services, operator: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node takes one pod: 64 on 63 nodes do not fit, which only a longer search than anybody waits for shows."""
    services.submission._backends = Gangs(*[5] * 63)
    threads = []

    def looked(*what: Any) -> Any:
        threads.append(threading.current_thread())
        return refusals(*what)

    monkeypatch.setattr(submission, "refusals", looked)
    await alice("POST", "/namespaces/alice/trainjobs?dryRun=true", json=kinds(8, 8, "3"), expect=200)
    assert threads and threading.main_thread() not in threads, "others are answered meanwhile"


async def test_so_many_kinds_of_pods_and_no_more(alice: Caller) -> None:
    found = await fields(alice, kinds(9, 1, "1"))
    assert found["spec.podSets"]["message"] == "it has 9 entries, the limit is 8"
