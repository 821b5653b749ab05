"""What a job reads beside its uploads: other jobs' outputs and URIs. Settled, or found wrong, at submit."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Callable, Collection

from ..resources import names
from ..resources.errors import FieldError, NotFound, Unavailable
from ..resources.quantity import byte_count, format_bytes
from ..resources.source import WHOLE_FOLDER
from ..resources.trainjob import Gate, OutputInput, TrainJob, UploadInput, UriInput, VariablesInput
from ..resources.uris import UriError, allowed
from ..resources.visible import Visible
from ..storage.base import KeyMissing, ObjectStore, StoreError
from ..store import Reader

_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
MAX_GATES = 64
MAX_SUGGESTED = 1000
"""So many of a job's files are looked at for one of a similar name."""


def settle_outputs(
    reader: Reader, job: TrainJob, visible: Visible | None, may_read: Callable[[TrainJob], bool]
) -> list[FieldError]:
    """Give each output its job's uid and attempt; one that is still to come gets a dependency gate, which says so.

    A job that one may not read is missing, as one that there never was. To be called when gates have their uids.
    """
    errors: list[FieldError] = []
    for index, item in enumerate(job.spec.inputs):
        if not isinstance(item, OutputInput):
            continue
        where = f"spec.inputs[{index}]"
        try:
            parent = reader.find(TrainJob, job.metadata.namespace, item.job, visible=visible)
        except NotFound:
            parent = None
        if parent is None or parent.metadata.deletion_timestamp is not None or not may_read(parent):
            errors.append(_no_parent(item, f"{where}.job", job.metadata.namespace))
            item.attempt = None  # that nobody left the file needs no telling
            continue
        item.job = parent.metadata.uid
        problem = _settle(job, parent, item, where)
        if problem is not None:
            errors.append(problem)
    return errors


def _settle(job: TrainJob, parent: TrainJob, item: OutputInput, where: str) -> FieldError | None:
    name, attempts, final = parent.metadata.name, parent.status.attempts, parent.status.phase.final
    if item.attempt is not None and item.attempt > len(attempts):
        count = f"{len(attempts)} attempt{'s' if len(attempts) != 1 else ''}"
        asked, item.attempt = item.attempt, None  # which is told; that it left nothing needs no telling
        return FieldError(f"{where}.attempt", f"{name} has had {count}", asked, "Leave it out for the last one.")
    if final and not attempts:
        return FieldError(
            f"{where}.job",
            f"{name} ended before it started, so that it left nothing",
            name,
            "Run that job again first.",
        )
    if final:
        item.attempt = item.attempt or attempts[-1].number
        return None
    if item.attempt is not None and attempts[item.attempt - 1].end is not None:
        return None
    item.attempt = None  # the one that runs now: the last one counts, which is known when the job has ended
    gates = job.spec.scheduling_gates
    if any(gate.type == "dependency" and gate.job == item.job for gate in gates):
        return None
    if len(gates) >= MAX_GATES:
        return FieldError(f"{where}.job", f"the job waits for more than {MAX_GATES} others", name, "Name fewer.")
    message = f"it waits until {name} has succeeded: what that job leaves is its input {item.path}"
    gates.append(Gate(type="dependency", job=item.job, message=message[:500]))
    return None


def _no_parent(item: OutputInput, where: str, namespace: str) -> FieldError:
    """Of an attempt by its job's uid, as a job that was settled once and is sent again has it, nobody knows a name."""
    if item.attempt is None or not _UID.match(item.job):
        return _no_job(where, item.job, namespace)
    what = "all" if item.file == WHOLE_FOLDER else repr(item.file[:200])
    return FieldError(
        where,
        f"it reads {what} of job {item.job}, which is not there (any more) in namespace {namespace!r}",
        item.job,
        "If it was deleted, run its code again, and submit this one anew with --input from that job.",
    )


def _no_job(where: str, name: str, namespace: str) -> FieldError:
    return FieldError(
        where,
        f"there is no job {name[:80]!r} in namespace {namespace!r}",
        name[:80],
        "Name one that the list of jobs shows, by its name or uid.",
    )


def gone_outputs(reader: Reader, job: TrainJob) -> list[FieldError]:
    """Outputs whose job was deleted since they were settled. From then on it is not: see ``controllers/needs.py``."""
    errors = []
    for index, item in enumerate(job.spec.inputs):
        if isinstance(item, OutputInput):
            try:
                there = reader.by_uid(TrainJob, item.job).metadata.deletion_timestamp is None
            except NotFound:
                there = False
            if not there:
                errors.append(_no_job(f"spec.inputs[{index}].job", item.job, job.metadata.namespace))
    return errors


