"""``apply -f`` and ``diff -f``: what a file declares, made so. YAML is read by ``yaml.safe_load_all`` only."""

from __future__ import annotations

import argparse
import datetime
import difflib
import re
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..client import Client, Conflict, InputError, NotFound, typed
from .context import Context, Show
from .printing import plain, text, yaml_text

_PLURALS = {"Queue": "queues", "Profile": "profiles"}
_KINDS = ("TrainJob", *_PLURALS)
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti|)\Z")
_AMOUNTS = re.compile(r"spec\.(resources|defaults|maximum|limits|perUser)\.")
"""Below these a resource has quantities, and nowhere else."""
_UNITS = {"": Decimal(1), "m": Decimal("0.001")} | {
    letter + mark: Decimal(base) ** power
    for mark, base, letters in (("", 1000, "kMGT"), ("i", 1024, "KMGT"))
    for power, letter in enumerate(letters, 1)
}
_SERVER_SETS = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "resourceVersion",
    "generation",
    "finalizers",
    "owner",
    "generateName",
)


def documents(filenames: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """``(where it is, the resource)`` for each document of the files; all are read before any is sent."""
    import yaml

    for filename in filenames:
        try:
            content = sys.stdin.read() if filename == "-" else Path(filename).read_text("utf-8")
        except FileNotFoundError:
            raise InputError(f"There is no file {filename}.", remedy="Check the path.") from None
        except (IsADirectoryError, PermissionError, UnicodeDecodeError) as error:
            raise InputError(f"{filename} can't be read: {error}.") from None
        try:
            found = list(yaml.safe_load_all(content))
        except yaml.YAMLError as error:
            raise InputError(f"{filename} is not YAML: {error}") from None
        for number, document in enumerate(found, 1):
            if document is None:
                continue
            where = f"{filename}, document {number}" if len(found) > 1 else filename
            for resource in _resources(document, where):
                yield where, resource


def _resources(document: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise InputError(f"{where}: this is no resource.", remedy="It needs apiVersion, kind, metadata and spec.")
    if document["kind"].endswith("List") and isinstance(document.get("items"), list):
        return [resource for item in document["items"] for resource in _resources(item, where)]
    if document["kind"] not in _KINDS:
        raise InputError(
            f"{where}: the kind {document['kind']!r} can't be applied.", remedy=f"Known are {', '.join(_KINDS)}."
        )
    if not isinstance(document.get("metadata", {}), dict):
        raise InputError(f"{where}: metadata is no mapping.", remedy="Write metadata: {name: …}.")
    return [_carried(document)]


def _carried(document: dict[str, Any]) -> dict[str, Any]:
    """The document as JSON: a job's parameters keep their types, a date elsewhere (a label) is its text."""
    found: dict[str, Any] = {key: _dates_as_text(item) for key, item in document.items()}
    parameters = (document.get("spec") or {}).get("parameters") if isinstance(document.get("spec"), dict) else None
    if document["kind"] == "TrainJob" and isinstance(parameters, dict):
        found["spec"]["parameters"] = {str(name): typed.from_yaml(item, str(name)) for name, item in parameters.items()}
    return found


def _dates_as_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _dates_as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_dates_as_text(item) for item in value]
    return value.isoformat() if isinstance(value, datetime.date) else value


def apply(context: Context, arguments: argparse.Namespace) -> Show | None:
    """Create what is not there; replace queues and profiles; a job that is there must be the same."""
    done: list[dict[str, Any]] = []
    client = context.client()
    for where, resource in list(documents(arguments.filename)):
        live = _live(client, resource, arguments.namespace)
        word, after = _apply_one(client, where, resource, live, arguments)
        done.append(after)
        if not arguments.output:
            notes = ["dry run"] if arguments.dry_run else []
            if resource["kind"] == "TrainJob" and not (resource.get("metadata") or {}).get("name"):
                notes.append("generateName: a new job each time")
            said = f" ({'; '.join(notes)})" if notes else ""
            context.say(plain(f"{resource['kind']}/{after['metadata'].get('name') or _name(resource)} {word}{said}"))
    if arguments.output:
        context.write(text(Show("Any", done, arguments.output, single=len(done) == 1)))
    return None


def _apply_one(
    client: Client, where: str, resource: dict[str, Any], live: dict[str, Any] | None, arguments: argparse.Namespace
) -> tuple[str, dict[str, Any]]:
    kind = resource["kind"]
    wanted = _with_namespace(resource, arguments.namespace)
    if kind in _PLURALS:
        if live is not None and not _changed(live, resource):
            return "unchanged", live
        if arguments.dry_run:
            return ("would be replaced" if live else "would be created"), wanted
        after = client.put_thing(_PLURALS[kind], wanted)
        return ("replaced" if live else "created"), after
    if live is None:
        return ("would be created" if arguments.dry_run else "created"), client.create(
            wanted, dry_run=arguments.dry_run
        ).resource
    differing = _changed(live, resource)
    if differing:
        raise Conflict(
            f"{where}: the job {live['metadata']['name']} is there, and can't be changed in {', '.join(differing)}.",
            remedy="A job's spec never changes: give the new one another name, or write generateName.",
        )
    return "unchanged", live


def diff(context: Context, arguments: argparse.Namespace) -> int:
    """A unified diff from what is there to what apply would make; 1 if there is any."""
    client = context.client()
    found = 0
    for _, resource in list(documents(arguments.filename)):
        live = _live(client, resource, arguments.namespace)
        wanted = _after(client, resource, live, arguments.namespace)
        name = f"{resource['kind']}/{_name(resource)}"
        before = yaml_text(_declared(live)).splitlines(keepends=True) if live else []
        lines = list(
            difflib.unified_diff(
                before, yaml_text(_declared(wanted)).splitlines(keepends=True), f"live {name}", f"file {name}"
            )
        )
        if lines:
            found = 1
            context.write("".join(lines))
    return found


def _after(
    client: Client, resource: dict[str, Any], live: dict[str, Any] | None, namespace: str | None
) -> dict[str, Any]:
    """What apply would leave: the server's own answer where there is nothing yet, else the file over what is there."""
    if live is None and resource["kind"] == "TrainJob":
        return client.create(_with_namespace(resource, namespace), dry_run=True).resource
    if live is None:
        return resource
    merged: dict[str, Any] = _merged(live, resource)
    return merged


def _live(client: Client, resource: dict[str, Any], namespace: str | None) -> dict[str, Any] | None:
    name = _name(resource)
    if resource["kind"] == "TrainJob":
        exact = (resource.get("metadata") or {}).get("name")
        if not exact:
            return None
        try:
            job = client.job(str(exact), (resource.get("metadata") or {}).get("namespace") or namespace)
        except NotFound:
            return None
        return job.resource if job.name == exact else None
    if not name:
        raise InputError(f"A {resource['kind']} needs metadata.name.", remedy="Write metadata: {name: …}.")
    try:
        return client.thing(_PLURALS[resource["kind"]], name)
    except NotFound:
        return None


def _name(resource: Mapping[str, Any]) -> str:
    meta = resource.get("metadata") or {}
    return str(meta.get("name") or meta.get("generateName") or "")


def _with_namespace(resource: dict[str, Any], namespace: str | None) -> dict[str, Any]:
    if resource["kind"] != "TrainJob":
        return resource
    meta = dict(resource.get("metadata") or {})
    if namespace and meta.get("namespace") not in (None, "", namespace):
        raise InputError(
            f"{_name(resource)} says namespace {meta['namespace']!r}, the command says {namespace!r}.",
            remedy="Leave one of the two out.",
        )
    return {**resource, "metadata": {**meta, **({"namespace": namespace} if namespace else {})}}


def _changed(live: Mapping[str, Any], resource: Mapping[str, Any]) -> list[str]:
    """Paths in the file whose value is another one there. What the file does not mention was filled by the server."""
    found = list(_differences(resource.get("spec") or {}, live.get("spec") or {}, "spec"))
    for part in ("labels", "annotations"):
        mine = (resource.get("metadata") or {}).get(part) or {}
        found += _differences(mine, live["metadata"].get(part) or {}, f"metadata.{part}")
    return found


def _differences(wanted: Any, there: Any, path: str) -> Iterator[str]:
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        for key, value in wanted.items():
            yield from _differences(value, there.get(key), f"{path}.{key}")
    elif isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        for index, (mine, its) in enumerate(zip(wanted, there, strict=True)):
            yield from _differences(mine, its, f"{path}[{index}]")
    elif not _same(wanted, there, path):
        yield path


def _same(wanted: Any, there: Any, path: str) -> bool:
    """Equal, or two ways to write one quantity (the server writes 4096Mi as 4Gi), or nothing and nothing.

    Only where ``path`` is an amount's: of an environment variable "3.10" is not "3.1".
    """
    if wanted == there or str(wanted) == str(there) or (wanted in (None, "", [], {}) and there is None):
        return True
    if not _AMOUNTS.match(path):
        return False
    mine, its = _QUANTITY.match(str(wanted)), _QUANTITY.match(str(there))
    return bool(mine and its) and _amount(mine) == _amount(its)


def _amount(match: re.Match[str] | None) -> Decimal | None:
    return None if match is None else Decimal(match[1]) * _UNITS[match[2]]


def _merged(there: Any, wanted: Any, path: str = "") -> Any:
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        below = {key: _merged(there.get(key), value, f"{path}.{key}".lstrip(".")) for key, value in wanted.items()}
        return {**there, **below}
    if isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        return [_merged(its, mine, f"{path}[]") for its, mine in zip(there, wanted, strict=True)]
    return there if _same(wanted, there, path) else wanted


def _declared(resource: Mapping[str, Any]) -> dict[str, Any]:
    meta = {key: value for key, value in (resource.get("metadata") or {}).items() if key not in _SERVER_SETS and value}
    return {
        "kind": resource["kind"],
        "metadata": dict(sorted(meta.items())),
        "spec": _sorted(resource.get("spec") or {}),
    }


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
