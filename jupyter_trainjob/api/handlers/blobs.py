"""Uploads by digest."""

from __future__ import annotations

from typing import ClassVar, cast

from tornado.http1connection import HTTP1Connection

from ...resources.errors import BadRequest, TrainJobError
from ..base import DRAIN_BYTES, TrainJobHandler, authorized
from ..blobs import Upload
from ..bundles import MAX_BUNDLE_BYTES, Bundle
from .download import DownloadHandler


class BodyHandler(TrainJobHandler):
    """Base of those who keep a body as it comes."""

    LONG: ClassVar[bool] = True

    def on_connection_close(self) -> None:
        """The client went away in the middle of its upload."""
        super().on_connection_close()
        self._let_go()

    def on_finish(self) -> None:
        """The answer was sent, perhaps before the whole body came."""
        super().on_finish()
        self._let_go()

    def _let_go(self) -> None:
        """Drop what was begun and not finished, if anything."""
        raise NotImplementedError


class BlobHandler(BodyHandler, DownloadHandler):
    """One blob of one's own."""

    upload: Upload | None = None

    async def admit(self) -> None:
        """Before the first byte of a body: may it come."""
        await super().admit()
        if self.request.method == "PUT":
            connection = cast(HTTP1Connection, self.request.connection)
            connection.set_max_body_size(max(self.services.config.max_blob_bytes, DRAIN_BYTES))
            digest = str(self.path_kwargs["digest"])
            self.upload = await self.services.blobs.begin(self.identity, digest, self.announced or None)

    async def data_received(self, chunk: bytes) -> None:
        """Some of the body. What stops the upload is told when the rest has come, and was dropped."""
        if self.upload is None or self.refusal is not None:
            return
        try:
            await self.services.blobs.add(self.upload, chunk)
        except TrainJobError as error:  # raised from here it would reset the connection, and nobody would read it
            self.refusal = error

    @authorized("read")
    async def get(self, digest: str) -> None:
        """Its bytes, or the range that was asked for."""
        await self.send(await self.services.blobs.find(self.identity, digest))

    head = get

    @authorized("write")
    async def put(self, digest: str) -> None:
        """Keep the body, if its digest is this one. 201, or 200 where it was there."""
        assert self.upload is not None  # prepare() made it
        upload, self.upload = self.upload, None
        try:
            new = await self.services.blobs.finish(upload)
        finally:
            await self.services.blobs.drop(upload)
        self.write_json({"digest": digest, "size": upload.size}, status=201 if new else 200)

    def _let_go(self) -> None:
        if self.upload is not None:
            self.services.blobs.abandon(self.upload)
            self.upload = None


class BundleHandler(BodyHandler):
    """Many small blobs at once."""

    bundle: Bundle | None = None

    async def admit(self) -> None:
        """Before the first byte of a body: may it come."""
        await super().admit()
        if self.request.method == "PUT":
            connection = cast(HTTP1Connection, self.request.connection)
            connection.set_max_body_size(max(MAX_BUNDLE_BYTES, DRAIN_BYTES))
            self.bundle = await self.services.bundles.begin(self.identity, self.announced or None)

    async def data_received(self, chunk: bytes) -> None:
        """Some of the body, as for one blob."""
        if self.bundle is None or self.refusal is not None:
            return
        try:
            await self.services.bundles.add(self.bundle, chunk)
        except TrainJobError as error:
            self.refusal = error

    @authorized("write")
    async def put(self) -> None:
        """Keep every member of the body: a plain tar, each file named by the 64 digits of its SHA-256."""
        assert self.bundle is not None  # prepare() made it
        bundle, self.bundle = self.bundle, None
        try:
            members = await self.services.bundles.finish(bundle)
        finally:
            await self.services.bundles.drop(bundle)
        self.write_json({"count": len(members), "size": sum(member.size for member in members)})

    def _let_go(self) -> None:
        if self.bundle is not None:
            self.services.bundles.abandon(self.bundle)
            self.bundle = None


class MissingHandler(TrainJobHandler):
    """What is worth sending."""

    @authorized("read")
    async def post(self) -> None:
        """Those of the ``digests`` in the body that one has not uploaded."""
        data = self.read_json()
        unknown = sorted(set(data) - {"digests"})
        if unknown:
            raise BadRequest(f"The body holds {unknown[0][:80]!r}.", remedy='Send {"digests": ["sha256:…", …]}.')
        self.write_json({"missing": await self.services.bundles.missing(self.identity, data.get("digests"))})
