"""What an operator says of every kind of backend is one thing, said in each one's words."""

from __future__ import annotations

import pytest
from traitlets import TraitError

from jupyter_trainjob.backends.configured import BackendSettings
from jupyter_trainjob.backends.kubernetes.configured import KubernetesBackendSettings
from jupyter_trainjob.config import LocalBackendSettings

BOTH = [LocalBackendSettings, KubernetesBackendSettings]


@pytest.mark.parametrize("cls", BOTH)
def test_what_is_shared_is_configured_by_the_backends_own_name(cls: type[BackendSettings]) -> None:
    shared = {"r_repositories", "environments_disk", "environments_days", "pip_options", "environment_builds"}
    told = cls.class_get_help()  # type: ignore[attr-defined]
    for name in shared:
        assert f"--{cls.__name__}.{name}=" in told
    assert "--BackendSettings" not in told
    assert shared <= set(cls.class_trait_names(config=True))


def test_where_they_differ_they_say_so() -> None:
    local, cluster = (cls.class_traits(config=True) for cls in BOTH)
    assert "those that the server itself has (PIP_… variables, pip.conf)." in local["pip_options"].help
    assert "They go over those of the image. Builds can read them" in cluster["pip_options"].help
    assert (local["environment_builds"].default_value, cluster["environment_builds"].default_value) == (
        "source",
        "wheels",
    )


@pytest.mark.parametrize("cls", BOTH)
def test_an_option_that_there_is_not_is_told(cls: type[BackendSettings]) -> None:
    settings = cls()
    settings.take("lab", {"environments_disk": "1Gi"})
    assert settings.environments_disk == "1Gi"
    with pytest.raises(TraitError, match=r"backends: 'lab' has the unknown option 'disk'; known: .*environments_days"):
        settings.take("lab", {"disk": "1Gi"})
