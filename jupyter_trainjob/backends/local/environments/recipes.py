"""How the environment of each language is made, as steps in a :class:`.box.Box`."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

from .box import Box

MAX_READ_BYTES = 32 * 2**20
LEAVE_OUT = "leave the requirements out, and ask the operator for what is missing"
_FETCHING = frozenset(
    (
        *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
        *("ssl_cert_file", "ssl_cert_dir", "requests_ca_bundle", "curl_ca_bundle", "git_ssl_cainfo"),
    )
)


@dataclass(frozen=True)
class Found:
    """An environment that is there, as ``job.json`` tells of it. All paths are absolute and below :attr:`root`."""

    root: str
    interpreter: str = ""
    """The Python that the kernel runs in."""
    libraries: tuple[str, ...] = ()
    """Folders for R_LIBS."""
    jars: tuple[str, ...] = ()
    paths: tuple[str, ...] = field(default=())
    """Folders that go to the front of PATH."""


@dataclass(frozen=True)
class Site:
    """What the operator says about where packages come from."""

    pip: dict[str, str] = field(default_factory=dict)
    """Options of pip, as in its configuration file: ``{"index-url": …}``; over those that the server itself has."""
    builds: Literal["none", "wheels", "source"] = "source"
    """What may be built. ``wheels``: only what runs no code of a package while it is installed."""
    r_repositories: tuple[str, ...] = ()
    """Asked instead of those that an ``renv.lock`` names."""
    maven_repository: str = ""
    """Asked instead of Maven Central."""


class Recipe(ABC):
    """One format. A recipe is made once; its methods block and may run on several threads."""

    tool: str
    """For people: what does the work."""

    @abstractmethod
    def check(self, text: str, *, forbids_processes: bool) -> None:
        """Quick. Raises :class:`.box.NeverBuilt` for a list that can't be built here at all.

        ``forbids_processes``: whether a build can be kept from starting further processes.
        """

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """All that its environments depend on beside the list itself. Raises :class:`.box.BuildFailed`."""

    @abstractmethod
    def binds(self) -> list[str]:
        """Host paths that a build needs to see."""

    @abstractmethod
    def build(self, box: Box, text: str, cache: str) -> list[dict[str, str]]:
        """Fill ``box.root``; what was installed: ``{"name", "version", …}``. Raises :class:`.box.BuildFailed`.

        ``cache``: a folder that this recipe's builds share, writable for steps that run nobody's code; "": none.
        """

    @abstractmethod
    def found(self, root: str) -> Found:
        """What a finished environment at ``root`` offers."""


def proxy_environment() -> dict[str, str]:
    """The server's own variables about proxies and certificates: whoever fetches packages needs them."""
    return {name: value for name, value in os.environ.items() if name.lower() in _FETCHING}


def existing_paths(values: list[str]) -> list[str]:
    """The absolute paths in settings such as a certificate's or a folder of wheels, if they are there."""
    words = [word.removeprefix("file://") for value in values for word in value.split()]
    whole = {"/", "/root", "/home", "/etc", "/proc", "/sys", "/dev", os.path.expanduser("~")}
    kept = [os.path.normpath(word) for word in words if os.path.isabs(word) and os.path.exists(word)]
    return [path for path in kept if path not in whole]


def read_inside(path: str) -> bytes:
    """A file that the build wrote, which may be anything. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no file")
        return file.read(MAX_READ_BYTES)
