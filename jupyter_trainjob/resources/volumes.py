"""Volumes: which of them a profile allows, and what a job gets of one. Pure.

A job names a volume of its profile, and where it wants to see it; it gets the profile's ``subPath`` of it and nothing
else, read-only unless the profile says ``writable`` and the job asks for it.

The node follows links on the way to a ``subPath``, as far as they stay in the volume. So nothing is ever mounted that
lies inside of what a job may write: not by a job (it can't name a folder), nor by a profile (:func:`astray`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import Field, field_validator, model_validator

from .base import Model
from .errors import FieldError
from .names import is_domain, is_name, slug
from .trainjob import Volume

RESERVED = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/proc", "/root", "/run", "/sbin", "/sys"),
    *("/tmp", "/trainjob", "/usr", "/var", "/work"),  # noqa: S108 - refused, not used
)
"""Where the system and the job's own folders lie: nothing is mounted there, above it or below it."""
_HOST = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.:]*[A-Za-z0-9])?\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.@]{0,127}\Z")


class NfsShare(Model):
    """A folder of an NFS server."""

    server: str
    path: str

    @field_validator("server")
    @classmethod
    def _server(cls, value: str) -> str:
        if not _HOST.match(value):
            raise ValueError(f"{value[:80]!r} is no host; write a name or an address, such as nfs.example.org")
        return value

    @field_validator("path")
    @classmethod
    def _path(cls, value: str) -> str:
        return "/" + folder(value.removeprefix("/"))


class AllowedVolume(Model):
    """A volume that jobs of the profile may mount: a claim of the namespace that they run in, or an NFS share."""

    name: str = Field(description="What jobs call it.")
    claim: str = Field(default="", description="Name of the PersistentVolumeClaim.")
    nfs: NfsShare | None = None
    sub_path: str = Field(
        default="",
        description="Jobs see what lies below it, and no more. {owner} stands for the job's owner, {namespace} for its "
        "namespace: a folder for each.",
    )
    mount_path: str = Field(default="", description="Where jobs see it that don't say so; empty: /mnt/<name>.")
    writable: bool = Field(default=False, description="Whether a job may ask to write into it (readOnly: false).")

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not is_name(value, 50):
            raise ValueError(f"{value[:80]!r} is no name of a volume; write lower-case letters, digits and dashes")
        return value

    @field_validator("claim")
    @classmethod
    def _claim(cls, value: str) -> str:
        if value and not is_domain(value):
            raise ValueError(f"{value[:80]!r} is no name of a PersistentVolumeClaim; write one such as 'course-data'")
        return value

    @field_validator("sub_path")
    @classmethod
    def _sub_path(cls, value: str) -> str:
        filled = value.replace("{owner}", "o").replace("{namespace}", "n")
        if "{" in filled or "}" in filled:
            raise ValueError(
                f"{value[:80]!r} has a place to fill that there is not; there are {{owner}}, {{namespace}}"
            )
        folder(filled)
        return value.strip("/")

    @field_validator("mount_path")
    @classmethod
    def _mount_path(cls, value: str) -> str:
        return mount_path(value) if value else ""

    @model_validator(mode="after")
    def _one_kind(self) -> AllowedVolume:
        if bool(self.claim) == (self.nfs is not None):
            raise ValueError(f"the volume {self.name!r} needs either a claim or an nfs share")
        return self


@dataclass(frozen=True)
class Mount:
    """A volume as a job gets it."""

    allowed: AllowedVolume
    mount_path: str
    sub_path: str
    read_only: bool


def folder(text: str) -> str:
    """``text`` as a relative folder in plain parts, empty for the top. ``ValueError``."""
    parts = [part for part in text.strip("/").split("/") if part]
    if any(part in (".", "..") for part in parts) or any(ord(letter) < 32 or letter in "\\\x7f" for letter in text):
        raise ValueError(f"{text[:80]!r} is no folder of a volume; write a path without '.', '..' and '\\\\'")
    if len(text) > 1024:
        raise ValueError(f"a path of {len(text)} characters is too long for a folder")
    return "/".join(parts)


