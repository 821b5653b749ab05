"""The environments of jobs' requirements on a real cluster: built by a pod of our own, kept on a volume, read-only."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from jupyter_trainjob.backends.base import BackendError, EnvironmentState
from jupyter_trainjob.backends.kubernetes.environments_objects import BUILDING, BUILDS
from jupyter_trainjob.backends.kubernetes.environments_rules import EnvironmentRules
from jupyter_trainjob.resources.names import environment_lock_key, requirements_key
from jupyter_trainjob.resources.trainjob import Requirements
from tests.backends.packages import r_package, sdist, wheel
from tests.images.archives import reference

from .backends import ClusterPlace, bring_image, open_store, settings
from .cluster import Cluster
from .environments import claim, close, listed, serve, until

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.asyncio]

CLAIM = "environments"
BUILDS_LABEL = f"{BUILDS}={BUILDING}"
USES = """
import socket, subprocess, tinylib
print(tinylib.x)
print(subprocess.run(["python", "-c", "import tinylib; print(tinylib.x[:4])"], capture_output=True).stdout)
try: open(tinylib.__file__, "w")
except OSError as error: print(error.strerror)
try: socket.create_connection(({host!r}, 8000), 3)
except OSError as error: print("closed")
"""
ESCAPES = """
import os, socket
TOKEN = "/var/run/secrets/kubernetes.io"
SEEN = [os.path.exists(p) for p in ("/trainjob/environments", "/var/run/trainjob-store", TOKEN)]
SEEN += [[name for name in os.environ if "SECRET" in name or "AWS" in name]]
try: socket.create_connection(("10.88.0.1", 6443), 3); SEEN += ["the API server"]
except OSError: SEEN += ["closed"]
try: os.symlink("/etc", "/trainjob/environment/../../x"); SEEN += ["out"]
except OSError: SEEN += ["in"]
"""


@pytest.fixture
def folder(cluster: Cluster, namespace: str) -> Iterator[Path]:
    with claim(cluster, namespace, CLAIM) as path:
        yield path


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    found = tmp_path / "packages"
    wheel(found, "tinylib", "1.0", "x = 'from the environment'")
    sdist(found, "nosy", ESCAPES)
    return found


@pytest_asyncio.fixture
async def place(
    cluster: Cluster, namespace: str, folder: Path, packages: Path, python_image: None, tmp_path: Path
) -> AsyncIterator[ClusterPlace]:
    close(cluster, namespace)
    rules = EnvironmentRules(
        claim=CLAIM, builds="source", pip=serve(cluster, namespace, packages), cpu="500m", memory="512Mi", disk="300Mi"
    )
    store = open_store(cluster, tmp_path, namespace)
    made = ClusterPlace(store, name="cluster", settings=settings(cluster, namespace, environments=rules))
    await made.start()
    yield made
    await made.clear()


def ask(place: ClusterPlace, text: str, format: Any = "requirements.txt") -> Requirements:
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    place.store.put(requirements_key(digest), text.encode())
    return Requirements(format=format, digest=digest)


async def built(place: ClusterPlace, uid: str, wanted: Requirements, seconds: float = 180) -> EnvironmentState:
    deadline = time.monotonic() + seconds
    while (state := await place.backend.environment(uid, wanted)).state == "building":
        assert time.monotonic() < deadline, state
        await asyncio.sleep(0.3)
    return state


def environment(wanted: Requirements) -> dict[str, Any]:
    return {"requirements": wanted.model_dump(by_alias=True)}


async def test_it_is_built_once_and_jobs_read_it_without_a_network(
    cluster: Cluster, namespace: str, place: ClusterPlace
) -> None:
    wanted = ask(place, "tinylib\n")
    first = await place.backend.environment("u1", wanted)
    assert first.state == "building" and first.since and "pip installs requirements.txt sha256:" in first.message, first
    ready = await built(place, "u1", wanted)
    assert ready.state == "ready", ready
    lock = json.loads(place.store.get(environment_lock_key(ready.lock)))
    assert lock["packages"] == [{"name": "tinylib", "version": "1.0"}]
    assert lock["asked"] == ["tinylib"] and "no-index" not in json.dumps(lock)
    host = place.options["settings"].environments.pip["trusted-host"]
    seen = await place.run(USES.format(host=host), environment=environment(wanted), seconds=120)
    log = (await place.log(seen.ref)).decode()
    assert seen.claims["end"]["outcome"] == "ok", log
    assert log.splitlines() == ["from the environment", r"b'from\n'", "Read-only file system", "closed"]
    same = await place.backend.environment("u2", ask(place, "# of my own\ntinylib  # small\n"))
    assert same == EnvironmentState("ready", lock=ready.lock), "the same content is the same environment"
    assert not listed(cluster, namespace, "jobs", BUILDS_LABEL)
    without = await place.run("import tinylib", seconds=120)
    assert without.claims["end"]["error"]["ename"] == "ModuleNotFoundError"


async def test_a_failure_is_told_with_pips_words_and_its_folder_goes(
    cluster: Cluster, namespace: str, place: ClusterPlace, folder: Path
) -> None:
    wanted = ask(place, "tinylib==9\n")
    failed = await built(place, "u1", wanted)
    assert failed.state == "failed"
    assert "No matching distribution found for tinylib==9" in failed.message, failed.message
    assert "Correct the list and submit it again" in failed.message
    assert (await place.backend.environment("u1", wanted)) == failed, "as long as that job asks"
    again = await place.backend.environment("u2", wanted)
    assert again.state == "building", "one that is sent again builds again"
    assert (await built(place, "u2", wanted)).state == "failed"
    await place.backend.collect_environments([])
    await asyncio.to_thread(until, "the folders of failed builds are gone", lambda: not _folders(cluster, folder))


def _folders(cluster: Cluster, folder: Path) -> list[str]:
    return [name for name in cluster.run(["sh", "-c", f"ls -d {folder}/*/*/* || true"]).stdout.split() if name]


async def test_code_that_is_built_sees_no_credential_and_nothing_of_other_environments(place: ClusterPlace) -> None:
    wanted = ask(place, "nosy\n")
    ready = await built(place, "u1", wanted)
    assert ready.state == "ready", ready
    seen = await place.run("import nosy; print(nosy.SEEN)", environment=environment(wanted), seconds=120)
    assert (await place.log(seen.ref)).decode() == "[False, False, False, [], 'closed', 'in']\n"


async def test_another_server_finds_what_is_built_and_unused_ones_go(
    cluster: Cluster, namespace: str, place: ClusterPlace, folder: Path
) -> None:
    wanted = ask(place, "tinylib\n")
    assert (await place.backend.environment("u1", wanted)).state == "building"
    await place.stop()
    other = ClusterPlace(place.store, **place.options)
    await other.start()
    try:
        ready = await built(other, "u1", wanted)
        assert ready.state == "ready", ready
        assert len(_folders(cluster, folder)) == 1, "nothing was built twice"
        keeping: Any = other.backend._environments
        keeping._settings = settings(
            cluster, namespace, environments=EnvironmentRules(claim=CLAIM, builds="source", days=0.0)
        )
        assert await other.backend.collect_environments([wanted]) == 0, "a job needs it"
        assert await other.backend.collect_environments([]) == 1
        await asyncio.to_thread(until, "its folder is gone", lambda: not _folders(cluster, folder))
    finally:
        await other.stop()
        await place.start()


async def test_what_is_never_built_is_known_at_submit(cluster: Cluster, namespace: str, place: ClusterPlace) -> None:
    for format, text, words in (
        ("ivy", "org.example:a:1\n", "jars are not fetched in a cluster: the images of Scala have no Maven"),
        ("renv.lock", "{}", "the cluster 'cluster' has no image for r"),
    ):
        with pytest.raises(BackendError, match=words) as told:
            await place.backend.check_requirements(format, text)
        assert told.value.permanent and told.value.remedy.startswith("Leave the requirements out, and")
    await place.backend.check_requirements("requirements.txt", "six @ https://a.example/six.zip\n")


@pytest.mark.soak
async def test_packages_of_r_are_built_in_the_image_of_r(
    cluster: Cluster, namespace: str, folder: Path, tmp_path: Path, python_image: None
) -> None:
    bring_image(cluster, "r")
    close(cluster, namespace)
    r_package(tmp_path / "cran", "tiny", "1.2", "hello <- function() 'from R\\'s library'")
    host = serve(cluster, namespace, tmp_path / "cran")["find-links"].rstrip("/")
    rules = EnvironmentRules(claim=CLAIM, builds="source", r_repositories=(host,), cpu="500m", memory="512Mi")
    images = {"python": reference("python"), "r": reference("r")}
    where = settings(cluster, namespace, environments=rules, images=images)
    place = ClusterPlace(open_store(cluster, tmp_path, namespace), name="cluster", settings=where)
    await place.start()
    try:
        lock = json.dumps({"R": {}, "Packages": {"tiny": {"Package": "tiny", "Version": "1.2"}}})
        wanted = ask(place, lock, "renv.lock")
        ready = await built(place, "u1", wanted)
        assert ready.state == "ready", ready
        told = json.loads(place.store.get(environment_lock_key(ready.lock)))
        assert told["packages"] == [{"name": "tiny", "version": "1.2"}] and "R version" in told["R"][0]
        asked = {"language": "r", **environment(wanted)}
        files = {"openFiles": 1024}  # R does not start with fewer
        seen = await place.run("cat(tiny::hello())", environment=asked, resources=files, seconds=180)
        assert (await place.log(seen.ref)).decode().strip() == "from R's library", seen
    finally:
        await place.clear()


@pytest.mark.soak
async def test_one_that_is_gone_from_the_volume_is_built_anew(
    cluster: Cluster, namespace: str, place: ClusterPlace, folder: Path
) -> None:
    wanted = ask(place, "tinylib\n")
    assert (await built(place, "u1", wanted)).state == "ready"
    cluster.run(["sh", "-c", f"rm -rf {folder}/*"])
    await place.stop()
    impatient = replace(place.options["settings"], startup_seconds=10)
    other = ClusterPlace(place.store, **{**place.options, "settings": impatient})
    await other.start()
    try:
        seen = await other.run("import tinylib", environment=environment(wanted), seconds=120)
        assert seen.evidence["limit"] == "BackendError" and "environment" in seen.evidence["message"], seen.evidence
        assert (await other.backend.environment("u2", wanted)).state == "building", seen.evidence
        assert (await built(other, "u2", wanted)).state == "ready"
    finally:
        await other.stop()
        await place.start()
