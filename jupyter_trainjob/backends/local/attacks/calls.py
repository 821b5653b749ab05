"""Attacks on the kernel itself: calls that a job has no business with."""

from __future__ import annotations

from .attack import EVERY, NAMESPACES, Attack

_FILTER = "filter of system calls"

ATTACKS = (
    Attack(
        "user-namespace",
        "become root in a user namespace of its own",
        "_libc.unshare.argtypes = [ctypes.c_int]\n"
        "if _libc.unshare(0x10000000): raise OSError(ctypes.get_errno(), 'unshare')\ngot('a user namespace')",
        _FILTER,
    ),
    Attack(
        "mount-namespace",
        "make a mount namespace",
        "if _libc.unshare(0x00020000): raise OSError(ctypes.get_errno(), 'unshare')\ngot('a mount namespace')",
        _FILTER,
        root=True,
    ),
    Attack(
        "clone3-namespace",
        "make a user namespace by clone3, whose flags no filter sees",
        """
args = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
pid = call(435, 435, ctypes.byref(args), ctypes.c_size_t(88))
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
got("a child in a user namespace")
""",
        _FILTER,
    ),
    Attack(
        "enter-namespace",
        "enter a namespace by its file",
        """
place = os.open("/proc/self/ns/uts", os.O_RDONLY)
if _libc.setns(place, 0): raise OSError(ctypes.get_errno(), "setns")
got("setns works")
""",
        _FILTER,
        root=True,
    ),
    Attack(
        "mount",
        "mount a file system of its own, over an empty folder",
        """
import tempfile
place = tempfile.mkdtemp()
_libc.unshare(0x00020000)
_libc.mount(None, b"/", None, 0x44000, None)
if _libc.mount(b"none", place.encode(), b"tmpfs", 0, b"size=4k"): raise OSError(ctypes.get_errno(), "mount")
got("a tmpfs")
""",
        _FILTER,
        root=True,
    ),
    Attack(
        "chroot",
        "change its root, the first half of a way out",
        "os.chroot('/usr')\ngot('another root')",
        _FILTER,
        root=True,
    ),
    Attack(
        "keyring",
        "leave a key in the kernel's keyring, which knows no namespaces",
        """
key = call(248, 217, b"user", b"trainjob-attack", b"x", ctypes.c_size_t(1), ctypes.c_int(-2))
got(f"key {key}")
call(250, 219, ctypes.c_int(3), ctypes.c_int(key))
""",
        _FILTER,
    ),
    Attack(
        "bpf",
        "load a program into the kernel",
        """
attribute = (ctypes.c_uint32 * 18)(2, 4, 4, 1)
got(f"a map at {call(321, 280, ctypes.c_int(0), ctypes.byref(attribute), ctypes.c_uint(72))}")
""",
        _FILTER,
        root=True,
    ),
    Attack(
        "io_uring",
        "a ring of io_uring",
        "room = (ctypes.c_char * 256)()\ngot(f'a ring at {call(425, 425, ctypes.c_uint(4), ctypes.byref(room))}')",
        _FILTER,
    ),
    Attack(
        "userfaultfd",
        "hold the kernel up at a page fault",
        "got(f'at {call(323, 282, ctypes.c_int(0o2000000))}')",
        _FILTER,
        root=True,
    ),
    Attack(
        "perf",
        "watch the machine's counters",
        """
attribute = (ctypes.c_uint32 * 32)(1, 128, 0)
where = call(298, 241, ctypes.byref(attribute), ctypes.c_int(0), ctypes.c_int(-1), ctypes.c_int(-1), ctypes.c_ulong(0))
got(f"a counter at {where}")
""",
        _FILTER,
        root=True,
    ),
    Attack(
        "open-by-handle",
        "open a file past the folders above it",
        """
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("room", ctypes.c_char * 128)]
handle, mount = Handle(128), ctypes.c_int()
call(303, 264, ctypes.c_int(-100), b"/usr", ctypes.byref(handle), ctypes.byref(mount), ctypes.c_int(0))
got("a handle")
""",
        _FILTER,
    ),
    Attack(
        "clock",
        "set the machine's clock (to what it is)",
        "time.clock_settime(time.CLOCK_REALTIME, time.time())\ngot('the clock')",
        _FILTER,
        root=True,
    ),
    Attack(
        "raw-socket",
        "send packets past the protocol stack",
        "socket.socket(17, socket.SOCK_RAW, 0)\ngot('a packet socket')",
        _FILTER,
        root=True,
    ),
    Attack(
        "netlink",
        "hear of the machine's devices",
        "s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)\ns.bind((0, 1))\ngot('the kernel events')",
        _FILTER,
    ),
    Attack(
        "socket-pair",
        "a pair of sockets of a family that loads code into the kernel (TIPC)",
        """
ends = (ctypes.c_int * 2)()
try:
    call(53, 199, ctypes.c_int(30), ctypes.c_int(1), ctypes.c_int(0), ctypes.byref(ends))
    got("a pair")
except OSError as error:  # where there is no such family, the kernel has looked for it all the same
    if error.errno not in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP):
        raise
    got(error)
""",
        _FILTER,
    ),
    Attack(
        "netlink-route",
        "change the network's set-up (add an address to loopback)",
        """
import struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
lo = socket.if_nametoindex("lo")
body = struct.pack("=BBBBI", 2, 32, 0, 0, lo)
for kind in (1, 2):
    body += struct.pack("=HH4s", 8, kind, bytes([127, 77, 77, 77]))
for kind, flags in ((20, 0x605), (21, 5)):  # and take it away again
    s.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
    number = -struct.unpack("=i", s.recv(4096)[16:20])[0]
    if number:
        raise OSError(number, os.strerror(number))
got("another address")
""",
        "no rights",
        root=True,
    ),
    Attack(
        "terminal",
        "type into a terminal (TIOCSTI)",
        """
import fcntl, pty, termios
ours, theirs = pty.openpty()
if os.fork() == 0:
    os.setsid()
    try:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        fcntl.ioctl(theirs, termios.TIOCSTI, b"x")
        got("typed")
    except OSError as error:
        print(error, file=sys.stderr)
    os._exit(0)
os.wait()
""",
        _FILTER,
        root=True,
    ),
    Attack(
        "terminal-high-bits",
        "the same, with bits set that the kernel does not look at",
        """
import pty, termios
ours, theirs = pty.openpty()
if os.fork() == 0:
    os.setsid()
    try:
        letter = ctypes.c_char(b"x")
        call(16, 29, ctypes.c_int(theirs), ctypes.c_ulong(termios.TIOCSCTTY), ctypes.c_int(0))
        call(16, 29, ctypes.c_int(theirs), ctypes.c_ulong(termios.TIOCSTI | 1 << 32), ctypes.byref(letter))
        got("typed")
    except OSError as error:
        print(error, file=sys.stderr)
    os._exit(0)
os.wait()
""",
        _FILTER,
        root=True,
    ),
    Attack(
        "others-limits",
        "lower the limits of a process of the same user",
        """
import resource
for pid in given["victims"]:
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, resource.prlimit(pid, resource.RLIMIT_CORE)[1]))
    got(f"the limits of {pid}")
""",
        "filter of system calls, own process namespace",
    ),
    Attack(
        "others-priority",
        "take CPU time from a process outside, and keep it to one CPU",
        """
def slow(pid):
    mine = os.sched_getaffinity(pid)
    os.sched_setaffinity(pid, mine)
    got(f"the CPUs of {pid}")
def nice(pid):
    os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))
    got(f"the priority of {pid}")
for attempt in (slow, nice):
    try:
        try_each(given["victims"], attempt)
    except OSError as error:
        print(error, file=sys.stderr)
""",
        "own process namespace",
        claimed=NAMESPACES,
    ),
    Attack(
        "mlock",
        "lock 96 MiB into memory",
        """
import mmap
room = mmap.mmap(-1, 96 * 2**20)
place = ctypes.addressof(ctypes.c_char.from_buffer(room))
if _libc.mlock(ctypes.c_void_p(place), ctypes.c_size_t(96 * 2**20)): raise OSError(ctypes.get_errno(), "mlock")
got("96 MiB locked")
""",
        "RLIMIT_MEMLOCK",
        root=True,
    ),
    Attack(
        "core-file",
        "leave a core file with all its memory",
        """
import resource
resource.setrlimit(resource.RLIMIT_CORE, (2**20, 2**20))
got("core files")
""",
        "RLIMIT_CORE",
    ),
    Attack(
        "launcher-environment",
        "read what the server has in its environment, out of one's own, the parent's and that of process 1",
        """
print(os.environ, flush=True)
for pid in (1, os.getppid()):
    try:
        print(open(f"/proc/{pid}/environ", "rb").read(), flush=True)
    except OSError as error:
        print(error, file=sys.stderr)
""",
        "built from nothing; bubblewrap is started with nothing, too",
        claimed=EVERY,
        seen="secret",
    ),
    Attack(
        "host-processes",
        "list the processes of the machine",
        "pids = [int(name) for name in os.listdir('/proc') if name.isdigit()]\n"
        "assert given['server'] in pids, f'{len(pids)} processes, its own'\ngot(f'{len(pids)} processes')",
        "own process namespace",
        claimed=NAMESPACES,
    ),
)
