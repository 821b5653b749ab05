"""The environments of one data folder: found, built, kept, dropped.

``<data_dir>/environments/``::

    <key>/root/        the environment, shown to jobs read-only at this very path
    <key>/ready.json   written last: an environment without it is not there, whatever lies in root/
    <key>/build.log    what the tools said
    <key>/used         its mtime: when a job last asked for it
    locks/<key>        held by who builds or drops it; the kernel gives it back when that one dies
    pip/               pip's cache

A build that was killed leaves no ``ready.json`` and a free lock: the next one who asks begins anew, and finds what was
fetched in pip's cache. A build's processes die with the server that started it.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import platform
import re
import secrets
import stat
import subprocess
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

from ....resources.names import environment_lock_key
from ....resources.trainjob import Requirements
from ....storage.base import ObjectStore
from ...base import BackendError
from ...environments import content, content_digest
from ..folder import Folder, try_lock
from ..probe import Offer
from ..recover import remove_tree
from ..runtime import Runtime
from ..spawn import Drop, take_uid
from .box import Bounds, Box, BuildFailed, BuildStopped, NeverBuilt, disk_bytes, last_words
from .jars import JarsRecipe
from .python import PythonRecipe
from .recipes import LEAVE_OUT, Found, Recipe, Site
from .rlang import RRecipe

VERSION = 1
"""Part of every key: raised when environments are to be built in another way."""
OPEN_MODE = 0o755
"""Jobs have other users than the server and read what it owns."""
_RECENT_SECONDS = 60.0
"""Who asked so lately may be about to start a job in it."""
_WAIT_SECONDS = 0.25


@dataclass(frozen=True)
class Keeping:
    """How environments are built and how long they are kept."""

    site: Site = field(default_factory=Site)
    bounds: Bounds = field(default_factory=Bounds)
    max_bytes: int = 50 * 2**30
    max_age_seconds: float = 30 * 86400.0


class Environments:
    """All methods block; any thread may call them, and other servers work in the same folder."""

    def __init__(
        self,
        folder: str,
        *,
        store: ObjectStore,
        runtime: Runtime,
        offer: Offer,
        keeping: Keeping,
        uid_range: tuple[int, int],
        uid_locks: str,
        nproc_per_sandbox: bool,
        run_folder: str = "",
    ) -> None:
        self._run_folder = run_folder
        self._folder, self._store, self._runtime, self._offer = folder, store, runtime, offer
        self._keeping, self._uid_range, self._uid_locks = keeping, uid_range, uid_locks
        self._nproc_per_sandbox = nproc_per_sandbox
        self._recipes: dict[str, Recipe] = {
            "requirements.txt": PythonRecipe(runtime, keeping.site),
            "renv.lock": RRecipe(keeping.site),
            "ivy": JarsRecipe(keeping.site),
        }
        self.stop = threading.Event()
        """Set: builds that run end at once, and none begins."""
        self._needed: tuple[float, set[str | None]] = (time.time(), set())
        """When it was last swept, and the keys that had to stay."""
        for path in (folder, os.path.join(folder, "locks")):
            os.makedirs(path, mode=0o711 if offer.drop else 0o700, exist_ok=True)

    def tool(self, requirements: Requirements) -> str:
        """What will build it, for people."""
        return self._recipes[requirements.format].tool

    def check(self, format: str, text: str) -> None:
        """Raises :class:`NeverBuilt` for a list that is never built here."""
        if self._keeping.site.builds == "none":
            raise NeverBuilt("this server builds no environments (environment_builds is 'none')", LEAVE_OUT)
        forbids = os.geteuid() != 0 or self._offer.drop
        self._recipes[format].check(text, forbids_processes=forbids)

    def key(self, requirements: Requirements) -> str:
        """Its name: equal for all that would be built alike. Raises as :meth:`build`."""
        return self._key(requirements.format, content(self._store, requirements))

    def _key(self, format: str, text: str) -> str:
        identity = {
            "version": VERSION,
            "content": content_digest(format, text),
            "machine": platform.machine(),
            "libc": list(platform.libc_ver()),
            **self._recipes[format].identity(),
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return digest[:32]  # half of it: the path goes into the first line of scripts, which is short

    def find(self, requirements: Requirements) -> tuple[Found, str] | None:
        """The environment and its lock's digest, if it is ready; it counts as used now. Raises as :meth:`build`."""
        key = self.key(requirements)
        folder = self._place(key)
        try:
            os.utime(folder.file("used"))  # before looking: who drops environments looks the other way round
        except FileNotFoundError:
            return None
        ready = folder.read("ready.json")
        if not ready:
            return None
        return self._recipes[requirements.format].found(folder.file("root")), str(ready["lock"])

    def build(self, requirements: Requirements, stop: threading.Event | None = None) -> str:
        """Build it, or wait until another has; the digest of its lock. ``stop`` set: end this one.

        Raises :class:`BuildFailed`, :class:`BuildStopped`, ``BackendError`` and ``StoreError`` (its list can't be had).
        """
        text = content(self._store, requirements)
        self.check(requirements.format, text)
        key = self._key(requirements.format, text)
        stops = [self.stop, *([stop] if stop is not None else [])]
        lock = self._lock(key, stops)
        try:
            ready = self._place(key).read("ready.json")
            if ready:
                return str(ready["lock"])
            return self._build(key, requirements.format, text, lock, stops)
        except OSError as error:
            raise BuildFailed(f"this machine can't do it now: {error.strerror or error}") from error
        finally:
            os.close(lock)

    def tail(self, requirements: Requirements) -> str:
        """The last words of the latest build."""
        return last_words(self._place(self.key(requirements)).file("build.log"))

    def collect(self, needed: Collection[Requirements]) -> int:
        """Drop what is too old, then the longest unused while all together are too large; how many went."""
        now = time.time()
        kept = self._held() | {self._key_or_none(one) for one in needed}
        places = [place for name in sorted(os.listdir(self._folder)) if (place := self._standing(name)) is not None]
        total = sum(place.size for place in places)
        gone = 0
        for place in sorted(places, key=lambda one: one.used):
            old = time.time() - place.used > self._keeping.max_age_seconds
            if place.key in kept or not (old or total > self._keeping.max_bytes):
                continue
            if self._drop(place):
                total -= place.size
                gone += 1
        self._needed = (now, kept)
        self._collect_cache(self._keeping.max_bytes // 2)
        return gone

    def crowded(self) -> str:
        """Why no further one may be built now: those that jobs need take all the room. Empty where there is some."""
        swept, kept = self._needed
        used = 0
        for name in os.listdir(self._folder):
            with suppress(FileNotFoundError):  # dropped meanwhile
                place = self._standing(name) if not name.startswith(".") else None
                used += place.size if place is not None and (name in kept or place.used > swept) else 0
        if used < self._keeping.max_bytes:
            return ""
        return (
            f"it waits for room: the environments that other jobs need take {used / 2**30:.1f} GiB and all together "
            f"may take {self._keeping.max_bytes / 2**30:.1f} GiB; it begins when some of those jobs have ended"
        )

    # Building

    def _lock(self, key: str, stops: list[threading.Event]) -> int:
        path = os.path.join(self._folder, "locks", key)
        while not any(stop.is_set() for stop in stops):
            lock = try_lock(path)
            if lock is not None:
                return lock
            self.stop.wait(_WAIT_SECONDS)
        raise BuildStopped

    def _build(self, key: str, format: str, text: str, key_lock: int, stops: list[threading.Event]) -> str:
        recipe, place = self._recipes[format], self._place(key)
        began = time.monotonic()
        drop = None
        try:
            remove_tree(place.path)
            drop = self._take_uid()
            self._prepare(place, drop)
            box = self._box(place, drop, recipe, key_lock, stops)
            cache, cache_lock = self._take_cache(drop)
            try:
                packages = recipe.build(box, text, cache)
            finally:
                if cache_lock is not None:
                    os.close(cache_lock)
            size = seal(place.file("root"))
            lock = self._write_lock(key, format, text, recipe, packages)
            subprocess.run(["sync", "-f", place.file("root")], check=False, stdin=subprocess.DEVNULL)
            seconds = round(time.monotonic() - began, 1)
            place.write("ready.json", {"lock": lock, "bytes": size, "seconds": seconds, "format": format}, durable=True)
            return lock
        except BuildFailed as error:
            words = "; ".join(filter(None, [str(error), last_words(place.file("build.log"))]))
            raise BuildFailed(words or "nothing tells why", error.otherwise) from error
        finally:
            remove_tree(place.file("tmp"))
            if place.read("ready.json") is None:
                remove_tree(place.file("root"))
            if drop is not None:
                os.close(drop.lock)

    def _take_uid(self) -> Drop | None:
        if not self._offer.drop:
            return None
        first, last = self._uid_range
        return take_uid({"first": first, "last": last, "locks": self._uid_locks})

    def _prepare(self, place: Folder, drop: Drop | None) -> None:
        mode = 0o711 if drop else 0o700
        os.mkdir(place.path)
        os.chmod(place.path, mode)
        uid = drop.uid if drop else 1000
        for name in ("root", "tmp", "tmp/home", "tmp/etc"):
            os.mkdir(place.file(name))
            os.chmod(place.file(name), OPEN_MODE)
        for name, text in {
            "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\nbuild:x:{uid}:{uid}:build:/tmp/home:/bin/sh\n",
            "group": f"root:x:0:\nbuild:x:{uid}:\n",
        }.items():
            with open(place.file("tmp", "etc", name), "w", encoding="ascii") as file:
                file.write(text)
            os.chmod(place.file("tmp", "etc", name), 0o644)
        for name in ("used", "build.log"):
            os.close(os.open(place.file(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if drop is not None:
            for name in ("root", "tmp/home"):
                os.chown(place.file(name), drop.uid, drop.uid)
            os.chmod(place.file("tmp"), 0o1777)  # noqa: S103 - as any /tmp; mount points in it stay out of reach

    def _box(self, place: Folder, drop: Drop | None, recipe: Recipe, lock: int, stops: list[threading.Event]) -> Box:
        return Box(
            offer=self._offer,
            runtime=self._runtime,
            bounds=self._keeping.bounds,
            drop=drop,
            root=place.file("root"),
            scratch=place.file("tmp"),
            log=place.file("build.log"),
            nproc_per_sandbox=self._nproc_per_sandbox,
            lock=lock,
            stopped=lambda: any(stop.is_set() for stop in stops),
            binds=recipe.binds(),
        )

    def _take_cache(self, drop: Drop | None) -> tuple[str, int | None]:
        """pip's cache for this build alone; "" where another build has it, or where nothing hides it from a build."""
        if self._offer.bwrap is None:
            return "", None
        lock = try_lock(os.path.join(self._folder, "locks", "pip"))
        if lock is None:
            return "", None
        path = os.path.join(self._folder, "pip")
        os.makedirs(path, mode=0o700, exist_ok=True)
        if drop is not None and os.stat(path).st_uid != drop.uid:
            _give(path, drop.uid)
        return path, lock

    def _write_lock(self, key: str, format: str, text: str, recipe: Recipe, packages: list[dict[str, str]]) -> str:
        """The exact versions, to the object store; the digest of what was written."""
        told = {"key": key, "format": format, "asked": text.splitlines(), **recipe.identity(), "packages": packages}
        told.pop("options", None)  # an index's address may hold a password
        told.pop("behind", None)
        data = json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False).encode("utf-8", "backslashreplace")
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._store.put(environment_lock_key(digest), data)
        return digest

    # Dropping

    def _place(self, key: str) -> Folder:
        return Folder(os.path.join(self._folder, key))

    def _key_or_none(self, requirements: Requirements) -> str | None:
        try:
            return self.key(requirements)
        except (BuildFailed, BackendError):  # its list is gone or its tool is: then it can't be used either
            return None

    def _held(self) -> set[str | None]:
        """The keys of those that attempts were started in, whatever key their lists would have today.

        pip's options or the interpreter may have changed since.
        """
        folder = json.dumps(self._folder, ensure_ascii=False)[1:-1].encode("utf-8", "backslashreplace")
        pattern = re.compile(re.escape(folder) + rb"/([0-9a-f]{32})/")
        held: set[str | None] = set()
        for orders in glob.glob(os.path.join(glob.escape(self._run_folder), "*", "attempt.json")):
            with suppress(FileNotFoundError), open(orders, "rb") as file:
                held |= {key.decode() for key in pattern.findall(file.read())}
        return held

    def _standing(self, name: str) -> _Standing | None:
        if name in ("locks", "pip"):
            return None
        folder = self._place(name)
        if name.startswith(".gone-"):
            remove_tree(folder.path)  # dropped by one who was killed meanwhile
            return None
        try:
            used = os.stat(folder.file("used")).st_mtime
        except FileNotFoundError:
            used = os.stat(folder.path).st_mtime
        ready = folder.read("ready.json") or {}
        return _Standing(name, folder, used, int(ready.get("bytes") or 0))

    def _drop(self, place: _Standing) -> bool:
        """Drop one that nobody builds or asked for just now."""
        lock = try_lock(os.path.join(self._folder, "locks", place.key))
        if lock is None:
            return False
        try:
            aside = os.path.join(self._folder, f".gone-{place.key}-{secrets.token_hex(4)}")
            os.rename(place.folder.path, aside)
            try:
                recent = time.time() - os.stat(os.path.join(aside, "used")).st_mtime < _RECENT_SECONDS
            except FileNotFoundError:
                recent = False
            if recent:  # asked for since we looked
                os.rename(aside, place.folder.path)
                return False
            remove_tree(aside)
            os.unlink(os.path.join(self._folder, "locks", place.key))
        finally:
            os.close(lock)
        return True

    def _collect_cache(self, limit: int) -> None:
        path = os.path.join(self._folder, "pip")
        if not os.path.isdir(path) or disk_bytes(path) <= limit:
            return
        lock = try_lock(os.path.join(self._folder, "locks", "pip"))
        if lock is not None:
            try:
                remove_tree(path)
            finally:
                os.close(lock)


@dataclass(frozen=True)
class _Standing:
    key: str
    folder: Folder
    used: float
    size: int


def seal(root: str) -> int:
    """Make what a build left ours, readable for all and writable for none but us; its size in bytes.

    Nothing of the build runs any more. Links stay, for they lead nowhere but inside the jobs' own sandbox; what is
    neither file, folder nor link goes. Raises :class:`BuildFailed` where it is too deep to be walked through.
    """
    uid, gid = os.getuid(), os.getgid()
    total = 0
    todo = [root]
    try:
        while todo:
            folder = todo.pop()
            os.chown(folder, uid, gid)
            os.chmod(folder, OPEN_MODE)
            with os.scandir(folder) as entries:
                found = list(entries)
            for entry in found:
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode):
                    todo.append(entry.path)
                elif stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
                    if info.st_nlink > 1:
                        raise BuildFailed(f"it made a hard link, which could lead anywhere: {entry.name[:80]!r}")
                    os.lchown(entry.path, uid, gid)
                    total += info.st_blocks * 512
                    if stat.S_ISREG(info.st_mode):
                        os.chmod(entry.path, OPEN_MODE if info.st_mode & stat.S_IXUSR else 0o644)
                else:
                    os.unlink(entry.path)
    except OSError as error:
        raise BuildFailed(f"what it made can't be taken over: {error.strerror}") from error
    return total


def _give(path: str, uid: int) -> None:
    """Make a cache the uid's. Only steps that run nobody's code write there."""
    os.chown(path, uid, uid)
    for folder, folders, files in os.walk(path):
        for name in [*folders, *files]:
            os.lchown(os.path.join(folder, name), uid, uid)
