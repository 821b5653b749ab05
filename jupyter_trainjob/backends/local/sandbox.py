"""The sandbox as an argument list: a pure function. What works on this machine is :mod:`.probe`'s to find out.

Each trap that the order and the options answer:

* ``/proc/1/environ`` shows the launcher's environment, whatever ``--clearenv`` says: the supervisor starts bwrap with
  :data:`LAUNCH_ENV` and nothing else.
* ``/tmp`` and the folders above a bind come before what lies below them.
* bwrap's own root is a writable tmpfs: ``--remount-ro /`` comes last.
* So is its ``/dev``, which in a user namespace is the job's own: memory that no limit counts. ``/dev/shm`` is another.
* bwrap makes missing parents 0700, which a dropped uid can't pass: they are made first, by name.
* As real root there is no user namespace, so that a Python below a 0700 home can be bound; the runner keeps
  CAP_SETUID and CAP_SETGID for its first act, which drops to a uid of its own, and all capabilities go with it.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

from ...resources.isolation import LEVELS

LAUNCH_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
"""All that bwrap, and so PID 1 of the sandbox, has in its environment."""

MARK = "TRAINJOB_ATTEMPT"
"""The environment variable by which an attempt's processes are known again; kernels inherit it."""

RUNNER = "/run/trainjob/jupyter_trainjob/runner"
"""Where the sandbox shows our runner, wherever it lies outside."""

INFO_FD = 4
"""Where bwrap tells the pid of the sandbox's first process. The runner has 0, 1, 2 and 3."""

_SYSTEM = ("/usr", "/nix/store", "/gnu/store")
_SYSTEM_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SHOWN_ETC = (
    "alternatives",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "pki/tls/certs",
    "protocols",
    "R",
    "services",
    "ssl/certs",
    "timezone",
)
NETWORK_ETC = ("hosts", "resolv.conf", "gai.conf", "ssl/openssl.cnf", "ca-certificates")
"""What those need besides who have the machine's network."""


@dataclass(frozen=True)
class Bwrap:
    """A bubblewrap that was tried and works."""

    path: str
    as_root: bool
    """Privileged mounts, no user namespace."""
    sizes: bool = True
    """Knows ``--size`` and ``--perms`` (0.7 and later)."""


@dataclass(frozen=True)
class Inside:
    """Where a job sees its folders."""

    job: str
    work: str
    out: str


def is_shown(path: str, binds: Collection[str]) -> bool:
    """Whether a job that is shown ``binds`` sees the host's absolute ``path``."""
    return any(f"{path}/".startswith(f"{place}/") for place in (*binds, *_SYSTEM, *_SYSTEM_LINKS))


def places(binds: list[str]) -> Inside:
    """``/job``, ``/work``, ``/out``; elsewhere where the host's own paths (a Python in ``/work``) are in the way."""
    for prefix in ("", "/trainjob", "/trainjob-"):
        inside = Inside(f"{prefix}/job", f"{prefix}/work", f"{prefix}/out")
        taken = [f"{path}/" for path in vars(inside).values()]
        if not any(f"{path}/".startswith(place) for path in binds for place in taken):
            break
    return inside


def rank(level: str) -> int:
    """Where ``level`` stands in :data:`LEVELS`; the empty level is below all."""
    return list[str](LEVELS).index(level) if level else -1


def outermost(paths: list[str]) -> list[str]:
    """``paths`` without doubles and without those that lie below another one or in ``/usr``, shortest first."""
    kept: list[str] = []
    for path in sorted({os.path.normpath(path) for path in paths}, key=lambda item: (item.count("/"), item)):
        if path != "/" and not any(path == other or path.startswith(other + "/") for other in [*_SYSTEM, *kept]):
            kept.append(path)
    return kept


def parents(paths: list[str]) -> list[str]:
    """The folders above ``paths``, outermost first, without ``/``."""
    found = set()
    for path in paths:
        folder = os.path.dirname(path)
        while folder != "/":
            found.add(folder)
            folder = os.path.dirname(folder)
    return sorted(found)


