"""Before anything heavy is imported: read the orders, give up rights, start the kernel. Standard library only."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROTOCOL = 1
FIRST_CHOSEN_SEED = 2**31
"""As in ``resources/trainjob.py``: seeds from here on are those that nobody asked for."""
_SOCKET_PATH_MAX = 90
_PIPE_BYTES = 1024 * 1024
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
    "JULIA_NUM_THREADS",
)


_LAUNCH = (  # ipykernel_launcher, but without the debugger, which takes a fifth of the start; see inkernel.install
    "import sys; sys.path[0] or sys.path.pop(0); sys.modules['debugpy'] = None; "
    "from ipykernel import kernelapp; kernelapp.launch_new_instance()"
)


class JobFileError(Exception):
    """``job.json`` can't be followed. The text says why, for an operator."""


@dataclass
class Job:
    """What ``job.json`` orders; docs/architecture.md describes the fields."""

    uid: str
    notebook: Path
    work: Path
    out: Path
    language: str = "python"
    kernel: str = ""
    inputs: list[dict[str, Any]] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    variables: list[dict[str, Any]] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    interpreter: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    memory_bytes: int | None = None
    drop: dict[str, int] | None = None
    rlimits: dict[str, int | None] = field(default_factory=dict)
    grace_seconds: float = 8.0
    libraries: list[str] = field(default_factory=list)
    jars: list[str] = field(default_factory=list)
    compiled: str = ""
    seed: int | None = None
    attempt: int = 1
    preload: list[str] = field(default_factory=list)
    """Packages to load while there is no job yet."""

    @property
    def metrics(self) -> Path:
        """The file of points."""
        return self.out / "metrics.tsv"


def load(path: Path) -> Job:
    """Read ``job.json``. Raises :class:`JobFileError`."""
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)  # a parameter may be a large integer; its size is limited by the server
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise JobFileError(f"The runner can't read its orders {str(path)!r}: {error}") from error
    found = data.get("runnerProtocol") if isinstance(data, dict) else None
    if found != PROTOCOL:
        raise JobFileError(
            f"The job was written for runner protocol {found!r}; this runner speaks {PROTOCOL}. "
            "Run it with the runner of the server that made it."
        )
    try:
        return Job(
            uid=data["uid"],
            notebook=Path(data["notebook"]),
            work=Path(data["work"]),
            out=Path(data["out"]),
            language=data.get("language") or "python",
            kernel=data.get("kernel") or "",
            inputs=data.get("inputs") or [],
            parameters=data.get("parameters") or {},
            variables=data.get("variables") or [],
            results=data.get("results") or [],
            interpreter=data.get("interpreter") or "",
            environment=data.get("environment") or {},
            threads=int(data.get("threads") or 1),
            memory_bytes=data.get("memoryBytes"),
            drop=data.get("drop"),
            rlimits=data.get("rlimits") or {},
            grace_seconds=float(data.get("graceSeconds") or 8),
            libraries=data.get("libraries") or [],
            jars=data.get("jars") or [],
            compiled=data.get("compiled") or "",
            seed=None if data.get("seed") is None else int(data["seed"]),
            attempt=int(data.get("attempt") or 1),
            preload=data.get("preload") or [],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise JobFileError(f"The runner's orders {str(path)!r} lack or garble a field: {error!r}") from error


def confine(job: Job) -> None:
    """Set the limits, then become the job's user. Both are for ever. Raises :class:`JobFileError`."""
    for name, value in job.rlimits.items():
        if value is None:
            continue
        number = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if number is None:
            raise JobFileError(f"The orders name an unknown limit {name!r}.")
        hard = resource.getrlimit(number)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (limit, limit))
    if job.drop is not None:
        try:
            os.setgroups([])
            os.setresgid(*[job.drop["gid"]] * 3)
            os.setresuid(*[job.drop["uid"]] * 3)
        except OSError as error:
            raise JobFileError(f"The runner can't become uid {job.drop['uid']}: {error.strerror}") from error
    os.umask(0o022)
    os.chdir(job.work)


@dataclass
class Kernel:
    """A kernel that was started. ``output`` is our end of the pipe that its stdout and stderr write into."""

    pid: int
    output: int
    folder: Path
    connection: dict[str, Any]
    connection_file: Path


