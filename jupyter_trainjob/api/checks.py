"""What a job names, against the record and against what this server can do. Each function finds bad fields."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from typing import Any

from ..resources.errors import FieldError, NotFound
from ..resources.parameters import LARGEST_EXACT_R, texts, whole_numbers
from ..resources.profile import HOST_NETWORK, OWN_LOOPBACK, Profile, reach
from ..resources.trainjob import Gate, TrainJob, VariablesInput
from ..resources.words import counted
from ..store import Reader
from .requirements import is_profiles

SUPPORTED_SOURCES = ("cell", "notebook", "script", "folder")
SUPPORTED_INPUTS = ("upload", "variables", "output", "uri")
SUPPORTED_GATES = ("hold", "dependency")
PODS = "podSets"
"""What a backend offers that runs jobs of several pods."""


def named(
    reader: Reader,
    model: Any,
    name: str,
    where: str,
    errors: list[FieldError],
    usable: Callable[[Any], bool],
) -> Any:
    """The profile or queue ``name`` if it may be used; None, with the error that names those there are."""
    everything = {item.metadata.name: item for item in reader.list(model, limit=1000).items}
    usable_names = sorted(key for key, item in everything.items() if usable(item))
    word = model.__name__.lower()
    if name in usable_names:
        return everything[name]
    near = difflib.get_close_matches(name, usable_names, n=1)
    remedy = f"Did you mean {near[0]!r}? " if near else ""
    remedy += f"You may use: {', '.join(usable_names)}." if usable_names else f"There is no {word} that you may use."
    if name in everything:
        message = f"the {word} {name!r} takes only jobs of certain users and groups, and you are none of them"
    else:
        message = f"there is no {word} {name[:80]!r}"
    errors.append(FieldError(where, message, name[:80], remedy))
    return None


def blob_errors(reader: Reader, job: TrainJob) -> list[FieldError]:
    """Uploads that the owner doesn't have. Someone else's are missing just so: to know a digest grants nothing."""
    known: dict[str, bool] = {}
    errors = []
    for where, digest in job.spec.uploads():
        if digest not in known:
            known[digest] = reader.blob(job.metadata.owner, digest) is not None or is_profiles(reader, digest)
        if not known[digest]:
            errors.append(
                FieldError(
                    where,
                    f"{job.metadata.owner} has uploaded nothing with the digest {digest[:19]}…",
                    digest,
                    "Upload it first: PUT /blobs/<digest>.",
                )
            )
    return errors


def path_errors(job: TrainJob) -> list[FieldError]:
    """Inputs that would lie in each other's place."""
    taken: dict[str, int] = {}
    errors = []
    paths = {index: item.path for index, item in enumerate(job.spec.inputs) if not isinstance(item, VariablesInput)}
    for index, path in paths.items():
        if path in taken:
            errors.append(
                FieldError(
                    f"spec.inputs[{index}].path",
                    f"spec.inputs[{taken[path]}] has the same path",
                    path,
                    "Give each input a path of its own.",
                )
            )
        taken.setdefault(path, index)
    for index, path in paths.items():
        parents = path.split("/")[:-1]
        above = next((p for p in ("/".join(parents[:n]) for n in range(1, len(parents) + 1)) if p in taken), None)
        if above is not None:
            errors.append(
                FieldError(
                    f"spec.inputs[{index}].path",
                    f"it lies below {above!r}, which is a file: spec.inputs[{taken[above]}]",
                    path,
                    "Give one of them another path.",
                )
            )
    return errors


def parameter_errors(job: TrainJob, language: str) -> list[FieldError]:
    """Parameters that the language's own values can't hold without a change."""
    if language != "r":
        return []
    errors = []
    for name, value in job.spec.parameters.items():
        beyond = next((whole for whole in whole_numbers(value) if abs(whole) > LARGEST_EXACT_R), None)
        if beyond is not None:
            problem = f"R can't hold {str(beyond)[:40]} exactly; send it as a string"
            errors.append(
                FieldError(f"spec.parameters.{name}", problem, None, f'Write "{str(beyond)[:40]}" in quotes.')
            )
        if any("\0" in text for text in texts(value)):
            problem = "a string of R can't hold a NUL character"
            errors.append(FieldError(f"spec.parameters.{name}", problem, None, "Take it out, or send it in a file."))
    return errors


def reference_errors(reader: Reader, job: TrainJob) -> list[FieldError]:
    """Owner references that don't point to a job of the same owner in the same namespace."""
    errors = []
    for index, reference in enumerate(job.metadata.owner_references):
        try:
            parent = reader.by_uid(TrainJob, reference.uid) if reference.kind == "TrainJob" else None
        except NotFound:
            parent = None
        if (
            parent is None
            or parent.metadata.owner != job.metadata.owner
            or parent.metadata.namespace != job.metadata.namespace
            or parent.metadata.name != reference.name
        ):
            errors.append(
                FieldError(
                    f"metadata.ownerReferences[{index}]",
                    f"there is no {reference.kind[:40]} {reference.name[:63]!r} of yours with this uid here",
                    reference.uid[:80],
                    "Name kind, name and uid of one of your jobs in the same namespace.",
                )
            )
    return errors