def uri_errors(job: TrainJob, prefixes: Collection[str]) -> list[FieldError]:
    """URIs that the operator does not allow."""
    errors = []
    for index, item in enumerate(job.spec.inputs):
        if isinstance(item, UriInput):
            try:
                allowed(item.uri, prefixes)
            except UriError as error:
                remedy = "Upload the file, or ask the operator to allow it (TrainJobExtension.input_uris)."
                errors.append(FieldError(f"spec.inputs[{index}].uri", str(error), item.uri[:200], remedy))
    return errors


async def look(objects: ObjectStore, job: TrainJob) -> list[FieldError]:
    """Named outputs that the other job did not leave. Raises :class:`Unavailable`."""
    named = [(index, item) for index, item in enumerate(job.spec.inputs) if isinstance(item, OutputInput)]
    if not named:
        return []
    try:
        return await asyncio.to_thread(_look, objects, named)
    except StoreError as error:
        raise Unavailable(
            f"The outputs that are named as inputs can't be looked at now: {error}", remedy="Send it again in a moment."
        ) from error


async def size_errors(objects: ObjectStore, job: TrainJob) -> list[FieldError]:
    """Inputs of more bytes than the job has disk, as far as their sizes are known. Raises :class:`Unavailable`.

    To be called when resources are complete. Equal ones are brought once and count once. What is not there counts
    nothing: others tell of that.
    """
    disk = job.spec.resources.disk
    if not disk or not job.spec.inputs:
        return []
    try:
        needed = await asyncio.to_thread(_known_bytes, objects, job)
    except StoreError as error:
        raise Unavailable(
            f"The sizes of the inputs can't be looked at now: {error}", remedy="Send it again in a moment."
        ) from error
    if needed <= byte_count(disk):
        return []
    whole = format_bytes(-(-needed // 2**20) * 2**20)
    return [
        FieldError(
            "spec.resources.disk",
            f"the inputs have {whole} together, and the job has {disk} of disk",
            disk,
            f"Ask for at least {whole} with --disk, or name fewer inputs.",
        )
    ]


def _known_bytes(objects: ObjectStore, job: TrainJob) -> int:
    sizes: dict[str, int] = {}
    for item in job.spec.inputs:
        if isinstance(item, OutputInput):
            if item.attempt is None:
                continue  # what is still to come
            prefix = f"{names.attempt_prefix(item.job, item.attempt)}files/"
            whole = item.file == WHOLE_FOLDER
            if whole or not _add_size(objects, prefix + item.file, sizes):
                below = prefix if whole else f"{prefix}{item.file}/"
                sizes.update((info.key, info.size) for info in objects.list(below))
        elif isinstance(item, (UploadInput, VariablesInput)):
            _add_size(objects, names.blob_key(job.metadata.owner, item.digest), sizes)
    return sum(sizes.values())


def _add_size(objects: ObjectStore, key: str, sizes: dict[str, int]) -> bool:
    try:
        if key not in sizes:
            sizes[key] = objects.stat(key).size
    except (KeyMissing, ValueError):  # or no name that an object could have
        return False
    return True


def _look(objects: ObjectStore, named: list[tuple[int, OutputInput]]) -> list[FieldError]:
    settled = [(index, item) for index, item in named if item.attempt is not None]
    return [error for index, item in settled for error in _left_errors(objects, item, f"spec.inputs[{index}].file")]


def _left_errors(objects: ObjectStore, item: OutputInput, where: str) -> list[FieldError]:
    prefix = f"{names.attempt_prefix(item.job, item.attempt or 1)}files/"
    if item.file != WHOLE_FOLDER:
        try:
            if objects.exists(prefix + item.file):
                return []
        except ValueError:
            pass  # no name that a file could have
        else:
            if any(True for _ in objects.list(f"{prefix}{item.file}/", limit=1)):
                return []
    left = [info.key.removeprefix(prefix) for info in objects.list(prefix, limit=MAX_SUGGESTED)]
    if item.file == WHOLE_FOLDER:
        return [] if left else [FieldError(where, "that job left no files", item.file, "Look at its outputs.")]
    near = difflib.get_close_matches(item.file, left, n=1)
    remedy = f"Did you mean {near[0]!r}? " if near else ""
    remedy += f"It left: {', '.join(left[:10])}{' …' if len(left) > 10 else ''}." if left else "It left none."
    return [FieldError(where, f"that job left no file and no folder {item.file[:200]!r}", item.file[:200], remedy)]
