"""The Job and the Secret of an attempt: what must hold for every attempt, and how one looks."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from kubernetes import client

from jupyter_trainjob.backends.base import AttemptRef, AttemptRequest, BackendError
from jupyter_trainjob.backends.kubernetes import objects, volumes
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings, Sidecar
from jupyter_trainjob.resources.names import is_name, label_key_error, label_value_error
from jupyter_trainjob.resources.quantity import byte_count, cpu_millis, parse
from jupyter_trainjob.resources.trainjob import Environment, Volume
from jupyter_trainjob.resources.volumes import AllowedVolume

from .attempts import DIGEST, IMAGES, SETTINGS, UID, request, requests, settings
from .restricted import violations

ANY = rules(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MIB = 2**20


def pod_of(asked: AttemptRequest, setup: KubernetesSettings = SETTINGS) -> dict[str, Any]:
    found: dict[str, Any] = objects.job(asked, setup)["spec"]["template"]["spec"]
    return found


def containers(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in [*pod["initContainers"], *pod["containers"]]}


def typed(manifest: dict[str, Any], kind: str) -> Any:
    """Read by the typed models of the client, which know every field."""
    api = client.ApiClient()
    model = api.deserialize(json.dumps(manifest), kind, "application/json")
    assert api.sanitize_for_serialization(model) == manifest, "a field that the API does not know"
    return model


# Of every attempt


@ANY
@given(requests(), settings())
def test_every_pod_is_restricted(asked: AttemptRequest, setup: KubernetesSettings) -> None:
    assert violations(pod_of(asked, setup)) == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda pod: pod.update(hostNetwork=True), "hostNetwork"),
        (lambda pod: pod["volumes"].append({"name": "x", "nfs": {}}), "is of type {'nfs'}"),
        (lambda pod: pod["containers"][0]["securityContext"].pop("capabilities"), "does not drop ALL"),
        (lambda pod: pod["initContainers"][0]["securityContext"].update(privileged=True), "sidecar is privileged"),
        (lambda pod: pod["securityContext"].pop("seccompProfile"), "seccomp profile None"),
        (lambda pod: pod["securityContext"].update(runAsUser=0), "runs as user 0"),
    ],
)
def test_the_check_finds_what_is_not_restricted(spoil: Any, says: str) -> None:
    pod = pod_of(request())
    spoil(pod)
    assert says in "; ".join(violations(pod))


@ANY
@given(requests(), settings())
def test_every_job_is_one_that_the_api_knows(asked: AttemptRequest, setup: KubernetesSettings) -> None:
    typed(objects.job(asked, setup, orders_digest="sha256:1"), "V1Job")


@ANY
@given(requests(), settings())
def test_names_labels_and_quantities_are_what_kubernetes_takes(
    asked: AttemptRequest, setup: KubernetesSettings
) -> None:
    job = objects.job(asked, setup)
    assert job["metadata"]["name"] == asked.ref.name and is_name(job["metadata"]["name"])
    for meta in (job["metadata"], job["spec"]["template"]["metadata"]):
        for key, value in meta["labels"].items():
            assert label_key_error(key) is None and label_value_error(value) is None
        assert all(label_key_error(key) is None for key in meta["annotations"])
    assert objects.ref_of(job) == asked.ref
    pod = job["spec"]["template"]["spec"]
    names = [item["name"] for item in pod["volumes"]]
    assert len(set(names)) == len(names) and all(map(is_name, names))
    for container in containers(pod).values():
        requested, limits = container["resources"]["requests"], container["resources"]["limits"]
        for name, text in limits.items():
            assert parse(requested[name]) <= parse(text), name
            assert parse(text) > 0 and len(text) < 30
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(set(paths)) == len(paths) and {mount["name"] for mount in container["volumeMounts"]} <= set(names)


@ANY
@given(requests(), settings())
def test_no_job_ever_sees_a_credential(asked: AttemptRequest, setup: KubernetesSettings) -> None:
    pod = pod_of(asked, setup)
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    for name, container in containers(pod).items():
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert ("orders" in mounted) == (name == "sidecar")
        seals = [item for item in container["env"] if set(item) != {"name", "value"}]
        assert [item["name"] for item in seals] == (["TRAINJOB_SEAL"] if name == "main" else [])
        assert "envFrom" not in container
    main = containers(pod)["main"]
    reference = {"name": asked.ref.name, "key": "seal", "optional": True}
    assert main["env"][0] == {"name": "TRAINJOB_SEAL", "valueFrom": {"secretKeyRef": reference}}, "it opens nothing"
    assert {item["name"] for item in main["env"][1:]} == {
        "TRAINJOB_ATTEMPT",
        "HOME",
        "TMPDIR",
        "USER",
        "LOGNAME",
        "LANG",
    }
    assert "SECRET_OF_MINE" not in json.dumps(pod)


@ANY
@given(requests(), settings())
def test_neither_container_writes_where_the_other_does(asked: AttemptRequest, setup: KubernetesSettings) -> None:
    found = containers(pod_of(asked, setup))

    def written(name: str) -> set[str]:
        return {mount["name"] for mount in found[name]["volumeMounts"] if not mount.get("readOnly")}

    assert not written("main") & written("sidecar")
    assert written("sidecar") == {"in", "buffer"}


@ANY
@given(requests(), settings())
def test_the_job_pays_for_its_memory_and_the_sidecar_for_none_of_it(
    asked: AttemptRequest, setup: KubernetesSettings
) -> None:
    pod, resources = pod_of(asked, setup), asked.job.spec.resources
    found, mediums = containers(pod), {item["name"]: item.get("emptyDir", {}).get("medium") for item in pod["volumes"]}
    main = found["main"]["resources"]
    assert byte_count(main["limits"]["memory"]) == resources.memory_bytes + byte_count(setup.reserve)
    assert main["requests"]["memory"] == main["limits"]["memory"]
    assert (
        main["requests"]["cpu"] == main["limits"]["cpu"] and cpu_millis(main["limits"]["cpu"]) == resources.cpu_millis
    )
    in_memory = {name for name, medium in mediums.items() if medium == "Memory"}
    assert in_memory == ({"work", "out", "shm"} if setup.scratch == "memory" else {"shm"})
    assert not in_memory & {"in", "buffer"}
    sizes = volumes.sizes(asked.job, setup)
    if setup.scratch == "memory":
        assert sizes.work <= byte_count(resources.disk or "0")
        assert resources.memory_bytes - sizes.work >= min(256 * MIB, resources.memory_bytes // 2)
    else:
        assert sizes.work == byte_count(resources.disk or "0")
        assert sizes.main_disk >= sizes.work + sizes.out


# What is asked for, and what comes of it


def test_the_backstops_stand_behind_the_limit() -> None:
    job = objects.job(request(time_limit_seconds=300), SETTINGS)["spec"]
    assert job["activeDeadlineSeconds"] == 300 + 3 * 600 + 90 + 30
    assert job["ttlSecondsAfterFinished"] == 24 * 3600
    assert job["backoffLimit"] == 0 and job["podReplacementPolicy"] == "Failed"
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] == 90


def test_the_sidecar_is_native_and_a_fraction() -> None:
    pod = pod_of(request())
    (sidecar,) = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert cpu_millis(sidecar["resources"]["limits"]["cpu"]) % 1000
    assert sidecar["command"][-2:] == ["/opt/trainjob/jupyter_trainjob/backends/kubernetes/pod", "sidecar"]


def test_gpus_are_extended_resources_of_the_profiles_name() -> None:
    asked = request(resources={"gpu": 2}, profile={"placement": {"gpuResource": "amd.com/gpu"}})
    found = containers(pod_of(asked))["main"]["resources"]
    assert found["limits"]["amd.com/gpu"] == found["requests"]["amd.com/gpu"] == "2"
    found = containers(pod_of(request(resources={"gpu": 1})))["main"]["resources"]
    assert found["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in containers(pod_of(request()))["main"]["resources"]["limits"]
    kept_for_gpus = {"key": "amd.com/gpu", "operator": "Exists"}
    assert kept_for_gpus in pod_of(asked)["tolerations"] and kept_for_gpus not in pod_of(request())["tolerations"]


def test_placement_is_the_profiles_over_the_backends() -> None:
    setup = KubernetesSettings(images=IMAGES, node_selector={"a": "1", "b": "2"}, runtime_class="kata")
    asked = request(
        profile={
            "placement": {
                "nodeSelector": {"b": "3"},
                "runtimeClass": "gvisor",
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
            }
        }
    )
    pod = pod_of(asked, setup)
    assert pod["nodeSelector"] == {"a": "1", "b": "3"} and pod["runtimeClassName"] == "gvisor"
    assert pod["tolerations"][0] == {"key": "gpu", "operator": "Exists"}
    assert pod_of(request(), setup)["runtimeClassName"] == "kata"
    assert "nodeSelector" not in pod_of(request()) and "hostUsers" not in pod_of(request())


def test_an_owner_of_any_name_has_a_label_of_ones_own() -> None:
    one, other = (objects.labels(request(owner=name), SETTINGS) for name in ("Ada Lovelace", "ada-lovelace"))
    assert one[objects.OWNER] != other[objects.OWNER] == "ada-lovelace"


def test_two_installations_do_not_find_each_others_jobs() -> None:
    other = KubernetesSettings(images=IMAGES, installation="other")
    assert objects.selector(SETTINGS) != objects.selector(other)


def test_a_range_of_user_ids_gives_each_attempt_the_same_one_again() -> None:
    setup = KubernetesSettings(images=IMAGES, user_ids=(100_000, 165_535))
    ids = {objects.user_id(AttemptRef(UID, number), setup) for number in range(1, 40)}
    assert len(ids) > 30 and all(100_000 <= one <= 165_535 for one in ids)
    found = pod_of(request(), setup)["securityContext"]
    assert found["fsGroup"] == setup.user_ids[0], "volumes that jobs share do not change hands"
    assert found["runAsUser"] == objects.user_id(request().ref, setup)


# Images


def test_the_image_is_the_languages_by_digest_where_it_is_known() -> None:
    setup = KubernetesSettings(images=IMAGES, digests={IMAGES["r"]: DIGEST})
    assert objects.image(request(environment=Environment(language="r")), setup) == f"docker.io/trainjob/r@{DIGEST}"
    assert objects.image(request(environment=Environment(language="scala")), setup) == IMAGES["scala"]


def test_another_attempt_runs_in_the_very_image_of_the_first() -> None:
    asked = request(attempt=2)
    asked.job.status.image_digest = f"docker.io/trainjob/python@{DIGEST}"
    assert objects.image(asked, SETTINGS) == f"docker.io/trainjob/python@{DIGEST}"
    asked.job.status.image_digest = f"docker.io/elsewhere/python@{DIGEST}"
    assert objects.image(asked, SETTINGS) == IMAGES["python"]


def test_a_courses_own_image_gets_the_runner_from_a_shared_volume() -> None:
    asked = request(profile={"environment": {"image": "registry.example.org/course/lab:2026"}})
    pod = pod_of(asked)
    sidecar, runner = pod["initContainers"]
    main = containers(pod)["main"]
    assert main["image"] == "registry.example.org/course/lab:2026"
    assert sidecar["image"] == runner["image"] == IMAGES["python"]
    assert runner["command"][-2:] == ["/opt/trainjob/.", "/trainjob/runner/"] and "restartPolicy" not in runner
    assert {"name": "runner", "mountPath": "/opt/trainjob", "readOnly": True} in main["volumeMounts"]
    assert main["command"][0] == "python3" and sidecar["command"][0] == "/opt/venv/bin/python"


def test_the_sidecar_never_runs_in_a_jobs_own_image() -> None:
    setup = KubernetesSettings(
        images=IMAGES, allowed_images=("registry.example.org/",), sidecar_image="trainjob/tool:1"
    )
    pod = pod_of(request(environment=Environment(image="registry.example.org/a/b")), setup)
    assert containers(pod)["sidecar"]["image"] == "trainjob/tool:1"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (request(environment=Environment(image="evil.example/x")), "'evil.example/x' can't be chosen"),
        (request(environment=Environment(language="julia")), "There is no image for 'julia' in this cluster"),
        (request(volumes=[Volume(name="d", mount_path="/mnt/d")]), "the profile allows no volume 'd'"),
        (request(uid="x" * 80), "is no name that a cluster takes"),
    ],
)
def test_what_the_cluster_can_not_give_is_told_for_good(asked: AttemptRequest, says: str) -> None:
    with pytest.raises(BackendError, match=says) as refused:
        objects.job(asked, SETTINGS)
    assert refused.value.permanent


# Volumes


def test_a_volume_is_mounted_by_sub_path_as_its_profile_allows() -> None:
    asked = request(
        owner="ada",
        profile={
            "volumes": [
                {"name": "data", "claim": "course-data", "subPath": "sets"},
                {"name": "home", "claim": "homes", "subPath": "{owner}", "writable": True},
            ]
        },
        volumes=[
            Volume(name="data", mount_path="/mnt/data"),
            Volume(name="home", mount_path="/mnt/home", read_only=False),
            Volume(name="home", mount_path="/mnt/old"),
        ],
    )
    pod = pod_of(asked)
    named = {item["name"]: item for item in pod["volumes"]}
    assert named["volume-data"]["persistentVolumeClaim"] == {"claimName": "course-data", "readOnly": True}
    assert named["volume-home"]["persistentVolumeClaim"] == {"claimName": "homes", "readOnly": False}
    seen = {item["mountPath"]: item for item in containers(pod)["main"]["volumeMounts"]}
    assert seen["/mnt/data"] == {"name": "volume-data", "mountPath": "/mnt/data", "readOnly": True, "subPath": "sets"}
    assert seen["/mnt/home"]["subPath"] == "ada" and seen["/mnt/home"]["readOnly"] is False
    assert seen["/mnt/old"]["subPath"] == "ada" and seen["/mnt/old"]["readOnly"] is True
    assert not any(item["name"].startswith("volume-") for item in containers(pod)["sidecar"]["volumeMounts"])


def test_an_nfs_share_is_reached_through_a_claim_that_a_restricted_pod_may_mount() -> None:
    shared = {"name": "data", "nfs": {"server": "nfs.example.org", "path": "/export"}}
    asked = request(profile={"volumes": [shared]}, volumes=[Volume(name="data", mount_path="")])
    volume, claim = volumes.share(AllowedVolume.model_validate(shared), SETTINGS)
    pod = pod_of(asked)
    named = {item["name"]: item for item in pod["volumes"]}
    assert named["volume-data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert volume["spec"]["nfs"] == {"server": "nfs.example.org", "path": "/export", "readOnly": True}
    typed(volume, "V1PersistentVolume")
    typed(claim, "V1PersistentVolumeClaim")
    assert violations(pod) == []


def test_notebook_and_results_have_as_much_room_as_the_job_has_disk() -> None:
    found = volumes.sizes(request().job, SETTINGS)
    assert found.out == volumes.OUT_BYTES + found.work


# The Secret


def test_the_secret_holds_the_files() -> None:
    asked = request()
    found = objects.secret(asked.ref, SETTINGS, objects.labels(asked, SETTINGS), {"orders.json": b"{}"})
    assert found["metadata"]["name"] == asked.ref.name
    assert base64.b64decode(found["data"]["orders.json"]) == b"{}"
    assert objects.ref_of(found) == asked.ref
    assert typed(found, "V1Secret").type == "Opaque"


def test_a_secret_that_no_cluster_takes_is_told_before() -> None:
    asked = request()
    with pytest.raises(BackendError, match="takes 1000011 bytes, and a cluster takes 1000000 at most"):
        objects.secret(asked.ref, SETTINGS, {}, {"orders.json": b"x" * 10**6})


def test_an_object_goes_with_its_owner() -> None:
    job = objects.job(request(), SETTINGS)
    found = objects.owned_by(
        objects.secret(request().ref, SETTINGS, {}, {}), {**job, "metadata": {"name": "j", "uid": "u"}}
    )
    assert found["metadata"]["ownerReferences"] == [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u"}]
    typed(found, "V1Secret")


def test_patches_hold_what_was_said() -> None:
    assert objects.cancel_patch("enough") == {"metadata": {"annotations": {objects.CANCELLED: "enough"}}}
    patch = objects.give_up_patch({"limit": "ImageError", "message": "x" * 9000})
    assert patch["spec"] == {"suspend": True}
    assert len(json.loads(patch["metadata"]["annotations"][objects.GAVE_UP])["message"]) == objects.MAX_ANNOTATION


# How they look


def test_a_plain_job_reads_so() -> None:
    setup = KubernetesSettings(images=IMAGES, sidecar=Sidecar(cpu="100m", cpu_limit="500m"), scratch="memory")
    job = objects.job(request(), setup)
    pod = job["spec"]["template"]["spec"]
    assert job["metadata"] == {
        "name": f"tj-{UID}-1",
        "namespace": "trainjob",
        "labels": {
            "app.kubernetes.io/managed-by": "jupyter-trainjob",
            "jupyter-trainjob/installation": "37a8eec1ce19687d",
            "jupyter-trainjob/uid": UID,
            "jupyter-trainjob/attempt": "1",
            "jupyter-trainjob/owner": "ada",
            "jupyter-trainjob/namespace": "ada",
            "jupyter-trainjob/queue": "default",
        },
        "annotations": {
            "jupyter-trainjob/job": "ada/digits-x7k2p",
            "jupyter-trainjob/limits": '{"cpuMillis": 1000, "gpu": 0, '
            '"memoryBytes": 1073741824, "processes": 256, "diskBytes": 805306368, '
            '"fileSizeBytes": 2147483648, "openFiles": 1024, "shmBytes": 67108864, "scratch": "memory"}',
        },
    }
    assert containers(pod)["main"] == {
        "name": "main",
        "image": "docker.io/trainjob/python:1",
        "imagePullPolicy": "IfNotPresent",
        "workingDir": "/",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "File",
        "command": [
            "/opt/venv/bin/python",
            "-I",
            "/opt/trainjob/jupyter_trainjob/backends/kubernetes/pod",
            "main",
        ],
        "env": [
            {
                "name": "TRAINJOB_SEAL",
                "valueFrom": {"secretKeyRef": {"name": f"tj-{UID}-1", "key": "seal", "optional": True}},
            },
            {"name": "TRAINJOB_ATTEMPT", "value": f"tj-{UID}-1"},
            {"name": "HOME", "value": "/tmp/home"},
            {"name": "TMPDIR", "value": "/tmp"},
            {"name": "USER", "value": "job"},
            {"name": "LOGNAME", "value": "job"},
            {"name": "LANG", "value": "C.UTF-8"},
        ],
        "resources": {
            "requests": {"cpu": "1", "memory": "1088Mi", "ephemeral-storage": "64Mi"},
            "limits": {"cpu": "1", "memory": "1088Mi", "ephemeral-storage": "64Mi"},
        },
        "volumeMounts": [
            {"name": "in", "mountPath": "/trainjob/in", "readOnly": True},
            {"name": "out", "mountPath": "/trainjob/out"},
            {"name": "work", "mountPath": "/work", "subPath": "work"},
            {"name": "work", "mountPath": "/tmp", "subPath": "tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    assert pod["volumes"] == [
        {"name": "in", "emptyDir": {"sizeLimit": "2112Mi"}},
        {"name": "out", "emptyDir": {"sizeLimit": "832Mi", "medium": "Memory"}},
        {"name": "work", "emptyDir": {"sizeLimit": "768Mi", "medium": "Memory"}},
        {"name": "shm", "emptyDir": {"sizeLimit": "64Mi", "medium": "Memory"}},
        {"name": "buffer", "emptyDir": {"sizeLimit": "320Mi"}},
        {"name": "orders", "secret": {"secretName": f"tj-{UID}-1", "defaultMode": 0o440}},
    ]