def mount_path(text: str) -> str:
    """``text`` as a place where a volume may be mounted. ``ValueError``."""
    if not text.startswith("/") or ":" in text:
        raise ValueError(f"{text[:80]!r} is no place for a volume; write an absolute path, such as /mnt/data")
    path = "/" + folder(text)
    taken = next((place for place in RESERVED if f"{path}/".startswith(f"{place}/")), "/" if path == "/" else "")
    if taken:
        raise ValueError(
            f"{text[:80]!r} is no place for a volume: {taken} is the system's or the job's own; try /mnt/data"
        )
    return path


def mounts(asked: list[Volume], allowed: list[AllowedVolume], owner: str, namespace: str) -> list[Mount]:
    """What a job of ``owner`` gets that asks for these. ``ValueError`` names what the profile does not allow."""
    found, errors = looked_at(asked, allowed, owner, namespace)
    if errors:
        raise ValueError(errors[0].message)
    return found


def looked_at(
    asked: list[Volume], allowed: list[AllowedVolume], owner: str, namespace: str
) -> tuple[list[Mount], list[FieldError]]:
    """What :func:`mounts` gives, and all that is wrong with what is asked for."""
    found: list[Mount] = []
    errors: list[FieldError] = []
    for index, volume in enumerate(asked):
        where = f"spec.volumes[{index}]"
        chosen = next((item for item in allowed if item.name == volume.name), None)
        if chosen is None:
            there = ", ".join(sorted(item.name for item in allowed)) or "none"
            remedy = "Name one of these." if allowed else "Choose a profile that has volumes, or leave it out."
            message = f"the profile allows no volume {volume.name[:60]!r}; it allows: {there}"
            errors.append(FieldError(f"{where}.name", message, volume.name[:60], remedy))
            continue
        if not volume.read_only and not chosen.writable:
            message = f"the volume {volume.name!r} may only be read"
            remedy = f"Ask for it with --volume {volume.name}:ro (readOnly: true); write into the job's own folder."
            errors.append(FieldError(f"{where}.readOnly", message, False, remedy))
        try:
            place = mount_path(volume.mount_path or chosen.mount_path or f"/mnt/{chosen.name}")
        except ValueError as error:
            remedy = "Leave it out for the profile's place."
            errors.append(FieldError(f"{where}.mountPath", str(error), volume.mount_path[:80], remedy))
            continue
        other = next((m.mount_path for m in found if _within(place, m.mount_path) or _within(m.mount_path, place)), "")
        if other:
            message = f"the volume {volume.name!r} at {place!r} lies in the way of the one at {other!r}"
            errors.append(FieldError(f"{where}.mountPath", message, place, "Give each volume a place of its own."))
            continue
        top = chosen.sub_path.replace("{owner}", part(owner)).replace("{namespace}", part(namespace))
        found.append(Mount(chosen, place, top, volume.read_only))
    return found, errors


def astray(allowed: Iterable[tuple[str, AllowedVolume]]) -> str:
    """Which of these would be mounted from inside of what jobs may write, and why that can't be; empty: none.

    ``allowed``: each with what it is called, as "'home'" or "'home' of the profile 'gpu'".
    """
    found = list(allowed)
    for called, inner in found:
        for other, outer in found:
            if outer.writable and outer is not inner and _inside(inner, outer):
                return (
                    f"the volume {called} lies inside of {other}, into which jobs may write: a link that one of them "
                    "leaves there would lead to another person's files; give it a folder beside that one"
                )
    return ""


def _inside(inner: AllowedVolume, outer: AllowedVolume) -> bool:
    """Whether a part of the way to ``inner`` may lie in ``outer``; a place to fill may be any name."""
    (volume, way), (other, above) = _way(inner), _way(outer)
    if volume != other or len(way) <= len(above):
        return False
    return all(one == its or "{" in one or "{" in its for one, its in zip(way, above, strict=False))


def _way(volume: AllowedVolume) -> tuple[str, list[str]]:
    parts = [one for one in volume.sub_path.split("/") if one]
    if volume.nfs is None:
        return f"claim {volume.claim}", parts
    return f"nfs {volume.nfs.server.lower()}", [*filter(None, volume.nfs.path.split("/")), *parts]


def part(text: str) -> str:
    """``text`` as one part of a path: itself where it is plain, else a name that only it has."""
    return text if _PLAIN.match(text) and "--" not in text and ".." not in text else slug(text)


def _within(path: str, other: str) -> bool:
    return f"{path}/".startswith(f"{other}/")
