"""The half of a server that acts, in a process of its own, which a test may kill: record, store, backend, controllers.

:class:`World` is what such servers share, and what a test sees of it. ``python -m tests.cluster.lives FILE`` is one
server; FILE is a pickled :class:`Life`, as a dict. It says ``up``, then ``leading`` or ``following`` as that changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any

from jupyter_trainjob.backends.kubernetes.backend import KubernetesBackend
from jupyter_trainjob.backends.kubernetes.connect import Connection
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings
from jupyter_trainjob.controllers.bootstrap import ensure_defaults
from jupyter_trainjob.controllers.leader import LeaderElection
from jupyter_trainjob.controllers.manager import ControllerManager
from jupyter_trainjob.resources.base import ObjectMeta
from jupyter_trainjob.resources.queue import Queue
from jupyter_trainjob.resources.trainjob import Cancel, TrainJob
from jupyter_trainjob.storage.logs import LogReader
from jupyter_trainjob.storage.s3 import S3Store
from jupyter_trainjob.storage.s3client import CredentialsFile, S3Address
from jupyter_trainjob.store import Store, Writer
from tests.backends.place import RESOURCES

from .backends import open_store, settings
from .cluster import Cluster

TOP = Path(__file__).parents[2]
SMALL = {**RESOURCES, "cpu": "200m", "memory": "256Mi", "disk": "64Mi"}
"""Several at once fit on the node."""


@dataclass(frozen=True)
class Life:
    """One server."""

    record: str
    settings: KubernetesSettings
    address: S3Address
    keys: str
    insists: bool = False
    """Believes to lead, whatever the record says."""
    crash: str = ""
    """A file of the steps at which a server was killed already: this one is killed at the next that it comes to."""


class Server:
    """A process of it. ``apart``: in a pid namespace of its own, as a pod is. ``skew``: what its clock is off by."""

    def __init__(self, life: Life, folder: Path, *, apart: bool = False, skew: int = 0) -> None:
        number = len(list(folder.glob("life-*.log")))
        self._log, file = folder / f"life-{number}.log", folder / f"life-{number}.pickle"
        file.write_bytes(pickle.dumps(vars(life)))
        namespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] if apart else []
        environment = {**os.environ, **({"LD_PRELOAD": str(clock(folder)), "SKEW": str(skew)} if skew else {})}
        command = [*namespace, sys.executable, "-u", "-m", "tests.cluster.lives", str(file)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=TOP, stdout=log, stderr=log, env=environment)

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def leads(self) -> bool:
        words = [line for line in self.said.splitlines() if line in ("leading", "following")]
        return words[-1:] == ["leading"]

    def until_it_leads(self, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not self.leads:
            assert self.process.poll() is None and time.monotonic() < until, self.said[-4000:]
            time.sleep(0.05)

    def kill(self) -> None:
        """As -9 does it."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()


