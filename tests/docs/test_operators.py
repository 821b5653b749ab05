"""What docs/operators.md claims, asked of a real ``serve`` with the people and the queues that the page shows."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jupyter_trainjob.api.serve import ServiceApp
from jupyter_trainjob.app import TrainJobExtension
from jupyter_trainjob.config import LocalBackendSettings
from jupyter_trainjob.resources.base import parse
from jupyter_trainjob.resources.queue import Queue

from ..api import processes
from ..api.processes import Running
from .pages import PAGES, blocks

PAGE = "docs/operators.md"
CONFIGURABLE = (*ServiceApp.classes, *ServiceApp.__mro__, TrainJobExtension, LocalBackendSettings)
CLASSES = {cls.__name__: cls for cls in CONFIGURABLE if hasattr(cls, "class_trait_names")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_options_on_command_lines_are_there(page: Path) -> None:
    for name, trait in re.findall(r"--([A-Z]\w+)\.(\w+)", page.read_text("utf-8")):
        assert trait in CLASSES[name].class_trait_names(config=True), f"{page.name}: --{name}.{trait}"


def test_the_unit_stops_the_server_and_not_the_jobs() -> None:
    """A job's supervisor is in the service's control group: systemd's default would kill it with the server."""
    [text] = blocks(PAGE, "ini")
    unit = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    service = unit["Service"]
    assert service["KillMode"] == "process"
    assert service["User"] == "trainjob"
    program, *words = shlex.split(service["ExecStart"])
    assert program.endswith("/bin/jupyter")
    assert words[:2] == ["trainjob", "serve"]


