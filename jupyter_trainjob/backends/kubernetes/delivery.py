"""What the sidecar of an attempt is given: orders that never change, and signed credentials that are made anew.

A pod holds no key of the store. It may read exactly the objects that its job names, and put objects below its own
prefix; both by signatures that end soon and are renewed at half their life. Names in ``credentials["gets"]`` are the
store's keys, so whoever renews them needs nothing but the orders.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Protocol

from ...resources.names import attempt_prefix, fetched_prefix
from ...resources.trainjob import CellSource, FolderSource, ScriptSource, UriInput, VariablesInput
from ...storage.base import ObjectStore
from ..base import AttemptRequest, BackendError
from ..orders import (
    RUNNER_GRACE_SECONDS,
    VARIABLE_SUFFIXES,
    Paths,
    Place,
    StoredInputs,
    described,
    keep,
    lost,
    one_cell,
    optional_bytes,
    time_limit,
)
from . import listing
from .pod.files import PROTOCOL, WINDOW_BYTES
from .pod.seal import new_key
from .settings import KubernetesSettings
from .volumes import Environment

SIGNED_SECONDS = 4 * 3600
ORDERS, CREDENTIALS, SEAL = "orders.json", "credentials.json", "seal"
MAX_INLINE_BYTES = 200_000
"""A longer cell goes through the store."""
SPOOL_BYTES = 256 * 2**20
MOST_BYTES = 5 * 2**30
"""Of one object that is put by a form: no S3 takes more."""
LEAST_BYTES = 64 * 2**20
SOURCE = f"{listing.FOLDER}source.ipynb"


class SigningStore(listing.Store, Protocol):
    """What a store needs for pods to use it: the parts of :class:`~jupyter_trainjob.storage.s3.S3Store` used here."""

    def sign_get(self, key: str, seconds: int) -> str:
        """A URL with which anybody may read the object."""
        ...

    def sign_post(self, prefix: str, seconds: int, max_bytes: int) -> dict[str, Any]:
        """A form with which anybody may put objects below ``prefix``."""
        ...


@dataclass(frozen=True)
class Terms:
    """What the backend says about all its pods."""

    backend: str
    startup_seconds: float = 120.0
    """How long inputs may take, and then the code until it begins."""
    end_seconds: float = 75.0
    """How long the sidecar may go on shipping when the code has ended."""
    own_user: bool = False
    """Whether each attempt has a user id of its own, so that RLIMIT_NPROC counts this job's processes only."""
    signed_seconds: int = SIGNED_SECONDS


def terms(backend: str, settings: KubernetesSettings) -> Terms:
    """What follows from an operator's ``settings``."""
    first, last = settings.user_ids
    return Terms(
        backend,
        startup_seconds=float(settings.startup_seconds),
        end_seconds=float(settings.end_seconds),
        own_user=last > first or settings.host_users is False,
    )


def orders(
    request: AttemptRequest,
    store: ObjectStore,
    terms: Terms,
    disk_bytes: int,
    environment: Environment | None = None,
) -> dict[str, Any]:
    """``orders.json``. ``disk_bytes``: what the job's folder really holds. ``environment``: that of its requirements.

    Blocks: looks whether all inputs are there. Raises :class:`BackendError` and ``StoreError``.
    """
    resources = request.job.spec.resources
    return {
        "protocol": PROTOCOL,
        "uid": request.ref.uid,
        "attempt": request.ref.attempt,
        "prefix": attempt_prefix(request.ref.uid, request.ref.attempt),
        "inputs": _inputs(request, store, terms),
        "notebook": _notebook(request, store),
        "keep": keep(request),
        "results": request.job.spec.outputs.names,
        "job": described_for_pod(request, terms, environment),
        "limits": {
            "inputBytes": optional_bytes(resources.disk),
            "logBytes": optional_bytes(resources.log) or 64 * 2**20,
            "diskBytes": disk_bytes,
            "timeLimitSeconds": time_limit(request),
            "startupSeconds": terms.startup_seconds,
            "graceSeconds": RUNNER_GRACE_SECONDS,
            "processes": resources.processes,
            "windowBytes": WINDOW_BYTES,
            "spoolBytes": SPOOL_BYTES,
            "endSeconds": terms.end_seconds,
        },
    }


def described_for_pod(request: AttemptRequest, terms: Terms, environment: Environment | None = None) -> dict[str, Any]:
    """``job.json``, without the places of things, which are the sidecar's to say."""
    return described(request, _place(request, terms, environment))


def keys_of(told: dict[str, Any]) -> list[str]:
    """The objects that orders name, each once; of inputs that are in the store, their list."""
    notebook = told["notebook"] or {}
    inputs = [told["inputs"]] if listing.is_listed(told) else told["inputs"]
    items = [*inputs, notebook.get("script", notebook)]
    return list(dict.fromkeys(item["get"] for item in items if "get" in item))


def credentials(store: SigningStore, prefix: str, keys: list[str], most_bytes: int, seconds: int) -> dict[str, Any]:
    """``credentials.json``: good for ``seconds`` from now. Quick, but may ask the store where it is; blocks."""
    expires = int(time.time()) + seconds
    return {
        "protocol": PROTOCOL,
        "gets": {key: {"url": store.sign_get(key, seconds), "expires": expires} for key in keys},
        "post": store.sign_post(prefix, seconds, most_bytes),
    }


