"""Set an S3 store up, and try whether it does what we rely on."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import md5
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from .base import KeyMissing, KeyTaken, StoreError
from .s3 import S3Store
from .s3client import Refused
from .signed import post_form

RULE = "jupyter-trainjob"
ABORT_DAYS = 2
PROBE = "probe/"
"""Where what is only tried lies; always removed again."""
FORM_BYTES = 256 * 1024
"""More than MinIO keeps beside an object's description (128 KiB): above that it asks its disk for room first."""


@dataclass(frozen=True)
class Finding:
    """One thing that was tried: whether it works, and if not, how to mend it."""

    what: str
    ok: bool
    message: str = ""
    remedy: str = ""


def ensure_bucket(store: S3Store, *, create: bool = False, expire_days: int = 0) -> list[str]:
    """See that the bucket is there, made now where ``create`` is true, and set the rules that tidy it.

    ``expire_days``: what jobs left goes so many days after it was stored, whatever the record says (0: never). What
    the server knows no rules for is told. Raises :class:`StoreError`.
    """
    client, bucket = store.client, store.address.bucket
    what = f"make the bucket {bucket!r}"
    try:
        client.request(f"look for the bucket {bucket!r}", "HEAD", expect=["NoSuchBucket"])
    except Refused:
        if not create:
            client.confirm_bucket(f"look for the bucket {bucket!r}")
        with suppress(Refused):
            client.request(what, "PUT", expect=["BucketAlreadyOwnedByYou", "BucketAlreadyExists"])
    try:
        return _set_rules(store, expire_days)
    except StoreError as error:  # a key without this right serves as well: the record has its own retention
        return [f"{error} Objects do not expire after {expire_days} days there."] if expire_days else []


def _set_rules(store: S3Store, expire_days: int) -> list[str]:
    """Rules of others stay. MinIO has no rule for unfinished uploads (and removes them after a day by itself)."""
    try:
        present = store.client.request(
            "read the bucket's rules",
            "GET",
            query={"lifecycle": ""},
            expect=[_NONE, *_NO_RULES],
        )
        found = fromstring(present.data)  # noqa: S314 - from the server that is trusted with all objects
    except Refused as refused:
        if refused.code in _NO_RULES:
            return [_untold(expire_days)] if expire_days else []
        found = Element("LifecycleConfiguration")
    ours = [_rule_id(store, "uploads", ""), _rule_id(store, "jobs", "jobs/")]
    others = [rule for rule in found if _text(rule, "ID") not in ours]
    had = len(others) < len(found)
    abort = _rule(store, "uploads", "", "AbortIncompleteMultipartUpload", "DaysAfterInitiation", ABORT_DAYS)
    expire = _rule(store, "jobs", "jobs/", "Expiration", "Days", expire_days) if expire_days else None
    wanted = [rule for rule in (abort, expire) if rule is not None]
    if _put_rules(store, [*others, *wanted]):
        return []
    if expire is not None:
        return [] if _put_rules(store, [*others, expire]) else [_untold(expire_days)]
    if had:
        _put_rules(store, others)
    return []


_NONE = "NoSuchLifecycleConfiguration"
_NO_RULES = ("NotImplemented", "MethodNotAllowed", "XNotImplemented")


def _untold(days: int) -> str:
    return f"The object store knows no lifecycle rules: objects do not expire after {days} days there."


def _put_rules(store: S3Store, rules: list[Element]) -> bool:
    """Whether the server took them."""
    if not rules:
        store.client.request("drop the bucket's rules", "DELETE", query={"lifecycle": ""})
        return True
    root = Element("LifecycleConfiguration")
    root.extend(rules)
    body = tostring(root, encoding="utf-8")
    digest = b64encode(md5(body, usedforsecurity=False).digest()).decode()
    try:
        store.client.request(
            "set the bucket's rules",
            "PUT",
            body=body,
            headers={"Content-MD5": digest, "Content-Type": "application/xml"},
            query={"lifecycle": ""},
            expect=["InvalidArgument", "InvalidRequest", "MalformedXML", *_NO_RULES],
        )
    except Refused:
        return False
    return True


def _rule(store: S3Store, name: str, below: str, action: str, unit: str, days: int) -> Element:
    rule = Element("Rule")
    prefix = store.address.prefix + below
    SubElement(rule, "ID").text = _rule_id(store, name, below)
    SubElement(rule, "Status").text = "Enabled"
    SubElement(SubElement(rule, "Filter"), "Prefix").text = prefix
    SubElement(SubElement(rule, action), unit).text = str(days)
    return rule