def test_the_queue_of_kueues_is_one_that_may_be_made() -> None:
    [text] = [text for text in blocks(PAGE, "yaml") if "localQueue" in text]
    spec = parse(Queue, yaml.safe_load(text)).spec
    assert spec.kueue is not None
    assert [spec.kueue.class_of(priority) for priority in (0, 10)] == ["usual", "urgent"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operators")


def trainjob(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jupyter_trainjob.cli", *words],
        env=processes.environment(folder, **environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def tokens(folder: Path) -> dict[str, str]:
    """The people of the page, made by its own command lines, and sam of the staff."""
    told = [line for block in blocks(PAGE, "bash") for line in block.splitlines() if "token create" in line]
    lines = [line for line in told if "--file" not in line]  # those with it are for a cluster's Secret
    lines.append("jupyter trainjob token create --user sam --group staff")
    found = {}
    for line in lines:
        words = shlex.split(line)[2:]
        done = trainjob(folder, *words, "--file", str(folder / "tokens.yaml"))
        assert done.returncode == 0, done.stderr
        found[words[words.index("--user") + 1]] = done.stdout.strip()
    return found


@pytest.fixture(scope="module")
def queues(folder: Path) -> list[dict[str, Any]]:
    text, *_ = blocks(PAGE, "yaml")
    (folder / "queues.yaml").write_text(text, "utf-8")
    return list(yaml.safe_load_all(text))


@pytest.fixture(scope="module")
def service(folder: Path, tokens: dict[str, str], queues: list[dict[str, Any]]) -> Iterator[Running]:
    """The service, after the operator has applied the queues as the page says."""
    with processes.service(folder / "service", folder / "tokens.yaml") as found:
        environment = {"JUPYTER_TRAINJOB_URL": found.url, "JUPYTER_TRAINJOB_TOKEN": tokens["ada"]}
        before = trainjob(folder, "diff", "-f", str(folder / "queues.yaml"), **environment)
        assert before.returncode == 1, before.stderr
        done = trainjob(folder, "apply", "-f", str(folder / "queues.yaml"), **environment)
        assert done.returncode == 0, done.stderr
        assert trainjob(folder, "diff", "-f", str(folder / "queues.yaml"), **environment).returncode == 0
        yield found


@pytest.fixture
def send(service: Running, tokens: dict[str, str]) -> Callable[..., Any]:
    """Send a job as somebody: what it became, or the message of why not. A dry run: nothing runs."""

    def go(user: str, namespace: str = "", **spec: Any) -> Any:
        body = {"metadata": {"generateName": "try"}, "spec": {"source": {"type": "cell", "code": "1"}, **spec}}
        with service.client(tokens[user]) as client:
            answer = client.post(f"/namespaces/{namespace or user}/trainjobs?dryRun=true", json=body).json()
        return answer["spec"] if answer["kind"] == "TrainJob" else answer["message"]

    return go


@pytest.mark.slow
def test_what_is_applied_is_there(service: Running, tokens: dict[str, str], queues: list[dict[str, Any]]) -> None:
    with service.client(tokens["ben"]) as client:
        for wanted in queues:
            found = client.get(f"/{wanted['kind'].lower()}s/{wanted['metadata']['name']}").json()
            for key, value in wanted["spec"].items():
                assert _within(value, found["spec"][key]), key


def _within(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict):
        return all(_within(value, found[key]) for key, value in wanted.items())
    return bool(wanted == found)


@pytest.mark.slow
def test_students_are_kept_out_of_the_default_queue(send: Callable[..., Any]) -> None:
    assert send("ben")["queue"] == "course"
    assert "default" in send("ben", queue="default")
    assert "course" in send("sam")
    for user in ("sam", "ada"):
        assert send(user, queue="default")["queue"] == "default"
    assert send("ines")["queue"] == "course", "a role in the queue lets in, without a group"


@pytest.mark.slow
def test_the_profile_gives_and_bounds(send: Callable[..., Any]) -> None:
    given = send("ben")
    assert (given["timeLimitSeconds"], given["resources"]["cpu"], given["resources"]["disk"]) == (600, "1", "2Gi")
    assert send("ben", timeLimitSeconds=1800)["timeLimitSeconds"] == 1800
    assert "1801 s is more than the profile 'default' allows, 1800 s" in send("ben", timeLimitSeconds=1801)
    assert "3Gi memory is more than the profile 'default' allows, 2Gi" in send("ben", resources={"memory": "3Gi"})


@pytest.mark.slow
def test_who_may_go_beyond_the_priorities(send: Callable[..., Any]) -> None:
    assert send("ben", priority=10)["priority"] == 10
    assert "11 is not in the range of the queue 'course', -10 to 10" in send("ben", priority=11)
    for user in ("ines", "ada"):
        assert send(user, priority=50)["priority"] == 50
    for allowed in (-100, 0):
        assert send("sam", queue="default", priority=allowed)["priority"] == allowed
    assert "1 is not in the range of the queue 'default', -100 to 0" in send("sam", queue="default", priority=1)
    assert "not in the range" in send("ben", "ml-2026", priority=50)
    assert send("ines", "ml-2026", priority=50)["priority"] == 50, "instructor of the namespace and of the queue"


@pytest.mark.slow
def test_a_queue_names_a_backend_that_is_there(service: Running, tokens: dict[str, str]) -> None:
    with service.client(tokens["ada"]) as client:
        answer = client.post("/queues", json={"metadata": {"name": "lost"}, "spec": {"backend": "cluster"}})
        assert answer.status_code == 422
        assert "there is no backend 'cluster'; there are: local" in answer.json()["message"]


@pytest.mark.slow
def test_a_draining_queue_accepts_nothing_and_starts_what_waits(service: Running, tokens: dict[str, str]) -> None:
    def admit(word: str) -> None:
        done = client.put("/queues/gate", json={"spec": {"admission": word}})
        assert done.status_code == 200, done.text

    job = {"metadata": {"generateName": "try"}, "spec": {"source": {"type": "cell", "code": "1"}, "queue": "gate"}}
    with service.client(tokens["ada"]) as client:
        assert client.post("/queues", json={"metadata": {"name": "gate"}}).status_code == 201
        admit("Paused")
        path = "/namespaces/ada/trainjobs"
        name = client.post(path, json=job).json()["metadata"]["name"]
        assert "paused" in client.get(f"{path}/{name}").json()["status"]["waitingFor"]
        admit("Draining")
        assert "takes no new jobs" in client.post(path, json=job).json()["message"]
        done = trainjob(
            service.log.parent,
            *("wait", name, "--timeout", "60"),
            JUPYTER_TRAINJOB_URL=service.url,
            JUPYTER_TRAINJOB_TOKEN=tokens["ada"],
        )
        assert done.returncode == 0, done.stderr
