"""Folders that a job made unreadable: what lies in them counts, comes home and is removed all the same."""

from __future__ import annotations

import os
import stat

_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder(name: str, *, dir_fd: int | None = None, within: str = "") -> int:
    """A descriptor of a folder that can be listed and passed through; it is made so where it is ours.

    The job may exchange the folder for a link at any moment: what is changed is the very folder that was opened, and
    only if it lies below ``within``, an absolute path without links (empty: the caller has come here step by step).
    Raises ``OSError``.
    """
    place = os.open(name, _PLACE, dir_fd=dir_fd)
    link = f"/proc/self/fd/{place}"
    try:
        if not os.access(link, os.R_OK | os.X_OK) and f"{os.readlink(link)}/".startswith(f"{within}/"):
            os.chmod(link, stat.S_IMODE(os.fstat(place).st_mode) | stat.S_IRUSR | stat.S_IXUSR)
        return os.open(link, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(place)


def open_all(path: str) -> None:
    """Make ``path`` and all folders in it readable and writable, as far as they are ours. Nothing of the job's runs."""
    todo = [path]
    while todo:
        folder = todo.pop()
        try:
            os.chmod(folder, stat.S_IRWXU)
            with os.scandir(folder) as entries:
                todo += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # told by who then tries to remove it
