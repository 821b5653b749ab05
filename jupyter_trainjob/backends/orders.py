"""What every backend makes of a request: the runner's orders, and which stored objects are the job's inputs.

``job.json`` is the contract with the runner and the same everywhere; where things lie is each backend's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..resources.names import attempt_prefix
from ..resources.quantity import byte_count
from ..resources.source import WHOLE_FOLDER
from ..resources.trainjob import (
    FolderSource,
    NotebookSource,
    OutputInput,
    ScriptSource,
    UploadInput,
    VariablesInput,
)
from ..storage.base import KeyMissing, ObjectStore
from .base import AttemptRequest, BackendError
from .onecell import one_cell as one_cell
from .rules import MAX_INPUT_FILES, RUNNER_PROTOCOL, Collision
from .rules import VARIABLE_SUFFIXES as VARIABLE_SUFFIXES
from .rules import Paths as PlainPaths
from .rules import size as size_text

RUNNER_GRACE_SECONDS = 8
CHECKPOINT = "checkpoint/"
"""The folder in the job's own that another attempt finds again."""


@dataclass(frozen=True)
class Place:
    """Where the job sees its things, and what is set for it."""

    notebook: str
    work: str
    out: str
    inputs: list[dict[str, Any]] = field(default_factory=list)
    """``{"path", "source"}``: where it appears, and where it lies as the job sees it; ``copy``: as the job's own."""
    variables: list[dict[str, Any]] = field(default_factory=list)
    rlimits: dict[str, int | None] = field(default_factory=dict)
    interpreter: str = ""
    libraries: tuple[str, ...] = ()
    jars: tuple[str, ...] = ()
    compiled: str = ""
    """The folder of what was compiled beforehand for kernels; empty: none, or what the image says."""


