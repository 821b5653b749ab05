"""The Secret of each attempt in the cluster: made, given to its Job, its credentials renewed, removed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from ...storage.base import ObjectStore, StoreError
from ..base import AttemptRef, AttemptRequest, BackendError
from . import delivery, objects, slots, volumes
from .connect import MERGE_PATCH, METADATA_ONLY, Connection, conflict
from .reading import Object, annotation, meta
from .reading import time as read_time
from .settings import KubernetesSettings

STORE_SECONDS = 10.0
"""So long a start waits for the store's word."""
AUTHORITIES = "ca.crt"
log = logging.getLogger(__name__)


@dataclass
class Handover:
    """All of one backend's."""

    api: Connection
    store: ObjectStore
    settings: KubernetesSettings
    terms: delivery.Terms
    _signed: dict[AttemptRef, float] = field(default_factory=dict)
    """When, for those that this server signed."""
    _trusted: bool = False
    _owned: set[AttemptRef] = field(default_factory=set)
    """Those that the cluster is known to remove with their Job."""

    def __post_init__(self) -> None:
        self.signing = delivery.signing(self.store, self.terms.backend)

    async def trust_store(self) -> None:
        """Try once whether what the store lets one pod do is good for that pod's prefix only.

        Raises :class:`BackendError`, for good, where it is not, and ``StoreError`` where that can't be told now.
        """
        if self._trusted:
            return
        if self.store.describe().get("type") == "s3" and not await asyncio.to_thread(_keeps_prefixes, self.store):
            raise BackendError(
                f"The backend {self.terms.backend!r} can't use this object store: what it signs for one job is good "
                "for others too, so code in one pod could overwrite what other jobs stored.",
                remedy="Use a store that keeps to the prefix of a POST policy, such as MinIO.",
                permanent=True,
            )
        self._trusted = True

    async def trust_store_soon(self) -> None:
        """The same at the start of a server; a store that is away is tried before the first job."""
        try:
            await asyncio.wait_for(self.trust_store(), STORE_SECONDS)
        except (StoreError, asyncio.TimeoutError) as error:
            why = str(error) or "it does not answer"
            log.warning("backend %s: the object store will be tried before the first job: %s", self.terms.backend, why)

    async def prepare(self, request: AttemptRequest, environment: volumes.Environment | None) -> dict[str, bytes]:
        """What lies in the Secret; ``environment``: that of the job's requirements.

        Raises :class:`BackendError` and ``StoreError``.
        """
        await self.trust_store()
        disk = volumes.sizes(request.job, self.settings).work
        told = await asyncio.to_thread(delivery.orders, request, self.store, self.terms, disk, environment)
        files = await asyncio.to_thread(delivery.files, told, self.signing, self.terms)
        return files | ({AUTHORITIES: self.settings.store_ca.encode()} if self.settings.store_ca else {})

    async def put(self, request: AttemptRequest, files: dict[str, bytes], slot: str = "") -> str:
        """Make it, or make it anew where a server died before it made the Job; the slot that the attempt runs in.

        Whoever makes it decides that, with ``slot``, for all servers (:meth:`decide`).
        """
        ref = request.ref
        secret = objects.secret(ref, self.settings, objects.labels(request, self.settings), files)
        if slot:
            secret["metadata"]["annotations"] = {slots.RUNS_IN: slot}
        reply = await self.api.request("POST", self._path(), body=secret)
        if reply.code == 404:
            raise BackendError(f"The cluster has no namespace {self.settings.namespace!r}.")
        if reply.code == 409 and not reply.taken:
            raise conflict(reply, f"make the Secret {ref.name}")
        self._signed[ref] = time.time()
        if not reply.taken:
            return slot
        there = await self._put_again(ref.name, secret["data"])
        if there is None:
            raise BackendError(f"The Secret {ref.name} of an earlier try was just being removed; it is made again.")
        return annotation(there, slots.RUNS_IN) or ""

    async def decide(self, ref: AttemptRef, lost: str, other: str) -> str:
        """The attempt can't run in the slot ``lost`` any more: decide for ``other`` (empty: for none); what is decided.

        Each decision is made once, whatever servers do at the same time: so there is one Job for an attempt.
        """
        while True:
            reply = await self.api.request("GET", self._path(ref.name))
            if not reply.ok:
                raise BackendError(f"The Secret {ref.name} was just being removed; it is made again.")
            decided = annotation(reply.body, slots.RUNS_IN) or ""
            if decided != lost:
                return decided
            version = meta(reply.body)["resourceVersion"]
            told = {"metadata": {"resourceVersion": version, "annotations": {slots.RUNS_IN: other or None}}}
            reply = await self.api.request("PATCH", self._path(ref.name), body=told, content_type=MERGE_PATCH)
            if reply.ok:
                return other

    async def _put_again(self, name: str, data: dict[str, str]) -> Object | None:
        """The Secret, if it was there. A seal that a container may have been started with stays."""
        there = (await self.api.request("GET", self._path(name))).body.get("data") or {}
        kept = {key: value for key, value in data.items() if key != delivery.SEAL or key not in there}
        return await self.api.patch(self._path(name), {"data": kept})

    async def give(self, ref: AttemptRef, job: Object) -> None:
        """Let the cluster remove it with the Job. If that fails, :meth:`remove` and :meth:`renew` see to it."""
        try:
            if await self.api.patch(self._path(ref.name), objects.ownership(job)):
                self._owned.add(ref)
        except BackendError as error:
            log.info("The Secret of %s has no owner yet: %s", ref.name, error)

    async def remove(self, ref: AttemptRef, *, with_job: bool) -> None:
        """Remove it, unless the cluster does so because the Job was removed."""
        self._signed.pop(ref, None)
        if not with_job or ref not in self._owned:
            await self.api.delete(self._path(ref.name))
        self._owned.discard(ref)

    def is_due(self, ref: AttemptRef, job: Object) -> bool:
        """Whether its credentials have lived for half their life."""
        created = read_time(meta(job).get("creationTimestamp"))
        began = created.timestamp() if created is not None else 0.0
        return delivery.due(began, self._signed.get(ref), self.terms.signed_seconds) <= time.time()

    async def renew(self, ref: AttemptRef, job: Object) -> None:
        """Sign its credentials anew. Raises :class:`BackendError` and ``StoreError``.

        Others may write into the Secret: nothing is signed but for orders that the Job was made with.
        """
        told = await self.read(ref, job)
        new = await asyncio.to_thread(delivery.renewed, told, self.signing, self.terms)
        data = {delivery.CREDENTIALS: base64.b64encode(delivery.to_json(new)).decode("ascii")}
        if await self.api.patch(self._path(ref.name), {**objects.ownership(job), "data": data}):
            self._owned.add(ref)
        if meta(job)["name"] != ref.name:  # a slot's sidecar sees that slot's Secret
            await self.api.patch(self._path(meta(job)["name"]), {"data": data})
        self._signed[ref] = time.time()

    async def read(self, ref: AttemptRef, job: Object) -> dict[str, Any]:
        """The orders that the Job was made with. Raises :class:`BackendError` where they are not there, or others."""
        reply = await self.api.request("GET", self._path(ref.name))
        if not reply.ok:
            raise BackendError(f"the Secret {ref.name} is gone")
        told = base64.b64decode((reply.body.get("data") or {}).get(delivery.ORDERS, ""))
        if hashlib.sha256(told).hexdigest() != annotation(job, objects.ORDERS):
            raise BackendError(
                f"The orders in the Secret {ref.name} are not those that its Job was made with: somebody changed them. "
                "Its credentials are not renewed."
            )
        orders: dict[str, Any] = json.loads(told)
        return orders

    async def all(self) -> dict[AttemptRef, bool]:
        """The attempts that there is a Secret of, and whether each is of our record for sure. Only names are read."""
        query = {"labelSelector": objects.selector(self.settings)}
        reply = await self.api.request("GET", self._path(), query=query, accept=METADATA_ONLY)
        found: dict[AttemptRef, bool] = {}
        for item in reply.body.get("items") or []:
            ref, whose = objects.ref_of(item), objects.is_of(item, self.settings)
            if ref is not None and whose is not False:
                found[ref] = whose is True
        return found

    def _path(self, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.settings.namespace}/secrets" + (f"/{name}" if name else "")


def _keeps_prefixes(store: ObjectStore) -> bool:
    from ...storage.s3 import S3Store  # here: only with such a store what it needs is installed
    from ...storage.s3setup import keeps_prefixes

    return not isinstance(store, S3Store) or keeps_prefixes(store)