def renewed(told: dict[str, Any], store: SigningStore, terms: Terms) -> dict[str, Any]:
    """``credentials.json`` that orders need, signed now. Blocks. Raises ``StoreError`` and :class:`BackendError`."""
    limits, prefix = told["limits"], told["prefix"]
    most = min(MOST_BYTES, max(limits["diskBytes"], limits["logBytes"], LEAST_BYTES))
    if not listing.is_listed(told):
        return credentials(store, prefix, keys_of(told), most, terms.signed_seconds)
    keys = list(dict.fromkeys(item["get"] for item in listing.inputs_of(told, store)))
    places = credentials(store, prefix, keys, most, terms.signed_seconds)["gets"]
    more = listing.put_places(prefix, places, store)
    signed = credentials(store, prefix, [*keys_of(told), more["get"]], most, terms.signed_seconds)
    return {**signed, "more": more}


def files(told: dict[str, Any], store: SigningStore, terms: Terms) -> dict[str, bytes]:
    """What lies in the Secret. Blocks. Raises ``StoreError``."""
    if len(keys_of(told)) > listing.MOST_KEYS or len(to_json(told)) > listing.MOST_BYTES:
        told = listing.listed(told, store)
    signed = to_json(renewed(told, store, terms))
    return {ORDERS: to_json(told), CREDENTIALS: signed, SEAL: new_key().encode()}


def signing(store: ObjectStore, backend: str) -> SigningStore:
    """``store`` if pods can be let in. Raises :class:`BackendError` if not."""
    if hasattr(store, "sign_get") and hasattr(store, "sign_post"):
        return store  # type: ignore[return-value, unused-ignore]
    raise BackendError(
        f"Jobs of the backend {backend!r} run on other machines, and the object store here is a folder of this one "
        f"({store.describe().get('type', '?')}).",
        remedy="Configure a store that pods can reach: ObjectStoreSettings.url = 's3+https://…' (MinIO, for example).",
        permanent=True,
    )


def due(created: float, signed: float | None, seconds: int) -> float:
    """When credentials are to be renewed: at half their life. ``signed``: None where an earlier server signed them.

    That server may have died before it renewed them, so whatever is older than that is due at once.
    """
    return (created if signed is None else signed) + seconds / 2


def _place(request: AttemptRequest, terms: Terms, environment: Environment | None) -> Place:
    """Where things lie is the sidecar's to fill in."""
    resources = request.job.spec.resources
    rlimits = {
        "nproc": resources.processes if terms.own_user else None,
        "nofile": resources.open_files,
        "fsize": optional_bytes(resources.file_size),
        "as": None,
        "core": 0,
    }
    found = environment or Environment("")
    return Place(
        notebook="",
        work="",
        out="",
        rlimits=rlimits,
        interpreter=found.interpreter,
        libraries=found.libraries,
    )


def _inputs(request: AttemptRequest, store: ObjectStore, terms: Terms) -> list[dict[str, Any]]:
    stored, paths = StoredInputs(request, store, terms.backend), Paths()
    made: list[dict[str, Any]] = []
    source, sizes, variables = stored.source(), dict[str, int](), 0
    if isinstance(request.job.spec.source, FolderSource) and source is not None:
        made.append(
            {
                "folder": {"entry": request.job.spec.source.entry},
                "get": source.key,
                "bytes": source.size,
                "sha256": source.key.rpartition("/")[2],
            }
        )
    for item in request.job.spec.inputs:
        if isinstance(item, UriInput):  # the server fetches it before the Job starts: see .fetching
            paths.claim(item.path)
            key = f"{fetched_prefix(request.ref.uid, request.ref.attempt)}{len(made)}"
            made.append({"get": key, "bytes": None, "sha256": None, "path": item.path, "uri": item.uri})
            continue
        for found in stored.of(item):
            sizes[found.key] = found.size
            digest = getattr(item, "digest", "").removeprefix("sha256:") or None
            told: dict[str, Any] = {"get": found.key, "bytes": found.size, "sha256": digest}
            if isinstance(item, VariablesInput):
                told["variables"] = {
                    "file": f"variables-{variables}.{VARIABLE_SUFFIXES[item.format]}",
                    "names": item.names,
                    "format": item.format,
                    "pythonVersion": item.python_version,
                }
                variables += 1
            else:
                paths.claim(found.path)
                told["path"] = found.path
            made.append(told)
    for found in stored.checkpoint():
        sizes[found.key] = found.size
        paths.claim(found.path)
        made.append({"get": found.key, "bytes": found.size, "sha256": None, "path": found.path, "copy": True})
    stored.check_room(sum(sizes.values()))
    return made


def _notebook(request: AttemptRequest, store: ObjectStore) -> dict[str, Any] | None:
    source = request.job.spec.source
    if isinstance(source, FolderSource):
        return None
    if isinstance(source, CellSource):
        made = one_cell(source.code, source.cell_id or "cell-1", source.first_line)
        text = to_json(made)
        if len(text) <= MAX_INLINE_BYTES:
            return {"inline": made}
        key = f"{attempt_prefix(request.ref.uid, request.ref.attempt)}{SOURCE}"
        store.put(key, text)
        return {"get": key}
    found = StoredInputs(request, store, "").source()
    if found is None:
        raise lost(f"the {source.type}")
    there = {"get": found.key}
    return {"script": there, "path": source.path} if isinstance(source, ScriptSource) else there


def to_json(data: dict[str, Any]) -> bytes:
    """As it lies in the Secret."""
    return json.dumps(data, separators=(",", ":")).encode()