def _rule_id(store: S3Store, name: str, below: str) -> str:
    return f"{RULE}-{name}-{store.address.prefix}{below}"


def _text(rule: Element, tag: str) -> str:
    return next((child.text or "" for child in rule if child.tag.rsplit("}", 1)[-1] == tag), "")


def keeps_prefixes(store: S3Store) -> bool:
    """Whether a form that is signed for one prefix is good for nothing else. Tried, below :data:`PROBE`.

    Where it is not, a job could write into another job's objects. Raises :class:`StoreError`.
    """
    place = f"{PROBE}{secrets.token_hex(8)}/"
    form = store.sign_post(f"{place}inside/", 60, 1000, public=False)
    try:
        for key in (f"{place}inside/../outside/up", f"{place}outside/plain", f"{place}inside/x/../../outside/deep"):
            with suppress(StoreError):
                post_form(form, store.address.prefix + key, b"left the prefix", ca_file=store.address.ca_file)
        return not list(store.list(f"{place}outside/", limit=1))
    finally:
        store.delete_prefix(place)


def check(store: S3Store, *, pods: bool = False) -> list[Finding]:
    """Try everything that we rely on; for ``jupyter trainjob doctor``. ``pods``: also what jobs in pods rely on."""
    try:
        store.client.confirm_bucket("look into the bucket")
    except StoreError as error:
        return [Finding("The bucket can be reached", False, str(error), "See the message.")]
    place = f"{PROBE}{secrets.token_hex(8)}/"
    findings = [Finding("The bucket can be reached", True)]
    try:
        for what, step, remedy in _steps(store, place, pods):
            findings.append(_tried(what, step, remedy))
    finally:
        with suppress(StoreError):
            store.delete_prefix(place)
    return findings


def _steps(store: S3Store, place: str, pods: bool) -> list[tuple[str, Callable[[], bool], str]]:
    data, key = secrets.token_bytes(100_000), f"{place}object"
    access = "Give the access key the right to do this in the whole bucket, or at least below the store's prefix."
    other = "Use another S3 server, or a newer version: this one does not do what S3 does."
    steps: list[tuple[str, Callable[[], bool], str]] = [
        ("Objects are stored", lambda: store.put(key, data).size == len(data), access),
        ("and read", lambda: store.get(key) == data, access),
        ("and read in ranges", lambda: store.get(key, 5, 99_000) == data[5:99_000], other),
        ("and listed", lambda: [info.key for info in store.list(place)] == [key], access),
        ("Two that make one object at once are told apart", lambda: _is_refused(store, key), other),
        ("Large objects are stored in parts", lambda: _in_parts(store, f"{place}parts"), access),
        ("Objects are deleted", lambda: store.delete_prefix(place) == 2 and not store.exists(key), access),
    ]
    if pods:
        steps.append(
            (
                "Jobs can store large files",
                lambda: _by_form(store, place),
                "Make room on the store's disk. MinIO does not know how long a form will be, takes 1 GiB for it and "
                "refuses whatever is above some 128 KiB unless twice that is free: at least 2 GiB have to be.",
            )
        )
        steps.append(
            (
                "What is signed for one job is good for no other",
                lambda: keeps_prefixes(store),
                "Use MinIO, or another server that looks at keys as they are: with this one, code in one pod could "
                "overwrite what other jobs stored, so the kubernetes backend refuses it.",
            )
        )
    return steps


def _is_refused(store: S3Store, key: str) -> bool:
    try:
        store.put(key, b"", if_absent=True)
    except KeyTaken:
        return True
    return False


def _in_parts(store: S3Store, key: str) -> bool:
    size = 9 * 1024 * 1024
    store.put(key, bytes(size))
    return store.stat(key).size == size


def _by_form(store: S3Store, place: str) -> bool:
    """As pods do it; smaller files are looked at less closely."""
    key = f"{place}by-form"
    form = store.sign_post(place, 60, FORM_BYTES, public=False)
    post_form(form, store.address.prefix + key, bytes(FORM_BYTES), ca_file=store.address.ca_file)
    return store.stat(key).size == FORM_BYTES


def _tried(what: str, step: Callable[[], bool], remedy: str) -> Finding:
    try:
        if step():
            return Finding(what, True)
        return Finding(what, False, "It was tried, and the outcome is not what S3 says.", remedy)
    except (StoreError, KeyMissing) as error:
        return Finding(what, False, str(error), remedy)
