"""Builds the images, or takes them from the cache: ``python -m tests.images.archives [NAME …]``.

It prints ``NAME REFERENCE FILE`` of each; the file is an OCI archive for ``ctr -n k8s.io images import``. They lie in
the cache folder, named by a hash of what they are made from, and so do the engine's layers: after a change of our code
only the last layer is made anew. The base is Debian by mmdebstrap, since there is no registry to have one from. Scala's
kernel is Toree here, see ``kernels/scala``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
NAMES = ("python", "r", "scala", "service")
PREFIX = "docker.io/trainjob"
RECIPE = (
    "--variant=minbase",
    "--mode=root",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
)
"""What Debian leaves out of its own slim image."""
ARGUMENTS = {"scala": {"KERNEL": "toree"}}
PARTS = {
    "pod": ["__init__.py", "runner", "storage", "resources", "backends"],
    "service": [""],
}
"""What the Dockerfiles copy of our package."""
KEPT = 3
"""So many archives of an image stay: other clones may be using theirs."""


def why_not() -> str:
    """Why the images can't be built here; "" where they can."""
    if os.getuid() != 0:
        return "building images takes root"
    missing = [program for program in ("buildah", "mmdebstrap", "bwrap") if shutil.which(program) is None]
    return f"not here: {', '.join(missing)}" if missing else ""


def place() -> Path:
    """The folder of archives and layers."""
    parent = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(parent) / "jupyter-trainjob" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def environment() -> dict[str, str]:
    """For the engine: layers in the cache, and no cgroup or namespace that this machine may not give."""
    folder = place()
    settings = folder / "storage.conf"
    running = Path("/run") / f"trainjob-images-{_hash([str(folder)])}"
    text = f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/containers"\nrunroot = "{running}"\n'
    if not settings.exists() or settings.read_text() != text:
        settings.write_text(text)
    found = {**os.environ, "CONTAINERS_STORAGE_CONF": str(settings), "BUILDAH_ISOLATION": "chroot"}
    if "PIP_CERT" not in found and "SSL_CERT_FILE" in found:
        found["PIP_CERT"] = found["SSL_CERT_FILE"]
    return found


@cache
def tag(name: str) -> str:
    """A hash of all that goes into the image, as it was when this process first asked."""
    package = TOP / "jupyter_trainjob"
    places = [TOP / "kernels" / name, *sorted(path for path in (TOP / "kernels").iterdir() if path.is_file())]
    places += [package / part for part in PARTS["service" if name == "service" else "pod"]]
    words = [*RECIPE, str(ARGUMENTS.get(name, ""))]
    for one in places:
        for path in sorted(one.rglob("*")) if one.is_dir() else [one]:
            left_out = {"__pycache__", "labextension", "_data"} & set(path.relative_to(TOP).parts)
            if path.is_file() and not left_out:
                words += [str(path.relative_to(TOP)), hashlib.sha256(path.read_bytes()).hexdigest()]
    return _hash(words)


def reference(name: str) -> str:
    """What the image is called, here and in the cluster that it is imported into."""
    return f"{PREFIX}/{name}:{tag(name)}"


def archives(*names: str) -> dict[str, Path]:
    """The archives of ``names`` (of all, if none is given); those that are not there are built, one after another."""
    found = {}
    with _alone():
        for name in names or NAMES:
            file = place() / f"{name}-{tag(name)}.tar"
            if not file.exists():
                _build(name, file)
            os.utime(file)
            found[name] = file
    return found


def _build(name: str, file: Path) -> None:
    base = _base()
    made = place() / "made"
    command = [
        sys.executable,
        "-m",
        "jupyter_trainjob.cli",
        "images",
        "build",
        name,
        "--engine",
        "buildah",
        "--base",
        base,
    ]
    command += ["--tag", tag(name), "--prefix", PREFIX, "--output", str(made)]
    for key, value in ARGUMENTS.get(name, {}).items():
        command += ["--build-arg", f"{key}={value}"]
    _run(command, f"build-{name}.log")
    (made / f"{name}.tar").rename(file)
    for other in sorted(place().glob(f"{name}-*.tar"), key=lambda path: -path.stat().st_mtime)[KEPT:]:
        other.unlink()
        gone = ["buildah", "rmi", f"{PREFIX}/{other.stem.replace('-', ':', 1)}"]
        subprocess.run(gone, env=environment(), capture_output=True, check=False)  # may be gone, or in use


def _base() -> str:
    """Debian's bookworm as an image of the engine; its archive stays, should the engine's folder be cleared."""
    key = _hash(RECIPE)
    name, file = f"localhost/trainjob/base:{key}", place() / f"base-{key}.tar"
    if (
        subprocess.run(
            ["buildah", "inspect", "--type", "image", name], env=environment(), capture_output=True
        ).returncode
        == 0
    ):
        return name
    if not file.exists():
        draft = file.with_suffix(".draft.tar")
        _run(["mmdebstrap", *RECIPE, "bookworm", str(draft), *_sources()], "build-base.log")
        draft.rename(file)
    container = subprocess.check_output(["buildah", "from", "scratch"], env=environment(), text=True).strip()
    for command in (["add", "-q", container, str(file)], ["commit", "-q", "--rm", container, name]):
        subprocess.run(["buildah", *command], env=environment(), stdout=subprocess.DEVNULL, check=True)
    return name


def _sources() -> list[str]:
    """The machine's own, where it is such a Debian: they name the mirror that works here."""
    if (
        "VERSION_CODENAME=bookworm" not in Path("/etc/os-release").read_text().split()
        or not Path("/etc/debian_version").exists()
    ):
        return []
    return [str(path) for path in sorted(Path("/etc/apt/sources.list.d").glob("debian.sources"))]


def _run(command: list[str], log: str) -> None:
    """One command, as politely as the machine allows; what it printed is the error's text."""
    path = place() / log
    with path.open("wb") as into:
        status = subprocess.run(
            ["nice", *command],
            cwd=TOP,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=into,
            stderr=into,
            check=False,
        ).returncode
    if status:
        last = "\n".join(path.read_text(errors="replace").splitlines()[-25:])
        raise RuntimeError(f"{' '.join(command[:6])} failed with status {status}; all of it is in {path}:\n{last}")


@contextmanager
def _alone() -> Iterator[None]:
    with (place() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hash(words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()[:16]


if __name__ == "__main__":
    if reason := why_not():
        sys.exit(f"The images can't be built: {reason}.")
    for one, archive in archives(*sys.argv[1:]).items():
        print(one, reference(one), archive)
