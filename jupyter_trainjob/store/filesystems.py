"""Is a folder on a network filesystem? SQLite's locks and shared memory can't be relied on there."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..resources.errors import Unavailable

MOUNTINFO = Path("/proc/self/mountinfo")
NETWORK_FILESYSTEMS = frozenset(
    (
        *("9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "wekafs"),
    )
)
"""Names as the kernel's mount table has them. FUSE tells the program behind a dot (see below)."""
NETWORK_FUSE = frozenset(
    (
        *("ceph", "ceph-fuse", "curlftpfs", "davfs", "davfs2", "gcsfuse", "glusterfs", "goofys", "juicefs", "mfs"),
        *("moosefs", "rclone", "s3fs", "seaweedfs", "sshfs", "vmhgfs-fuse"),
    )
)


def filesystem_of(path: Path, mountinfo: str) -> tuple[str, str]:
    """``(mount point, type)`` of where ``path`` lies or would lie, by a ``/proc/<pid>/mountinfo`` text."""
    real = os.path.realpath(path)
    found = ("/", "")
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        fields = left.split(" ")
        if not dash or len(fields) < 5:
            continue
        mount = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(found[0]):  # a later mount on the same point hides the earlier
            found = (mount, right.split(" ")[0])
    return found


def is_network(kind: str) -> bool:
    """Whether a filesystem of this type is reached over a network (or behaves so, like 9p)."""
    base, dot, program = kind.partition(".")
    if base in ("fuse", "fuseblk"):
        return bool(dot) and program in NETWORK_FUSE
    return kind in NETWORK_FILESYSTEMS


def refuse_network_filesystem(path: Path) -> None:
    """:class:`Unavailable` where ``path`` lies on one. Systems without ``/proc`` are taken at their word."""
    try:
        mountinfo = MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    mount, kind = filesystem_of(path, mountinfo)
    if is_network(kind):
        raise Unavailable(
            f"The record {path} would lie on a network filesystem ({kind}, mounted at {mount}), where SQLite loses "
            "or damages data when two processes write.",
            remedy="Put it on a local disk (TrainJobExtension.data_dir), or keep the record in PostgreSQL "
            "(TrainJobExtension.db_url).",
        )
