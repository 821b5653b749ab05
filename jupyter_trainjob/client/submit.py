"""Submitting: what goes along is uploaded by digest, then the job is created."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import folders, inputs, ops, references, spec, typed, uploads, variables
from .effects import Request, Steps, offload
from .errors import InputError
from .session import Session
from .spec import JobOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

_DEPENDENCY_ENDS = ("succeeded", "finished", "failed")


def submit_cell(session: Session, code: str, **options: Unpack[JobOptions]) -> Steps[dict[str, Any]]:
    """Send ``code`` away as a job of one cell. The options are those of :class:`.spec.JobOptions`."""
    spec.check_code(code)
    source: dict[str, Any] = {"type": "cell", "code": code}
    if options.get("cell_id"):
        source["cellId"] = options["cell_id"]
    if options.get("first_line", 1) != 1:
        source["firstLine"] = options["first_line"]
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
    spec.check_text(f"The notebook's name {path!r}", path, "Rename it.")
    inputs.check_notebook(data, path)
    digest = yield from ops.upload_bytes(session, data)
    source = {"type": "notebook", "digest": digest, "path": path}
    return (yield from _submit(session, source, options, spec.readable_name(path)))


def submit_script(session: Session, script: str | Path, **options: Unpack[JobOptions]) -> Steps[dict[str, Any]]:
    """Send a file of Python, R or Scala (.py, .R, .r, .scala) away as a job. It runs as one piece."""
    file = Path(options.get("folder") or ".", script)
    spec.check_text(f"The script's name {file.name!r}", file.name, "Rename it.")
    data = yield from offload(lambda: folders.script(file))
    digest = yield from ops.upload_bytes(session, data)
    source = {"type": "script", "digest": digest, "path": file.name}
    return (yield from _submit(session, source, options, spec.readable_name(file.name)))


def submit_folder(
    session: Session, project: str | Path, entry: str | None, **options: Unpack[JobOptions]
) -> Steps[dict[str, Any]]:
    """Send a folder away as a job that runs ``entry``, a script or notebook in it, with the folder's files beside it.

    What its ``.trainjobignore`` names is left out, else what its ``.gitignore`` files name; see :mod:`.folders`.
    """
    base = Path(options.get("folder") or ".", project)
    found = yield from offload(lambda: folders.collect(base))
    source = {"type": "folder", "entry": folders.check_entry(base, entry, found)}
    with tempfile.TemporaryDirectory(prefix="trainjob-") as place:
        file = Path(place, "folder.tar.gz")
        yield from offload(lambda: _pack(found, file))
        source["digest"] = yield from ops.upload_file(session, file)
    return (yield from _submit(session, source, options, spec.readable_name(base.resolve().name + ".")))


def _pack(found: list[folders.Packed], file: Path) -> None:
    with file.open("wb") as out:
        folders.pack(found, out)


def _submit(session: Session, source: dict[str, Any], options: JobOptions, default_name: str) -> Steps[dict[str, Any]]:
    space = yield from session.namespace(options.get("namespace"))
    gates: list[dict[str, str]] = [{"type": "hold"}] if options.get("hold") else []
    for text in spec.split_names(options.get("depends_on") or ()):
        gates.append((yield from _dependency(session, space, text)))
    sent = yield from _variables(session, space, source, options)
    sent += yield from _inputs(session, options)
    resource = spec.job(source, options, inputs=sent, gates=gates, default_name=default_name)
    resource["metadata"]["namespace"] = space
    requirements = yield from _requirements(session, options)
    if requirements:
        resource["spec"].setdefault("environment", {})["requirements"] = requirements
    dry_run = bool(options.get("dry_run"))
    if options.get("points") and not dry_run:
        return (yield from _send_points(session, space, resource, options))
    if options.get("points"):
        resource["spec"].setdefault("parameters", {}).update(_encoded(options["points"][0]))
    made = yield from ops.create_job(session, resource, dry_run)
    if options.get("block") and not dry_run:
        return (yield from ops.wait(session, space, made["metadata"]["uid"]))
    return made


def _encoded(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: typed.encode(item, name) for name, item in parameters.items()}


def _send_points(session: Session, space: str, template: dict[str, Any], options: JobOptions) -> Steps[dict[str, Any]]:
    body: dict[str, Any] = {"template": template, "points": []}
    body["points"] = [{"parameters": _encoded(point)} for point in options["points"]]
    if options.get("max_parallel") is not None:
        body["maxParallel"] = options["max_parallel"]
    made = yield from session.json(Request("POST", ops.path("namespaces", space, "batches"), json=body))
    return {**made, "namespace": space}


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
    spec.check_text("--depends-on", text)
    if end not in _DEPENDENCY_ENDS:
        raise InputError(
            f"--depends-on {text}: {end!r} is no end of a job.", remedy=f"Write one of {', '.join(_DEPENDENCY_ENDS)}."
        )
    job = yield from ops.get_job(session, name, namespace)
    return {"type": "dependency", "job": job["metadata"]["uid"], "condition": end}


def _variables(
    session: Session, space: str, source: dict[str, Any], options: JobOptions
) -> Steps[list[dict[str, Any]]]:
    """Pickled together for Python; for another language each by itself, in a form that it reads."""
    given = dict(options.get("variables") or {})
    if not given:
        return []
    language = yield from language_of(session, space, source, options)
    sent: list[dict[str, Any]] = []
    if language in ("", "python"):
        digest = yield from ops.upload_bytes(session, (yield from offload(_pickler(given))))
        return [{"type": "variables", "digest": digest, "names": list(given), "pythonVersion": inputs.python_version()}]
    for name, value in given.items():
        form, content = yield from offload(_foreign(name, value, language))
        digest = yield from ops.upload_bytes(session, content)
        sent.append({"type": "variables", "digest": digest, "names": [name], "format": form})
    return sent


def language_of(session: Session, space: str, source: dict[str, Any], options: JobOptions) -> Steps[str]:
    """What the job would run in, by its kernel, source, profile or the server's default; empty if unknown."""
    environment = {key: options[key] for key in ("kernel", "language") if options.get(key)}
    looked_at = {**source, "code": "0"} if source["type"] == "cell" else source  # it need not be read for this
    draft = spec.job(looked_at, {}, inputs=[], gates=[], default_name="")
    draft["metadata"]["namespace"] = space
    draft["spec"] |= {"environment": environment, "profile": options.get("profile") or ""}
    return str((yield from ops.inspect(session, draft)).get("language") or "")


def language(session: Session, options: JobOptions) -> Steps[str]:
    """The language that a cell with these options would run in (``python``, ``r``, …); empty where it is unknown."""
    space = yield from session.namespace(options.get("namespace"))
    return (yield from language_of(session, space, {"type": "cell"}, options))


def _texts(given: Iterable[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or ())


def _inputs(session: Session, options: JobOptions) -> Steps[list[dict[str, Any]]]:
    sent = [references.output(text) for text in _texts(options.get("inputs"))]
    sent += [references.uri(text) for text in _texts(options.get("uris"))]
    patterns = spec.split_names(options.get("files") or ())
    if patterns:
        folder = Path(options.get("folder") or ".").absolute()
        found = yield from offload(lambda: inputs.expand(folder, patterns))
        digests = yield from uploads.upload_files(session, [file for _, file in found])
        for (path, _), digest in zip(found, digests, strict=True):
            sent.append({"type": "upload", "digest": digest, "path": path})
    return sent


def _pickler(given: dict[str, Any]) -> Callable[[], bytes]:
    return lambda: inputs.pickle_variables(given)


def _foreign(name: str, value: Any, language: str) -> Callable[[], tuple[str, bytes]]:
    return lambda: variables.foreign(name, value, language)
