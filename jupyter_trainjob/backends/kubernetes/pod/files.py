"""Where things lie in a pod, and how they are read and written. Quick to import."""

from __future__ import annotations

import json
import os
import stat

from .seal import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PROTOCOL = 1
WINDOW_BYTES = 16 * 2**20
"""Of the log, between main and sidecar."""
LOG = "log"
SLOT = "slot"
"""Below ``in``: main's orders to have a kernel ready, before there is a job (:mod:`.waiting`)."""
WARM = "warm"
"""Below ``out``: a slot's kernel is ready. The kubelet looks for it."""
JOB = "job"
"""Below ``out``: the runner's own folder, with the notebook, ``results/`` and the points."""
_NEW = ".new"
_HOSTILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Places:
    """The paths of the volumes. They are the same in both containers; ``TRAINJOB_…`` variables move them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.inside = environment.get("TRAINJOB_IN", "/trainjob/in")
        self.out = environment.get("TRAINJOB_OUT", "/trainjob/out")
        self.work = environment.get("TRAINJOB_WORK", "/work")
        self.orders = environment.get("TRAINJOB_ORDERS", "/var/run/trainjob")
        self.buffer = environment.get("TRAINJOB_BUFFER", "/trainjob/buffer")
        self.termination = environment.get("TRAINJOB_TERMINATION", "/dev/termination-log")
        self.cgroup = environment.get("TRAINJOB_CGROUP", "/sys/fs/cgroup")
        self.seal = environment.get("TRAINJOB_SEAL", "")

    @property
    def life(self) -> str:
        """The file that :mod:`.main` holds the lock on as long as it lives."""
        return f"{self.inside}/life"

    @property
    def taken(self) -> str:
        """How many bytes of the log the sidecar has secured, as decimal digits."""
        return f"{self.inside}/taken"


def replace(path: str, data: bytes, mode: int = 0o644) -> None:
    """Write a file whole: readers see the old one or the new one. Raises ``OSError``, and leaves nothing then.

    The folder may be the job's to spoil: nobody knows the name that it is written under first, and a folder in the
    file's place is moved aside.
    """
    mark = os.urandom(8).hex()
    temporary = f"{path}.{mark}{_NEW}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(descriptor, mode)  # whatever the umask says
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        try:
            os.replace(temporary, path)
        except IsADirectoryError:
            os.rename(path, f"{path}.{mark}.not-ours")
            os.replace(temporary, path)
    except OSError:
        discard(temporary)
        raise


def sweep(folder: str) -> None:
    """Remove what a life that was killed had begun to write. Only where nobody else writes."""
    for name in os.listdir(folder):
        if name.endswith(_NEW):
            discard(os.path.join(folder, name))


def discard(path: str) -> None:
    """Remove a file, if it is there and can be removed."""
    try:
        os.unlink(path)
    except OSError:
        return


def dump(data: Any) -> bytes:
    """JSON in one line, in UTF-8 whatever is in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def load(path: str) -> dict[str, Any] | None:
    """A JSON object that we or the server wrote; None where there is no such file. Raises ``ValueError``."""
    try:
        with open(path, "rb") as file:
            data = json.loads(file.read())
    except FileNotFoundError:
        return None
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds no JSON object")
    return data


def open_claim(folder: int, name: str) -> int | None:
    """The descriptor of a regular file with one name in the job's ``folder``; None for all else."""
    try:
        descriptor = os.open(name, _HOSTILE, dir_fd=folder)
    except OSError:
        return None
    info = os.fstat(descriptor)
    if stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    return None


def read_claim(folder: str, name: str, maximum: int, key: str = "") -> dict[str, Any] | None:
    """A JSON object that the job's container wrote, of at most ``maximum`` bytes; None where there is none. With a
    ``key`` only what main sealed with it.

    Small ones only: the objects that JSON becomes have many times its size.
    """
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        descriptor = open_claim(place, name)
    finally:
        os.close(place)
    if descriptor is None:
        return None
    try:
        data = os.pread(descriptor, maximum + 1, 0)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if len(data) > maximum or (body := opened(key, name, data)) is None:
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def now_text() -> str:
    """RFC 3339, UTC, microseconds."""
    from datetime import datetime, timezone

    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