def environment(job: Job, folder: Path) -> dict[str, str]:
    """What the kernel inherits: ours without the server's own variables, the job's on top."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER_TRAINJOB_")}
    found.update(dict.fromkeys(_THREADS, str(job.threads)))
    found["IPYTHONDIR"] = str(folder / "ipython")
    found["PYTHONUNBUFFERED"] = "1"  # of Pythons that the code starts: their prints arrive in time and in order
    found["PYTHONDONTWRITEBYTECODE"] = "1"  # else __pycache__ beside the job's modules would come home as its output
    if job.interpreter:  # what its packages brought along is what one means by its name
        folders = [str(Path(job.interpreter).parent), *found.get("PATH", os.defpath).split(os.pathsep)]
        found["PATH"] = os.pathsep.join(dict.fromkeys(folders))
    found.update({name: value for name, value in job.environment.items() if not name.startswith("JUPYTER_TRAINJOB_")})
    found["TRAINJOB_JOB_UID"] = job.uid
    found["TRAINJOB_METRICS"] = str(job.metrics)
    if job.seed is not None:
        found["TRAINJOB_SEED"] = str(job.seed)
        found.setdefault("PYTHONHASHSEED", hash_seed(job.seed))
    ours = str(Path(__file__).parent / "injob")  # before all else: it is what ``import jupyter_trainjob`` means here
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [ours, found.get("PYTHONPATH", "")]))
    found["JPY_PARENT_PID"] = str(os.getpid())
    return found


def hash_seed(seed: int) -> str:
    """``PYTHONHASHSEED``, which is for ever once a Python has started: the seed, if somebody asked for this one.

    Of chosen seeds it is the same, so that a kernel can be started before its job, and so its seed, is known.
    """
    return str(seed) if seed < FIRST_CHOSEN_SEED else "0"


def late(job: Job) -> dict[str, str]:
    """What of a job's environment a kernel gets that was started before the job was known."""
    found = {"TRAINJOB_JOB_UID": job.uid, "TRAINJOB_ATTEMPT": f"tj-{job.uid}-{job.attempt}"}
    return found if job.seed is None else {**found, "TRAINJOB_SEED": str(job.seed)}


def prepare(*, tcp: bool = False) -> tuple[Path, dict[str, Any], Path]:
    """A private folder with a connection file: ``(folder, connection, file)``.

    Over ipc it works without any network; ``tcp`` is for kernels that can't (the JVM's).
    """
    folder = _private_folder()
    connection: dict[str, Any] = {"key": secrets.token_hex(16), "signature_scheme": "hmac-sha256", "kernel_name": ""}
    names = ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")
    if tcp:
        connection.update(
            {"transport": "tcp", "ip": "127.0.0.1", **dict(zip(names, _free_ports(len(names)), strict=True))}
        )
    else:
        connection.update({"transport": "ipc", "ip": str(folder / "k"), **{n: i for i, n in enumerate(names, 1)}})
    file = folder / "connection.json"
    file.write_text(json.dumps(connection))
    return folder, connection, file


def start_python(job: Job) -> Kernel:
    """Start the ipykernel of the job's interpreter (else of this one). It boots while the runner imports its parts."""
    folder, connection, file = prepare()
    command = [
        job.interpreter or sys.executable,
        "-c",
        _LAUNCH,
        "-f",
        str(file),
        "--IPKernelApp.capture_fd_output=False",
        "--HistoryManager.enabled=False",
    ]
    return spawn(command, job, folder, connection, file)


def spawn(
    command: list[str],
    job: Job,
    folder: Path,
    connection: dict[str, Any],
    file: Path,
    extra: dict[str, str] | None = None,
) -> Kernel:
    """Start a kernel whose stdout and stderr are one pipe to us. It leads its own process group."""
    ours, theirs = os.pipe()
    with suppress(OSError):  # beyond the user's allowance for pipes: a smaller one only means more turns
        fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env={**environment(job, folder), **(extra or {})},
            cwd=job.work,
            start_new_session=True,
        )
    except OSError as error:
        raise JobFileError(f"The kernel {command[0]!r} can't be started: {error.strerror}") from error
    finally:
        os.close(theirs)
    os.set_blocking(ours, False)
    process.returncode = 0  # we reap it ourselves, with all orphans; Popen shall not wait for it
    return Kernel(process.pid, ours, folder, connection, file)


def signal_kernel(kernel: Kernel, number: signal.Signals) -> None:
    """Signal the kernel and what it started in its process group."""
    with suppress(ProcessLookupError):
        os.killpg(kernel.pid, number)


def _private_folder() -> Path:
    for parent in (os.environ.get("TMPDIR", ""), "/tmp", "/dev/shm", "/var/tmp"):  # noqa: S108 - mkdtemp makes it private
        if parent and len(os.fsencode(parent)) < _SOCKET_PATH_MAX and os.access(parent, os.W_OK | os.X_OK):
            with suppress(OSError):  # access(2) does not know of Landlock
                return Path(tempfile.mkdtemp(prefix="tj-", dir=parent))
    raise JobFileError("There is no temporary folder that the job may write into; give it a /tmp.")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
