"""Profiles: where their jobs run in a cluster, and which volumes they may mount."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.resources.base import parse
from jupyter_trainjob.resources.errors import Invalid
from jupyter_trainjob.resources.profile import Profile
from jupyter_trainjob.resources.trainjob import Volume
from jupyter_trainjob.resources.volumes import AllowedVolume, mounts, part

DATA = AllowedVolume(name="data", claim="course-data", sub_path="sets")
HOME = AllowedVolume(
    name="home", nfs={"server": "nfs.example.org", "path": "/export"}, sub_path="homes/{owner}", writable=True
)  # type: ignore[arg-type]


def profile(**spec: Any) -> Profile:
    return parse(Profile, {"kind": "Profile", "metadata": {"name": "gpu"}, "spec": spec})


def error(**spec: Any) -> str:
    with pytest.raises(Invalid) as refused:
        profile(**spec)
    return str(refused.value.to_dict())


def test_a_gpu_profile_comes_back_as_it_was_written() -> None:
    spec = {
        "environment": {"language": "python", "image": "registry.example.org/course/lab:2026"},
        "placement": {
            "gpuResource": "nvidia.com/gpu",
            "nodeSelector": {"example.org/pool": "gpu"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "runtimeClass": "gvisor",
        },
        "volumes": [{"name": "data", "claim": "course-data", "subPath": "sets"}],
    }
    wire = profile(**spec).to_dict()["spec"]
    assert wire["placement"]["nodeSelector"] == {"example.org/pool": "gpu"}
    assert wire["volumes"][0]["subPath"] == "sets"
    assert profile(**wire) == profile(**spec)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"placement": {"gpuResource": "gpu"}}, "such as nvidia.com/gpu"),
        ({"placement": {"gpuResource": "kubernetes.io/gpu"}}, "no extended resource"),
        ({"placement": {"nodeSelector": {"pool": "a b"}}}, "a label value has"),
        ({"placement": {"tolerations": [{"key": ""}]}}, "needs the operator Exists"),
        ({"placement": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}}, "has no value"),
        ({"placement": {"tolerations": [{"key": "a", "effect": "Never"}]}}, "none of its values"),
        ({"placement": {"runtimeClass": "G Visor"}}, "such as 'gvisor'"),
        ({"environment": {"image": "Not An Image"}}, "no name of an image"),
        ({"volumes": [{"name": "data"}]}, "needs either a claim or an nfs share"),
        ({"volumes": [{"name": "d", "claim": "c", "nfs": {"server": "s", "path": "/"}}]}, "needs either"),
        ({"volumes": [{"name": "d", "claim": "c"}, {"name": "d", "claim": "e"}]}, "two volumes are called"),
        ({"volumes": [{"name": "d", "claim": "c", "subPath": "../x"}]}, "without '.'"),
        ({"volumes": [{"name": "d", "claim": "c", "subPath": "{home}"}]}, "there are {owner}, {namespace}"),
        ({"volumes": [{"name": "d", "claim": "c", "mountPath": "/etc/x"}]}, "/etc is the system"),
        ({"volumes": [{"name": "d", "claim": "C D"}]}, "no name of a PersistentVolumeClaim"),
        ({"volumes": [{"name": "d", "nfs": {"server": "a b", "path": "/"}}]}, "such as nfs.example.org"),
    ],
)
def test_what_a_profile_can_not_hold_is_told(spec: dict[str, Any], says: str) -> None:
    assert says in error(**spec)


def test_a_job_gets_a_folder_below_the_profiles_and_no_more() -> None:
    (mount,) = mounts([Volume(name="data", mount_path="/mnt/d", sub_path="mnist")], [DATA, HOME], "ada", "course")
    assert (mount.mount_path, mount.sub_path, mount.read_only) == ("/mnt/d", "sets/mnist", True)
    (mount,) = mounts([Volume(name="home", mount_path="", read_only=False)], [DATA, HOME], "ada", "course")
    assert (mount.mount_path, mount.sub_path, mount.read_only) == ("/mnt/home", "homes/ada", False)


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        (Volume(name="other", mount_path="/mnt/o"), "allows no volume 'other'; it allows: data, home"),
        (Volume(name="data", mount_path="/mnt/d", read_only=False), "may only be read; send readOnly: true"),
        (Volume(name="data", mount_path="/mnt/d", sub_path="../../secret"), "is no folder of a volume"),
        (Volume(name="data", mount_path="/mnt/d", sub_path="a/./b"), "is no folder of a volume"),
        (Volume(name="data", mount_path="mnt"), "write an absolute path, such as /mnt/data"),
        (Volume(name="data", mount_path="/work/data"), "/work is the system's or the job's own"),
        (Volume(name="data", mount_path="/"), "is no place for a volume"),
        (Volume(name="data", mount_path="/mnt/../etc"), "is no folder"),
    ],
)
def test_what_a_job_may_not_mount_is_told(volume: Volume, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        mounts([volume], [DATA, HOME], "ada", "course")


def test_volumes_in_each_others_way_are_told() -> None:
    asked = [Volume(name="data", mount_path="/mnt/d"), Volume(name="home", mount_path="/mnt/d/e")]
    with pytest.raises(ValueError, match="lies in the way of the one at '/mnt/d'"):
        mounts(asked, [DATA, HOME], "ada", "course")


@given(st.text(max_size=80), st.text(max_size=80))
def test_everybodys_folder_is_ones_own(one: str, other: str) -> None:
    assert part(one) not in ("", ".", "..") and "/" not in part(one)
    if one != other:
        assert part(one) != part(other)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_sub_path_leaves_the_profiles_folder(owner: str, sub_path: str) -> None:
    try:
        (mount,) = mounts([Volume(name="home", mount_path="/mnt/h", sub_path=sub_path)], [HOME], owner, "n")
    except ValueError:
        return
    assert f"{mount.sub_path}/".startswith(f"homes/{part(owner)}/")
    assert ".." not in mount.sub_path.split("/")
