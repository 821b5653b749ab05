"""The attempt folder: the one thing that server and supervisor share. Quick to import."""

from __future__ import annotations

import errno
import fcntl
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RESERVE_BYTES = 64 * 1024
"""Kept aside in every folder, so that the end can be written down when the disk is full."""


class Folder:
    """Paths and files of one attempt."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def file(self, *names: str) -> str:
        """A path below the folder."""
        return os.path.join(self.path, *names)

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the folder; None when there is none (yet), empty when it can't be understood.

        After a power cut a file that was written a moment before may be empty.
        """
        try:
            with open(self.file(name), encoding="utf-8") as file:
                data = json.load(file)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    def write(self, name: str, data: dict[str, Any], *, mode: int = 0o600, durable: bool = False) -> None:
        """Replace a JSON file of the folder whole; readers see the old one or the new one.

        ``durable``: also those that come after a power cut.
        """
        text = json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")
        try:
            self._replace(name, text, mode, durable)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.release_reserve()
            self._replace(name, text, mode, durable)

    def _replace(self, name: str, text: bytes, mode: int, durable: bool) -> None:
        temporary = self.file(f"{name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            os.fchmod(descriptor, mode)  # whatever the umask says
            view = memoryview(text)
            while view:
                view = view[os.write(descriptor, view) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, self.file(name))

    def make_reserve(self) -> None:
        """Put :data:`RESERVE_BYTES` aside."""
        descriptor = os.open(self.file("reserve"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, b"\1" * RESERVE_BYTES)
        finally:
            os.close(descriptor)

    def release_reserve(self) -> None:
        """Give it back."""
        try:
            os.unlink(self.file("reserve"))
        except FileNotFoundError:
            return

    def cancel_message(self) -> str | None:
        """What the one who cancelled said; None while nobody did."""
        try:
            with open(self.file("cancel"), encoding="utf-8", errors="replace") as file:
                return file.read(2000)
        except FileNotFoundError:
            return None


def try_lock(path: str) -> int | None:
    """Take the lock on ``path`` for as long as the returned descriptor is open; None when another has it.

    The kernel gives it back when the holder dies, so a free lock means: no such supervisor. A file that was removed
    while its lock was waited for counts as another's.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if os.fstat(descriptor).st_nlink == 0:
        os.close(descriptor)
        return None
    return descriptor
