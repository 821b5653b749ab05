"""What this machine offers to jobs, tried and not looked up: for ``jupyter trainjob doctor``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...resources.isolation import LEVELS
from ...resources.quantity import format_bytes, format_cpu
from ..base import BackendError
from ..findings import Finding, fail, ok, warn
from . import kernels, machine, probe
from .probe import Offer
from .runtime import Runtime, inspect

LANGUAGES = {"python": "Python", "r": "R", "scala": "Scala"}
FEW_BYTES = 2 * 2**30
"""Free disk below which few jobs have room for what they may write."""


@dataclass(frozen=True)
class Local:
    """What a local backend is configured with, as far as it can be wrong. ``data_dir`` may not be there yet."""

    data_dir: Path
    python: str
    kernelspec_dirs: tuple[str, ...]
    minimum_isolation: str = ""
    bwrap: str = ""
    allow_bwrap: bool = True
    allow_cgroups: bool = True
    allow_landlock: bool = True
    uids: tuple[int, int] = (64000, 64999)
    host_network: bool = False


def examine(local: Local) -> list[Finding]:
    """All findings. Blocks for a second or two."""
    findings = list(_folder(local.data_dir))
    if findings[0].level == "fail":
        return findings
    try:
        runtime = inspect(local.python, list(local.kernelspec_dirs))
    except BackendError as error:
        remedy = error.remedy or "Set LocalBackendSettings.python to a Python that has this package's requirements."
        return [*findings, fail("interpreter", str(error), remedy)]
    offer = _offer(local, runtime)
    return [*findings, *_sandbox(local, offer), *_kernels(runtime, offer), _size()]


def _folder(folder: Path) -> Iterator[Finding]:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        remedy = "Make it the server's own, or set TrainJobExtension.data_dir to a folder that is."
        yield fail("data folder", f"{there} can't be written to by {_me()}, so {folder} can't be kept.", remedy)
        return
    found = os.statvfs(there)
    free = found.f_bavail * found.f_frsize
    told = f"{format_bytes(free // 2**20 * 2**20)} are free on the disk of {folder}."
    if free < FEW_BYTES:
        yield warn("data folder", told, "Free some space: each job may write 2Gi unless its profile says otherwise.")
    else:
        yield ok("data folder", told)


def _offer(local: Local, runtime: Runtime) -> Offer:
    first, last = local.uids
    drop = last if os.geteuid() == 0 and last >= first else 0
    there = next(path for path in (local.data_dir / "run", *local.data_dir.parents, Path("/")) if path.exists())
    with tempfile.TemporaryDirectory(prefix="trainjob-doctor-", dir=there if os.access(there, os.W_OK) else None) as at:
        Path(at).chmod(0o711 if drop else 0o700)
        return probe.probe(
            runtime,
            at,
            bwrap=local.bwrap,
            uid=drop,
            allow_bwrap=local.allow_bwrap,
            allow_cgroups=local.allow_cgroups,
            allow_landlock=local.allow_landlock,
        )


def _sandbox(local: Local, offer: Offer) -> Iterator[Finding]:
    tried = f"Tried here: jobs run at the level {offer.level}."
    why = "; ".join(offer.findings)
    mend = (
        "Install bubblewrap (Debian: apt install bubblewrap; else pip install 'jupyter_trainjob[sandbox]'), and see "
        "that the kernel lets users make namespaces."
    )
    wanted = local.minimum_isolation
    if wanted and LEVELS.index(offer.level) < LEVELS.index(wanted):
        yield fail("sandbox", f"{tried} LocalBackendSettings.minimum_isolation is {wanted}. Why: {why}.", mend)
    elif offer.landlock:
        told = "They see the machine's processes, and share its /dev/shm; its other files and the network are closed."
        yield warn("sandbox", f"{tried} {told} Why: {why}.", mend)
    elif offer.bwrap is None:
        yield warn("sandbox", f"{tried} They can read what the server's user can read. Why: {why}.", mend)
    else:
        yield ok("sandbox", tried)
    if offer.bwrap is not None and not offer.filtered:
        unfiltered = next(text for text in offer.findings if text.startswith("system calls"))
        yield warn(
            "system calls", f"Of jobs they are not filtered: {unfiltered.partition(': ')[2]}.", "See the message."
        )
    if offer.cgroups:
        yield ok("cgroups", "The kernel holds memory and processes of each job.")
    else:
        yield warn(
            "cgroups",
            "Control groups can't be made here: a watchdog holds memory and processes of jobs instead.",
            "Give the service a delegated group (systemd: Delegate=yes), or leave it so.",
        )
    if local.host_network:
        yield warn(
            "network",
            "Jobs that ask for it reach what this machine reaches, where their profile says network.mode: host.",
            "Mean it: LocalBackendSettings.host_network is on. docs/sandbox.md has what that opens.",
        )
    if os.geteuid() == 0 and not offer.drop:
        yield warn(
            "user ids",
            "Jobs run as root: no other user can read both the interpreter and the data folder.",
            "Run the service as a user of its own.",
        )


def _kernels(runtime: Runtime, offer: Offer) -> Iterator[Finding]:
    try:
        found = kernels.look(runtime, offer.bwrap is not None)
    except BackendError as error:
        yield fail("kernels", str(error), error.remedy)
        return
    how = {
        "python": "Install ipykernel beside the interpreter for jobs.",
        "r": "apt install r-cran-irkernel, then restart the server.",
        "scala": "Install Apache Toree (docs/operators.md, “R and Scala for jobs”), then restart the server.",
    }
    for language, shown in LANGUAGES.items():
        names = [kernel.name for kernel in found if kernel.language == language]
        if names:
            yield ok(f"kernel of {shown}", f"Jobs find {', '.join(names)}.")
        elif language == "python":
            yield fail(f"kernel of {shown}", "Jobs find no kernel of Python.", how[language])
        else:
            yield warn(f"kernel of {shown}", f"Jobs find no kernel of {shown}.", how[language])


def _size() -> Finding:
    cpu, memory = format_cpu(machine.cpu_millis()), format_bytes(machine.memory_bytes() // 2**20 * 2**20)
    return ok("size", f"Jobs may have {cpu} CPU and {memory} memory together, unless the settings say otherwise.")


def _me() -> str:
    return f"the user {os.geteuid()}"
