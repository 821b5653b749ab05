"""docker, podman and buildah: which of them works here, and how each builds, sends and tells an image.

Each is run as an argument list. What it prints while it works goes to stderr, where one can watch it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY")
_TRY_SECONDS = 30
_LAST_LINES = 4


class EngineError(Exception):
    """No engine works, or one failed. The text holds its own last words."""


@dataclass(frozen=True)
class Order:
    """What is to be built, from what, with what."""

    context: Path
    scratch: Path
    """A folder for files that are only needed meanwhile."""
    prefix: str
    tag: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)

    def reference(self, name: str) -> str:
        """What the image is called here."""
        return f"{self.prefix}/{name}:{self.tag}"


@dataclass(frozen=True)
class Found:
    """An image, as its engine tells it. ``digest`` is that of its manifest and "" where the engine has none yet."""

    identity: str
    digest: str
    size: str


class Engine(ABC):
    """A program that builds images. All methods raise :class:`EngineError`."""

    name: str
    trial: Sequence[str]
    """A command that succeeds only where building can."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        """By reference, of what was sent to a registry or written into an archive."""

    def build_command(self, order: Order, name: str) -> list[str]:
        """The command that builds the image ``name``."""
        words = [self.name, "build", *self._own_options()]
        words += ["--file", str(order.context / "kernels" / name / "Dockerfile"), "--tag", order.reference(name)]
        for key, value in order.arguments.items():
            words += ["--build-arg", f"{key}={value}"]
        for key, path in order.secrets.items():
            words += ["--secret", f"id={key},src={path}"]
        return [*words, str(order.context)]

    def build(self, order: Order, name: str) -> None:
        """Build it."""
        watched(self.build_command(order, name), self._environment())

    def _own_options(self) -> list[str]:
        return ["--layers"]

    def _environment(self) -> dict[str, str]:
        return {}

    @abstractmethod
    def save(self, reference: str, file: Path, scratch: Path) -> None:
        """Write the image as an archive that ``ctr images import`` and the engines read."""

    @abstractmethod
    def push(self, reference: str, target: str, scratch: Path) -> str:
        """Send it to a registry; what it is called there."""

    @abstractmethod
    def look(self, reference: str) -> Found:
        """What the engine tells of it."""


class Docker(Engine):
    """Docker, with BuildKit: only that knows build secrets."""

    name = "docker"
    trial: Sequence[str] = ("docker", "version", "--format", "{{.Server.Version}}")

    def _own_options(self) -> list[str]:
        # The value of a proxy stays in the environment: it may hold a password.
        named = [name for proxy in _PROXIES for name in (proxy, proxy.lower()) if os.environ.get(name)]
        return [word for name in named for word in ("--build-arg", name)]

    def _environment(self) -> dict[str, str]:
        return {"DOCKER_BUILDKIT": "1"}

    def save(self, reference: str, file: Path, scratch: Path) -> None:
        """As ``docker save`` writes it."""
        watched([self.name, "save", "--output", str(file), reference])

    def push(self, reference: str, target: str, scratch: Path) -> str:
        """Under a second name."""
        watched([self.name, "tag", reference, target])
        watched([self.name, "push", target])
        told = answer([self.name, "image", "inspect", "--format", "{{json .RepoDigests}}", target])
        repository = target.rpartition(":")[0]
        known = {where: digest for where, _, digest in (text.rpartition("@") for text in json.loads(told) or [])}
        self.digests[target] = known.get(repository, known.get(repository.removeprefix("docker.io/"), ""))
        return target

    def look(self, reference: str) -> Found:
        """Docker has a digest only of what it pushed or pulled."""
        told = json.loads(answer([self.name, "image", "inspect", "--format", "{{json .}}", reference]))
        return Found(str(told["Id"]), "", megabytes(int(told["Size"])))


class Podman(Engine):
    """Podman."""

    name = "podman"
    trial: Sequence[str] = ("podman", "info", "--format", "{{.Host.Arch}}")

    def save(self, reference: str, file: Path, scratch: Path) -> None:
        """An OCI archive."""
        file.unlink(missing_ok=True)  # else it would be added to
        self._send(reference, f"oci-archive:{file}:{reference}", reference, scratch)

    def push(self, reference: str, target: str, scratch: Path) -> str:
        """With the digest that the registry has it under."""
        self._send(reference, f"docker://{target}", target, scratch)
        return target

    def _send(self, reference: str, where: str, name: str, scratch: Path) -> None:
        """Compressed, so that its digest is another than here."""
        digest = scratch / "digest"
        watched([self.name, "push", "--digestfile", str(digest), reference, where])
        self.digests[name] = digest.read_text("ascii").strip()

    def look(self, reference: str) -> Found:
        """The digest is that of the image as it lies here, without compression."""
        told = json.loads(answer([self.name, "image", "inspect", "--format", "json", reference]))[0]
        return Found(f"sha256:{told['Id']}", str(told["Digest"]), megabytes(int(told["Size"])))


class Buildah(Podman):
    """Buildah alone. ``BUILDAH_ISOLATION=chroot`` lets it build where there is no runc or no cgroup of its own."""

    name = "buildah"
    trial: Sequence[str] = ("buildah", "info")

    def look(self, reference: str) -> Found:
        """As for podman."""
        told = json.loads(answer([self.name, "inspect", "--type", "image", reference]))
        size = answer([self.name, "images", "--format", "{{.Size}}", reference]).splitlines()[0].strip()
        return Found(f"sha256:{told['FromImageID']}", str(told["FromImageDigest"]), size)


ENGINES: dict[str, type[Engine]] = {engine.name: engine for engine in (Docker, Podman, Buildah)}
"""In the order in which they are tried."""


def find(wanted: str | None) -> Engine:
    """The engine ``wanted``, or the first that works here."""
    troubles = []
    for name, engine in ENGINES.items():
        if wanted not in (None, name):
            continue
        trouble = _trouble(engine.trial)
        if not trouble:
            return engine()
        troubles.append(f"{name}: {trouble}")
    said = "No engine works here that builds images. Install podman, buildah or docker, or mend what each says:"
    raise EngineError("\n  ".join((said, *troubles)))


def _trouble(trial: Sequence[str]) -> str:
    """Why the engine can't be used; "" where it can."""
    try:
        done = subprocess.run(
            trial, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TRY_SECONDS
        )
    except FileNotFoundError:
        return "not installed."
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"can't be run: {error}"
    if done.returncode == 0 and done.stdout.strip():
        return ""
    said = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[-1]
    return f"the program is here, but no engine answers: {said}"


