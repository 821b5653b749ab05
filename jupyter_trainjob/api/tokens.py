"""The people of a served instance: a file of hashed tokens → user, groups, roles.

The file is YAML, readable by its owner only::

    users:
      ada:
        displayName: Ada Lovelace
        groups: [course-ml]
        roles: {ml-2026: instructor, "queue:gpu": viewer}
        operator: false
        tokens:
          - {id: 5d1f0c2a, salt: …, sha256: …, created: 2026-01-31T12:00:00Z}

A token is ``tj_<id>_<secret>``, the secret 256 random bits: nothing to guess, so one SHA-256 over salt and secret is
as good as a slow hash, and checking costs the server nothing. A change of the file counts from the next request on.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from ..resources import names
from .identity import QUEUE_PREFIX, ROLE_WORDS

_TOKEN = re.compile(r"tj_(?P<id>[0-9a-f]{8})_(?P<secret>[A-Za-z0-9_-]{43})\Z")
_USERNAME_MAX = 200


class TokenFileError(Exception):
    """The file can't be used. The text says why and what to do."""


@dataclass(frozen=True)
class TokenHash:
    """One token's trace: enough to know it again, too little to make it."""

    id: str
    salt: str
    sha256: str
    created: str = ""

    def fits(self, secret: str) -> bool:
        """Whether this is the trace of ``secret``; takes the same time either way."""
        return hmac.compare_digest(self.sha256.encode(), _hash(self.salt, secret).encode())


@dataclass(frozen=True)
class Person:
    """One user."""

    username: str
    display_name: str = ""
    groups: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    operator: bool = False
    tokens: tuple[TokenHash, ...] = ()


_NOBODY = TokenHash("00000000", "0" * 32, "0" * 64)


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()


def new_token() -> tuple[str, TokenHash]:
    """A token, to be shown once, and what to keep of it."""
    number, salt, secret = secrets.token_hex(4), secrets.token_hex(16), secrets.token_urlsafe(32)
    created = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"tj_{number}_{secret}", TokenHash(number, salt, _hash(salt, secret), created)


class TokenFile:
    """Reads and changes the file. All methods may block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._people: dict[str, Person] = {}

    def people(self) -> Mapping[str, Person]:
        """Everybody, by username. Reads the file again when it changed; :class:`TokenFileError`."""
        try:
            found = self.path.stat()
        except OSError as error:
            self._seen = None
            raise TokenFileError(
                f"The token file {self.path} can't be read ({error.strerror}). "
                "Make it with: jupyter trainjob token create --user NAME"
            ) from error
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen != self._seen:
            _check_mode(self.path, found)
            self._people = _parse(self.path, self.path.read_bytes())
            self._seen = seen
        return self._people

    def person_of(self, token: str) -> Person | None:
        """Whose token it is; None for one that nobody has."""
        people = self.people()
        match = _TOKEN.match(token)
        number, secret = (match["id"], match["secret"]) if match else ("", "")
        candidates = [(person, kept) for person in people.values() for kept in person.tokens if kept.id == number]
        person, kept = candidates[0] if candidates else (None, _NOBODY)
        return person if kept.fits(secret) else None

    def namespaces(self) -> frozenset[str]:
        """Those that somebody has a role in."""
        places = {place for person in self.people().values() for place in person.roles}
        return frozenset(place for place in places if not place.startswith(QUEUE_PREFIX))

    def add(self, person: Person) -> str:
        """A new token for ``person``, whose facts are added to those that the file has. The token, shown only now."""
        token, kept = new_token()
        with self._changing() as people:
            old = people.get(person.username, Person(person.username))
            people[person.username] = replace(
                old,
                display_name=person.display_name or old.display_name,
                groups=tuple(dict.fromkeys((*old.groups, *person.groups))),
                roles={**old.roles, **person.roles},
                operator=old.operator or person.operator,
                tokens=(*old.tokens, kept),
            )
        return token

    def revoke(self, username: str, number: str = "") -> int:
        """Take one token of a user away, or (no ``number``) all of them; how many there were."""
        with self._changing() as people:
            old = people.get(username)
            if old is None:
                raise TokenFileError(
                    f"There is no user {username!r} in {self.path}. Those there are: {', '.join(people)}."
                )
            kept = tuple(token for token in old.tokens if number and token.id != number)
            if len(kept) == len(old.tokens):
                known = ", ".join(token.id for token in old.tokens) or "none"
                raise TokenFileError(f"{username} has no token {number!r}. Those there are: {known}.")
            people[username] = replace(old, tokens=kept)
        return len(old.tokens) - len(kept)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Person]]:
        """The people, to be changed in place; written whole or not at all, one process at a time."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = self.path.with_name(self.path.name + ".lock")
        with os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            people = dict(self.people()) if self.path.exists() else {}
            yield people
            text = yaml.safe_dump(_document(people), sort_keys=False, allow_unicode=True)
            fresh = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)


