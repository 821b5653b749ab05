"""A pod without Kubernetes: its two containers as processes side by side, folders in place of the volumes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_trainjob.backends.kubernetes import pod as pod_package
from jupyter_trainjob.storage.base import ObjectStore, StoreError
from jupyter_trainjob.storage.logjoin import join_segments
from jupyter_trainjob.storage.loglayout import LogRecord, record_key
from jupyter_trainjob.storage.logreader import LogReader

CODE = str(Path(pod_package.__file__).parent)
PLAIN_RUNNER = str(Path(__file__).parents[2] / "plain_runner.py")
PREFIX = "jobs/u/1/"


class Pod:
    """Its volumes, and its containers once they are started."""

    def __init__(
        self, root: Path, store: ObjectStore, *, runner: str | None = PLAIN_RUNNER, credentials: Any = None
    ) -> None:
        self.root, self.store, self.options = root, store, ["-I"]
        for name in ("in", "out", "work", "orders", "buffer", "tmp", "cgroup"):
            (root / name).mkdir(parents=True)
        (root / "termination").touch()
        self.environment = {
            "PATH": os.environ["PATH"],
            "TRAINJOB_IN": str(root / "in"),
            "TRAINJOB_OUT": str(root / "out"),
            "TRAINJOB_WORK": str(root / "work"),
            "TRAINJOB_ORDERS": str(root / "orders"),
            "TRAINJOB_BUFFER": str(root / "buffer"),
            "TRAINJOB_TERMINATION": str(root / "termination"),
            "TRAINJOB_CGROUP": str(root / "cgroup"),
            "TMPDIR": str(root / "tmp"),
            **({"TRAINJOB_RUNNER": runner} if runner else {}),
        }
        self.main: subprocess.Popen[bytes] | None = None
        self.sidecar: subprocess.Popen[bytes] | None = None
        self.started: list[subprocess.Popen[bytes]] = []
        self.credentials(credentials or {"store": store.describe()})
        self.seal = "5ea1" * 8
        (root / "orders" / "seal").write_text(self.seal)

    # Orders

    def credentials(self, data: dict[str, Any]) -> None:
        """As the kubelet exchanges a Secret's file."""
        fresh = self.root / "orders" / "fresh"
        fresh.write_text(json.dumps(data))
        fresh.rename(self.root / "orders" / "credentials.json")

    def orders(self, code: str = "print(1)", **more: Any) -> None:
        cell = {"cell_type": "code", "id": "c1", "metadata": {}, "source": code, "outputs": [], "execution_count": None}
        job = {
            "runnerProtocol": 1,
            "uid": "u",
            "attempt": 1,
            "name": "probe",
            "language": "python",
            "parameters": {},
            "results": more.get("results", []),
            "environment": {},
            "threads": 1,
            "rlimits": {"nproc": None, "nofile": None, "fsize": None},
            "graceSeconds": 8,
        }
        data = {
            "protocol": 1,
            "uid": "u",
            "attempt": 1,
            "prefix": PREFIX,
            "job": job,
            "notebook": {"inline": {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}},
            "keep": ["**"],
            **more,
        }
        (self.root / "orders" / "orders.json").write_text(json.dumps(data))

    def put(self, key: str, data: bytes) -> dict[str, Any]:
        """An object of the store, and how orders name it."""
        self.store.put(key, data)
        return {"get": key, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    # Containers

    def _start(self, part: str) -> subprocess.Popen[bytes]:
        log = (self.root / f"{part}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, *self.options, CODE, part],
            env=self.environment | ({"TRAINJOB_SEAL": self.seal} if part == "main" else {}),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self.started.append(process)
        return process

    def start_sidecar(self) -> None:
        self.sidecar = self._start("sidecar")

    def start_main(self) -> None:
        self.main = self._start("main")

    def start(self) -> Pod:
        self.start_sidecar()
        self.start_main()
        return self

    def wait(self, seconds: float = 60) -> tuple[int, int]:
        """The exit statuses of main and sidecar."""
        assert self.main is not None and self.sidecar is not None
        try:
            return self.main.wait(seconds), self.sidecar.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{error}\n{self.words()}") from None

    def run(self, code: str = "print(1)", *, seconds: float = 60, **more: Any) -> tuple[int, int]:
        self.orders(code, **more)
        return self.start().wait(seconds)

    def clear(self) -> None:
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.started.clear()

    # What came of it

    def words(self) -> str:
        """What the containers said to nobody."""
        return "".join(f"{part}: {(self.root / f'{part}.log').read_text()[-2000:]}\n" for part in ("main", "sidecar"))

    def json(self, key: str) -> Any:
        return json.loads(self.store.get(f"{PREFIX}{key}"))

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json("state.json")
        return found

    @property
    def ended(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "out" / "ended").read_text().partition("\n")[2])
        return found

    @property
    def termination(self) -> dict[str, Any]:
        text = (self.root / "termination").read_bytes()
        assert len(text) <= 4096
        found: dict[str, Any] = json.loads(text)
        return found

    def log(self, prefix: str = PREFIX) -> bytes:
        """As a reader sees it now."""
        reader, data, offset = LogReader(self.store, prefix), b"", 0
        while (chunk := reader.read(offset)).data:
            data, offset = data + chunk.data, chunk.next_offset
        return data

    def joined(self, prefix: str = PREFIX) -> LogRecord:
        """What the server makes of a log that the sidecar closed."""
        record = LogRecord.from_json(self.store.get(record_key(prefix)))
        return join_segments(self.store, prefix, record)

    def until(self, what: Callable[[], Any], seconds: float = 20) -> Any:
        """Wait for it."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if found := what():
                    return found
            except (LookupError, StoreError, FileNotFoundError):
                pass  # not there yet
            assert time.monotonic() < deadline, self.words()
            time.sleep(0.02)
