"""Submitting: what goes along is uploaded by digest, then the job is created."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import inputs, ops, spec, uploads
from .effects import Steps, offload
from .errors import InputError
from .session import Session
from .spec import JobOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

_DEPENDENCY_ENDS = ("succeeded", "finished", "failed")


def submit_cell(session: Session, code: str, **options: Unpack[JobOptions]) -> Steps[dict[str, Any]]:
    """Send ``code`` away as a job of one cell. The options are those of :class:`.spec.JobOptions`."""
    spec.check_code(code)
    source = {"type": "cell", "code": code}
    if options.get("cell_id"):
        source["cellId"] = options["cell_id"]
    return (yield from _submit(session, source, options, "cell"))


def submit_notebook(session: Session, notebook: str | Path, **options: Unpack[JobOptions]) -> Steps[dict[str, Any]]:
    """Send a whole notebook away as a job. The options are those of :class:`.spec.JobOptions`."""
    file = Path(options.get("folder") or ".", notebook)
    data = yield from offload(lambda: inputs.open_notebook(file))
    return (yield from submit_notebook_bytes(session, data, file.name, **options))


def submit_notebook_bytes(
    session: Session, data: bytes, path: str, **options: Unpack[JobOptions]
) -> Steps[dict[str, Any]]:
    """Send a notebook that is in memory; ``path`` is its file name."""
    inputs.check_notebook(data, path)
    digest = yield from ops.upload_bytes(session, data)
    source = {"type": "notebook", "digest": digest, "path": path}
    return (yield from _submit(session, source, options, spec.readable_name(path)))


def _submit(session: Session, source: dict[str, Any], options: JobOptions, default_name: str) -> Steps[dict[str, Any]]:
    space = yield from session.namespace(options.get("namespace"))
    gates: list[dict[str, str]] = [{"type": "hold"}] if options.get("hold") else []
    for text in spec.split_names(options.get("depends_on") or ()):
        gates.append((yield from _dependency(session, space, text)))
    sent = yield from _inputs(session, options)
    resource = spec.job(source, options, inputs=sent, gates=gates, default_name=default_name)
    resource["metadata"]["namespace"] = space
    requirements = yield from _requirements(session, options)
    if requirements:
        resource["spec"].setdefault("environment", {})["requirements"] = requirements
    dry_run = bool(options.get("dry_run"))
    made = yield from ops.create_job(session, resource, dry_run)
    if options.get("block") and not dry_run:
        return (yield from ops.wait(session, space, made["metadata"]["uid"]))
    return made


def _requirements(session: Session, options: JobOptions) -> Steps[dict[str, str]]:
    path = options.get("requirements")
    if not path:
        return {}
    file = Path(options.get("folder") or ".", path)
    data = yield from offload(lambda: inputs.read_requirements(file))
    return {"format": inputs.requirements_format(file.name), "digest": (yield from ops.upload_bytes(session, data))}


def _dependency(session: Session, namespace: str, text: str) -> Steps[dict[str, str]]:
    name, colon, end = text.rpartition(":")
    if not colon:
        name, end = text, "succeeded"
    if end not in _DEPENDENCY_ENDS:
        raise InputError(
            f"--depends-on {text}: {end!r} is no end of a job.", remedy=f"Write one of {', '.join(_DEPENDENCY_ENDS)}."
        )
    job = yield from ops.get_job(session, name, namespace)
    return {"type": "dependency", "job": job["metadata"]["uid"], "condition": end}


def _inputs(session: Session, options: JobOptions) -> Steps[list[dict[str, Any]]]:
    sent: list[dict[str, Any]] = []
    variables = options.get("variables")
    if variables:
        pickled = yield from offload(_pickler(dict(variables)))
        digest = yield from ops.upload_bytes(session, pickled)
        sent.append(
            {
                "type": "variables",
                "digest": digest,
                "names": list(variables),
                "pythonVersion": inputs.python_version(),
            }
        )
    patterns = spec.split_names(options.get("files") or ())
    if patterns:
        folder = Path(options.get("folder") or ".").absolute()
        found = yield from offload(lambda: inputs.expand(folder, patterns))
        digests = yield from uploads.upload_files(session, [file for _, file in found])
        for (path, _), digest in zip(found, digests, strict=True):
            sent.append({"type": "upload", "digest": digest, "path": path})
    return sent


def _pickler(variables: dict[str, Any]) -> Callable[[], bytes]:
    return lambda: inputs.pickle_variables(variables)
