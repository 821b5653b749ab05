"""The verbs on one thing or a list, each written once as a generator (see :mod:`.effects`)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import inputs
from .effects import FileBody, Request, Sleep, Steps, offload
from .errors import Expired, InputError, Invalid, NotFound, TrainJobError, WaitTimeout
from .session import FOLLOW_PATIENCE_SECONDS, Session
from .spec import FINAL_PHASES, NAME_LABEL
from .view import count_text

WAIT_SECONDS = 20
"""How long one long-poll hangs."""
_MARGIN_SECONDS = 15

Json = dict[str, Any]

_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


def path(*parts: str) -> str:
    """A URL path of parts that may hold anything."""
    return "".join("/" + quote(part, safe="") for part in parts)


def job_path(namespace: str, name: str, *rest: str) -> str:
    """Where a job is."""
    return path("namespaces", namespace, "trainjobs", name, *rest)


def me(session: Session) -> Steps[Json]:
    """Who one is: username, groups, namespaces, permissions, limits, use."""
    return (yield from session.json(Request("GET", "/me")))


def get_job(session: Session, name: str, namespace: str | None = None) -> Steps[Json]:
    """The job by uid, full name or short name (the latest of that name) in ``namespace`` or one's own.

    :class:`NotFound` says where it was looked for, and where else there is one.
    """
    space = yield from session.namespace(namespace)
    try:
        return (yield from session.json(Request("GET", job_path(space, name))))
    except NotFound as error:
        if repr(space) not in error.message:
            error.message = f"{error.message} It was looked for in the namespace {space!r}."
        if not _UID.match(name):
            error.remedy = yield from _elsewhere(session, name, space)
        raise


def _elsewhere(session: Session, name: str, space: str) -> Steps[str]:
    """What to do about a name that ``space`` lacks: one that others have is named."""
    look = (
        "Look in another namespace with -n NAMESPACE (namespace=…), or list those of all that you may see with list -A."
    )
    if not _NAME.match(name):
        return look
    try:
        found = yield from list_jobs(session, all_namespaces=True, labels=f"{NAME_LABEL}={name}", limit=20)
        if not found:
            found = yield from list_jobs(session, all_namespaces=True, text=name, limit=20)
    except TrainJobError:
        return look  # the question was another: it keeps its answer
    metas = [job["metadata"] for job in found]
    metas = [
        meta
        for meta in metas
        if meta["namespace"] != space and name in (meta["name"], (meta.get("labels") or {}).get(NAME_LABEL))
    ]
    if len(metas) == 1:
        there = metas[0]["namespace"]
        return f"{metas[0]['name']} is in the namespace {there!r}: say -n {there} (namespace={there!r})."
    if metas:
        spaces = ", ".join(sorted({str(meta["namespace"]) for meta in metas}))
        return f"Jobs of this name are in: {spaces}. Say which with -n NAMESPACE (namespace=…)."
    return look


def list_jobs(
    session: Session,
    *,
    namespace: str | None = None,
    all_namespaces: bool = False,
    owner: str | None = None,
    labels: str = "",
    phases: Iterable[str] = (),
    queue: str = "",
    text: str = "",
    limit: int | None = 100,
) -> Steps[list[Json]]:
    """Jobs, newest first; ``limit=None`` reads all pages. ``labels`` is a Kubernetes selector."""
    query = [("owner", owner or ""), ("labelSelector", labels), ("queue", queue), ("q", text)]
    params = [(key, item) for key, item in query if item] + [("phase", phase) for phase in phases]
    url = "/trainjobs"
    if not all_namespaces:
        url = path("namespaces", (yield from session.namespace(namespace)), "trainjobs")
    found: list[Json] = []
    onward = ""
    while True:
        page_size = 500 if limit is None else min(500, limit - len(found))
        page = [("limit", str(page_size))] + ([("continue", onward)] if onward else [])
        answer = yield from session.json(Request("GET", url, tuple(params + page)))
        found += answer.get("items") or []
        onward = (answer.get("metadata") or {}).get("continue") or ""
        if not onward or (limit is not None and len(found) >= limit):
            return found


def list_things(session: Session, plural: str) -> Steps[list[Json]]:
    """All ``queues`` or ``profiles``, page by page."""
    found: list[Json] = []
    onward = ""
    while True:
        page = (("limit", "500"), ("continue", onward)) if onward else (("limit", "500"),)
        answer = yield from session.json(Request("GET", path(plural), page))
        found += answer.get("items") or []
        onward = (answer.get("metadata") or {}).get("continue") or ""
        if not onward:
            return found


def get_thing(session: Session, plural: str, name: str) -> Steps[Json]:
    """One queue or profile."""
    return (yield from session.json(Request("GET", path(plural, name))))


def put_thing(session: Session, plural: str, resource: Mapping[str, Any]) -> Steps[Json]:
    """Create the queue or profile, or replace the one of its name."""
    name = str((resource.get("metadata") or {}).get("name") or "")
    try:
        yield from session.json(Request("GET", path(plural, name)))
    except NotFound:
        return (yield from session.json(Request("POST", path(plural), json=dict(resource))))
    return (yield from session.json(Request("PUT", path(plural, name), json=dict(resource))))


def delete_thing(session: Session, plural: str, name: str) -> Steps[Json]:
    """Remove a queue or profile."""
    return (yield from session.json(Request("DELETE", path(plural, name))))


def turn_queue(session: Session, name: str, how: str, message: str = "") -> Steps[Json]:
    """``pause`` a queue (nothing starts), ``drain`` it (nothing new is taken) or ``open`` it; the queue afterwards."""
    body = {"message": message} if message else {}
    return (yield from session.json(Request("POST", path("queues", name, how), json=body)))


def create_job(session: Session, resource: Mapping[str, Any], dry_run: bool = False) -> Steps[Json]:
    """POST a TrainJob as it is; with ``dry_run`` the answer is the job as it would be."""
    space = yield from session.namespace((resource.get("metadata") or {}).get("namespace"))
    params = (("dryRun", "true"),) if dry_run else ()
    url = path("namespaces", space, "trainjobs")
    return (yield from session.json(Request("POST", url, params, json=dict(resource))))


def inspect(session: Session, resource: Mapping[str, Any]) -> Steps[Json]:
    """What a TrainJob would be, which need not be whole yet: ``{language, kernel, parameters, problems}``."""
    return (yield from session.json(Request("POST", "/inspect", json=dict(resource))))


def kernels(session: Session) -> Steps[list[Json]]:
    """The kernels that jobs may run in: ``[{backend, name, language, displayName}]``."""
    return (yield from session.json(Request("GET", "/kernels"))).get("kernels") or []


def patch_job(session: Session, namespace: str, name: str, patch: Mapping[str, Any]) -> Steps[Json]:
    """Merge patch of labels, annotations, priority."""
    return (yield from session.json(Request("PATCH", job_path(namespace, name), json=dict(patch))))


def act(session: Session, namespace: str, name: str, verb: str, message: str = "") -> Steps[Json]:
    """``cancel``, ``hold``, ``release``, ``front``, ``approve``, ``reject``, ``retry``: the job afterwards (the last:
    the new one).
    """
    body = {"message": message} if message else {}
    return (yield from session.json(Request("POST", job_path(namespace, name, verb), json=body)))


def delete_job(session: Session, namespace: str, name: str, propagation: str = "cascade") -> Steps[bool]:
    """Delete; True when it is gone, False when it still has to stop first."""
    answer = yield from session.call(Request("DELETE", job_path(namespace, name), (("propagation", propagation),)))
    return answer.status == 200


def why(session: Session, namespace: str, name: str) -> Steps[Json]:
    """Why it waits: position, waitingFor, estimatedStart, blockers."""
    return (yield from session.json(Request("GET", job_path(namespace, name, "why"))))


def outputs(session: Session, namespace: str, name: str, attempt: int | None = None) -> Steps[Json]:
    """What it left: notebook, results, files."""
    params = (("attempt", str(attempt)),) if attempt else ()
    return (yield from session.json(Request("GET", job_path(namespace, name, "outputs"), params)))


def feed_version(session: Session, namespace: str, patience: float) -> Steps[str]:
    """Where the feed is now."""
    url = path("namespaces", namespace, "trainjobs")
    answer = yield from session.json(Request("GET", url, (("limit", "1"),)), patience=patience)
    return str((answer.get("metadata") or {}).get("resourceVersion") or "0")


def changes(
    session: Session, since: str, *, namespace: str | None = None, wait_seconds: float = WAIT_SECONDS, patience: float
) -> Steps[Json]:
    """The feed after ``since``: ``{changes: [{type, version, object}], version}``."""
    params = [("since", since), ("wait", f"{wait_seconds:g}"), ("kind", "TrainJob")]
    if namespace:
        params.append(("namespace", namespace))
    effect = Request("GET", "/changes", tuple(params), timeout_seconds=wait_seconds + _MARGIN_SECONDS)
    return (yield from session.json(effect, patience=patience))


def wait(session: Session, namespace: str, uid: str, timeout: float | None = None) -> Steps[Json]:
    """The job once it is final. :class:`WaitTimeout` after ``timeout`` seconds; outlasts a restart of the server."""
    end = None if timeout is None else time.monotonic() + timeout
    patience = FOLLOW_PATIENCE_SECONDS if timeout is None else min(timeout, FOLLOW_PATIENCE_SECONDS)
    while True:
        since = yield from feed_version(session, namespace, patience)
        job = yield from session.json(Request("GET", job_path(namespace, uid)), patience=patience)
        try:
            while job["status"]["phase"] not in FINAL_PHASES:
                left = WAIT_SECONDS if end is None else min(WAIT_SECONDS, end - time.monotonic())
                if left <= 0:
                    name, phase = job["metadata"]["name"], job["status"]["phase"]
                    raise WaitTimeout(
                        f"The job {name} is {phase} after {timeout:g} s.",
                        remedy="It goes on; wait longer, or cancel it.",
                    )
                news = yield from changes(session, since, namespace=namespace, wait_seconds=left, patience=patience)
                since = str(news.get("version", since))
                for change in news.get("changes") or []:
                    if change["object"]["metadata"]["uid"] != uid:
                        continue
                    if change["type"] == "DELETED":
                        raise NotFound(
                            f"The job {job['metadata']['name']} was deleted meanwhile.",
                            remedy="Nothing of it is left to wait for; submit it again if it is still needed.",
                        )
                    job = change["object"]
        except Expired:
            continue
        return (yield from session.json(Request("GET", job_path(namespace, uid)), patience=patience))


def upload_bytes(session: Session, data: bytes) -> Steps[str]:
    """Store ``data`` unless the server has it; its digest."""
    digest = yield from offload(lambda: inputs.bytes_digest(data))
    return (yield from _put_blob(session, digest, data, count_text(len(data), "byte")))


def upload_file(session: Session, file: Path) -> Steps[str]:
    """Store the file's content unless the server has it; its digest."""
    digest, size = yield from offload(lambda: inputs.file_digest(file))
    return (yield from _put_blob(session, digest, FileBody(file, size), str(file)))


def _put_blob(session: Session, digest: str, body: bytes | FileBody, what: str) -> Steps[str]:
    url = path("blobs", digest)
    try:
        yield from session.call(Request("HEAD", url))
    except NotFound:
        headers = {"content-type": "application/octet-stream"}
        try:
            yield from session.call(Request("PUT", url, body=body, headers=headers, timeout_seconds=120))
        except Invalid as error:
            if isinstance(body, FileBody):
                raise InputError(
                    f"{what} changed while it was being sent.", remedy="Submit again when nothing writes to it."
                ) from error
            raise
    return digest


def pause(seconds: float) -> Steps[None]:
    """Wait without blocking an event loop."""
    yield Sleep(seconds)
