"""An object store in a bucket of any S3 server, MinIO above all. Plain S3, through the ``minio`` package.

A key is the bucket's key behind the store's prefix. Bytes are checked where they arrive: the package signs a digest of
every body (SHA-256, or MD5 under TLS), and a put of one piece carries a CRC-32 that the server keeps as well.
"""

from __future__ import annotations

import base64
import io
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from hashlib import md5
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote_plus
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from minio.datatypes import PostPolicy, parse_list_objects
from minio.deleteobjects import DeleteObject, DeleteRequest
from urllib3.exceptions import HTTPError

from .base import CHUNK_BYTES, KeyMissing, KeyTaken, ObjectInfo, ObjectStore, StoreError, check_key
from .s3client import CredentialsFile, Refused, S3Address, S3Client

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

PART_BYTES = 8 * 1024 * 1024
"""A stream of more is sent in parts of this size; two of them are in memory."""
PARTS_OF_A_SIZE = 1000
"""After so many parts they become twice as large: S3 takes 10,000."""
PAGE = 1000
RESUMES = 5
"""How often a body that breaks off is taken up again."""
DOWNLOAD_TIME = timedelta(minutes=5)
"""So long a download may begin; it may last longer."""
_MARK = "x-amz-meta-put"
_GONE = ("NoSuchKey", "NoSuchObject", "NoSuchVersion")


