"""Attacks through what a job tells of itself: its reports, and the files in which its runner leaves what goes home."""

from __future__ import annotations

from .attack import EVERY, LOCKED, Attack

_RUNNER = "the supervisor, which is out of reach"

ATTACKS = (
    Attack(
        "kill-the-kernel",
        "die, and count as having ended well",
        "os.kill(os.getpid(), signal.SIGKILL)",
        _RUNNER,
        claimed=EVERY,
        seen="believed",
        alone=True,
    ),
    Attack(
        "forged-exit",
        "end with the status of success behind the runner's back",
        "time.sleep(1)  # what was said is passed on meanwhile\nos.kill(os.getppid(), signal.SIGSTOP)\nos._exit(0)",
        _RUNNER,
        claimed=EVERY,
        seen="believed",
        alone=True,
        seconds=3,
    ),
    Attack(
        "forged-limits",
        "tell of another owner, a higher limit and no use in the runner's reports, then take too much",
        """
lies = [
    {"type": "usage", "cpuSeconds": 0, "peakMemoryBytes": 0},
    {"type": "started", "owner": "root", "uid": "another", "memoryBytes": 2**40},
    {"type": "limit", "limit": ""},
    {"type": "end", "outcome": "error", "usage": {"peakMemoryBytes": 0}, "error": None, "results": []},
]
for place in (f"/proc/{os.getppid()}/fd/3", "/proc/self/fd/3"):
    try:
        with open(place, "w") as file:
            file.write("".join(json.dumps(lie) + "\\n" for lie in lies))
    except OSError:
        pass
x = bytearray(400 * 2**20)
time.sleep(HOLD)
""",
        "reports are claims; limits are seen from outside",
        claimed=EVERY,
        seen="expected",
        expects="OutOfMemory",
        alone=True,
        resources={"memory": "256Mi"},
    ),
    Attack(
        "forged-end",
        "report in the runner's place that all went well, then take too much",
        """
lie = {"type": "end", "outcome": "ok", "error": None, "results": []}
try:
    with open(f"/proc/{os.getppid()}/fd/3", "w") as file:
        file.write(json.dumps(lie) + "\\n")
except OSError as error:
    print(error, file=sys.stderr)
x = bytearray(400 * 2**20)
time.sleep(3)
got("400 MiB")
""",
        "reports are claims; limits are seen from outside",
        claimed=EVERY,
        alone=True,
        resources={"memory": "256Mi"},
    ),
    Attack(
        "forged-progress",
        "report, in the runner's place, progress that is none: of endless length, of another job, of higher limits",
        """
lies = [
    {"type": "progress", "cellsDone": 1, "cells": 2, "cellId": "x", "fraction": 0.5, "message": "m" * 2**19},
    {"type": "progress", "cellsDone": -1, "cells": "all", "cellId": {}, "fraction": 9, "message": ["no", "text"]},
    {"type": "progress", "uid": "another", "owner": "root", "limits": {"memory_bytes": 2**40}, "cellsDone": 1,
     "cells": 2, "cellId": "", "fraction": 1, "message": "lies"},
    {"type": "state", "state": "ended", "evidence": {"exitCode": 0}},
]
lines = [json.dumps(lie).encode() + b"\\n" for lie in lies] + [b"{" * 2**21 + b"\\n", b"\\xff\\x00\\n", b"[]\\n"]
for place in (f"/proc/{os.getppid()}/fd/3", "/proc/self/fd/1"):
    try:
        with open(place, "wb") as file:
            for line in lines * 3:
                file.write(line)
        break
    except OSError:
        pass
got("it was told")
time.sleep(1)
""",
        "reports are claims: each field is checked for its type and its size",
        claimed=EVERY,
        seen="claims",
        alone=True,
    ),
    Attack(
        "forged-state",
        "write its own exit record",
        """
path = os.path.join(os.path.dirname(os.getcwd()), "state.json")
open(path, "a").close()
got(path)
""",
        "its record lies outside of what it can write",
        claimed=LOCKED,
        alone=True,
    ),
    Attack(
        "handed-links",
        "put links to others' files where its metrics, its results and its notebook are fetched from",
        """
out = os.path.dirname(os.environ.get("TRAINJOB_METRICS") or os.path.abspath("metrics.tsv"))
os.makedirs(f"{out}/results", exist_ok=True)
score = 1
def lay(path, kind, place):
    try:
        os.unlink(place)
    except OSError:
        pass
    try:
        kind(path, place)
    except OSError:
        pass
paths = given["home"] + given["tokens"] + given["job"] + given["store"]
if os.fork() == 0:  # on and on, also while they are fetched
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for path in paths:
            for kind in (os.symlink, os.link):
                for name in ("metrics.tsv", "notebook.ipynb", "results/score"):
                    lay(path, kind, f"{out}/{name}")
                time.sleep(0.002)
    os._exit(0)
time.sleep(1)
print("made", flush=True)
""",
        "only regular files with one name are kept, opened step by step",
        claimed=EVERY,
        seen="stored",
        alone=True,
    ),
)
