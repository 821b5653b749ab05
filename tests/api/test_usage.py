"""Use over time, and advice from the runs of the same code."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_trainjob.api import advice
from jupyter_trainjob.api.advice import advise
from jupyter_trainjob.api.services import Services
from jupyter_trainjob.backends.local.samples import Samples
from jupyter_trainjob.resources.trainjob import Phase, TrainJob, Usage
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .conftest import Caller, Run, Submit

MIB = 2**20


def a_run(job: str = "digits-1", reason: str = "Completed", **more: float) -> advice.Run:
    figures = {
        "seconds": 100.0,
        "cpu_seconds": 90.0,
        "peak_memory_bytes": 300 * MIB,
        "cpu_given": 4.0,
        "memory_given": 2048 * MIB,
        **more,
    }
    return advice.Run(job=job, reason=reason, **figures)  # type: ignore[arg-type]


def test_without_a_run_nothing_is_advised() -> None:
    told = advise([])
    assert told["resources"] == {} and told["remarks"] == ["No run of this code has ended yet."]


def test_memory_is_the_highest_peak_and_a_fifth() -> None:
    told = advise([a_run(), a_run(peak_memory_bytes=400 * MIB)])
    assert told["resources"]["memory"] == "512Mi", "480 MiB, in steps of 64"
    assert told["runs"] == 2 and told["used"]["peakMemoryBytes"] == 400 * MIB
    assert told["remarks"] == [f"Up to {2048 * MIB} bytes of memory were asked for and at most {400 * MIB} used."]


def test_cpus_are_those_in_use_and_the_time_has_a_margin() -> None:
    told = advise([a_run(cpu_seconds=130.0)])
    assert told["resources"]["cpu"] == "1.5" and told["timeLimitSeconds"] == 180


def test_a_run_that_kept_its_cpus_busy_may_want_more() -> None:
    told = advise([a_run(cpu_given=1.0, cpu_seconds=99.0)])
    assert told["resources"]["cpu"] == "1"
    assert "digits-1 kept all of its 1 CPUs busy: with more it may be faster." in told["remarks"]


def test_after_an_out_of_memory_twice_is_advised_unless_a_later_run_showed_the_peak() -> None:
    full = a_run("digits-0", "OutOfMemory", memory_given=512 * MIB, peak_memory_bytes=510 * MIB)
    told = advise([full])
    assert told["resources"]["memory"] == "1024Mi"
    assert "digits-0 ran out of memory: the peak it would have reached is not known." in told["remarks"]
    later = advise([full, a_run(peak_memory_bytes=600 * MIB)])
    assert later["resources"]["memory"] == "768Mi" and not any("ran out" in remark for remark in later["remarks"])


def test_a_short_run_says_nothing_on_cpus() -> None:
    told = advise([a_run(seconds=1.0, cpu_seconds=0.2)])
    assert told["resources"]["cpu"] == "4" and told["used"]["cpu"] is None
    assert any("too short to tell how many CPUs" in remark for remark in told["remarks"])


def test_a_run_that_hit_its_time_limit_gets_twice_the_time() -> None:
    told = advise([a_run(reason="TimeLimit", seconds=300.0)])
    assert told["timeLimitSeconds"] == 600
    assert any("hit its time limit" in remark for remark in told["remarks"])


@pytest.mark.parametrize("cores", [0.0, 0.1, 3.9])
def test_the_advice_always_covers_what_was_used(cores: float) -> None:
    told = advise([a_run(cpu_seconds=100 * cores)])
    assert float(told["resources"]["cpu"]) >= min(cores, 4.0) >= told["used"]["cpu"] - 0.01


@pytest.mark.asyncio
async def test_advice_looks_at_ones_own_runs_of_the_same_code(
    alice: Caller, bob: Caller, submit: Submit, run: Run, services: Services
) -> None:
    jobs = [await submit(alice, code=code) for code in ("print(1)", "print(1)  \n", "print(2)")]
    jobs.append(await submit(bob, code="print(1)"))
    for job, mebibytes in zip(jobs, (100, 200, 900, 900), strict=True):
        await run(job)
        await run(job, Phase.SUCCEEDED)
        await used(services, job, mebibytes)
    path = f"/namespaces/alice/trainjobs/{jobs[0]['metadata']['name']}/advice"
    told = (await alice("GET", path, expect=200)).json()
    assert told["runs"] == 2, "the same code but for blanks; not the other code, not the other's job"
    assert told["used"]["peakMemoryBytes"] == 200 * MIB and told["resources"]["memory"] == "256Mi"
    await bob.refused("GET", path, 404)


async def used(services: Services, job: dict[str, Any], mebibytes: int) -> None:
    def write(writer: Any) -> None:
        fresh = writer.by_uid(TrainJob, job["metadata"]["uid"])
        fresh.status.attempts[-1].usage = Usage(cpu_seconds=3, peak_memory_bytes=mebibytes * MIB)
        writer.update(fresh)

    await services.store.awrite(write)


@pytest.mark.asyncio
async def test_use_over_time_comes_with_what_was_asked_for(
    alice: Caller, submit: Submit, run: Run, objects: FilesystemStore
) -> None:
    job = await submit(alice)
    path = f"/namespaces/alice/trainjobs/{job['metadata']['name']}/usage"
    waiting = (await alice("GET", path, expect=200)).json()
    assert waiting["attempt"] is None and waiting["rows"] == [] and waiting["requested"]["memory"] == "1Gi"
    await run(job)
    samples = Samples()
    samples.add((0.5, 0.1, 5 * MIB, 0, 0, 0, 3))
    objects.put(f"jobs/{job['metadata']['uid']}/1/usage.json", samples.to_json("2026-01-01T00:00:00Z"))
    told = (await alice("GET", path, expect=200)).json()
    assert told["rows"] == [[0.5, 0.1, 5 * MIB, 0, 0, 0, 3]] and told["columns"][2] == "memoryBytes"
