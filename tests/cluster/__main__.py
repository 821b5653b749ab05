"""A test cluster by hand: ``python -m tests.cluster`` holds one until ^C; from another terminal it is steered.

python -m tests.cluster                        start it, and say where it is
python -m tests.cluster enter COMMAND…         run a command inside (kubectl, ctr, iptables, …)
python -m tests.cluster restart NAME [SIGNAL]  a component, SIGKILL if no signal is named
python -m tests.cluster kill NAME [SIGNAL]
python -m tests.cluster start NAME
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from .cluster import Cluster, ClusterError, enter, programs, runs, tell, why_not


def main(arguments: list[str]) -> int:
    """Do what is asked; 1 with a message where it can't be."""
    if reason := why_not():
        print(reason, file=sys.stderr)
        return 1
    match arguments:
        case []:
            return hold()
        case ["enter", *command] if command:
            inside = json.loads((the_run() / "run.json").read_text())["pid"]
            os.environ |= {"PATH": f"/run/bin:{os.environ['PATH']}", "KUBECONFIG": "/run/state/admin.kubeconfig"}
            os.execvp("nsenter", [*enter(inside), *command])
        case ["start", name]:
            tell(the_run(), "start", name=name)
        case ["restart" | "kill" as verb, name, *number] if len(number) <= 1:
            chosen = signal.Signals[number[0]] if number else signal.SIGKILL
            tell(the_run(), "signal", name=name, number=int(chosen), wait=True)
            if verb == "restart":
                tell(the_run(), "start", name=name)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def hold() -> int:
    """Start a cluster and wait to be interrupted."""
    cluster = Cluster()
    begun = time.monotonic()
    cluster.start()
    try:
        print(f"Ready after {time.monotonic() - begun:.1f} s; ^C ends it. Logs: {cluster.state}/log")
        print(f"export KUBECONFIG={cluster.kubeconfig}")
        store = cluster.minio
        print(
            f"MinIO: {store.url}, for pods {store.pod_url}; {store.access_key} / {store.secret_key}; CA {store.ca_file}"
        )
        ends = [signal.SIGINT, signal.SIGTERM]
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        signal.sigwait(ends)
    finally:
        cluster.stop()
    return 0


def the_run() -> Path:
    """The state folder of the one cluster that runs."""
    alive, _ = runs(programs()[0].parent)
    if not alive:
        raise ClusterError("no test cluster runs here; `python -m tests.cluster` starts one")
    if len(alive) > 1:
        told = "; ".join((state / "run.json").read_text() for state in alive)
        raise ClusterError(f"{len(alive)} test clusters run here, so it is not known which is meant: {told}")
    return alive[0]


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except ClusterError as error:
        raise SystemExit(str(error)) from None
