"""A job of Kueue's on a real API server that has no Kueue: it waits, says so, and costs nothing meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jupyter_trainjob.backends.base import BackendError

from .test_backend_api import Place, a_job, place  # noqa: F401 - the fixture

pytestmark = pytest.mark.asyncio


async def test_a_cluster_without_kueue_is_told_when_a_queue_is_made(place: Place) -> None:  # noqa: F811
    with pytest.raises(BackendError, match=r"^Kueue is not installed in the cluster\. Install it, or leave") as told:
        await place.backend.check_kueue("jobs", [])
    assert told.value.permanent
    place.fault("GET", "/apis/kueue.x-k8s.io", status=503, times=100)
    with pytest.raises(BackendError) as unknown:
        await place.backend.check_kueue("jobs", [])
    assert not unknown.value.permanent


async def test_a_job_that_nobody_admits_waits_says_so_and_can_be_cancelled(place: Place) -> None:  # noqa: F811
    request = replace(a_job(), local_queue="jobs")
    await place.backend.create(request)
    assert (await place.backend.observe(request.ref)).state == "queued"
    assert not place.backend._follower.wanted(request.ref), "its state is not looked for in the store"
    told = (await place.backend.places([request.ref]))[request.ref]
    assert told.position is None
    assert told.message == (
        "Kueue (LocalQueue jobs): Kueue is not installed in the cluster, or can't be asked, so nothing admits it"
    )
    before = place.backend.describe()["requests"]
    for _ in range(20):
        await place.backend.places([request.ref])
        await place.backend.observe(request.ref)
    assert place.backend.describe()["requests"] - before <= 2, "who looks often asks the cluster seldom"

    backend = await place.again()
    assert (await backend.observe(request.ref)).state == "queued"
    await backend.cancel(request.ref, "wrong data")
    made = (await backend._api.request("GET", f"/apis/batch/v1/namespaces/default/jobs/{request.ref.name}")).body
    assert (made["spec"]["suspend"], made["spec"]["parallelism"]) == (True, 0)

    async def over() -> bool:
        return (await backend.observe(request.ref)).state == "ended"

    await place.until(over)
    assert (await backend.observe(request.ref)).evidence["cancelled"] == "wrong data"
