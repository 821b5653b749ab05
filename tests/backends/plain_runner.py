"""A runner without a kernel, for what is about the supervisor alone: runs the one cell in its own process.

Given to the interpreter by ``-c``. It keeps the runner's contract (drop, limits, events); what it can't show (a kernel
that dies beside a living runner) the tests with the real runner show.
"""

import json
import os
import pathlib
import resource
import signal
import sys
import traceback

job = json.loads(pathlib.Path(sys.argv[1]).read_text())
if job["drop"]:
    os.setgroups([])
    os.setresgid(*[job["drop"]["gid"]] * 3)
    os.setresuid(*[job["drop"]["uid"]] * 3)
for name, number in (
    ("nproc", resource.RLIMIT_NPROC),
    ("nofile", resource.RLIMIT_NOFILE),
    ("fsize", resource.RLIMIT_FSIZE),
):
    if job["rlimits"][name] is not None:
        resource.setrlimit(number, (job["rlimits"][name],) * 2)


def tell(**event):
    os.write(3, (json.dumps(event) + "\n").encode())


class Interrupted(BaseException):
    pass


def interrupt(*_):
    raise Interrupted


signal.signal(signal.SIGTERM, interrupt)
tell(type="hello", runnerProtocol=1, python="3")
os.chdir(job["work"])
os.environ.update(job["environment"], TRAINJOB_METRICS=f"{job['out']}/metrics.tsv")
linecache_of = __import__("linecache").cache  # so that a traceback shows the lines, as a kernel's does
cell = json.loads(pathlib.Path(job["notebook"]).read_text())["cells"][0]
linecache_of["cell"] = (len(cell["source"]), None, cell["source"].splitlines(True), "cell")
tell(type="started")
outcome, error = "ok", None
try:
    exec(compile(cell["source"], "cell", "exec"), {"tell": tell, "job": job})
except Interrupted:
    outcome = "interrupted"
except BaseException as problem:
    outcome = "error"
    error = {"ename": type(problem).__name__, "evalue": str(problem), "traceback": traceback.format_exc()}
sys.stdout.flush()
tell(type="end", outcome=outcome, error=error, results=[])
os._exit(0)