def never(gate: Gate, parent: TrainJob) -> str:
    """Why the dependency can't be fulfilled any more; empty where it can."""
    phase = parent.status.phase
    if gate.fulfilled_by(phase) is not False:
        return ""
    return f"the job would wait until {parent.metadata.name} has {gate.condition}, but that one ended as {phase.value}"


def network_errors(job: TrainJob, profile: Profile) -> list[FieldError]:
    """A network that the job asks for and its profile does not allow: it would get less."""
    if job.spec.network.mode != "profile" or reach(job.spec.network, profile) != "none":
        return []
    problem = f"the profile {profile.metadata.name!r} allows its jobs no network"
    remedy = "Leave --network out, and bring what the job reads with --files, --input or --uri; or choose a profile "
    return [FieldError("spec.network.mode", problem, "profile", f"{remedy}that allows it.")]


def unsupported(job: TrainJob) -> list[FieldError]:
    """What the object model knows and this server does not do yet."""
    spec = job.spec
    errors = []

    def refuse(where: str, what: str, value: str, supported: Collection[str]) -> None:
        can = f"Supported: {', '.join(supported)}." if supported else "Leave it out."
        errors.append(FieldError(where, f"{what} not supported by this server", value, can))

    if spec.source.type not in SUPPORTED_SOURCES:
        refuse("spec.source.type", f"a source of type {spec.source.type!r} is", spec.source.type, SUPPORTED_SOURCES)
    for index, item in enumerate(spec.inputs):
        if item.type not in SUPPORTED_INPUTS:
            refuse(f"spec.inputs[{index}].type", f"an input of type {item.type!r} is", item.type, SUPPORTED_INPUTS)
    for index, gate in enumerate(spec.scheduling_gates):
        if gate.type not in SUPPORTED_GATES:
            refuse(
                f"spec.schedulingGates[{index}].type", f"a gate of type {gate.type!r} is", gate.type, SUPPORTED_GATES
            )
    return errors


def chosen(job: TrainJob, profile: Profile) -> dict[str, str]:
    """What the complete ``job`` chose of what only some backends offer: ``image``, ``volumes``, :data:`PODS`,
    :data:`HOST_NETWORK`, :data:`OWN_LOOPBACK` → its name.
    """
    image, volumes = job.spec.environment.image, job.spec.volumes
    found = {"image": image} if image != profile.spec.environment.image else {}
    count = sum(one.count for one in job.spec.needs())
    found |= {PODS: counted(count, "pod")} if count > 1 else {}
    wanted = reach(job.spec.network, profile)
    found |= {f"network:{wanted}": job.spec.network.mode} if wanted != "none" else {}
    return found | ({"volumes": volumes[0].name} if volumes else {})


def not_offered(what: str, value: str, queue: str, elsewhere: Collection[str]) -> FieldError:
    """That the backend of ``queue`` has no images, or no volumes. ``elsewhere``: queues whose backends have."""
    names = {"image": "images", PODS: "jobs of several pods", HOST_NETWORK: "it", OWN_LOOPBACK: "it"}
    plural = names.get(what, what)
    where = (
        f"Queues that have {plural}: {', '.join(sorted(elsewhere))}." if elsewhere else f"No queue here has {plural}."
    )
    if what == "image":
        problem = f"no image can be chosen in the queue {queue!r}: its jobs run on the server's own machine"
        remedy = f"Leave --image out, and send what the job needs with --requirements. {where}"
        return FieldError("spec.environment.image", problem, value[:200], remedy)
    if what == PODS:
        problem = f"the job has {value}, and the queue {queue!r} runs each job in one"
        return FieldError("spec.podSets", problem, value, f"Leave spec.podSets out. {where}")
    if what == HOST_NETWORK:
        problem = f"jobs in the queue {queue!r} never have a network, whatever their profile allows"
        return FieldError("spec.network.mode", problem, value, f"Leave --network out. {where}")
    if what == OWN_LOOPBACK:
        problem = f"jobs in the queue {queue!r} can't have a loopback of their own: it would open the machine's network"
        return FieldError("spec.network.mode", problem, value, f"Leave --network out. {where}")
    problem = f"there are no volumes in the queue {queue!r}: its jobs run on the server's own machine"
    remedy = f"Leave --volume out, and send files with --files or --input. {where}"
    return FieldError("spec.volumes", problem, value[:100], remedy)
