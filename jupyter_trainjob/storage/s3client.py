"""One S3 server as a store talks to it: address, credentials, and requests that are tried again."""

from __future__ import annotations

import configparser
import os
import random
import re
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.credentials.providers import Provider
from minio.error import MinioException
from urllib3.exceptions import HTTPError

from .base import StoreError
from .s3errors import Place, code_of, explain, may_pass, status_of

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

CONNECT_SECONDS, READ_SECONDS = 3.0, 30.0
TRIES = 4
TRY_SECONDS = 10.0
"""After this long a request that failed is not sent again."""
FIRST_PAUSE_SECONDS = 0.2
LOOK_SECONDS = 1.0
"""How often the file of the credentials is looked at: dozens of threads sign requests at once."""
BUCKET_SECONDS = 10.0
"""How long it is taken for granted that the bucket is there."""
MAX_PREFIX_BYTES = 100
"""What is left of S3's 1,024 bytes a key where ours have 900."""


@dataclass(frozen=True)
class S3Address:
    """Where a store lies. ``prefix`` is empty or ends in a slash.

    ``public`` is the server's URL as pods see it, ``downloads`` as people do (empty: they don't).
    """

    endpoint: str
    bucket: str
    prefix: str = ""
    secure: bool = True
    region: str = "us-east-1"
    ca_file: str = ""
    public: str = ""
    downloads: str = ""

    @classmethod
    def parse(
        cls, url: str, *, region: str = "", ca_file: str = "", public: str = "", downloads: str = ""
    ) -> S3Address:
        """Read ``s3+https://host:port/bucket/prefix``. ``ValueError`` (which says what is wrong) if it is none."""
        parts = urlsplit(url)
        if parts.scheme not in ("s3+https", "s3+http"):
            raise ValueError(f"{url!r} is no URL of a store: it begins neither with s3+https:// nor with s3+http://")
        if "@" in parts.netloc:
            raise ValueError("the store's URL has credentials in it: they belong in a file of their own")
        bucket, _, prefix = parts.path.strip("/").partition("/")
        if not parts.hostname or not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
            raise ValueError(
                f"{url!r} is no URL of a store: it is s3+https://host:port/bucket/prefix, and the bucket's name has "
                "3 to 63 lower-case letters, digits, dots and hyphens"
            )
        if parts.query or parts.fragment or any(step in ("", ".", "..") for step in prefix.split("/") if prefix):
            raise ValueError(f"{url!r} is no URL of a store: the prefix is made of plain names")
        if len(prefix.encode()) >= MAX_PREFIX_BYTES:
            raise ValueError(f"{url!r}: the prefix has more than {MAX_PREFIX_BYTES - 1} bytes")
        for address, who in ((public, "pods reach"), (downloads, "people reach")):
            seen = urlsplit(address)
            if address and (seen.scheme not in ("http", "https") or not seen.netloc or seen.path not in ("", "/")):
                raise ValueError(f"{address!r} is no URL at which {who} a store: it is http(s)://host:port")
        return cls(
            endpoint=parts.netloc,
            bucket=bucket,
            prefix=f"{prefix}/" if prefix else "",
            secure=parts.scheme == "s3+https",
            region=region or "us-east-1",
            ca_file=ca_file,
            public=public.rstrip("/"),
            downloads=downloads.rstrip("/"),
        )

    @property
    def url(self) -> str:
        """What :meth:`parse` reads."""
        scheme = "s3+https" if self.secure else "s3+http"
        return f"{scheme}://{self.endpoint}/{self.bucket}/{self.prefix}".rstrip("/")


