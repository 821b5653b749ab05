"""Which system calls a job may make, in groups, each with its reason; and the filter made of them (seccomp(2)).

What is not named is refused with ENOSYS, as by an older kernel, so that libraries fall back to what they did before;
what is named as refused gets EPERM. The list of what is allowed is that of Docker's default profile in its spirit:
what interpreters, JVMs, compilers and numerical libraries call. ``docs/sandbox.md`` shows the table.

:func:`build` needs the package ``pyseccomp`` (extra ``sandbox``) and libseccomp; what it makes is plain BPF, which
bubblewrap or :mod:`.landlock` lays on the job, so that a supervisor needs neither.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_NEW_NAMESPACES = 0x7E020080
"""CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: sched.h."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
_AF_NETLINK, _NETLINK_ROUTE = 16, 0
_WORD = 0xFFFFFFFF
_PERSONALITIES = (0, 0x0008, 0x20000, 0x20008, 0x0040000, 0xFFFFFFFF)
"""Linux, 32 bits of it, its uname of 2.6, without randomised addresses (sanitizers want that), and the question."""


@dataclass(frozen=True)
class Group:
    """Calls that are allowed, or refused, for one reason."""

    name: str
    why: str
    calls: tuple[str, ...]


def _group(name: str, why: str, calls: str) -> Group:
    return Group(name, why, tuple(calls.split()))


ALLOWED = (
    _group(
        "files",
        "Programs read and write files. Which ones, the sandbox's own view of the file system decides.",
        """access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
        fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock
        fremovexattr fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr
        inotify_add_watch inotify_init inotify_init1 inotify_rm_watch lchown lgetxattr link linkat listxattr llistxattr
        lremovexattr lseek lsetxattr lstat mkdir mkdirat mknod mknodat newfstatat open openat openat2 pread64 preadv
        preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr rename renameat
        renameat2 rmdir sendfile setxattr splice stat statfs statx symlink symlinkat sync sync_file_range syncfs tee
        truncate umask unlink unlinkat utime utimensat utimes vmsplice write writev""",
    ),
    _group(
        "memory",
        "Allocators, garbage collectors and shared libraries. How much, the memory limit decides.",
        """brk madvise membarrier mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall munmap
        pkey_alloc pkey_free pkey_mprotect process_madvise get_mempolicy""",
    ),
    _group(
        "processes",
        "A cell may start programs and threads; no clone3, whose flags no filter can read (libraries then use clone).",
        """arch_prctl execve execveat exit exit_group fork futex futex_waitv get_robust_list getpgid getpgrp getpid
        getppid getsid gettid kill pidfd_open pidfd_send_signal prctl rseq rt_sigaction rt_sigpending rt_sigprocmask
        rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo set_robust_list
        set_tid_address setpgid setsid sigaltstack signalfd signalfd4 tgkill tkill vfork wait4 waitid restart_syscall
        pause""",
    ),
    _group(
        "who one is",
        "The runner drops to the job's own user with these; behind that no right is left that they could use.",
        """capget capset getegid geteuid getgid getgroups getresgid getresuid getuid setegid seteuid setfsgid setfsuid
        setgid setgroups setregid setresgid setresuid setreuid setuid""",
    ),
    _group(
        "limits and scheduling",
        "Numerical libraries look for their CPUs, and pin threads to them. Limits can only be lowered.",
        """getcpu getpriority getrlimit getrusage ioprio_get ioprio_set sched_get_priority_max
        sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
        sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield setpriority setrlimit""",
    ),
    _group(
        "time",
        "Clocks and timers. Setting the clock is not among them.",
        """alarm clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep setitimer time
        timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime
        timerfd_settime times""",
    ),
    _group(
        "waiting and pipes",
        "Event loops.",
        """epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
        eventfd2 pipe pipe2 poll ppoll pselect6 select""",
    ),
    _group(
        "sockets",
        "Kernel and runner talk over them, and so do the processes of a job. Only UNIX, IPv4, IPv6 and the route "
        "netlink (by which libraries list interfaces); what can be reached, the sandbox's network decides.",
        """accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg
        sendmsg sendto setsockopt shutdown""",
    ),
    _group(
        "messages between processes",
        "multiprocessing, MPI and databases of tests: System V and POSIX queues, in a namespace of the job's own.",
        """mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgrcv msgsnd semctl semop
        semtimedop shmctl shmdt""",
    ),
    _group(
        "old asynchronous input and output",
        "Databases use it; io_uring is refused.",
        "io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit",
    ),
    _group(
        "questions",
        "What machine this is, and random numbers.",
        "getrandom sysinfo uname",
    ),
    _group(
        "narrower sandboxes",
        "A job may lock itself in further, as browsers and compilers do.",
        "seccomp",
    ),
)
FILE = "filter.bpf"
"""In an attempt's folder."""
UNCOUNTED = _group(
    "memory without a name",
    "Memory that no process need have mapped: files, segments, semaphores, queues and rule sets that lie in the "
    "kernel alone. Allowed where a control group counts it; a watchdog would not see it.",
    "landlock_add_rule landlock_create_ruleset landlock_restrict_self memfd_create msgget semget shmat shmget",
)
REFUSED = (
    _group(
        "namespaces and mounts",
        "The door to most holes of the kernel's: a process that is root in a namespace of its own.",
        """chroot fsconfig fsmount fsopen fspick listmount mount mount_setattr move_mount open_tree pivot_root setns
        statmount umount2 unshare""",
    ),
    _group(
        "other processes",
        "One process looks into another: the runner is the job's user, too.",
        "kcmp pidfd_getfd process_mrelease process_vm_readv process_vm_writev ptrace",
    ),
    _group(
        "keys",
        "The kernel's keyrings know no namespaces.",
        "add_key keyctl request_key",
    ),
    _group(
        "programs in the kernel",
        "Large, young parts of the kernel with a history of holes; nothing that a job does needs them.",
        """bpf io_uring_enter io_uring_register io_uring_setup lookup_dcookie perf_event_open userfaultfd
        fanotify_init fanotify_mark""",
    ),
    _group(
        "the machine",
        "Modules, reboot, swap, clock, log, quotas, ports: root's work, refused before rights are asked for.",
        """acct adjtimex clock_adjtime clock_settime create_module delete_module finit_module init_module ioperm iopl
        kexec_file_load kexec_load modify_ldt nfsservctl quotactl quotactl_fd reboot sethostname setdomainname
        settimeofday swapoff swapon sysfs syslog uselib ustat vhangup vm86 vm86old _sysctl""",
    ),
    _group(
        "files by handle",
        "Opens files past all folders that lie above them.",
        "name_to_handle_at open_by_handle_at",
    ),
    _group(
        "memory of other nodes",
        "Moves the pages of others about.",
        "mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node",
    ),
)
ARGUMENTS = (
    ("clone", "without the flags of namespaces"),
    (
        "socket",
        "of the families UNIX, IPv4 and IPv6, and netlink's routes; no packet, vsock, crypto or Bluetooth sockets",
    ),
    ("socketpair", "of the family UNIX"),
    ("prlimit64", "of the calling process alone"),
    ("ioctl", "but TIOCSTI and TIOCLINUX, which type into a terminal"),
    ("personality", "but for what switches protections off (only the randomisation of addresses)"),
)
"""Calls that are allowed with some arguments only."""


