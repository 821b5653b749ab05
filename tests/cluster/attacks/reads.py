"""Read what is the sidecar's, another job's or the node's; get rights; end or look into the first process."""

import ctypes
import glob
import os
import signal
import socket
import stat
from functools import partial
from pathlib import Path

from .table import attack

TOPS = ("/trainjob", "/work", "/tmp", "/dev/shm", "/run", "/etc", "/home", "/root", "/mnt")
PLACES = (
    "/usr/bin/x",
    "/opt/x",
    "/etc/passwd",
    "/proc/sys/kernel/core_pattern",
    "/proc/sysrq-trigger",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/fs/cgroup/memory.max",
    "/sys/kernel/uevent_helper",
    "/dev/mem",
    "/dev/kmsg",
    "/dev/sda",
)
libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> str:
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "done"


def search(needle: bytes) -> list[str]:
    found = []
    paths = [os.path.join(folder, name) for top in TOPS for folder, _, names in os.walk(top) for name in names]
    for path in paths + glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
        try:
            if stat.S_ISREG(os.stat(path).st_mode) and needle in Path(path).read_bytes():
                found.append(path)
        except OSError:
            continue
    return found


def look(path: str) -> object:
    return os.listdir(path) if path.endswith(("fd", "root", "cwd")) else Path(path).read_bytes()[:64]


def write(path: str) -> None:
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        file.write(b"1")


attack("token", lambda: [path for path in glob.glob("/var/run/secrets/**", recursive=True) if os.path.isfile(path)])
ours = ("KUBERNETES", "JUPYTER_TRAINJOB", "AWS", "MINIO")
attack("environment", lambda: [name for name in os.environ if name.startswith(ours)])
attack("orders", lambda: os.listdir("/var/run/trainjob"))
attack("buffer", lambda: os.listdir("/trainjob/buffer"))
lines = [Path(path).read_bytes() for path in glob.glob("/proc/[0-9]*/cmdline")]
attack("processes", lambda: [line for line in lines if b"sidecar" in line])
users = {os.stat(path).st_uid for path in glob.glob("/proc/[0-9]*")}
attack("other users' processes", lambda: users - {os.getuid(), 0})  # nobody may look at one that is not dumpable
attack("own mark", lambda: search(b"mark-of-" + b"this-job"))
attack("victim", lambda: search(b"secret-of-" + b"the-victim"))

for name in ("environ", "mem", "maps", "fd", "root", "cwd", "task/1/environ"):
    attack(f"first: {name}", partial(look, f"/proc/1/{name}"))
attack("first: ptrace", lambda: call("ptrace", 16, 1, 0, 0))
for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGHUP, signal.SIGUSR1):
    attack(f"first: {number.name}", partial(os.kill, 1, number))

for name in ("ready", "taken", "life", "job.json"):
    attack(f"in: write {name}", partial(write, f"/trainjob/in/{name}"))
    attack(f"in: unlink {name}", partial(os.unlink, f"/trainjob/in/{name}"))

attack("root", lambda: os.setuid(0))
programs = [path for top in ("/bin", "/sbin", "/usr/bin", "/usr/sbin") for path in glob.glob(f"{top}/*")]
bits = [path for path in programs if os.path.isfile(path) and os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID)]
flags = Path("/proc/self/status").read_text()
attack("set-uid programs", lambda: bits if "NoNewPrivs:\t1" not in flags else [])
attack("capabilities", lambda: [line for line in flags.splitlines() if line.startswith("Cap") and int(line[8:], 16)])
attack("mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, b""))
attack("user namespace", lambda: call("unshare", 0x10000000))
attack("mount namespace", lambda: call("unshare", 0x20000))
attack("chroot", lambda: os.chroot("/tmp"))
attack("device", lambda: os.mknod("/tmp/sda", 0o600 | stat.S_IFBLK, os.makedev(8, 0)))
attack("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attack("packet socket", lambda: socket.socket(17, socket.SOCK_RAW, 768))
if os.uname().machine == "x86_64":
    attack("keyring", lambda: call("syscall", 248, b"user", b"x", b"y", 1, -4))
    attack("bpf", lambda: call("syscall", 321, 0, 0, 0))
    attack("perf", lambda: call("syscall", 298, 0, 0, -1, -1, 0))
    attack("module", lambda: call("syscall", 313, -1, b"", 0))
for place in PLACES:
    attack(f"write {place}", partial(write, place))
