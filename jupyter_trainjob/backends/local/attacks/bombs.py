"""Attacks on what the machine has of everything. Each is bounded, and has a job for itself."""

from __future__ import annotations

from .attack import COUNTED, EVERY, NAMESPACES, Attack

_TASKS = {"processes": 48}
_MEMORY = {"memory": "256Mi"}
_COUNT = "the limit on processes and threads"
_HELD = "the memory limit"

ATTACKS = (
    Attack(
        "fork-bomb",
        "150 processes at once",
        """
made = []
try:
    for _ in range(150):
        pid = os.fork()
        if pid == 0:
            time.sleep(25)
            os._exit(0)
        made.append(pid)
    time.sleep(HOLD)
    os.kill(made[0], 0)
    got(f"{len(made)} processes")
finally:
    for pid in made:
        os.kill(pid, 9)
""",
        _COUNT,
        claimed=EVERY,
        alone=True,
        resources=_TASKS,
    ),
    Attack(
        "thread-bomb",
        "200 threads at once",
        """
import threading
for _ in range(200):
    threading.Thread(target=time.sleep, args=(25,), daemon=True).start()
time.sleep(HOLD)
got(f"{threading.active_count()} threads")
""",
        _COUNT,
        claimed=EVERY,
        alone=True,
        resources=_TASKS,
    ),
    Attack(
        "exec-bomb",
        "a program that starts itself twice, seven deep",
        """
script = 'echo x >> count; if [ "$1" -gt 0 ]; then sh -c "$0" "$0" $(($1-1)) & sh -c "$0" "$0" $(($1-1)) & fi; sleep 6'
mother = subprocess.Popen(["sh", "-c", script, script, "7"], start_new_session=True, stderr=subprocess.DEVNULL)
time.sleep(5)
size = os.path.getsize("count")
os.killpg(mother.pid, 9)
assert size > 240, f"{size // 2} programs"
got(f"{size // 2} programs")
""",
        _COUNT,
        claimed=EVERY,
        alone=True,
        resources=_TASKS,
    ),
    Attack(
        "memory",
        "400 MiB in one process",
        "x = bytearray(400 * 2**20)\ntime.sleep(HOLD)\ngot('400 MiB')",
        _HELD,
        claimed=EVERY,
        alone=True,
        resources=_MEMORY,
    ),
    Attack(
        "memory-of-many",
        "50 MiB in each of eight processes",
        """
made = []
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        x = bytearray(50 * 2**20)
        time.sleep(25)
        os._exit(0)
    made.append(pid)
time.sleep(HOLD)
alive = [pid for pid in made if os.waitpid(pid, os.WNOHANG)[0] == 0]
for pid in alive:
    os.kill(pid, 9)
assert len(alive) == 8, alive
got("400 MiB in eight processes")
""",
        _HELD,
        claimed=EVERY,
        alone=True,
        resources=_MEMORY,
    ),
    Attack(
        "memfd",
        "400 MiB in a file that is nowhere",
        """
place = os.memfd_create("x")
for _ in range(100):
    os.write(place, bytes(4 * 2**20))
time.sleep(1)
got("400 MiB")
""",
        "the memory limit; without control groups the filter of system calls",
        alone=True,
        resources={**_MEMORY, "fileSize": "1Gi"},
    ),
    Attack(
        "shared-memory-let-go",
        "400 MiB of shared memory that no process has mapped any more",
        """
import mmap
room = mmap.mmap(-1, 400 * 2**20)
for start in range(0, 400 * 2**20, 2**20):
    room[start : start + 2**20] = bytes([1]) * 2**20
    room.madvise(mmap.MADV_DONTNEED, start, 2**20)
time.sleep(1)
assert room[399 * 2**20] == 1
got("400 MiB")
""",
        _HELD,
        claimed=COUNTED,
        alone=True,
        resources=_MEMORY,
    ),
    Attack(
        "semaphores-of-size",
        "80 MiB of System V semaphores, which no process has mapped",
        """
made = []
try:
    for _ in range(40):
        made.append(call(64, 190, ctypes.c_int(0), ctypes.c_int(32000), ctypes.c_int(0o600)))
    time.sleep(2)
    got("80 MiB")
finally:
    for number in made:
        call(66, 191, ctypes.c_int(number), ctypes.c_int(0), ctypes.c_int(0))
""",
        "the memory limit; without control groups the filter of system calls",
        alone=True,
        resources={"memory": "96Mi"},
    ),
    Attack(
        "page-tables",
        "300 MiB of page tables, of memory that nobody wrote",
        """
size = 150 * 2**30
_libc.mmap.restype = ctypes.c_void_p
place = _libc.mmap(None, ctypes.c_size_t(size), 1, 0x4022, -1, ctypes.c_size_t(0))
assert place not in (None, ctypes.c_void_p(-1).value), os.strerror(ctypes.get_errno())
_libc.madvise(ctypes.c_void_p(place), ctypes.c_size_t(size), 15)
for start in range(0, size, 2**21):
    ctypes.string_at(place + start, 1)
time.sleep(HOLD)
got("300 MiB")
""",
        _HELD,
        claimed=EVERY,
        alone=True,
        resources=_MEMORY,
    ),
    Attack(
        "socket-buffers",
        "200 MiB in sockets that nobody reads",
        """
kept, size = [], 0
while size < 200 * 2**20:
    ends = socket.socketpair()
    ends[0].setblocking(False)
    kept.append(ends)
    try:
        while True:
            size += ends[0].send(bytes(2**16))
    except BlockingIOError:
        pass
time.sleep(2)
got(f"{size >> 20} MiB")
""",
        _HELD,
        claimed=COUNTED,
        alone=True,
        resources={"memory": "150Mi", "openFiles": 4096},
    ),
    Attack(
        "shared-memory",
        "64 MiB in /dev/shm",
        """
path = f"/dev/shm/attack-{os.getpid()}"
try:
    with open(path, "wb") as file:
        for _ in range(16):
            file.write(bytes(4 * 2**20))
    got("64 MiB")
finally:
    os.unlink(path)
""",
        "sized /dev/shm",
        claimed=NAMESPACES,
        alone=True,
    ),
    Attack(
        "tmpfs",
        "32 MiB in any folder that is memory",
        """
def fill(folder):
    path = f"{folder}/attack-{os.getpid()}"
    try:
        with open(path, "wb") as file:
            for _ in range(8):
                file.write(bytes(4 * 2**20))
        got(f"32 MiB in {folder}")
    finally:
        if os.path.exists(path):
            os.unlink(path)
mounts = [line.split() for line in open("/proc/mounts")]
try_each([words[1] for words in mounts if words[2] == "tmpfs"], fill)
""",
        "no writable tmpfs but the sized /dev/shm",
        claimed=NAMESPACES,
        alone=True,
    ),
    Attack(
        "open-files",
        "600 open files",
        "kept = [open('/dev/null') for _ in range(600)]\ngot('600 files')",
        "RLIMIT_NOFILE",
        claimed=EVERY,
        alone=True,
        resources={"openFiles": 300},
    ),
    Attack(
        "sleep",
        "sleep past its time",
        "got('it began')\ntime.sleep(20)",
        "the time limit",
        claimed=EVERY,
        seen="ends",
        alone=True,
        seconds=2,
    ),
    Attack(
        "busy-loop",
        "compute past its time, deaf to all signals",
        """
for number in range(1, 32):
    if number not in (9, 19):
        signal.signal(number, signal.SIG_IGN)
got("it began")
end = time.monotonic() + 20
while time.monotonic() < end:
    pass
""",
        "the time limit, then SIGKILL",
        claimed=EVERY,
        seen="ends",
        alone=True,
        seconds=2,
    ),
    Attack(
        "burn-cpus",
        "use four CPUs where it has one",
        """
for _ in range(3):
    if os.fork() == 0:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            pass
        os._exit(0)
got("it began")
end = time.monotonic() + 30
while time.monotonic() < end:
    pass
""",
        "the time limit",
        claimed=EVERY,
        seen="ends",
        alone=True,
        seconds=3,
    ),
)
