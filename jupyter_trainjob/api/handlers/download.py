"""Sending stored bytes, which are hostile: nothing that a browser would run or show as ours."""

from __future__ import annotations

from contextlib import aclosing
from typing import cast

from tornado import iostream
from tornado.http1connection import HTTP1Connection

from ...storage.base import StoreError
from ..base import TrainJobHandler
from ..outputs import Archive, Download
from ..ranges import MOVED, attachment, parse_range

TAR = "application/x-tar"


class DownloadHandler(TrainJobHandler):
    """Base of what sends objects of the store. Memory: one piece of at most 1 MiB, whatever the size."""

    @property
    def content_security_policy(self) -> str:
        """No scripts, no origin, nothing loaded: also where somebody opens it in spite of all."""
        return "sandbox; default-src 'none'; frame-ancestors 'none'"

    async def send(self, download: Download) -> None:
        """The object, or the range that the request asks for; for HEAD only what would be said of it.

        Whoever can follow is sent on to the store, where that is reached by people.
        """
        if self.follows() and (url := await self.services.outputs.elsewhere(download)):
            self.send_on(url)
            return
        self.set_header("Accept-Ranges", "bytes")
        self.set_header("Content-Disposition", attachment(download.name))
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Cache-Control", "private, no-store")
        if download.version:
            self.set_header("ETag", f'"{download.version}"')
        part = self.requested(download)
        start, end = part or (0, download.size)
        self.set_header("Content-Length", str(end - start))
        if part is not None:
            self.set_status(206)
            self.set_header("Content-Range", f"bytes {start}-{end - 1}/{download.size}")
        if self.request.method != "HEAD":
            await self._stream(download.key, start, end)
        self.finish(set_content_type="application/octet-stream")

    async def send_archive(self, archive: Archive) -> None:
        """A tar of unknown length. One that can't be finished is broken off, so that nobody takes it for whole."""
        self.set_header("Content-Disposition", attachment(archive.name))
        self.set_header("Content-Type", TAR)
        self.set_header("Cache-Control", "private, no-store")
        try:
            async with aclosing(archive.pieces) as pieces:
                async for piece in pieces:
                    self.write(piece)
                    await self.flush()
        except iostream.StreamClosedError:
            return
        except StoreError as error:
            if not self._headers_written:
                raise
            self.log.warning("An archive was broken off: %s", error)
            cast(HTTP1Connection, self.request.connection).stream.close()
            return
        self.finish(set_content_type=TAR)

    def follows(self) -> bool:
        """A page's own ``fetch`` may read nothing from another origin, so it gets the bytes from here."""
        headers = self.request.headers
        wanted = headers.get("Sec-Fetch-Mode") == "navigate" or headers.get("Prefer", "").strip() == "redirect"
        return self.request.method == "GET" and wanted

    def send_on(self, url: str) -> None:
        """The address is a credential: neither kept in a cache nor told to the store where the page came from."""
        self.set_status(307)
        self.set_header("Location", url)
        self.set_header(MOVED, "store")
        self.set_header("Cache-Control", "private, no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.finish()

    def requested(self, download: Download) -> tuple[int, int] | None:
        """The range; None: all, also where ``If-Range`` names another version. Raises :class:`RangeNotSatisfiable`."""
        headers = self.request.headers
        if headers.get("If-Range", f'"{download.version}"').strip() != f'"{download.version}"':
            return None
        return parse_range(headers.get("Range", ""), download.size)

    async def _stream(self, key: str, start: int, end: int) -> None:
        async with aclosing(self.services.outputs.chunks(key, start, end)) as pieces:
            async for piece in pieces:
                self.write(piece)
                try:
                    await self.flush()  # returns when the socket took it: a slow client holds one piece, and no thread
                except iostream.StreamClosedError:
                    return
