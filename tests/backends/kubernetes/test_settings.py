"""What an operator may say about a cluster, and what is told where it makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_trainjob.backends.kubernetes import choices
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings, SettingsError, Sidecar

IMAGES = {"python": "docker.io/trainjob/python:1"}
DIGEST = "sha256:" + "a" * 64


def test_an_image_for_python_is_enough() -> None:
    settings = KubernetesSettings(images=IMAGES)
    assert settings.helper_image == "docker.io/trainjob/python:1"
    assert len(settings.installation_label) == 16


def test_an_image_is_pinned_where_its_digest_is_known() -> None:
    settings = KubernetesSettings(images=IMAGES, digests={"docker.io/trainjob/python:1": DIGEST})
    assert settings.pinned("docker.io/trainjob/python:1") == f"docker.io/trainjob/python@{DIGEST}"
    assert settings.pinned("trainjob/python:1") == f"docker.io/trainjob/python@{DIGEST}", "however it is written"
    assert settings.pinned("docker.io/trainjob/r:1") == "docker.io/trainjob/r:1"
    assert settings.pinned("") == "", "a language without an image"
    own = f"docker.io/trainjob/python:1@sha256:{'b' * 64}"
    assert settings.pinned(own) == own
    short = KubernetesSettings(images={"python": "python"}, digests={"docker.io/library/python:latest": DIGEST})
    assert short.pinned("python") == f"docker.io/library/python@{DIGEST}"
    assert choices.image_problem("library/python:latest", "", short) == "", "the operator's own needs no permission"
    assert choices.image_problem("python:3", "", short)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"namespace": "Train Job"}, "namespace 'Train Job' is no name"),
        ({"installation": ""}, "installation is empty"),
        ({"images": {}}, "nothing could bring inputs"),
        ({"images": {**IMAGES, "julia": "x"}}, "unknown language 'julia'; known: python, r, scala"),
        ({"images": {"python": "Not Good"}}, r"images\['python'\]: 'Not Good' is no name of an image"),
        ({"allowed_images": ("*",)}, r"allowed_images: '\*' is no name of an image"),
        ({"digests": {"python": "12"}}, "64 hexadecimal digits"),
        (
            {"digests": {"python": DIGEST, "library/python:latest": "sha256:" + "b" * 64}},
            r"digests\['library/python:latest'\]: docker.io/library/python:latest is there twice, with different",
        ),
        ({"pull_policy": "Sometimes"}, "pull_policy 'Sometimes' is none of Always, IfNotPresent, Never"),
        ({"scratch": "tape"}, "scratch 'tape' is none of memory, disk"),
        ({"pull_secrets": ("",)}, "pull_secrets '' is no name"),
        ({"runtime_class": "G V"}, "runtime_class 'G V' is no name"),
        ({"node_selector": {"a": "b c"}}, "node_selector a='b c': a label value"),
        ({"gpu_resources": ("gpu",)}, "such as nvidia.com/gpu"),
        ({"gpu_resources": ()}, "gpu_resources is empty"),
        ({"reserve": "lots"}, "reserve: 'lots' is no quantity"),
        ({"reserve": "1Mi"}, "reserve 1Mi is too little; write at least 32Mi"),
        ({"sidecar": Sidecar(cpu="1", cpu_limit="500m")}, "sidecar.cpu 1 is more than sidecar.cpu_limit 500m"),
        ({"termination_seconds": 5}, "termination_seconds 5 is too little; write at least 45"),
        ({"user_ids": (0, 5)}, "no range of user ids above 0"),
        ({"package": "/usr/lib/x"}, "does not lie below home, '/opt/trainjob'"),
        ({"injected_python": ""}, "injected_python is empty"),
        ({"package": "site"}, "package 'site' is no absolute path"),
    ],
)
def test_what_can_not_work_is_told(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        KubernetesSettings(**{"images": IMAGES, **changes})


def test_all_findings_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"namespace.*nothing could bring.*scratch"):
        KubernetesSettings(namespace="A", scratch="tape")  # type: ignore[arg-type]