def confined_argv(bwrap: Bwrap, environment: dict[str, str]) -> list[str]:
    """What every sandbox of ours has, a job's and a build's: no rights, an environment from nothing, the system."""
    argv = ["--cap-drop", "ALL"]
    if bwrap.as_root:
        argv += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        argv += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    argv += ["--clearenv"]
    for name, value in sorted(environment.items()):
        argv += ["--setenv", name, value]
    return [*argv, *system_argv()]


def bwrap_argv(
    bwrap: Bwrap,
    *,
    attempt_folder: str,
    binds: list[str],
    shm_bytes: int,
    environment: dict[str, str],
    command: list[str],
    inside: Inside | None = None,
    package: str = "",
    hostname: str = "job",
    info_fd: int | None = INFO_FD,
    filter_fd: int | None = None,
    own_network: bool = True,
) -> list[str]:
    """The whole command. ``binds`` are host paths shown read-only at the same place; of ``package`` (the folder of
    our own) the runner is shown at :data:`RUNNER`, and no more. Without ``own_network`` it has the machine's.

    The attempt folder's ``in`` (read-only), ``work`` and ``out`` appear where ``inside`` says, ``tmp`` at ``/tmp``, its
    ``etc/passwd``, ``etc/group`` and ``etc/hosts`` in ``/etc``.
    """
    inside = inside or places(binds)
    argv = [bwrap.path, "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
    argv += ["--unshare-net"] if own_network else []
    argv += ["--hostname", hostname, "--die-with-parent", "--new-session"]
    if info_fd is not None:
        argv += ["--info-fd", str(info_fd)]
    if filter_fd is not None:
        argv += ["--seccomp", str(filter_fd)]
    argv += confined_argv(bwrap, environment)
    argv += _shm(bwrap, attempt_folder, shm_bytes)
    argv += ["--bind", os.path.join(attempt_folder, "tmp"), "/tmp"]
    shown = outermost(binds)
    for folder in parents([*shown, *([RUNNER] if package else []), inside.work]):
        argv += ["--dir", folder]
    for path in shown:
        argv += ["--ro-bind", path, path]
    for name in ("passwd", "group", *(["hosts"] if own_network else [])):
        argv += ["--ro-bind", os.path.join(attempt_folder, "etc", name), f"/etc/{name}"]
    argv += [] if own_network else shown_etc(NETWORK_ETC)
    if package:
        for name in ("__init__.py", "_version.py", "runner"):
            argv += ["--ro-bind", os.path.join(package, name), os.path.join(os.path.dirname(RUNNER), name)]
    for name, place in (("in", inside.job), ("work", inside.work), ("out", inside.out)):
        argv += ["--ro-bind" if name == "in" else "--bind", os.path.join(attempt_folder, name), place]
    argv += ["--chdir", "/", "--remount-ro", "/", "--", *command]
    return argv


def system_argv() -> list[str]:
    """The part that every sandbox has: the system, read-only, and its few files of /etc."""
    argv = ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    for path in _SYSTEM:
        if os.path.isdir(path):
            argv += ["--ro-bind", path, path]
    for path in _SYSTEM_LINKS:
        if os.path.islink(path):
            argv += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            argv += ["--ro-bind", path, path]
    return [*argv, "--dir", "/etc", *shown_etc(SHOWN_ETC)]


def shown_etc(names: Collection[str]) -> list[str]:
    """Files and folders of the machine's ``/etc``, where they are there."""
    argv: list[str] = []
    for name in names:
        path = f"/etc/{name}"
        if os.path.exists(path):
            for folder in parents([path])[1:]:
                argv += ["--dir", folder]
            argv += ["--ro-bind", os.path.realpath(path), path]
    return argv


def _shm(bwrap: Bwrap, attempt_folder: str, size: int) -> list[str]:
    if bwrap.sizes:
        return ["--perms", "1777", "--size", str(size), "--tmpfs", "/dev/shm"]
    return ["--bind", os.path.join(attempt_folder, "shm"), "/dev/shm"]
