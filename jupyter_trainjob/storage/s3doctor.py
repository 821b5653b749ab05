"""What an operator should know of an S3 store, beyond what we rely on. For ``jupyter trainjob doctor``."""

from __future__ import annotations

import base64
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from .base import StoreError
from .s3 import S3Store
from .s3client import Refused
from .s3setup import PROBE, Finding

_NO_RULES = ("NotImplemented", "MethodNotAllowed", "XNotImplemented")
_BAD_SUM = ("BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest", "XAmzContentSHA256Mismatch", "InvalidRequest")
SKEW_SECONDS = 30.0


def look(store: S3Store, *, expire_days: int = 0, pods_url: str = "") -> list[Finding]:
    """``pods_url``: where pods reach it, empty where none do. Raises :class:`StoreError`."""
    return [*_encrypted(store, pods_url), _checksums(store), _rules(store, expire_days), _clock(store)]


def _encrypted(store: S3Store, pods_url: str) -> Iterator[Finding]:
    what = "What goes to the store and back is encrypted"
    plain = [] if store.address.secure else ["from here"]
    if pods_url and urlsplit(pods_url).scheme == "http":
        plain.append("from pods")
    if plain:
        yield Finding(
            what,
            False,
            f"It is not, {' and '.join(plain)}: whoever sees the network reads code, logs and signed addresses.",
            "Give the store a certificate, and write s3+https:// in ObjectStoreSettings.url and https:// in pod_url.",
        )
    else:
        yield Finding(what, True)


def _checksums(store: S3Store) -> Finding:
    """A body whose sum is another one has to be refused."""
    what = "The store refuses bytes that changed on their way"
    key, data = f"{PROBE}{secrets.token_hex(8)}/changed", b"these bytes are not those that were summed"
    wrong = base64.b64encode((zlib.crc32(data) ^ 1).to_bytes(4, "big")).decode()
    try:
        store.client.request(
            "store what changed on its way",
            "PUT",
            store.address.prefix + key,
            body=data,
            headers={"x-amz-checksum-crc32": wrong},
            expect=_BAD_SUM,
            tries=1,
        )
    except Refused:
        return Finding(what, True)
    with suppress(StoreError):
        store.delete(key)
    return Finding(
        what,
        False,
        "It took an object whose checksum is wrong: damage on the way to it stays unseen.",
        "Use TLS, which notices it on the wire, or a server that knows x-amz-checksum-crc32.",
    )


def _rules(store: S3Store, expire_days: int) -> Finding:
    what = "The store has rules that tidy up"
    remedy = "Nothing has to be done: ended jobs go by retention_days. Set expire_days to 0 to hear no more of it."
    try:
        found = store.client.request(
            "read the bucket's rules",
            "GET",
            query={"lifecycle": ""},
            expect=["NoSuchLifecycleConfiguration", *_NO_RULES],
        )
        there = b"jupyter-trainjob-jobs" in found.data
    except Refused as refused:
        if refused.code in _NO_RULES:
            return Finding(what, not expire_days, "It knows no lifecycle rules.", remedy)
        there = False
    except StoreError as error:
        return Finding(what, not expire_days, str(error), remedy)
    if expire_days and not there:
        return Finding(what, False, f"Objects do not expire after {expire_days} days: the rule is not there.", remedy)
    return Finding(what, True)


def _clock(store: S3Store) -> Finding:
    what = "The clocks of this machine and of the store agree"
    before = time.time()
    answer = store.client.request("ask for the time", "GET", query={"list-type": "2", "max-keys": "1"})
    try:
        told = parsedate_to_datetime(answer.headers["Date"]).timestamp() + 0.5  # whole seconds
    except (KeyError, TypeError, ValueError):
        return Finding(what, False, "The store does not tell its time.", "Nothing has to be done.")
    ahead = (before + time.time()) / 2 - told
    if abs(ahead) < SKEW_SECONDS:
        return Finding(what, True)
    return Finding(
        what,
        False,
        f"This machine's is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}.",
        "Set both by NTP: at a quarter of an hour the store refuses everything.",
    )
