"""Volumes of a profile on a real cluster: the profile's folder, one's own, and nothing a link could lead to."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import Observation
from jupyter_trainjob.resources.profile import Profile
from tests.backends.place import a_request

from . import objects
from .backends import ClusterPlace, open_store, settings
from .cluster import Cluster
from .environments import claim

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.asyncio]

VOLUMES = [
    {"name": "data", "claim": "course", "subPath": "sets"},
    {"name": "home", "claim": "course", "subPath": "homes/{owner}", "writable": True},
]
READS_AND_WRITES = """
import os
print(open("/mnt/data/x").read(), sorted(os.listdir("/mnt/data")), sorted(os.listdir("/mnt/me")))
for path in ("/mnt/data/y", "/mnt/old/y"):
    try: open(path, "w")
    except OSError as error: print(error.strerror)
open("/mnt/me/new", "w").write("mine")
print(open("/mnt/old/new").read())
"""
LEAVES_LINKS = """
import os
for name, target in (("next", "../bob"), ("above", "../.."), ("sets", "../../sets"), ("root", "/")):
    os.symlink(target, f"/mnt/home/{name}")
for change in (lambda: os.rmdir("/mnt/home"), lambda: os.rename("/mnt/home", "/mnt/other"),
               lambda: os.symlink("/", "/mnt/home/../ada")):
    try: change()
    except OSError as error: print(type(error).__name__)
"""
FOLLOWS_LINKS = """
import os
for path in ("next/secret", "above/homes/bob/secret", "sets/x", "root/run/volumes"):
    try: print(open(f"/mnt/home/{path}").read())
    except OSError as error: print(error.strerror)
print(sorted(os.listdir("/mnt")))
"""


@pytest.fixture
def folder(cluster: Cluster, namespace: str) -> Iterator[Path]:
    with claim(cluster, namespace, "course") as path:
        for name, text in (("sets/x", "a set"), ("homes/ada/old", "hers"), ("homes/bob/secret", "his"), ("top", "no")):
            cluster.run(["mkdir", "-p", (path / name).parent])
            cluster.run(["tee", path / name], stdin=text)
        cluster.run(["chmod", "-R", "a+rwX", path])
        yield path


@pytest_asyncio.fixture
async def place(
    cluster: Cluster, namespace: str, folder: Path, python_image: None, tmp_path: Path
) -> AsyncIterator[ClusterPlace]:
    made = ClusterPlace(open_store(cluster, tmp_path, namespace), name="cluster", settings=settings(cluster, namespace))
    await made.start()
    yield made
    await made.clear()


async def run(place: ClusterPlace, owner: str, code: str, *volumes: dict[str, Any]) -> tuple[Observation, list[str]]:
    request = a_request(uuid.uuid4().hex, code, volumes=list(volumes))
    request.job.metadata.owner = owner
    profile = Profile.model_validate({"metadata": {"name": "lab"}, "spec": {"volumes": VOLUMES}})
    await place.backend.create(replace(request, profile=profile))
    seen = await place.until(request.ref, "ended", seconds=120)
    assert (seen.claims.get("end") or {}).get("outcome") == "ok", (seen, await place.log(request.ref))
    return seen, (await place.log(request.ref)).decode().splitlines()


async def test_a_job_sees_the_profiles_folder_and_writes_where_it_may(
    cluster: Cluster, place: ClusterPlace, folder: Path
) -> None:
    mine = {"name": "home", "mountPath": "/mnt/me", "readOnly": False}
    _, log = await run(
        place, "ada", READS_AND_WRITES, {"name": "data"}, mine, {"name": "home", "mountPath": "/mnt/old"}
    )
    read_only = "Read-only file system"
    assert log == ["a set ['x'] ['old']", read_only, read_only, "mine"]
    assert cluster.run(["cat", folder / "homes/ada/new"]).stdout == "mine"


async def test_links_that_a_job_leaves_lead_no_later_job_out_of_its_folder(
    cluster: Cluster, namespace: str, place: ClusterPlace, folder: Path
) -> None:
    home = {"name": "home", "readOnly": False}
    _, log = await run(place, "ada", LEAVES_LINKS, home)
    assert len(log) == 3, f"its folder itself can't be changed: {log}"
    assert cluster.run(["readlink", folder / "homes/ada/next"]).stdout.strip() == "../bob"
    _, log = await run(place, "ada", FOLLOWS_LINKS, home)
    assert log == ["No such file or directory"] * 4 + ["['home']"]
    # Why no job may name a folder inside of a volume: the node follows such a link, as far as it stays in the volume.
    spec = objects.pod_spec(["cat", "/seen/secret"], cluster.python_image, cluster.pull_policy)
    spec["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/seen", "subPath": "homes/ada/next"}]
    spec["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "course"}}]
    pod = objects.pod("follows", spec)
    pod["metadata"]["namespace"] = namespace
    cluster.apply(pod)
    phase = "--for=jsonpath={.status.phase}=Succeeded"
    cluster.kubectl("-n", namespace, "wait", phase, "pod/follows", "--timeout=90s")
    assert cluster.kubectl("-n", namespace, "logs", "follows") == "his"
