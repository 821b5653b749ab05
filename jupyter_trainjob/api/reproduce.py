"""A job once more, as it was: its recorded code, inputs, environment, limits, parameters and seed, come what may since.

What names a thing by its content (code, uploads, an environment's exact versions) or by its attempt (another job's
outputs) is the same thing for ever; what names it by a name that may mean another thing today (a profile) is taken
from the record. Only what an operator bounds a job by is what it is today.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ..resources import names
from ..resources.base import parse
from ..resources.errors import Conflict, NotFound, Unavailable
from ..resources.isolation import LEVELS
from ..resources.profile import Profile
from ..resources.requirements import exact
from ..resources.trainjob import Requirements, TrainJob
from ..storage.base import KeyMissing, ObjectStore, StoreError
from ..store import Reader, Writer
from .draft import read_draft, turn_gate

_NOT_AGAIN = ("cancel", "front", "approved", "sweep")
"""Parts of a spec that verbs and the server set."""


def draft_again(old: TrainJob) -> TrainJob:
    """A draft with the spec of ``old``, for the same owner; nothing holds or cancels it, or puts it first."""
    draft = read_draft(
        {
            "spec": {**old.to_dict()["spec"], **dict.fromkeys(_NOT_AGAIN)},
            "metadata": {"annotations": old.metadata.annotations},
        },
        owner=old.metadata.owner,
        namespace=old.metadata.namespace,
    )
    short = old.metadata.labels.get(names.NAME_LABEL, "")
    draft.metadata.generate_name = short if names.is_name(short, names.SHORT_NAME_MAX) else "again"
    draft.spec.sweep = old.spec.sweep
    kept = {key: value for key, value in old.metadata.labels.items() if key != names.KEEP_LABEL}
    draft.metadata.labels = kept
    draft.spec.scheduling_gates = [gate for gate in draft.spec.scheduling_gates if gate.type == "dependency"]
    recorded = recorded_profile(old)
    if recorded is not None and draft.spec.environment.image == recorded.spec.environment.image:
        draft.spec.environment.image = ""  # it was not asked for: the profile decides once more
    return draft


def wait_in_turn(draft: TrainJob) -> None:
    """A point of a sweep waits until fewer others of it queue or run, as it did the first time."""
    sweep = draft.spec.sweep
    if sweep is not None and sweep.max_parallel is not None:
        draft.spec.scheduling_gates.append(turn_gate(sweep.name, sweep.max_parallel))


def recorded_profile(old: TrainJob) -> Profile | None:
    """The profile as it was when ``old`` was submitted; None where nothing is recorded."""
    return parse(Profile, old.status.profile_snapshot) if old.status.profile_snapshot else None


def profile_for(recorded: Profile, reader: Reader) -> Profile:
    """What a job is run again under: defaults and environment as recorded; bounds are an operator's and hold for every
    job that starts, so that they are those of today's profile of that name. Where it is gone the record's hold.
    """
    try:
        today = reader.get(Profile, "", recorded.metadata.name)
    except NotFound:
        return recorded
    weaker_first = sorted((recorded.spec.minimum_isolation, today.spec.minimum_isolation), key=_strength)
    bounds = {
        "maximum": today.spec.maximum,
        "max_time_limit_seconds": today.spec.max_time_limit_seconds,
        "minimum_isolation": weaker_first[-1],
        "network": today.spec.network,
    }
    return recorded.model_copy(update={"spec": recorded.spec.model_copy(update=bounds)})


def _strength(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else -1


def with_parameters(draft: TrainJob, parameters: Mapping[str, Any]) -> None:
    """Put other values over the recorded ones. Raises what a draft with such parameters raises."""
    if parameters:
        spec = {**draft.spec.model_dump(by_alias=True, mode="json")}
        spec["parameters"] = {**spec["parameters"], **parameters}
        again = read_draft({"spec": spec}, owner=draft.metadata.owner, namespace=draft.metadata.namespace)
        draft.spec.parameters = again.spec.parameters


def locked(objects: ObjectStore, old: TrainJob) -> tuple[Requirements, bytes] | None:
    """The list that asks for exactly what ``old`` ran with, and its text; None for a job without requirements. Blocks.

    Raises :class:`Conflict` where that was never recorded: the job did not get as far.
    """
    asked = old.spec.environment.requirements
    if asked is None:
        return None
    if not old.status.environment_lock:
        raise Conflict(
            f"{old.metadata.name} never had its environment, so that there is nothing to run again as it was.",
            remedy="Retry it: the environment is then built from its list of requirements.",
        )
    try:
        lock = json.loads(objects.get(names.environment_lock_key(old.status.environment_lock)))
    except KeyMissing:
        raise Conflict(
            f"The exact versions that {old.metadata.name} ran with are no longer in the object store.",
            remedy="Retry it: the environment is then built from its list of requirements.",
        ) from None
    except StoreError as error:
        raise Unavailable(f"The environment of {old.metadata.name} can't be read now: {error}") from error
    text = exact(asked.format, lock).encode()
    return Requirements(format=asked.format, digest=f"sha256:{hashlib.sha256(text).hexdigest()}"), text


def keep_list(objects: ObjectStore, writer: Writer, owner: str, found: tuple[Requirements, bytes]) -> None:
    """Make it an upload of the owner's, as any list that they sent."""
    requirements, text = found
    objects.put(names.blob_key(owner, requirements.digest), text)
    writer.put_blob(owner, requirements.digest, len(text))
