"""What a build is told about mirrors and certificates: build secrets, so that none of it is in an image.

``kernels/mirrors`` reads them inside. Where no option names a file, pip's own variables count, since whoever needs a
mirror has usually told pip.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

OPTIONS = {
    "--ca": ("ca", "Certificates (PEM) that the build trusts; PIP_CERT, if that is set."),
    "--apt-sources": ("apt.sources", "Debian's sources as the build sees them, .sources or .list."),
    "--apt-config": ("apt.conf", "Configuration of apt, such as a proxy."),
    "--pip-config": (
        "pip.conf",
        "Configuration of pip, such as an index; PIP_CONFIG_FILE and PIP_INDEX_URL count, too.",
    ),
    "--maven-settings": ("maven.xml", "Settings of Maven, such as a mirror."),
}
"""Each option with the name of its secret and its help."""

_PIP = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")


class MirrorError(Exception):
    """A file that a build needs can't be read. The text names it and its option."""


def secrets(given: Mapping[str, Path | None], scratch: Path) -> dict[str, Path]:
    """The secrets by name; ``given`` are the options' files. What pip's variables say is written into ``scratch``."""
    found: dict[str, Path] = {}
    for option, (name, _) in OPTIONS.items():
        file = given.get(option)
        if file is not None:
            if option == "--apt-sources" and file.suffix == ".list":
                name = "apt.list"
            found[name] = _readable(file, option)
    if "ca" not in found and (certificates := os.environ.get("PIP_CERT")):
        found["ca"] = _readable(Path(certificates), "PIP_CERT")
    if "pip.conf" not in found and (settings := _pip(scratch)) is not None:
        found["pip.conf"] = settings
    return found


def _readable(file: Path, told_by: str) -> Path:
    try:
        with file.open("rb"):
            return file.absolute()
    except OSError as error:
        raise MirrorError(f"{told_by} names {str(file)!r}, which can't be read: {error.strerror}.") from error


def _pip(scratch: Path) -> Path | None:
    file = os.environ.get("PIP_CONFIG_FILE", "")
    told = {name: value for name in _PIP if (value := os.environ.get(f"PIP_{name.upper().replace('-', '_')}"))}
    if file and file != os.devnull and not told:
        return _readable(Path(file), "PIP_CONFIG_FILE")
    if not told:
        return None
    written = configparser.RawConfigParser()
    if file and file != os.devnull:  # pip reads both, and its variables win over its file
        try:
            written.read_string(_readable(Path(file), "PIP_CONFIG_FILE").read_text("utf-8"))
        except (configparser.Error, UnicodeDecodeError) as error:
            raise MirrorError(f"PIP_CONFIG_FILE names {file!r}, which pip could not read: {error}") from error
    if not written.has_section("global"):
        written.add_section("global")
    for name, value in told.items():
        written["global"][name] = value
    path = scratch / "pip.conf"
    path.touch(0o600)  # an index's address may hold a password
    with path.open("w", encoding="utf-8") as into:
        written.write(into)
    return path
