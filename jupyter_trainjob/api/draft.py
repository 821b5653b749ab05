"""From a request's body to a job that only says what a user may say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from ..resources import names
from ..resources.base import ObjectMeta, parse
from ..resources.errors import BadRequest, FieldError, Invalid, invalid
from ..resources.trainjob import CellSource, FolderSource, Gate, TrainJob, TrainJobStatus
from ..resources.words import counted

RESERVED_PREFIX = "jupyter-trainjob/"
"""Labels and annotations that mean something to the server."""

_OWN_LABELS = (names.NAME_LABEL, names.RETRY_OF_LABEL, names.RERUN_OF_LABEL, names.CODE_LABEL)
KERNEL_ANNOTATION = RESERVED_PREFIX + "notebook-kernel"
"""The kernelspec that the notebook was written with."""

_SERVER_SET = ("uid", "creationTimestamp", "deletionTimestamp", "finalizers", "generation", "resourceVersion")
"""Left out of a body silently, as ``status`` and the server's own labels are, so that what a GET answers can be sent
again."""


def read_draft(data: Any, *, owner: str, namespace: str) -> TrainJob:
    """The job that ``data`` asks for, owned by ``owner`` in ``namespace``; :class:`Invalid` with every bad field.

    What the server sets is dropped; an owner or a namespace other than these is an error, as is a ``cancel``.
    """
    if not isinstance(data, dict):
        raise BadRequest(
            "The body is no JSON object.", remedy="Send a TrainJob: {apiVersion, kind, metadata, spec}; see /schemas."
        )
    errors = list(_foreign(data, owner, namespace))
    body = {key: value for key, value in data.items() if key != "status"}
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        body["metadata"] = {key: value for key, value in metadata.items() if key not in _SERVER_SET}
    body.setdefault("kind", "TrainJob")
    try:
        job = parse(TrainJob, body)
    except Invalid as error:
        raise invalid([*errors, *error.details], "The TrainJob") from None
    if errors:
        raise invalid(errors, "The TrainJob")
    job.metadata = _own_metadata(job, owner, namespace)
    job.status = TrainJobStatus()
    return job


def _foreign(data: Mapping[str, Any], owner: str, namespace: str) -> list[FieldError]:
    errors = []
    metadata = data.get("metadata")
    if isinstance(metadata, dict):
        if metadata.get("owner") not in (None, "", owner):
            errors.append(
                FieldError(
                    "metadata.owner",
                    f"the owner is whoever sends the job, and that is {owner}",
                    metadata["owner"] if isinstance(metadata["owner"], str) else None,
                    "Leave it out.",
                )
            )
        if metadata.get("namespace") not in (None, "", namespace):
            errors.append(
                FieldError(
                    "metadata.namespace",
                    f"the job is sent to namespace {namespace!r}",
                    metadata["namespace"] if isinstance(metadata["namespace"], str) else None,
                    "Leave it out, or send the job to the other namespace.",
                )
            )
        for part, own in (("labels", _OWN_LABELS), ("annotations", (KERNEL_ANNOTATION,))):
            for key in metadata[part] if isinstance(metadata.get(part), dict) else ():
                if key not in own and is_reserved(part, key):
                    errors.append(reserved_error(part, key))
    spec = data.get("spec")
    if isinstance(spec, dict) and spec.get("cancel") is not None:
        errors.append(
            FieldError("spec.cancel", "a job can't be born cancelled", None, "Leave it out; cancel is a verb.")
        )
    if isinstance(spec, dict) and spec.get("approved") is not None:
        errors.append(FieldError("spec.approved", "no job is born approved", None, "Leave it out; approve is a verb."))
    if isinstance(spec, dict) and spec.get("sweep") is not None:
        remedy = "Leave it out; POST …/namespaces/NAMESPACE/batches with points makes one."
        errors.append(FieldError("spec.sweep", "no job is a point of a sweep by itself", None, remedy))
    if isinstance(spec, dict) and spec.get("front") is not None:
        errors.append(
            FieldError("spec.front", "no job is born at the front of its queue", None, "Leave it out; front is a verb.")
        )
    return errors


def _own_metadata(job: TrainJob, owner: str, namespace: str) -> ObjectMeta:
    given = job.metadata
    short = given.generate_name or ("" if given.name else _short_name(job))
    return ObjectMeta(
        name=given.name,
        generate_name="" if given.name else short,
        namespace=namespace,
        owner=owner,
        labels={**_without(given.labels, _OWN_LABELS), names.NAME_LABEL: given.generate_name or given.name or short},
        annotations=_without(given.annotations, (KERNEL_ANNOTATION,)),
        owner_references=given.owner_references,
    )


def is_reserved(part: str, key: str) -> bool:
    """Whether the server alone sets this key of ``part`` (``labels`` or ``annotations``)."""
    return key.startswith(RESERVED_PREFIX) and (part, key) != ("labels", names.KEEP_LABEL)


def reserved_error(part: str, key: str) -> FieldError:
    """What is wrong with a key that the server alone sets."""
    problem = f"keys that start with {RESERVED_PREFIX} are the server's"
    return FieldError(f"metadata.{part}.{key[:80]}", problem, None, f"Take another, or the label {names.KEEP_LABEL}.")


def _without(texts: Mapping[str, str], keys: Collection[str]) -> dict[str, str]:
    return {key: value for key, value in texts.items() if key not in keys}


def _short_name(job: TrainJob) -> str:
    """What to call a job that nobody named: after its file, or ``cell``."""
    source = job.spec.source
    if isinstance(source, CellSource):
        return "cell"
    path = source.entry if isinstance(source, FolderSource) else source.path
    stem = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in PurePosixPath(path).stem)
    readable = "-".join(part for part in stem.lower().split("-") if part)[: names.SHORT_NAME_MAX].strip("-")
    return readable or "job"


def turn_gate(name: str, parallel: int) -> Gate:
    """Where a point waits while so many others of its sweep queue or run."""
    jobs = counted(parallel, "job")
    told = f"{jobs} of the sweep {name} may run at once, and it waits for its turn"
    return Gate(type="sweep", message=told)
