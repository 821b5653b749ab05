"""Speak in the runner's name, and in the name of the container's first process.

``GIVEN``: liar: claim the end, and go on; else: fail.
"""

import json
import os
import time
from typing import Any

from .table import GIVEN, tell

OUT = "/trainjob/out"
FORGED = {
    "ended": {"exitCode": 0, "signal": None, "limit": "OutOfMemory", "message": "forged", "logBytes": 9007199254740000},
    "told.json": {"started": "1999-01-01T00:00:00Z", "end": {"outcome": "ok"}},
    "usage.json": {
        "rows": [[0] * 6],
        "intervalSeconds": 1,
        "totals": {"cpuSeconds": 1e17, "peakMemoryBytes": 1e17},
    },
}


def runners_events() -> int:
    """The descriptor on which the runner tells events, which is no secret to who has its user id."""
    for pid in (os.getppid(), *map(int, filter(str.isdigit, os.listdir("/proc")))):
        try:
            if os.readlink(f"/proc/{pid}/fd/3").startswith("pipe:"):
                return os.open(f"/proc/{pid}/fd/3", os.O_WRONLY)
        except OSError:
            continue
    raise SystemExit("no way to the events")


events = runners_events()


def say(kind: str, **event: Any) -> None:
    os.write(events, json.dumps({"type": kind, **event}).encode() + b"\n")


say("progress", cellsDone=10**30, cells=1, fraction=0.5)
say("progress", cellsDone=1, cells=1, fraction=7)
say("progress", cellsDone=1, cells=1, fraction=0.5, message={"a": 1})
os.write(events, b"{" * 60000 + b"\n\x00\xff\n[]\nnull\n")
for _ in range(3000):
    say("progress", cellsDone=1, cells=1, fraction=0.25, message="x" * 600)
say("started")
say("hello", runnerProtocol=99)
say("failed", message="forged")
time.sleep(1.5)
say("progress", cellsDone=3, cells=9, fraction=0.75, message="claimed")
for name, data in FORGED.items():
    with open(f"{OUT}/{name}.mine", "w") as file:
        json.dump(data, file)
    os.rename(f"{OUT}/{name}.mine", f"{OUT}/{name}")
with open(f"{OUT}/log/{10**15:020d}", "w") as file:
    file.write("not mine\n")
tell("forged", "all of it")
time.sleep(1)
if GIVEN["liar"]:
    say("end", outcome="ok", results=[])
    tell("liar", "goes on")
    time.sleep(600)
raise ValueError("as it is")
