"""What an operator writes becomes the backend's settings, or an error that says what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

from jupyter_trainjob.backends.kubernetes.configured import KubernetesBackendSettings
from jupyter_trainjob.backends.kubernetes.environments_rules import EnvironmentRules
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings, Sidecar
from jupyter_trainjob.resources.images import pattern_problem

IMAGES = {"python": "registry.example.org/trainjob/python:1.0"}
INSIDE_IMAGES = {"home", "python", "package", "injected_python"}
"""Where things lie in our images is not the operator's."""

ENVIRONMENTS = {
    "environments_claim": "environments",
    "environment_builds": "source",
    "pip_options": {"index-url": "https://pypi.example.org/simple"},
    "r_repositories": ["https://cran.example.org"],
    "build_seconds": 60,
    "build_cpu": "2",
    "build_memory": "4Gi",
    "build_disk": "5Gi",
    "environments_disk": "100Gi",
    "environments_days": 7.5,
}


def test_all_about_environments_reaches_their_rules() -> None:
    made = KubernetesBackendSettings(images=IMAGES, **ENVIRONMENTS).settings().environments
    assert made == EnvironmentRules(
        claim="environments",
        builds="source",
        pip={"index-url": "https://pypi.example.org/simple"},
        r_repositories=("https://cran.example.org",),
        seconds=60,
        cpu="2",
        memory="4Gi",
        disk="5Gi",
        all_disk="100Gi",
        days=7.5,
    )
    with pytest.raises(TraitError, match=r"environments_claim 'A B' is no name of a PersistentVolumeClaim") as told:
        KubernetesBackendSettings().make("c", {"images": IMAGES, "environments_claim": "A B", "build_memory": "much"})
    assert "build_memory: " in str(told.value)


def test_every_setting_is_a_trait_with_the_same_default() -> None:
    made = KubernetesBackendSettings(images=IMAGES).settings()
    assert made == KubernetesSettings(images=IMAGES)
    traits = set(KubernetesBackendSettings().trait_names(config=True))
    there = {field.name for field in fields(KubernetesSettings)} - INSIDE_IMAGES
    assert there - traits == {"store_ca", "environments", "record"}
    assert traits - there == {"store_ca_file", *ENVIRONMENTS}


def test_what_is_written_of_one_backend_goes_over_what_is_written_of_all(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("a certificate")
    config = Config({"KubernetesBackendSettings": {"images": IMAGES, "namespace": "all", "scratch": "disk"}})
    configured = KubernetesBackendSettings(config=config)
    options = {
        "namespace": "one",
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "sidecar": {"memory": "256Mi"},
        "store_ca_file": str(tmp_path / "ca.pem"),
    }
    assert configured.make("cluster", options).name == "cluster"
    made = configured.settings()
    assert (made.namespace, made.scratch, made.images) == ("one", "disk", IMAGES)
    assert made.tolerations[0].key == "gpu" and made.sidecar == Sidecar(memory="256Mi")
    assert made.store_ca == "a certificate"


def test_the_examples_of_the_help_can_be_written() -> None:
    told = KubernetesBackendSettings().traits()["allowed_images"].help
    (example,) = re.findall(r"registry\S+", told)
    assert pattern_problem(example) == ""
    assert KubernetesBackendSettings(images=IMAGES, allowed_images=[example]).settings().allowed_images == (example,)


@pytest.mark.parametrize("name", ["startup_seconds", "termination_seconds", "ttl_seconds", "unreachable_seconds"])
def test_what_a_trait_takes_the_settings_take(name: str) -> None:
    least = KubernetesBackendSettings().traits()[name].min
    made = KubernetesBackendSettings(images=IMAGES, **{name: least}).settings()
    assert getattr(made, name) == least
    with pytest.raises(ValueError, match=name):
        KubernetesSettings(images=IMAGES, **{name: least - 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name_space": "x"}, r"'cluster' has the unknown option 'name_space'; known: allowed_images, "),
        ({"images": {}}, r"'cluster': .*images names none for python"),
        ({"namespace": "Not A Name"}, r"namespace 'Not A Name' is no name; write lower-case"),
        ({"sidecar": {"ram": "1Gi"}}, r"'cluster': .*ram"),
        ({"tolerations": [{"operator": "Sometimes"}]}, r"(?s)'cluster': .*operator"),
        ({"store_ca_file": "/nope/ca.pem"}, r"'cluster': .*/nope/ca\.pem"),
        ({"scratch": "tape"}, r"scratch"),
    ],
)
def test_what_can_not_work_is_told_when_the_server_starts(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TraitError, match=message):
        KubernetesBackendSettings(images=IMAGES).make("cluster", options)