def missing() -> str:
    """Why no filter can be made here; empty where it can."""
    if importlib.util.find_spec("pyseccomp") is None:
        return "pyseccomp is not installed (pip install 'jupyter_trainjob[sandbox]')"
    try:
        import pyseccomp  # noqa: F401 - it loads libseccomp
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"pyseccomp does not work here: {error} (libseccomp is the package libseccomp2 in Debian)"
    return ""


@lru_cache
def build(*, counted: bool, inet: bool = True) -> bytes:
    """The filter as BPF instructions. Raises ``ImportError`` and ``OSError`` where :func:`missing` tells why.

    ``counted``: whether a control group counts all memory; ``inet``: whether sockets may be of the internet.
    """
    import pyseccomp as sc

    made = sc.SyscallFilter(sc.ERRNO(errno.ENOSYS))
    groups = (*ALLOWED, UNCOUNTED) if counted else ALLOWED
    for call in (name for group in groups for name in group.calls):
        _rule(made, sc.ALLOW, call)
    for call in (name for group in REFUSED for name in group.calls):
        _rule(made, sc.ERRNO(errno.EPERM), call)
    _arguments(sc, made, inet)
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()


def _arguments(sc: Any, made: Any, inet: bool) -> None:
    made.add_rule(sc.ALLOW, "clone", sc.Arg(0, sc.MASKED_EQ, _NEW_NAMESPACES, 0))
    for family in _FAMILIES if inet else _FAMILIES[:1]:
        made.add_rule(sc.ALLOW, "socket", sc.Arg(0, sc.MASKED_EQ, _WORD, int(family)))
    made.add_rule(sc.ALLOW, "socketpair", sc.Arg(0, sc.MASKED_EQ, _WORD, int(socket.AF_UNIX)))
    netlink = sc.Arg(0, sc.MASKED_EQ, _WORD, _AF_NETLINK)
    made.add_rule(sc.ALLOW, "socket", netlink, sc.Arg(2, sc.MASKED_EQ, _WORD, _NETLINK_ROUTE))
    made.add_rule(sc.ALLOW, "prlimit64", sc.Arg(0, sc.MASKED_EQ, _WORD, 0))
    for mask, value in all_but(_TIOCSTI, _TIOCLINUX):
        made.add_rule(sc.ALLOW, "ioctl", sc.Arg(1, sc.MASKED_EQ, mask, value))
    for value in _PERSONALITIES:
        made.add_rule(sc.ALLOW, "personality", sc.Arg(0, sc.MASKED_EQ, _WORD, value))


def all_but(first: int, second: int) -> list[tuple[int, int]]:
    """``(mask, value)`` pairs: a word of 32 bits matches none of them exactly where it is ``first`` or ``second``.

    A rule can say that an argument is something, and not that it isn't; and the kernel looks at 32 bits of a command,
    so that a rule that looked at 64 could be got round.
    """
    common = [1 << bit for bit in range(32) if not (first ^ second) >> bit & 1]
    pairs = [(bit, ~first & bit) for bit in common]
    mask = (first ^ second) & _WORD
    bits = [1 << bit for bit in range(32) if mask >> bit & 1]
    for number in range(2 ** len(bits)):
        value = sum(bit for place, bit in enumerate(bits) if number >> place & 1)
        if value not in (first & mask, second & mask):
            pairs.append((mask, value))
    return pairs


def _rule(made: Any, action: int, call: str) -> None:
    with suppress(OSError, ValueError):  # unknown to this libseccomp, or to this architecture: refused as unknown
        made.add_rule(action, call)


def write(path: str, program: bytes) -> None:
    """Leave it where the supervisor finds it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(program)
