"""Names that are always valid and never collide. Standard library only."""

from __future__ import annotations

import hashlib
import re
import secrets
from functools import lru_cache

NAME_MAX = 63
SHORT_NAME_MAX = 57
"""A short name gets a dash and five letters behind it to become a full one."""

NAME_LABEL = "jupyter-trainjob/name"
RETRY_OF_LABEL = "jupyter-trainjob/retry-of"
RERUN_OF_LABEL = "jupyter-trainjob/rerun-of"
CODE_LABEL = "jupyter-trainjob/code"
"""The first half of the code's hash: jobs of the same code are found by it."""
SWEEP_LABEL = "jupyter-trainjob/sweep"
"""The name of the sweep that a job is a point of."""
KEEP_LABEL = "jupyter-trainjob/keep"
"""Set by the owner or an operator: retention leaves the job alone."""
OBJECTS_FINALIZER = "jupyter-trainjob/objects"
"""Keeps a job's record until its logs and outputs are gone."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?\Z")
_LABEL_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words by accident


def code_label(code_hash: str) -> str:
    """The value of :data:`CODE_LABEL` for a ``status.codeHash``."""
    return code_hash[:32]


def is_name(text: str, maximum: int = NAME_MAX) -> bool:
    """Whether ``text`` is a DNS label (RFC 1123) of at most ``maximum`` characters."""
    return len(text) <= maximum and _NAME.match(text) is not None


def is_domain(text: str) -> bool:
    """Whether ``text`` is a DNS subdomain: what most Kubernetes objects may be called."""
    return len(text) <= 253 and _LABEL_PREFIX.match(text) is not None


def full_name(short: str) -> str:
    """A full name for a short one: ``digits`` → ``digits-x7k2p``."""
    number, letters = secrets.randbelow(len(_SUFFIX_LETTERS) ** 5), ""
    for _ in range(5):
        number, digit = divmod(number, len(_SUFFIX_LETTERS))
        letters += _SUFFIX_LETTERS[digit]
    return f"{short}-{letters}"


def slug(text: str, maximum: int = NAME_MAX) -> str:
    """A valid name for any text, different for different texts.

    A text that is a valid name already and holds no double dash stays as it is; any other gets its
    readable part, two dashes and eight hexadecimal digits of its SHA-256.
    """
    if is_name(text, maximum) and "--" not in text:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[: maximum - 11].strip("-")
    return f"{readable or 'x'}--{digest}"


def label_key_error(key: str) -> str | None:
    """Why ``key`` is no label key, or None. ``[prefix/]name`` as Kubernetes has it."""
    return _key_error(key) if len(key) <= _LONGEST_KEY else _look_at_key(key)


def _look_at_key(key: str) -> str | None:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _LABEL_PREFIX.match(prefix)):
        return f"the prefix {prefix!r} is no DNS name"
    if not name or len(name) > 63 or not _LABEL_NAME.match(name):
        return "a label key has 1 to 63 letters, digits, '-', '_' or '.', and starts and ends with a letter or digit"
    return None


_LONGEST_KEY = 253 + 1 + 63
_key_error = lru_cache(maxsize=1024)(_look_at_key)  # the same few are in every object, and each is read many times


def label_value_error(value: str) -> str | None:
    """Why ``value`` is no label value, or None."""
    if value == "" or (len(value) <= 63 and _LABEL_NAME.match(value)):
        return None
    return "a label value has up to 63 letters, digits, '-', '_' or '.', and starts and ends with a letter or digit"


def attempt_name(uid: str, attempt: int) -> str:
    """What an attempt is called in its backend; the same for ever, so creating twice is seen."""
    return f"tj-{uid}-{attempt}"


def attempt_prefix(uid: str, attempt: int) -> str:
    """Where an attempt's objects lie in the object store, with the slash."""
    return f"jobs/{uid}/{attempt}/"


def fetched_prefix(uid: str, attempt: int) -> str:
    """Where lies, until the attempt's end, what a server fetched for it by URI. Not below its own prefix: it is no
    output, and counts for nobody's quota.
    """
    return f"fetched/{uid}/{attempt}/"


def blob_prefix(owner: str) -> str:
    """Where a person's uploads lie in the object store, with the slash."""
    return f"blobs/{slug(owner)}/"


def blob_key(owner: str, digest: str) -> str:
    """Where one upload lies. ``digest`` is ``sha256:…``."""
    return blob_prefix(owner) + digest.removeprefix("sha256:")


def requirements_key(digest: str) -> str:
    """Where a list of requirements lies for as long as a job or a profile names it. ``digest`` is ``sha256:…``."""
    return f"environments/requirements/{digest.removeprefix('sha256:')}"


def environment_lock_key(digest: str) -> str:
    """Where an environment's exact versions are written down, for ever. ``digest`` is ``sha256:…`` of that text."""
    return f"environments/locks/{digest.removeprefix('sha256:')}"