def described(request: AttemptRequest, place: Place) -> dict[str, Any]:
    """``job.json``."""
    job = request.job
    environment = {item.name: item.value for item in request.profile.spec.environment.env}
    environment.update((item.name, item.value) for item in job.spec.environment.env)
    return {
        "runnerProtocol": RUNNER_PROTOCOL,
        "uid": request.ref.uid,
        "attempt": request.ref.attempt,
        "name": job.metadata.name,
        "language": job.spec.environment.language or "python",
        "kernel": job.spec.environment.kernel,
        "interpreter": place.interpreter,
        "libraries": list(place.libraries),
        "jars": list(place.jars),
        "compiled": place.compiled,
        "notebook": place.notebook,
        "work": place.work,
        "out": place.out,
        "inputs": place.inputs,
        "parameters": job.spec.parameters,
        "variables": place.variables,
        "results": job.spec.outputs.names,
        "environment": environment,
        "threads": max(1, -(-job.spec.resources.cpu_millis // 1000)),
        "memoryBytes": optional_bytes(job.spec.resources.memory),
        "seed": job.spec.seed,
        "drop": None,
        "rlimits": place.rlimits,
        "graceSeconds": RUNNER_GRACE_SECONDS,
    }


def keep(request: AttemptRequest) -> list[str]:
    """The globs of the files that are brought back; what another attempt goes on from is always among them."""
    spec = request.job.spec
    kept = list(spec.outputs.keep)
    if spec.preemptible or spec.retries.limit:
        kept += [glob for glob in (f"{CHECKPOINT}**",) if glob not in kept and "**" not in kept]
    return kept


def time_limit(request: AttemptRequest) -> int:
    """Seconds that the code may run: the job's own, else its profile's."""
    return request.job.spec.time_limit_seconds or request.profile.spec.time_limit_seconds


def optional_bytes(text: str | None) -> int | None:
    """A quantity of bytes; None where there is none."""
    return None if text is None else byte_count(text)


# Inputs


@dataclass(frozen=True)
class StoredInput:
    """One object of the store that the job is to get. ``path`` is empty for variables; ``what`` names it to people."""

    path: str
    key: str
    what: str
    size: int


class StoredInputs:
    """Which objects a request's inputs name. Blocks; raises :class:`BackendError` and ``StoreError``."""

    def __init__(self, request: AttemptRequest, store: ObjectStore, backend: str) -> None:
        self._request, self._store, self._backend = request, store, backend
        self.limit = optional_bytes(request.job.spec.resources.disk)

    def source(self) -> StoredInput | None:
        """The object that the job's source lies in; None for a cell, whose code is in the job."""
        source = self._request.job.spec.source
        if not isinstance(source, (NotebookSource, ScriptSource, FolderSource)):
            return None
        return self.stat(blob_key(self._request, source.digest), f"the {source.type}")

    def of(self, item: Any) -> Iterator[StoredInput]:
        """What an input names."""
        if isinstance(item, VariablesInput):
            yield self.stat(blob_key(self._request, item.digest), f"the variables {', '.join(item.names)}")
        elif isinstance(item, UploadInput):
            yield self.stat(blob_key(self._request, item.digest), f"the input {item.path!r}", item.path)
        elif isinstance(item, OutputInput):
            yield from self._outputs(item)
        else:
            raise BackendError(
                f"The backend {self._backend!r} can't bring inputs of type {item.type!r} yet.",
                remedy="Upload the file and name it as an input.",
                permanent=True,
            )

    def checkpoint(self) -> Iterator[StoredInput]:
        """What the latest attempt before this one that left anything in :data:`CHECKPOINT` left there: the job's own,
        to go on from. Nothing for a first attempt.
        """
        uid = self._request.ref.uid
        for number in range(self._request.ref.attempt - 1, 0, -1):
            prefix = f"{attempt_prefix(uid, number)}files/"
            count = 0
            for count, info in enumerate(self._store.list(prefix + CHECKPOINT), 1):  # noqa: B007 - asked behind
                path = info.key.removeprefix(prefix)
                yield StoredInput(path, info.key, f"the file {path!r} of attempt {number}", info.size)
            if count:
                return

    def stat(self, key: str, what: str, path: str = "") -> StoredInput:
        """The object under ``key``."""
        try:
            return StoredInput(path, key, what, self._store.stat(key).size)
        except KeyMissing:
            raise lost(what) from None

    def check_room(self, needed: int, *, more: bool = False) -> None:
        """``more``: they are still coming, so that what they need is not known."""
        check_room(needed, self.limit, more=more)

    def _outputs(self, item: OutputInput) -> Iterator[StoredInput]:
        """One file, or all below a folder, of an attempt that the controller has settled on."""
        if item.attempt is None:
            raise BackendError(f"It is not known which attempt of job {item.job} {item.path!r} is of.", permanent=True)
        prefix = f"{attempt_prefix(item.job, item.attempt)}files/"
        if item.file != WHOLE_FOLDER:
            if self._store.exists(prefix + item.file):
                yield self.stat(prefix + item.file, f"the input {item.path!r}", item.path)
                return
            prefix += f"{item.file}/"
        count = 0
        for count, info in enumerate(self._store.list(prefix), 1):  # noqa: B007 - counted for what comes behind
            path = f"{item.path}/{info.key.removeprefix(prefix)}"
            yield StoredInput(path, info.key, f"the input {path!r}", info.size)
        if not count:
            what = "no files" if item.file == WHOLE_FOLDER else f"no file {item.file!r}"
            raise BackendError(
                f"Attempt {item.attempt} of job {item.job} left {what}, which was to be the input {item.path!r}.",
                permanent=True,
            )


def check_room(needed: int, limit: int | None, *, more: bool = False) -> None:
    """Raises :class:`BackendError` where inputs of ``needed`` bytes are more than ``limit``. ``more``: and counting."""
    if limit is None or needed <= limit:
        return
    words = f"more than {size_text(limit)}" if more else size_text(needed)
    raise BackendError(
        f"The inputs have {words} together, and the job has {size_text(limit)} of disk.",
        remedy=f"Ask for {'more' if more else f'{-(-needed // 2**20)}Mi'} with --disk, or name fewer inputs.",
        permanent=True,
    )


class Paths(PlainPaths):
    """Those of :mod:`.rules`, with errors of a backend's."""

    def claim(self, path: str) -> None:
        """Take ``path``. Raises :class:`BackendError` where another input is in its way."""
        try:
            super().claim(path)
        except Collision as problem:
            raise BackendError(str(problem), remedy="Give one of them another path.", permanent=True) from None


def check_count(count: int) -> None:
    """Raises :class:`BackendError` where one more than ``count`` inputs would be too many."""
    if count >= MAX_INPUT_FILES:
        raise BackendError(
            f"The inputs are more than {MAX_INPUT_FILES} files.",
            remedy="Send them as an archive, and unpack it in the job.",
            permanent=True,
        )


def blob_key(request: AttemptRequest, digest: str) -> str:
    """Where an upload of the owner's lies."""
    return request.blob_prefix + digest.removeprefix("sha256:")


def lost(what: str) -> BackendError:
    """That something the job needs is gone."""
    return BackendError(f"The object store no longer has {what}.", remedy="Submit the job again.", permanent=True)