class S3Store(ObjectStore):
    """A prefix of a bucket as an object store. Any number of threads and processes may use it at once."""

    poll_seconds = 0.3
    ship_seconds = 0.5

    def __init__(self, address: S3Address, credentials: CredentialsFile) -> None:
        self.address, self.client = address, S3Client(address, credentials)

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> S3Store:
        """The store that :meth:`describe` described."""
        address = S3Address.parse(
            description["url"],
            region=description["region"],
            ca_file=description["caFile"],
            public=description["public"],
        )
        return cls(address, CredentialsFile(description["credentials"]))

    def describe(self) -> dict[str, Any]:
        """``{"type": "s3", "url", "region", "caFile", "public", "credentials"}``.

        The last is the file that holds the keys, never the keys.
        """
        address = self.address
        return {
            "type": "s3",
            "url": address.url,
            "region": address.region,
            "caFile": address.ca_file,
            "public": address.public,
            "credentials": self.client.credentials.path,
        }

    # Writing

    def put(self, key: str, data: bytes | IO[bytes], *, if_absent: bool = False, durable: bool = True) -> ObjectInfo:
        """Send it whole, or in parts that become an object at the end. See :meth:`ObjectStore.put`."""
        name, what = self._name(key), f"store {key!r}"
        # Whose object it is that is found under the key after an answer was lost: ours, or another's.
        headers = {"Content-Type": "application/octet-stream", _MARK: secrets.token_hex(8)}
        if isinstance(data, bytes) and len(data) <= PART_BYTES:
            first, rest = data, None
        else:
            rest = io.BytesIO(data) if isinstance(data, bytes) else data
            first = _filled(rest, PART_BYTES)
        second = _filled(rest, PART_BYTES) if rest is not None and len(first) == PART_BYTES else b""
        try:
            if rest is None or not second:
                self._put_whole(what, name, first, headers, if_absent)
                return ObjectInfo(key, len(first))
            return ObjectInfo(key, self._put_parts(what, name, [first, second], rest, headers, if_absent))
        except Refused as refused:
            if not self._is_ours(name, headers[_MARK]):
                if refused.code == "PreconditionFailed":
                    raise KeyTaken(key) from None
                raise StoreError(f"Can't {what}: the store forgot what was sent ({refused.code}). Try again.") from None
            return ObjectInfo(key, self.stat(key).size)

    def _put_whole(self, what: str, name: str, data: bytes, headers: dict[str, str], if_absent: bool) -> None:
        checked = {**headers, "x-amz-checksum-crc32": base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()}
        self.client.request(
            what, "PUT", name, body=data, headers={**checked, **_absent(if_absent)}, expect=["PreconditionFailed"]
        )

    def _put_parts(
        self, what: str, name: str, ready: list[bytes], rest: IO[bytes], headers: dict[str, str], if_absent: bool
    ) -> int:
        answer = self.client.request(what, "POST", name, headers=headers, query={"uploads": ""})
        upload = {"uploadId": _elements(answer.data, "InitiateMultipartUploadResult")[0]["UploadId"]}
        try:
            etags: list[str] = []
            size = 0
            while ready:
                part = ready.pop(0)
                number = len(etags) + 1
                query = {**upload, "partNumber": str(number)}
                answer = self.client.request(what, "PUT", name, body=part, query=query)
                etags.append(answer.headers.get("etag", ""))
                size += len(part)
                if not ready:
                    part = _filled(rest, PART_BYTES << (number // PARTS_OF_A_SIZE))
                    ready += [part] if part else []
            self.client.request(
                what,
                "POST",
                name,
                body=_completion(etags),
                headers={"Content-Type": "application/xml", **_absent(if_absent)},
                query=upload,
                expect=["PreconditionFailed", "NoSuchUpload"],
            )
        except BaseException:
            with suppress(StoreError, Refused):
                self.client.request(what, "DELETE", name, query=upload, expect=["NoSuchUpload"], tries=1)
            raise
        return size

    def _is_ours(self, name: str, mark: str) -> bool:
        """Whether the object is the one that we sent: a put that is sent again may meet itself."""
        try:
            found = self.client.request("look at what was stored", "HEAD", name, expect=_GONE)
        except Refused:
            return False
        return bool(found.headers.get(_MARK) == mark)

    # Reading

    @contextmanager
    def open(self, key: str, start: int = 0, end: int | None = None) -> Iterator[Iterator[bytes]]:
        """Stream a range; a body that breaks off is taken up where it did. See :meth:`ObjectStore.open`."""
        if start < 0 or (end is not None and end < start):
            raise ValueError(f"[{start}, {end}) is no range of bytes")
        name = self._name(key)
        if start == end:
            self.stat(key)
            yield iter(())
            return
        body = _Body(self.client, key, name, start, end)
        try:
            body.ask()
            yield body.chunks()
        finally:
            body.close()

    def stat(self, key: str) -> ObjectInfo:
        """Size and version of one object. See :meth:`ObjectStore.stat`."""
        name = self._name(key)
        try:
            answer = self.client.request(f"look at {key!r}", "HEAD", name, expect=_GONE)
        except Refused:
            self.client.confirm_bucket(f"look at {key!r}")  # a HEAD does not tell a missing bucket
            raise KeyMissing(key) from None
        told = answer.headers
        return ObjectInfo(key, int(told.get("content-length", "0")), told.get("etag", "").strip('"'))

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Iterator[ObjectInfo]:
        """Page by page, each behind the last key of the one before. See :meth:`ObjectStore.list`."""
        steps = prefix.split("/")[:-1]
        if any(step in ("", ".", "..") for step in steps) or "\0" in prefix:
            raise ValueError(f"{prefix!r} is no prefix of object keys")
        own, left = self.address.prefix, limit
        while left is None or left > 0:
            query = {
                "list-type": "2",
                "encoding-type": "url",
                "delimiter": "",
                "prefix": own + prefix,
                "max-keys": str(PAGE if left is None else min(left, PAGE)),
                **({"start-after": own + after} if after else {}),
            }
            answer = self.client.request(f"list {prefix!r}", "GET", query=query)
            found, more, _, _ = parse_list_objects(answer)
            for item in found:
                after = (item.object_name or "")[len(own) :]
                if after and not after.endswith("/"):  # other tools mark folders so
                    yield ObjectInfo(after, item.size or 0)
                    left = None if left is None else left - 1
            if not more or not found:
                return

    # Removing

    def delete(self, key: str) -> None:
        """Remove one object. See :meth:`ObjectStore.delete`."""
        with suppress(Refused):
            self.client.request(f"delete {key!r}", "DELETE", self._name(key), expect=_GONE)

    def delete_prefix(self, prefix: str) -> int:
        """A thousand with one request. See :meth:`ObjectStore.delete_prefix`."""
        if not prefix.endswith("/"):
            raise ValueError(f"{prefix!r} does not end in a slash: it would catch its neighbours' keys too")
        count = 0
        while page := [info.key for info in self.list(prefix, limit=PAGE)]:
            self._delete_all(prefix, page)
            count += len(page)
        return count

    def _delete_all(self, prefix: str, keys: Sequence[str]) -> None:
        request = DeleteRequest([DeleteObject(self._name(key)) for key in keys], quiet=True)
        body = tostring(request.toxml(None), encoding="utf-8")
        answer = self.client.request(
            f"delete what is below {prefix!r}", "POST", body=body, headers=_md5(body), query={"delete": ""}
        )
        for told in _elements(answer.data, "Error"):
            if told.get("Code") not in _GONE:
                raise StoreError(
                    f"Can't delete what is below {prefix!r}: the object store at {self.address.endpoint} refused "
                    f"{told.get('Key')!r} ({told.get('Code')}: {told.get('Message')})."
                )

    def sweep(self, older_than_seconds: float = 24 * 3600) -> int:
        """Abort uploads that crashed writers left; how many. For a server's start. Raises :class:`StoreError`.

        MinIO does not tell them by prefix, and removes them itself after a day.
        """
        before, count = datetime.now(timezone.utc) - timedelta(seconds=older_than_seconds), 0
        query = {"uploads": "", "prefix": self.address.prefix, "encoding-type": "url", "max-uploads": str(PAGE)}
        answer = self.client.request("list unfinished uploads", "GET", query=query)
        for told in _elements(answer.data, "Upload"):
            begun = datetime.fromisoformat(told["Initiated"].replace("Z", "+00:00"))
            if begun < before:
                name = unquote_plus(told["Key"])
                with suppress(Refused):
                    self.client.request(
                        "abort an unfinished upload",
                        "DELETE",
                        name,
                        query={"uploadId": told["UploadId"]},
                        expect=["NoSuchUpload"],
                    )
                    count += 1
        return count

    # What others may do for a while, without our keys

    def sign_get(self, key: str, seconds: int) -> str:
        """A URL, at the address that pods see, with which anybody may read the object for ``seconds``."""
        expires = timedelta(seconds=seconds)
        return self.client.signer.get_presigned_url("GET", self.address.bucket, self._name(key), expires=expires)

    def download_url(self, key: str, name: str) -> str:
        """At the address that people see, saved and never shown. See :meth:`ObjectStore.download_url`."""
        if self.client.download_signer is None:
            return ""
        answer_with = {
            "response-content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "response-content-type": "application/octet-stream",
            "response-cache-control": "private, no-store",
        }
        return self.client.download_signer.get_presigned_url(
            "GET",
            self.address.bucket,
            self._name(key),
            expires=DOWNLOAD_TIME,
            response_headers=cast(Any, answer_with),
        )

    def sign_post(self, prefix: str, seconds: int, max_bytes: int, *, public: bool = True) -> dict[str, Any]:
        """A form with which anybody may put objects of up to ``max_bytes`` below ``prefix``, for ``seconds``.

        ``{"url", "fields", "base", "prefix", "maxBytes", "expires"}``: ``base`` is the store's own prefix, which goes
        before each key; ``expires`` counts seconds since 1970. ``public``: at the address that pods see.
        """
        if not prefix.endswith("/"):
            raise ValueError(f"{prefix!r} does not end in a slash: it would catch its neighbours' keys too")
        check_key(prefix[:-1])
        signer = self.client.signer if public else self.client.minio
        expires = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        policy = PostPolicy(self.address.bucket, expires)
        policy.add_starts_with_condition("key", self.address.prefix + prefix)
        policy.add_content_length_range_condition(0, max_bytes)
        return {
            "url": signer.get_presigned_url("PUT", self.address.bucket, "x").partition("/x?")[0],
            "fields": dict(signer.presigned_post_policy(policy)),
            "base": self.address.prefix,
            "prefix": prefix,
            "maxBytes": max_bytes,
            "expires": int(expires.timestamp()),
        }

    def _name(self, key: str) -> str:
        return self.address.prefix + check_key(key)


class _Body:
    """The bytes ``[start, end)`` of one object, as one version of it has them."""

    def __init__(self, client: S3Client, key: str, name: str, start: int, end: int | None) -> None:
        self._client, self._key, self._name = client, key, name
        self._at, self._end, self._etag = start, end, ""
        self._answer: BaseHTTPResponse | None = None

    def ask(self) -> None:
        """Begin, or begin again where it broke off. Raises :class:`KeyMissing` and :class:`StoreError`."""
        self.close()
        headers = {"If-Match": self._etag} if self._etag else {}
        if self._at or self._end is not None:
            headers["Range"] = f"bytes={self._at}-{'' if self._end is None else self._end - 1}"
        try:
            self._answer = self._client.request(
                f"read {self._key!r}",
                "GET",
                self._name,
                headers=headers,
                stream=True,
                expect=[*_GONE, "InvalidRange", "PreconditionFailed"],
            )
        except Refused as refused:
            if refused.code == "InvalidRange":
                return
            if self._etag:
                raise StoreError(f"Can't read {self._key!r} to its end: it was replaced. Try again.") from None
            raise KeyMissing(self._key) from None
        if "Range" in headers and self._answer.status != 206:
            raise StoreError(
                f"Can't read {self._key!r}: {self._client.address.endpoint} does not know ranges of bytes."
            )
        self._etag = self._answer.headers.get("etag", "")

    def chunks(self) -> Iterator[bytes]:
        """What there is, chunk by chunk."""
        broken = 0
        while self._answer is not None:
            try:
                chunk = self._answer.read(CHUNK_BYTES, decode_content=False)
            except HTTPError as error:
                broken += 1
                if broken > RESUMES:
                    raise self._client.again(f"read {self._key!r}", error) from error
                if self._at == self._end:
                    return
                self.ask()
                continue
            if not chunk:
                self._answer.release_conn()
                self._answer = None
                return
            self._at += len(chunk)
            yield chunk

    def close(self) -> None:
        """Let the connection go: one with unread bytes can't be used again."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None


def _filled(source: IO[bytes], size: int) -> bytes:
    """``size`` bytes of ``source``; fewer only at its end."""
    parts, count = [], 0
    while count < size and (data := source.read(size - count)):
        parts.append(data)
        count += len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _absent(if_absent: bool) -> dict[str, str]:
    return {"If-None-Match": "*"} if if_absent else {}


def _completion(etags: list[str]) -> bytes:
    root = Element("CompleteMultipartUpload", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
    for number, etag in enumerate(etags, 1):
        part = SubElement(root, "Part")
        SubElement(part, "PartNumber").text = str(number)
        SubElement(part, "ETag").text = etag
    return cast(bytes, tostring(root, encoding="utf-8"))


def _md5(body: bytes) -> dict[str, str]:
    digest = base64.b64encode(md5(body, usedforsecurity=False).digest()).decode()
    return {"Content-MD5": digest, "Content-Type": "application/xml"}


def _elements(body: bytes, tag: str) -> list[dict[str, str]]:
    """Each element of this name, as its children's texts."""
    root = fromstring(body)  # noqa: S314 - from the server that is trusted with all objects
    found = [element for element in root.iter() if element.tag.rsplit("}", 1)[-1] == tag]
    return [{child.tag.rsplit("}", 1)[-1]: child.text or "" for child in element} for element in found]
