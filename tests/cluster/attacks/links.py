"""Leave outputs that lead elsewhere, that are more than they seem, or that have odd names; and swap reports for links.

``GIVEN``: seconds, for how long.
"""

import io
import os
import socket
import tarfile
import time
import zipfile
from typing import Any

from .table import GIVEN, tell

SECRET = "/var/run/trainjob/credentials.json"
LINKS = {
    "creds": SECRET,
    "orders": "/var/run/trainjob",
    "spool": "/trainjob/buffer",
    "passwd": "/etc/passwd",
    "up": "..",
    "root": "/",
    "first": "/proc/1/environ",
    "self": "/proc/self/environ",
    "loop": "loop",
    "sub/link": SECRET,
}
NAMES = (b"..evil", b"a..b", b"..\n", b"back\\..\\slash", b"\xff\xfe", b"n" * 250, b" ", b"-rf", b"%2e%2e%2fx")
REPORTS = ("told.json", "usage.json", "ended", "job/notebook.ipynb", "job/results/x", "job/metrics.tsv")


class Zeros(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        buffer[:] = bytes(len(buffer))
        return len(buffer)


os.mkdir("sub")
for name, to in LINKS.items():
    os.symlink(to, name)
for plain in NAMES:
    with open(b"sub/" + plain, "wb") as file:
        file.write(b"good")
with open("first-name", "w") as file:
    file.write("good")
os.link("first-name", "second-name")
os.mkfifo("pipe")
socket.socket(socket.AF_UNIX).bind("socket")
with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
    for number in range(4):
        with packed.open(f"../../{number}", "w") as inside:
            for _ in range(12):
                inside.write(bytes(1 << 20))
with tarfile.open("bomb.tar.gz", "w:gz") as archive:
    entry = tarfile.TarInfo("../../../etc/cron.d/x")
    entry.size = 64 << 20
    archive.addfile(entry, Zeros())
for number in range(4):
    with open(f"sparse-{number}", "wb") as sparse:
        sparse.truncate(40 << 20)
with open("hole", "wb") as hole:
    try:
        hole.truncate(1 << 40)
    except OSError as error:
        tell("hole", error)

if os.fork() == 0:
    os.setsid()
    until = time.monotonic() + 600
    while time.monotonic() < until:  # it is killed before
        for name in REPORTS:
            try:
                os.symlink(SECRET, "/trainjob/out/evil")
                os.rename("/trainjob/out/evil", f"/trainjob/out/{name}")
            except OSError:
                continue
        time.sleep(0.01)
    os._exit(0)
x = 41
time.sleep(GIVEN["seconds"])
tell("links", "done")
