"""Which waiting kernel fits which job: what was settled when it started must be the same. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace

from ...._version import __version__
from ....resources.base import ObjectMeta
from ....resources.profile import Profile, completed, reach
from ....resources.quantity import byte_count
from ....resources.trainjob import (
    FIRST_CHOSEN_SEED,
    CellSource,
    Environment,
    Outputs,
    Resources,
    TrainJob,
    TrainJobSpec,
)
from ...base import AttemptRef, AttemptRequest
from ...orders import Place, described

LANGUAGES = ("python", "r", "scala")
"""Whose kernels can wait for a job."""
GUESSED_BYTES = {"python": 100 * 2**20, "r": 130 * 2**20, "scala": 600 * 2**20}
_SETTLED = ("language", "environment", "threads")
_R_OPEN_FILES = 256
"""R does not run with fewer; a kernel that started with more must not be taken down to them."""


def kind(request: AttemptRequest, imports: Iterable[str]) -> str:
    """What tells the kernels that fit ``request``; empty where none ever does. ``imports``: its profile's."""
    spec = request.job.spec
    told = spec.environment
    language = (told.language or "python").lower()
    seeded = spec.seed is None or spec.seed < FIRST_CHOSEN_SEED  # it decides PYTHONHASHSEED, which is for ever
    if seeded or told.requirements is not None or told.kernel or language not in LANGUAGES:
        return ""
    if language == "r" and (spec.resources.open_files or _R_OPEN_FILES) < _R_OPEN_FILES:
        return ""
    runners = described(replace(request, ref=AttemptRef("warm", 0)), Place("", "", ""))
    settled = {
        **{name: runners[name] for name in _SETTLED},
        "shm": byte_count(spec.resources.shm or "64Mi"),
        "heap": runners["memoryBytes"] if language == "scala" else None,
        "imports": sorted(imports),
        "open": reach(spec.network, request.profile) == "host",
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()[:32]


def blank(profile: Profile, token: str = "") -> AttemptRequest:
    """An attempt of ``profile`` that asks for nothing and runs nothing, for nobody."""
    spec = profile.spec
    told = spec.environment
    job = TrainJob(
        metadata=ObjectMeta(name="waiting", uid=f"warm-{token}"),
        spec=TrainJobSpec(
            source=CellSource(code="pass"),
            profile=profile.metadata.name,
            resources=completed(Resources(), spec.defaults),
            environment=Environment(
                language=told.language.lower() or "python",
                kernel=told.kernel,
                env=told.env,
                requirements=told.requirements,
            ),
            seed=FIRST_CHOSEN_SEED,
        ),
    )
    return AttemptRequest(AttemptRef(f"warm-{token}", 0), job, profile, "")


def emptied(request: AttemptRequest, token: str) -> AttemptRequest:
    """The same kind of attempt as ``request``, of nobody's and without all that is its own."""
    job = request.job.model_copy(deep=True)
    job.metadata = ObjectMeta(name="waiting", uid=f"warm-{token}")
    job.spec.source = CellSource(code="pass")
    job.spec.inputs, job.spec.parameters, job.spec.outputs = [], {}, Outputs()
    job.spec.seed = FIRST_CHOSEN_SEED
    return AttemptRequest(AttemptRef(f"warm-{token}", 0), job, request.profile, "")