def megabytes(size: int) -> str:
    """``657 MB``, as the engines themselves say it."""
    return f"{size / 1e6:.0f} MB"


def answer(command: Sequence[str]) -> str:
    """What a short command prints. Raises :class:`EngineError`."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise EngineError(f"{command[0]} can't be run: {error.strerror}") from error
    if done.returncode:
        raise EngineError(failure(command, done.returncode, done.stderr.splitlines()))
    return done.stdout.strip()


def watched(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a long command and show what it prints. Raises :class:`EngineError` with its last lines."""
    last: deque[str] = deque(maxlen=_LAST_LINES)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise EngineError(f"{command[0]} can't be run: {error.strerror}") from error
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stderr.write(line)
            if line.strip():
                last.append(line.rstrip())
    if process.returncode:
        raise EngineError(failure(command, process.returncode, list(last)))


def failure(command: Sequence[str], status: int, said: Sequence[str]) -> str:
    """A sentence and the program's own last words; with the remedy, where a known one fits."""
    text = f"{' '.join(command[:2])} failed with status {status}:\n  " + "\n  ".join(said[-_LAST_LINES:])
    lower = text.lower()
    if "cgroup" in lower or "runc" in lower or "oci runtime" in lower:
        text += "\nWhere containers can't be started, BUILDAH_ISOLATION=chroot lets podman and buildah build without."
    if "buildx" in lower or "buildkit" in lower:
        text += "\nBuilding needs BuildKit: install docker's buildx plugin, or take podman or buildah (--engine)."
    return text