class CredentialsFile(Provider):
    """Keys from a file as AWS's tools have it, read again when it changes."""

    def __init__(self, path: str, profile: str = "default") -> None:
        self.path, self.profile = path, profile
        self._seen: tuple[int, int, int] | None = None
        self._read: Credentials | None = None
        self._looked = -LOOK_SECONDS
        self._lock = threading.Lock()

    @property
    def described(self) -> str:
        """Where an operator corrects them."""
        return repr(self.path)

    def retrieve(self) -> Credentials:
        """The keys as they are now. Raises :class:`StoreError`."""
        read = self._read
        if read is not None and time.monotonic() - self._looked < LOOK_SECONDS:
            return read
        with self._lock:
            try:
                found = os.stat(self.path)  # noqa: PTH116 - what a link in a mounted Secret points to changes
                seen = (found.st_ino, found.st_mtime_ns, found.st_size)
                if self._read is None or seen != self._seen:
                    self._read, self._seen = self._parse(Path(self.path).read_text("utf-8")), seen
            except (OSError, UnicodeDecodeError) as error:
                raise StoreError(f"The object store's credentials in {self.path!r} can't be read: {error}.") from error
            self._looked = time.monotonic()
            return self._read

    def _parse(self, text: str) -> Credentials:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(text)
            section = parser[self.profile]
            return Credentials(
                section["aws_access_key_id"],
                section["aws_secret_access_key"],
                section.get("aws_session_token") or None,
            )
        except (configparser.Error, KeyError, ValueError):  # never the text: it holds the secret
            raise StoreError(
                f"The object store's credentials in {self.path!r} can't be read: it has no section "
                f"[{self.profile}] with aws_access_key_id and aws_secret_access_key."
            ) from None


class Refused(Exception):
    """The server said one of the codes that the caller expected."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class S3Client:
    """Requests to one bucket, each tried again while that may help. Used by any number of threads."""

    def __init__(self, address: S3Address, credentials: CredentialsFile) -> None:
        self.address, self.credentials = address, credentials
        self.place = Place(address.endpoint, address.bucket, credentials.described)
        if address.ca_file and not Path(address.ca_file).is_file():
            raise StoreError(f"The file {address.ca_file!r} of the object store's certificate authority is not there.")
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            maxsize=16,
            retries=urllib3.Retry(0, redirect=0, raise_on_redirect=False, raise_on_status=False),
            cert_reqs="CERT_REQUIRED",
            ca_certs=address.ca_file or None,
        )
        self._confirmed = -BUCKET_SECONDS
        self.minio = self._make(address.endpoint, address.secure)
        self.signer = self._seen_at(address.public) if address.public else self.minio
        self.download_signer = self._seen_at(address.downloads) if address.downloads else None

    def _seen_at(self, url: str) -> Minio:
        seen = urlsplit(url)
        return self._make(seen.netloc, seen.scheme == "https")

    def _make(self, endpoint: str, secure: bool) -> Minio:
        try:
            return Minio(
                endpoint,
                credentials=self.credentials,
                secure=secure,
                region=self.address.region,
                http_client=self._http,
            )
        except ValueError as error:
            raise StoreError(f"The object store's address {endpoint!r} is none: {error}.") from error

    def request(
        self,
        what: str,
        method: str,
        name: str | None = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        stream: bool = False,
        expect: Collection[str] = (),
        tries: int = TRIES,
    ) -> BaseHTTPResponse:
        """The answer to one request. :class:`Refused` for codes in ``expect``, else :class:`StoreError`.

        ``stream``: the body is left unread; the caller closes the answer.
        """
        limit, pause = time.monotonic() + TRY_SECONDS, FIRST_PAUSE_SECONDS
        while True:
            try:
                # The package's public methods know neither conditional puts nor a page's size.
                return self.minio._execute(
                    method,
                    self.address.bucket,
                    name,
                    body=body,
                    headers=cast(Any, dict(headers or {})),
                    query_params=cast(Any, dict(query or {})),
                    preload_content=not stream,
                    no_body_trace=True,
                )
            except (MinioException, HTTPError, ParseError) as error:
                if code_of(error) in expect:
                    raise Refused(code_of(error)) from error
                tries -= 1
                if not tries or not may_pass(error) or time.monotonic() + pause > limit:
                    if method == "HEAD" and status_of(error) == 403:
                        self._ask_with_body(what)
                    raise explain(what, error, self.place) from error
            time.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - jitter, not a secret
            pause *= 3

    def confirm_bucket(self, what: str) -> None:
        """Raise :class:`StoreError` where the bucket is missing or closed to us. Asked at most every few seconds."""
        if time.monotonic() - self._confirmed > BUCKET_SECONDS:
            self._ask_with_body(what)
            self._confirmed = time.monotonic()

    def _ask_with_body(self, what: str, expect: Collection[str] = ()) -> None:
        """List one key: where this fails, the server says why. The answer to a HEAD has no room for it."""
        query = {"list-type": "2", "max-keys": "1", "prefix": self.address.prefix}
        self.request(what, "GET", query=query, expect=expect)

    def again(self, what: str, error: Exception) -> StoreError:
        """The words for a failure that was met elsewhere (in the middle of a body)."""
        return explain(what, error, self.place)
