"""Jobs in an environment of their own, on the local backend with real kernels."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import time
from pathlib import Path

import pytest

from jupyter_trainjob.backends.base import BackendError, EnvironmentState
from jupyter_trainjob.backends.local.environments.cache import Keeping
from jupyter_trainjob.backends.local.environments.recipes import Site
from jupyter_trainjob.resources.names import requirements_key
from jupyter_trainjob.resources.trainjob import Requirements
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .conftest import LEVELS, MakePlace
from .packages import wheel
from .place import Place


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir(mode=0o755)
    return folder


def keeping(wheels: Path) -> Keeping:
    return Keeping(Site(pip={"no-index": "true", "find-links": str(wheels)}))


def ask(store: FilesystemStore, text: str) -> Requirements:
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    store.put(requirements_key(digest), text.encode())
    return Requirements(format="requirements.txt", digest=digest)


async def until_built(place: Place, uid: str, requirements: Requirements, seconds: float = 60) -> EnvironmentState:
    deadline = time.monotonic() + seconds
    while (state := await place.backend.environment(uid, requirements)).state == "building":
        assert time.monotonic() < deadline, state
        await asyncio.sleep(0.05)
    return state


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_kernel_has_the_packages_and_the_job_can_not_change_them(
    make_place: MakePlace, store: FilesystemStore, wheels: Path, level: str
) -> None:
    wheel(wheels, "tinylib", "1.0", "x = 'from the environment'")
    place = await make_place(runner=(), keeping=keeping(wheels), **LEVELS[level])
    if place.backend.describe()["isolation"] != level:
        pytest.skip("this machine offers another level")
    requirements = ask(store, "tinylib\n")
    assert (await until_built(place, "u1", requirements)).state == "ready"
    code = "import tinylib, sys, subprocess\nprint(tinylib.x)\n"
    code += (
        "print(subprocess.run(['python', '-c', 'import tinylib; print(tinylib.x[:4])'], capture_output=True).stdout)\n"
    )
    code += "try: open(tinylib.__file__, 'w')\nexcept OSError as error: print(type(error).__name__)"
    environment = {"requirements": requirements.model_dump(by_alias=True)}
    seen = await place.run(code, environment=environment)
    log = await place.log(seen.ref)
    assert seen.claims["end"]["outcome"] == "ok", log
    lines = log.decode().split("\n")
    assert lines[:2] == ["from the environment", r"b'from\n'"]
    assert level == "process" or lines[2] in ("OSError", "PermissionError"), lines
    without = await place.run("import tinylib")
    assert without.claims["end"]["error"]["ename"] == "ModuleNotFoundError"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_waiting_jobs_are_told_of_the_end_and_of_a_failure_only_once(
    make_place: MakePlace, store: FilesystemStore, wheels: Path
) -> None:
    place = await make_place(keeping=keeping(wheels))
    requirements = ask(store, "late\n")
    first = await place.backend.environment("u1", requirements)
    assert first.state == "building" and "requirements.txt sha256:" in first.message, first
    await place.backend.environment("u2", requirements)
    failed = await until_built(place, "u1", requirements)
    assert failed.state == "failed"
    assert "No matching distribution found for late" in failed.message
    assert "Correct the list and submit it again" in failed.message
    assert {ref.uid for ref in place.told if ref.attempt == 0} == {"u1", "u2"}
    assert (await place.backend.environment("u2", requirements)).state == "failed"
    wheel(wheels, "late", "1.0", "")
    assert (await until_built(place, "u3", requirements)).state == "ready", "one that is sent again builds again"
    assert (await place.backend.environment("u1", requirements)).state == "ready"


@pytest.mark.asyncio
async def test_none_is_built_in_a_weaker_sandbox_than_demanded(
    make_place: MakePlace, store: FilesystemStore, wheels: Path
) -> None:
    """A build runs strangers' code: setup.py as a plain process is what the minimum is to keep out."""
    place = await make_place(keeping=keeping(wheels), minimum_isolation="namespaces", allow_bwrap=False)
    state = await place.backend.environment("u1", ask(store, "tinylib\n"))
    assert state.state == "failed"
    assert "The sandbox on this machine is 'process', but 'namespaces' is demanded." in state.message
    assert "bubblewrap is switched off" in state.message
    weak = await make_place(keeping=keeping(wheels), allow_bwrap=False)
    state = await weak.backend.environment("u1", ask(store, "tinylib\n"), minimum_isolation="namespaces+cgroups")
    assert state.state == "failed" and "'namespaces+cgroups' is demanded" in state.message


@pytest.mark.asyncio
async def test_what_is_never_built_is_known_at_submit(make_place: MakePlace, wheels: Path) -> None:
    lock, leave_out = json.dumps({"R": {}, "Packages": {"tiny": {"Version": "1.0"}}}), "Leave the requirements out, and"
    place = await make_place(keeping=Keeping(Site(builds="wheels")))
    for format, text, words, remedy in (
        ("renv.lock", lock, "always built from source, .* this server does not", leave_out),
        (
            "requirements.txt",
            "six @ https://a.example/six.zip\n",
            "wheels of its index only, and 'six @",
            "Leave it out.",
        ),
    ):
        with pytest.raises(BackendError, match=words) as told:
            await place.backend.check_requirements(format, text)
        assert told.value.permanent and told.value.remedy.startswith(remedy)
    await place.backend.check_requirements("requirements.txt", "six==1.17.0\n")
    none = await make_place(keeping=Keeping(Site(builds="none")))
    with pytest.raises(BackendError, match=r"builds no environments \(environment_builds is 'none'\)") as told:
        await none.backend.check_requirements("requirements.txt", "six\n")
    assert told.value.remedy == "Leave the requirements out, and ask the operator for what is missing."
    await (await make_place(keeping=keeping(wheels))).backend.check_requirements("renv.lock", lock)


@pytest.mark.asyncio
async def test_without_its_tool_nothing_is_built_which_is_known_at_submit(
    make_place: MakePlace, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await make_place(keeping=keeping(wheels))
    monkeypatch.setattr(shutil, "which", lambda *arguments, **options: None)
    for format, words in (("renv.lock", "no R on this server"), ("ivy", "no Maven on this server")):
        with pytest.raises(BackendError, match=words) as told:
            await place.backend.check_requirements(format, "{}")
        assert told.value.remedy == "Ask the operator for it."


@pytest.mark.asyncio
async def test_a_list_that_is_gone_is_told(make_place: MakePlace, wheels: Path) -> None:
    place = await make_place(keeping=keeping(wheels))
    state = await place.backend.environment("u1", Requirements(format="ivy", digest=f"sha256:{'0' * 64}"))
    assert state.state == "failed"
    assert "no longer has the job's ivy" in state.message
