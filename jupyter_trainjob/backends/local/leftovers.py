"""What a job leaves in the machine's memory where it has no namespaces: files in ``/dev/shm``, System V objects.

They outlive every process. By the job's own user id they are known, and only so: where jobs run as the server's user,
what is theirs can't be told from what is not, and stays (docs/sandbox.md).
"""

from __future__ import annotations

import ctypes
import os
import shutil
from contextlib import suppress

_REMOVE = 0  # IPC_RMID
SHARED = "/dev/shm"


def sweep(uid: int, shared: str = SHARED) -> None:
    """Remove all that ``uid`` owns, which is a job's alone, and of which no process is left. Needs root."""
    if not uid:
        return
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(shared) as entries:
        for entry in entries:
            with suppress(OSError):  # gone meanwhile; what can't be removed stays
                if entry.stat(follow_symlinks=False).st_uid != uid:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)
    libc = ctypes.CDLL(None)
    for number in _objects("shm", uid):
        libc.shmctl(number, _REMOVE, None)
    for number in _objects("sem", uid):
        libc.semctl(number, 0, _REMOVE)
    for number in _objects("msg", uid):
        libc.msgctl(number, _REMOVE, None)


def _objects(kind: str, uid: int) -> list[int]:
    """The System V objects whose owner or creator is ``uid`` (``/proc/sysvipc``, proc(5))."""
    try:
        with open(f"/proc/sysvipc/{kind}", encoding="ascii") as file:
            names, *rows = [line.split() for line in file]
    except (FileNotFoundError, ValueError):
        return []
    wanted = [names.index("uid"), names.index("cuid")]
    return [int(row[1]) for row in rows if str(uid) in (row[place] for place in wanted)]
