"""Attacks on the machine's disk. Each is bounded, and has a job for itself."""

from __future__ import annotations

from .attack import EVERY, NOWHERE, Attack

_DISK = {"disk": "48Mi", "fileSize": "32Mi"}

ATTACKS = (
    Attack(
        "huge-file",
        "one file of 96 MiB",
        """
with open("big", "wb") as file:
    for _ in range(24):
        file.write(bytes(4 * 2**20))
got("96 MiB")
""",
        "RLIMIT_FSIZE",
        claimed=EVERY,
        alone=True,
        resources=_DISK,
    ),
    Attack(
        "sparse-file",
        "a file of 1 TiB with nothing in it",
        "open('sparse', 'wb').truncate(2**40)\ngot('1 TiB')",
        "RLIMIT_FSIZE",
        claimed=EVERY,
        alone=True,
        resources=_DISK,
    ),
    Attack(
        "many-files-of-size",
        "144 MiB in six files",
        """
for number in range(6):
    with open(f"file-{number}", "wb") as file:
        for _ in range(6):
            file.write(bytes(4 * 2**20))
    time.sleep(0.3)
time.sleep(HOLD)
got("144 MiB")
""",
        "the disk limit",
        claimed=EVERY,
        alone=True,
        resources=_DISK,
    ),
    Attack(
        "mapped-files",
        "144 MiB in six files that have no name and are not open, only mapped",
        """
import mmap
kept = []
for number in range(6):
    with open("passing", "w+b") as file:
        for _ in range(6):
            file.write(bytes(4 * 2**20))
        file.flush()
        kept.append(mmap.mmap(file.fileno(), 4096))
    os.unlink("passing")
time.sleep(HOLD)
got("144 MiB")
""",
        "the disk limit",
        claimed=EVERY,
        alone=True,
        resources=_DISK,
    ),
    Attack(
        "files-in-flight",
        "144 MiB in six files that have no name and lie in a socket",
        """
ends = socket.socketpair()
for number in range(6):
    with open("passing", "wb") as file:
        for _ in range(6):
            file.write(bytes(4 * 2**20))
        file.flush()
        socket.send_fds(ends[0], [b"x"], [file.fileno()])
    os.unlink("passing")
time.sleep(HOLD)
got("144 MiB")
""",
        "the disk limit",
        claimed=NOWHERE,
        alone=True,
        resources=_DISK,
    ),
    Attack(
        "small-files",
        "6,000 empty files",
        """
for number in range(6000):
    open(f"small-{number}", "w").close()
time.sleep(HOLD)
got("6,000 files")
""",
        "the limit on files",
        claimed=EVERY,
        alone=True,
        resources=_DISK,
    ),
    Attack(
        "inodes",
        "6,000 folders, pipes and links",
        """
for number in range(2000):
    os.mkdir(f"folder-{number}")
    os.mkfifo(f"pipe-{number}")
    os.symlink("x", f"link-{number}")
time.sleep(HOLD)
got("6,000 inodes")
""",
        "the limit on files",
        claimed=EVERY,
        alone=True,
        resources=_DISK,
    ),
    Attack(
        "deep-folders",
        "144 MiB below 600 folders in one another, beyond what a path may name",
        """
for _ in range(600):
    os.mkdir("d" * 100)
    os.chdir("d" * 100)
for number in range(6):
    with open(f"file-{number}", "wb") as file:
        for _ in range(6):
            file.write(bytes(4 * 2**20))
time.sleep(HOLD)
got("144 MiB")
""",
        "the disk limit",
        claimed=EVERY,
        alone=True,
        resources=_DISK,
    ),
    Attack(
        "closed-folder",
        "144 MiB in a folder that nobody may look into",
        """
os.mkdir("closed")
os.chdir("closed")
for number in range(6):
    with open(f"file-{number}", "wb") as file:
        for _ in range(6):
            file.write(bytes(4 * 2**20))
os.chmod(".", 0o300)
time.sleep(HOLD)
os.chmod(".", 0o700)
got("144 MiB")
""",
        "the disk limit",
        claimed=EVERY,
        alone=True,
        resources=_DISK,
    ),
)