class World:
    """A record and a store for the servers of one namespace, with what was seen in it so far."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path, record: str = "", **more: Any) -> None:
        self.cluster, self.namespace, self.folder = cluster, namespace, folder
        self.store = open_store(cluster, folder, namespace)
        self.life = Life(
            record or f"sqlite:///{folder / 'record.sqlite'}",
            settings(cluster, namespace, **more),
            self.store.address,
            str(folder / "keys"),
        )
        self.record = Store.open(self.life.record)
        self.record.write(_queue)
        self.servers: list[Server] = []
        self._seen = [_Seen(cluster, namespace, kind, folder) for kind in ("jobs", "pods")]

    def server(self, *, apart: bool = False, skew: int = 0, **changes: Any) -> Server:
        made = Server(replace(self.life, **changes), self.folder, apart=apart, skew=skew)
        self.servers.append(made)
        return made

    def close(self) -> None:
        for server in self.servers:
            if server.process.poll() is None:
                server.kill()
        for seen in self._seen:
            seen.stop()
        self.record.close()

    # What a person does

    def limit(self, **limits: Any) -> None:
        """The queue's limits, as the API changes them."""

        def change(writer: Writer) -> None:
            queue = writer.get(Queue, "", "default")
            queue.spec.limits = type(queue.spec.limits)(**limits)
            writer.update(queue)
            writer.advance_scheduler_epoch(None)

        self.record.write(change)

    def submit(self, code: str, **spec: Any) -> str:
        """The uid."""
        resources = {**SMALL, **spec.pop("resources", {})}
        source = {"type": "cell", "code": code}
        spec = {"source": source, "queue": "default", "timeLimitSeconds": 200, "resources": resources, **spec}
        job = TrainJob.model_validate({"kind": "TrainJob", "metadata": {"name": "x"}, "spec": spec})
        job.metadata = ObjectMeta(generate_name="j", namespace="ada", owner="ada")
        job.status.queued = datetime.now(timezone.utc)
        return self.record.write(lambda writer: writer.create(job)).metadata.uid

    def cancel(self, uid: str, message: str) -> None:
        def change(writer: Writer) -> None:
            job = writer.by_uid(TrainJob, uid)
            job.spec.cancel = Cancel(message=message, by="ada", requested_at=datetime.now(timezone.utc))
            writer.update(job)

        self.record.write(change)

    # What is seen

    def job(self, uid: str) -> TrainJob:
        return self.record.read(lambda reader: reader.by_uid(TrainJob, uid))

    def until(self, check: Callable[[], Any], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not check():
            told = "\n\n".join(server.said[-3000:] for server in self.servers[-2:])
            assert time.monotonic() < end, f"not within {seconds} s\n{told}"
            time.sleep(0.1)

    def ended(self, *uids: str, seconds: float = 200) -> list[TrainJob]:
        """Wait for the end of all of them."""
        for uid in uids:
            self.until(lambda uid=uid: self.job(uid).status.phase.final, seconds)  # type: ignore[misc]
        return [self.job(uid) for uid in uids]

    def log(self, uid: str, attempt: int = 1) -> bytes:
        return LogReader(self.store, f"jobs/{uid}/{attempt}/").read(0, 10 * 2**20).data

    def left(self) -> list[str]:
        """The objects of ours that are still in the cluster."""
        found = self.cluster.kubectl("-n", self.namespace, "get", "jobs,secrets,pods", "-o", "name")
        return found.split()

    def once(self) -> None:
        """Assert that no Job was ever made a second time, and none had a second pod."""
        for seen in self._seen:
            for name, uids in seen.uids().items():
                assert len(uids) == 1, f"{name} was there more than once: {uids}"

    def at_once(self) -> int:
        """The most attempts that were between admission and end at any moment, as the record has it."""
        jobs = self.record.read(lambda reader: reader.list(TrainJob, limit=1000)).items
        moments: list[tuple[datetime, int]] = []
        for attempt in (attempt for job in jobs for attempt in job.status.attempts):
            if attempt.admitted is not None:
                moments.append((attempt.admitted, 1))
                moments += [(attempt.end, -1)] if attempt.end is not None else []
        count = most = 0
        for _, step in sorted(moments):
            count += step
            most = max(most, count)
        return most


@contextlib.contextmanager
def world(cluster: Cluster, namespace: str, folder: Path, record: str = "", **more: Any) -> Iterator[World]:
    made = World(cluster, namespace, folder, record, **more)
    try:
        yield made
    finally:
        made.close()


def _queue(writer: Writer) -> None:
    ensure_defaults(writer, "default", "default")
    queue = writer.get(Queue, "", "default")
    queue.spec.backend = "cluster"
    writer.update(queue)


class _Seen:
    """All objects of a kind that ever were in a namespace, by a watch of kubectl's: name of the Job → uids."""

    def __init__(self, cluster: Cluster, namespace: str, kind: str, folder: Path) -> None:
        self._file = folder / f"seen-{kind}"
        label = r".metadata.labels.jupyter-trainjob\/"
        columns = f"custom-columns=JOB:{label}uid,ATTEMPT:{label}attempt,UID:.metadata.uid"
        command = [str(cluster.bin / "kubectl"), f"--kubeconfig={cluster.kubeconfig}", "-n", namespace, "get", kind]
        with self._file.open("wb") as file:
            self._process = subprocess.Popen([*command, "--watch", "--no-headers", "-o", columns], stdout=file)

    def uids(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for line in self._file.read_text().splitlines():
            uid, attempt, one = line.split()
            found[f"{uid}-{attempt}"].add(one)
        return dict(found)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


# A clock that is off

_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long off(void) {
  const char *told = getenv("SKEW");
  return told ? atol(told) : 0;
}

int clock_gettime(clockid_t which, struct timespec *out) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(which, out);
  if (!result && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) out->tv_sec += off();
  return result;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval *out, void *zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}
"""


def clock(folder: Path) -> Path:
    """A library for ``LD_PRELOAD`` that shifts what a process takes for the time by ``SKEW`` seconds."""
    library = folder / "clock.so"
    if not library.exists():
        source = folder / "clock.c"
        source.write_text(_CLOCK)
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


# Inside of the process


class Crashes:
    """Kills this process once at each step that it comes to: a request that changes something, a write, an object."""

    def __init__(self, path: str) -> None:
        self._path, self._lock = Path(path), threading.Lock()
        self._done = set(self._path.read_text().splitlines()) if self._path.exists() else set()

    def at(self, step: str) -> None:
        with self._lock:
            if step in self._done:
                return
            with self._path.open("a") as file:
                file.write(f"{step}\n")
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Behind each step that changes the cluster, the record or the store, and before the cluster's."""
        request, awrite = Connection.request, Store.awrite

        async def new_request(api: Connection, method: str, path: str, **more: Any) -> Any:
            body = ",".join(sorted(more.get("body") or {})) if method == "PATCH" else ""
            kind = re.sub(r".*/namespaces/[^/]+/", "", re.sub(r"/tj-[^/]*", "/*", path))
            step = f"{method} {kind} {body}".strip()
            if method != "GET":
                self.at(f"before {step}")
            reply = await request(api, method, path, **more)
            if method != "GET":
                self.at(f"after {step}")
            return reply

        async def new_awrite(store: Store, fn: Any) -> Any:
            step = _writer(sys._getframe(1))
            result = await awrite(store, fn)
            if step:
                self.at(f"after write by {step}")
            return result

        Connection.request = new_request  # type: ignore[method-assign, assignment]
        Store.awrite = new_awrite  # type: ignore[method-assign]
        for name in ("put", "delete", "delete_prefix"):
            self._wrap(name)

    def _wrap(self, name: str) -> None:
        original = getattr(S3Store, name)

        def new(store: S3Store, key: str, *arguments: Any, **more: Any) -> Any:
            result = original(store, key, *arguments, **more)
            if key.startswith("jobs/"):
                self.at(f"after {name} {re.sub(r'[0-9]{20}', 'N', key.partition('/')[2].partition('/')[2])[2:]}")
            return result

        setattr(S3Store, name, new)


def _writer(frame: FrameType | None) -> str:
    """Which function of the controllers writes; those that only keep house, and the lease, are no steps."""
    while frame is not None:
        file, name = Path(frame.f_code.co_filename), frame.f_code.co_name
        if file.parent.name == "controllers" and name != "_change":
            return "" if file.stem in ("leader", "retention", "uploads") else f"{file.stem}.{name}"
        frame = frame.f_back
    return ""


async def live(life: Life) -> None:
    """Be a server until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    if life.crash:
        Crashes(life.crash).install()
    if life.insists:
        LeaderElection._acquire = lambda self, writer: True  # type: ignore[method-assign]
    record = Store.open(life.record)
    store = S3Store(life.address, CredentialsFile(life.keys))
    backend = KubernetesBackend(name="cluster", settings=life.settings)
    manager = ControllerManager(record, store, {"cluster": backend}, log=logging.getLogger("server"))
    ends = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ends.set)
    await manager.start()
    print("up", flush=True)
    led = False
    while not ends.is_set():
        if manager.leading != led:
            led = manager.leading
            print("leading" if led else "following", flush=True)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ends.wait(), 0.05)
    await manager.stop()
    record.close()


if __name__ == "__main__":
    asyncio.run(live(Life(**pickle.loads(Path(sys.argv[1]).read_bytes()))))
