"""The pods that build environments, what jobs get of them, and the words for what goes wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.backends.kubernetes import environments_objects as made
from jupyter_trainjob.backends.kubernetes import environments_pod, objects
from jupyter_trainjob.backends.kubernetes.environments_failure import holdup, why
from jupyter_trainjob.backends.kubernetes.environments_objects import Wanted
from jupyter_trainjob.backends.kubernetes.environments_removal import in_use
from jupyter_trainjob.backends.kubernetes.environments_rules import EnvironmentRules
from jupyter_trainjob.backends.kubernetes.reading import told_text
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings
from jupyter_trainjob.backends.kubernetes.volumes import ENVIRONMENT, Environment

from .attempts import IMAGES, SETTINGS, request
from .attempts import settings as any_settings
from .restricted import violations

RULES = EnvironmentRules(claim="environments", pip={"index-url": "https://me:secret@pypi.example.org/simple"})
HAS = replace(SETTINGS, environments=RULES)
SCOPE = "5" * 16
PYTHON = Wanted("0" * 32, "requirements.txt", "six\n", "1" * 64, IMAGES["python"], SCOPE)
FOREIGN = replace(PYTHON, image="registry.example.org/course/lab:2026")


def pod(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["template"]["spec"]
    return found


def containers(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in [*found.get("initContainers", []), *found["containers"]]}


@given(any_settings())
def test_all_these_pods_are_restricted_and_known_by_their_label(setup: KubernetesSettings) -> None:
    setup = replace(setup, environments=RULES)
    for job in (
        made.build(PYTHON, setup, "f", "a list", ca=True),
        made.build(FOREIGN, setup, "f", "a list", ca=False),
        made.removal(setup, SCOPE, [f"{SCOPE}/gone"], [f"{SCOPE}/kept"]),
    ):
        assert violations(pod(job)) == []
        for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
            assert labels[objects.INSTALLATION] == setup.installation_label and made.BUILDS in labels
            assert labels[made.SCOPE] == SCOPE
            assert objects.UID not in labels, "they are no attempts"
        assert all("resources" in one and one["resources"]["limits"] for one in containers(pod(job)).values())


def test_the_build_sees_its_own_folder_and_no_credential() -> None:
    found = pod(made.build(PYTHON, HAS, "folder", "a list", ca=True))
    assert [one["name"] for one in [*found["initContainers"], *found["containers"]]] == ["make", "build", "finish"]
    build = containers(found)["build"]
    assert {one["name"]: one.get("subPath") for one in build["volumeMounts"]} == {
        "claim": f"trainjob-{HAS.installation_label}/folder/root",
        "scratch": None,
        "orders": None,
    }
    shown = {one["name"]: one["secret"]["items"] for one in found["volumes"] if "secret" in one}
    assert [item["key"] for item in shown["orders"]] == ["orders.json"]
    assert [item["key"] for item in shown["credentials"]] == ["credentials.json", "ca.crt"]
    mounts = {name: {one["name"] for one in each["volumeMounts"]} for name, each in containers(found).items()}
    assert "credentials" in mounts["finish"] and "credentials" not in mounts["build"] | mounts["make"]
    assert all("secret" not in str(one["env"]) for one in containers(found).values())


def test_what_is_removed_is_the_backends_own() -> None:
    other = "6" * 16
    job = made.removal(HAS, SCOPE, [f"{SCOPE}/gone", f"{other}/gone"], [f"{SCOPE}/kept", f"{other}/kept"])
    assert job["metadata"]["name"] == f"tj-env-removal-{SCOPE}"
    place, told = containers(pod(job))["removal"]["command"][-2:]
    assert place == f"trainjob-{HAS.installation_label}/{SCOPE}", "it sees nothing beside its own"
    assert json.loads(told) == {"remove": ["gone"], "known": ["kept"]}


def test_folders_are_in_use_while_a_job_or_a_pod_has_them() -> None:
    def having(annotation: str, folder: str, phase: str = "Running") -> dict[str, Any]:
        return {"metadata": {"annotations": {annotation: folder}}, "status": {"phase": phase}}

    jobs = [having(objects.ENVIRONMENT, "s/job's"), having(made.FOLDER, "s/built"), {"metadata": {}}]
    pods = [having(objects.ENVIRONMENT, "s/pod's"), having(objects.ENVIRONMENT, "s/done", "Succeeded")]
    assert in_use(jobs, pods) == {"s/job's", "s/built", "s/pod's"}


def test_a_courses_image_gets_our_code_and_builds_in_its_own_python() -> None:
    found = pod(made.build(FOREIGN, HAS, "folder", "a list", ca=False))
    assert [one["name"] for one in found["initContainers"]] == ["make", "runner", "build"]
    build = containers(found)["build"]
    assert build["image"] == FOREIGN.image and build["command"][0] == "python3"
    assert {"name": "runner", "mountPath": HAS.home, "readOnly": True} in build["volumeMounts"]
    assert containers(found)["finish"]["image"] == IMAGES["python"]


def test_a_job_sees_its_environment_read_only_and_the_server_knows_which() -> None:
    folder = Environment("folder", interpreter=f"{ENVIRONMENT}/bin/python")
    job = objects.job(request(), HAS, environment=folder)
    for bears in (job, job["spec"]["template"]):  # the pod may outlive the Job
        assert bears["metadata"]["annotations"][objects.ENVIRONMENT] == "folder"
    mount = next(one for one in containers(pod(job))["main"]["volumeMounts"] if one["name"] == "environment")
    path = f"trainjob-{HAS.installation_label}/folder/root"
    assert mount == {"name": "environment", "mountPath": ENVIRONMENT, "subPath": path, "readOnly": True}
    claim = next(one for one in pod(job)["volumes"] if one["name"] == "environment")["persistentVolumeClaim"]
    assert claim == {"claimName": "environments", "readOnly": True}
    others = [each["volumeMounts"] for name, each in containers(pod(job)).items() if name != "main"]
    assert all(one["name"] != "environment" for mounts in others for one in mounts)


def _pod(name: str, **state: Any) -> dict[str, Any]:
    return {"status": {"initContainerStatuses": [{"name": name, "state": state}]}}


FAILED = {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}}
LATE = {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}}
WAITS = {"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "claim not found"}]}}


@pytest.mark.parametrize(
    ("job", "seen", "says"),
    [
        (FAILED, _pod("build", terminated={"exitCode": 1, "message": '{"problem": "pip said no"}'}), "pip said no"),
        (FAILED, _pod("build", terminated={"exitCode": 137, "reason": "OOMKilled"}), "more than 2Gi of memory"),
        (FAILED, _pod("build", terminated={"exitCode": 3, "message": "odd"}), "build ended with exit status 3. odd"),
        (LATE, WAITS, "not done in time (build_seconds is 1800); its pod waits for a node: claim not found"),
        (FAILED, {"status": {"reason": "Evicted", "message": "disk"}}, "its node had no room for it: disk"),
        (FAILED, None, "its pod is gone: nothing tells why"),
    ],
)
def test_why_a_build_failed_is_told(job: dict[str, Any], seen: dict[str, Any] | None, says: str) -> None:
    assert says in why(job, seen, RULES)


def test_words_that_the_kubelet_cut_are_told_as_text() -> None:
    said = json.dumps({"problem": "pip sagt: „nein“, und zwar so: " + "ü" * 3000})
    told = why(FAILED, _pod("build", terminated={"exitCode": 1, "message": said[:3072]}), RULES)
    assert told.startswith("pip sagt: „nein“, und zwar so: üüü") and told.endswith("ü…")


@given(st.text(max_size=60), st.data())
def test_any_cut_leaves_a_begin_of_what_was_said(text: str, data: st.DataObject) -> None:
    text = text.encode("utf-8", "ignore").decode()
    said = json.dumps({"problem": text})
    cut = data.draw(st.integers(0, len(said)))
    told = told_text(said[:cut], "problem")
    if cut == len(said):
        assert told == text
    else:
        assert told == "" or (told.endswith("…") and text.startswith(told[:-1]))
        whole = len(json.dumps(text)) - 2  # what stands between the quotes
        assert told or cut < len('{"problem": "') or not whole
    assert told_text(f"Traceback: {text}", "problem") == ""


def test_what_a_build_says_at_its_end_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments_pod, "TERMINATION", str(tmp_path / "words"))
    assert environments_pod._fail("begin " + "ü😀" * 3000 + " end") == 1
    said = (tmp_path / "words").read_text()
    assert len(said) <= 3072, "of 12 KiB for a pod of four containers"
    assert json.loads(said)["problem"].endswith("ü😀 end"), "the last words are why it failed"


def test_what_a_build_waits_for_is_told() -> None:
    assert holdup(None) == "" and holdup(_pod("build", waiting={"reason": "PodInitializing"})) == ""
    assert holdup(WAITS) == "its pod waits for a node: claim not found"
    pulls = _pod("build", waiting={"reason": "ImagePullBackOff", "message": "no such image"})
    assert holdup(pulls) == "its pod can't be started now: no such image"


def test_what_a_build_says_of_itself_is_bounded_and_texts() -> None:
    told = environments_pod._installed(
        b'{"packages": [{"name": "' + b"x" * 999 + b'", "version": 1, "more": "no"}], "about": 3}'
    )
    assert told == {"packages": [{"name": "x" * 300, "version": "1"}], "about": {}}
    with pytest.raises(ValueError, match="too large"):
        environments_pod._installed(b" " * (environments_pod.MAX_TOLD_BYTES + 1))


def test_what_the_pod_runs_agrees_with_what_it_is_given() -> None:
    assert environments_pod.ROOT == ENVIRONMENT and environments_pod.CLAIM == made.CLAIM
    assert f"{made.CREDENTIALS}/credentials.json" == environments_pod.CREDENTIALS
