"""Landlock and the filter of system calls on the process that calls: the sandbox where no namespaces can be had.

``python -I -m jupyter_trainjob.backends.local.landlock RULES.JSON COMMAND…`` tries it. What the numbers mean is in the
kernel's Documentation/userspace-api/landlock.rst. Quick to import; the supervisor loads it before it forks.

What it holds: files (only those that :class:`Rules` names), TCP (ABI 4, Linux 6.7), signals and abstract sockets to
outside (ABI 6, Linux 6.12), looking into processes outside. What it does not: which processes there are can be seen,
``/dev/shm`` is the machine's, and a file of the same user's that can't be read can still have its mode, owner and
times changed.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LEAST_ABI = 6
"""Below it a job could end the server and other jobs, and talk to abstract sockets; below 4 to the network."""
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_ALL_FILES = (1 << 16) - 1
"""Of ABI 5 and later."""
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_TCP = 3
_OUTSIDE = 3
"""Abstract sockets, and signals."""
_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER, _DROP_BOUNDING = 38, 22, 2, 24
_CAPABILITIES_VERSION = 0x20080522
_SETGID, _SETUID = 6, 7

READ = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store", "/proc"),
    *("/sys/devices/system/cpu", "/dev/urandom", "/dev/random"),
)
WRITE = ("/dev/null", "/dev/zero", "/dev/full", "/dev/shm")


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def abi() -> int:
    """The version that this kernel speaks; 0: it has none."""
    found = _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(0, found)


def restrict(rules: dict[str, Any]) -> None:
    """Lock the calling process in, and all that it starts. For ever. Raises ``OSError``.

    ``rules``: ``{"list": [folders], "read": [paths], "write": [paths], "tcp": whether TCP is open, "filter": file of
    BPF or "", "drop": whether it will take another uid}``. A path that is not there is passed over. Of root's rights
    stay, if ``drop``, those to become another user: with that they go, too.
    """
    version = abi()
    if version < LEAST_ABI:
        raise OSError(f"the kernel's Landlock is of version {version}; it takes {LEAST_ABI} (Linux 6.12)")
    program = b""
    if rules["filter"]:
        with open(rules["filter"], "rb") as file:  # before the file is out of reach
            program = file.read()
    handled = _ALL_FILES
    made = _Ruleset(handled, 0 if rules["tcp"] else _TCP, _OUTSIDE)
    ruleset = _checked(_CREATE, ctypes.byref(made), ctypes.c_size_t(ctypes.sizeof(made)), ctypes.c_uint32(0))
    try:
        for path in rules["list"]:
            _allow(ruleset, path, _READ_DIR)
        for path in rules["read"]:
            _allow(ruleset, path, _READ & handled)
        for path in rules["write"]:
            _allow(ruleset, path, handled)
        if _libc().prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "no_new_privs")
        _checked(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    _drop_rights({_SETGID, _SETUID} if rules["drop"] else set())
    if program:
        load_filter(program)


def _drop_rights(kept: set[int]) -> None:
    """All capabilities but ``kept``: capget(2). With no_new_privs no program brings them back, root's neither."""
    if os.geteuid() != 0:
        return
    for number in range(64):
        if number not in kept:
            _libc().prctl(_DROP_BOUNDING, number, 0, 0, 0)  # fails behind the last one there is
    mask = sum(1 << number for number in kept)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0)
    if _libc().capset(ctypes.byref(header), ctypes.byref(data)) != 0:
        raise OSError(ctypes.get_errno(), "root's rights can't be given up")


def load_filter(program: bytes) -> None:
    """Lay a filter of system calls on the calling process. Raises ``OSError``."""
    room = ctypes.create_string_buffer(program, len(program))
    told = _Program(len(program) // 8, ctypes.cast(room, ctypes.c_void_p))
    if _libc().prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if _libc().prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(told), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the filter of system calls is refused")


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not there, or behind a folder that is closed to us: then it stays so
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            allowed &= _OF_FILES
        rule = _Beneath(allowed, place)
        _checked(_ADD, ctypes.c_int(ruleset), ctypes.c_int(_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(place)


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: Any) -> int:
    return int(_libc().syscall(ctypes.c_long(number), *arguments))


def _checked(number: int, *arguments: Any) -> int:
    result = _call(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock refuses: {os.strerror(code)}")
    return result


def main(arguments: list[str]) -> int:
    """Lock oneself in and become the command; 1 with words on stderr where that can't be."""
    try:
        restrict(json.loads(arguments[0]))
        with suppress(KeyError):
            os.execve(arguments[1], arguments[1:], dict(os.environ))  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
