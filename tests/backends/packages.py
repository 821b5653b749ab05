"""Tiny packages made on the spot, so that pip and R need no network."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path


def wheel(folder: Path, name: str, version: str, code: str, *, requires: tuple[str, ...] = ()) -> Path:
    """A pure wheel of one module called ``name``."""
    info = f"{name}-{version}.dist-info"
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": "\n".join(lines) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text.encode())}")
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    folder.mkdir(exist_ok=True)
    target = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return target


BACKEND = """
import os
{code}

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    import zipfile
    info = "{name}-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(wheel_directory, "{name}-1.0-py3-none-any.whl"), "w") as archive:
        archive.writestr("{name}.py", "SEEN = " + repr(SEEN))
        archive.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        archive.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "/RECORD", "")
    return "{name}-1.0-py3-none-any.whl"
"""


def sdist(folder: Path, name: str, code: str) -> Path:
    """A source package (version 1.0) whose build runs ``code``; its module holds the ``SEEN`` that ``code`` set."""
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND.format(name=name, code=code),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }
    folder.mkdir(exist_ok=True)
    return _tar(folder / f"{name}-1.0.tar.gz", {f"{name}-1.0/{path}": text for path, text in files.items()})


def r_package(folder: Path, name: str, version: str, code: str, *, imports: str = "", archived: bool = False) -> Path:
    """A source package in a repository at ``folder``; an old version lies in its archive."""
    described = (
        f"Package: {name}\nVersion: {version}\nTitle: Tiny\nDescription: Tiny.\nAuthor: A\nMaintainer: A <a@b.c>\n"
    )
    described += "License: GPL-3\n" + (f"Imports: {imports}\n" if imports else "")
    exports = "exportPattern('.')\n" + "".join(f"import({one.split()[0]})\n" for one in imports.split(", ") if one)
    place = folder / "src" / "contrib"
    place = place / "Archive" / name if archived else place
    place.mkdir(parents=True, exist_ok=True)
    files = {"DESCRIPTION": described, "NAMESPACE": exports, "R/code.R": code}
    return _tar(place / f"{name}_{version}.tar.gz", {f"{name}/{path}": text for path, text in files.items()})


def _tar(target: Path, files: dict[str, str]) -> Path:
    with tarfile.open(target, "w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return target
