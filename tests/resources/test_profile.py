"""Profiles: where their jobs run in a cluster, and which volumes they may mount."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jupyter_trainjob.resources.base import parse
from jupyter_trainjob.resources.errors import Invalid
from jupyter_trainjob.resources.profile import Profile
from jupyter_trainjob.resources.trainjob import Volume
from jupyter_trainjob.resources.volumes import AllowedVolume, astray, looked_at, mounts, part

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
    (mount,) = mounts([Volume(name="data", mount_path="/mnt/d")], [DATA, HOME], "ada", "course")
    assert (mount.mount_path, mount.sub_path, mount.read_only) == ("/mnt/d", "sets", True)
    (mount,) = mounts([Volume(name="home", mount_path="", read_only=False)], [DATA, HOME], "ada", "course")
    assert (mount.mount_path, mount.sub_path, mount.read_only) == ("/mnt/home", "homes/ada", False)


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        (Volume(name="other", mount_path="/mnt/o"), "allows no volume 'other'; it allows: data, home"),
        (Volume(name="data", mount_path="/mnt/d", read_only=False), "may only be read"),
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


@given(st.text(max_size=40))
def test_nobodys_name_leaves_the_profiles_folder(owner: str) -> None:
    (mount,) = mounts([Volume(name="home", mount_path="/mnt/h")], [HOME], owner, "n")
    assert mount.sub_path.split("/") == ["homes", part(owner)]


def test_a_job_can_not_choose_a_folder_inside_of_a_volume() -> None:
    """It may be a link that an earlier job left, which the node would follow."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Volume.model_validate({"name": "home", "mountPath": "/mnt/h", "subPath": "notes"})


def test_all_that_is_wrong_with_volumes_is_told_at_once() -> None:
    asked = [
        Volume(name="other"),
        Volume(name="data", read_only=False),
        Volume(name="home", mount_path="/etc"),
        Volume(name="home", mount_path="/mnt/data/x"),
    ]
    _, errors = looked_at(asked, [DATA, HOME], "ada", "course")
    assert [(one.field, one.message.split("; ")[0], one.remedy) for one in errors] == [
        ("spec.volumes[0].name", "the profile allows no volume 'other'", "Name one of these."),
        (
            "spec.volumes[1].readOnly",
            "the volume 'data' may only be read",
            "Ask for it with --volume data:ro (readOnly: true); write into the job's own folder.",
        ),
        (
            "spec.volumes[2].mountPath",
            "'/etc' is no place for a volume: /etc is the system's or the job's own",
            "Leave it out for the profile's place.",
        ),
        (
            "spec.volumes[3].mountPath",
            "the volume 'home' at '/mnt/data/x' lies in the way of the one at '/mnt/data'",
            "Give each volume a place of its own.",
        ),
    ]


def _volume(name: str, path: str, *, writable: bool = False, nfs: str = "") -> AllowedVolume:
    where = {"nfs": {"server": "nfs.example.org", "path": nfs}} if nfs else {"claim": "course"}
    return AllowedVolume.model_validate({"name": name, "subPath": path, "writable": writable, **where})


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        (_volume("sets", "homes/{owner}/sets"), _volume("home", "homes/{owner}", writable=True)),
        (_volume("sets", "homes/ada/sets"), _volume("home", "homes/{owner}", writable=True)),
        (_volume("sets", "{namespace}/u/sets"), _volume("home", "ml101/{owner}", writable=True)),
        (_volume("sets", "sets"), _volume("all", "", writable=True)),
        (_volume("sets", "", nfs="/export/homes/sets"), _volume("home", "homes", nfs="/export", writable=True)),
    ],
)
def test_nothing_is_mounted_from_inside_of_what_jobs_write(inner: AllowedVolume, outer: AllowedVolume) -> None:
    told = error(volumes=[inner.model_dump(by_alias=True), outer.model_dump(by_alias=True)])
    assert f"'{inner.name}' lies inside of '{outer.name}', into which jobs may write" in told
    outer.writable = False
    assert not astray((one.name, one) for one in (inner, outer))


def test_folders_beside_each_other_and_the_same_one_twice_are_well() -> None:
    home = _volume("home", "homes/{owner}", writable=True)
    for other in (_volume("same", "homes/{owner}"), _volume("sets", "sets/2026"), _volume("above", "homes")):
        assert not astray((one.name, one) for one in (home, other)), other