def check_person(person: Person) -> Person:
    """``person`` if it can be one; :class:`TokenFileError` with what is wrong."""
    if not person.username or len(person.username) > _USERNAME_MAX or not person.username.isprintable():
        raise TokenFileError(f"{person.username[:80]!r} is no user name: it must be printable and not empty.")
    for place, role in person.roles.items():
        if role not in ROLE_WORDS:
            raise TokenFileError(
                f"{role!r} is no role (of {person.username} in {place}). Roles: {', '.join(ROLE_WORDS)}."
            )
        if not names.is_name(place.removeprefix(QUEUE_PREFIX)):
            raise TokenFileError(
                f"{place!r} (a role of {person.username}) is no namespace and no 'queue:<name>'. "
                "Names have 1 to 63 lower-case letters, digits or dashes."
            )
    return person


def _check_mode(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in (os.geteuid(), 0):
        raise TokenFileError(f"The token file {path} belongs to another user (uid {found.st_uid}). Make it your own.")
    # A cluster's Secret is root's, and its pod's group may read it.
    own_group = found.st_uid == 0 and found.st_gid == os.getegid() and os.geteuid() != 0
    if stat.S_IMODE(found.st_mode) & (0o037 if own_group else 0o077):
        mode = stat.S_IMODE(found.st_mode)
        raise TokenFileError(f"The token file {path} can be read by others (mode {mode:04o}). Run: chmod 600 {path}")


def _document(people: Mapping[str, Person]) -> dict[str, Any]:
    return {
        "users": {
            person.username: {
                "displayName": person.display_name,
                "groups": list(person.groups),
                "roles": dict(person.roles),
                "operator": person.operator,
                "tokens": [
                    {"id": kept.id, "salt": kept.salt, "sha256": kept.sha256, "created": kept.created}
                    for kept in person.tokens
                ],
            }
            for person in people.values()
        }
    }


def _parse(path: Path, data: bytes) -> dict[str, Person]:
    try:
        document = yaml.safe_load(data)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise TokenFileError(f"The token file {path} is no YAML{where}. Correct it by hand.") from error
    users = document.get("users") if isinstance(document, dict) else None
    if not isinstance(users, dict):
        raise TokenFileError(f"The token file {path} has no mapping 'users'. Correct it by hand.")
    try:
        return {str(name): check_person(_person(str(name), facts or {})) for name, facts in users.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TokenFileError(f"The token file {path} can't be understood: {error!r}. Correct it by hand.") from error


def _person(username: str, facts: Mapping[str, Any]) -> Person:
    operator = facts.get("operator", False)
    if not isinstance(operator, bool):
        raise TypeError(f"operator of {username} is neither true nor false")
    return Person(
        username=username,
        display_name=str(facts.get("displayName") or ""),
        groups=tuple(str(group) for group in facts.get("groups") or ()),
        roles={str(place): str(role) for place, role in (facts.get("roles") or {}).items()},
        operator=operator,
        tokens=tuple(
            TokenHash(str(kept["id"]), str(kept["salt"]), str(kept["sha256"]), str(kept.get("created", "")))
            for kept in facts.get("tokens") or ()
        ),
    )
