"""A course's own image on a real cluster: allowed, run with our runner beside it, recorded by its digest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import BackendError
from jupyter_trainjob.resources.profile import Profile
from tests.backends.place import a_request
from tests.images.archives import reference

from .backends import ClusterPlace, bring_image, open_store, settings
from .cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.asyncio]

LAB, MISSING = "localhost/course/lab:2026", "localhost/course/missing:1"


@pytest.fixture(scope="module")
def lab(cluster: Cluster) -> None:
    """An image with a kernel, under a name that is none of ours: what it holds of our runner counts for nothing."""
    bring_image(cluster)
    cluster.run([*cluster._ctr, "images", "tag", "--force", reference("python"), LAB])


@pytest_asyncio.fixture
async def place(cluster: Cluster, namespace: str, lab: None, tmp_path: Path) -> AsyncIterator[ClusterPlace]:
    where = settings(cluster, namespace, allowed_images=("localhost/course/",))
    made = ClusterPlace(open_store(cluster, tmp_path, namespace), name="cluster", settings=where)
    await made.start()
    yield made
    await made.clear()


async def test_code_runs_in_the_image_that_the_job_chose(place: ClusterPlace) -> None:
    ref = await place.begin("import sys\nprint(sys.executable)\nx = 1", environment={"image": LAB})
    job = place.backend._jobs.objects[ref.name]
    seen = await place.until(ref, "ended", seconds=180)
    assert seen.claims["end"]["outcome"] == "ok", seen
    assert (await place.log(ref)).decode().startswith("/opt/venv/bin/python")
    assert "sha256:" in seen.image_digest, "what it ran in is recorded"
    assert job["metadata"]["name"] == ref.name


async def test_what_is_not_allowed_or_not_there_is_told(place: ClusterPlace) -> None:
    assert place.backend.offers() == {"image", "volumes", "network:loopback"}
    request = a_request("u1", "1", environment={"image": "docker.io/evil/miner:1"})
    (found,) = await place.backend.check(request.job, Profile.model_validate({"metadata": {"name": "p"}}))
    assert found.field == "spec.environment.image" and found.message.endswith("allows: localhost/course/")
    with pytest.raises(BackendError, match=r"The image 'docker.io/evil/miner:1' is not among those") as told:
        await place.backend.create(request)
    assert told.value.permanent
    seen = await place.run("1", environment={"image": MISSING}, seconds=120)
    assert seen.evidence["limit"] == "ImageError"
    assert seen.evidence["message"].startswith(f"The image {MISSING} is not on the node")
