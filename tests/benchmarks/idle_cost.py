"""What is used while nothing runs: by the extension, against a bare jupyter_server, and by a pool of one kernel."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from jupyter_trainjob.backends.local.folder import Folder
from jupyter_trainjob.backends.local.warm import slot

from .server import RunningServer, free_port, running_server
from .warm_start import await_warm

EXTENSION_BYTES, IDLE_PERCENT = 50 * 10**6, 0.5
SETTLE_SECONDS, WATCH_SECONDS = 10.0, 60.0


def _memory(processes: list[psutil.Process]) -> int:
    """Their share of what they hold in memory (PSS), in bytes."""
    return sum(process.memory_full_info().pss for process in processes)


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


@contextmanager
def _bare() -> Iterator[psutil.Process]:
    """A jupyter_server without us."""
    with tempfile.TemporaryDirectory() as folder:
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
        environment = {**os.environ, **{name: f"{folder}/{name.lower()}" for name in names}}
        command = [sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", f"--port={free_port()}"]
        command += [f"--IdentityProvider.token={secrets.token_hex(8)}", f"--ServerApp.root_dir={folder}"]
        command += ["--ServerApp.jpserver_extensions=jupyter_trainjob=False"]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, env=environment, cwd=folder, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)


def _pool(server: RunningServer) -> list[psutil.Process]:
    """All processes of the one kernel that waits, its supervisor's too."""
    [one] = slot.there(str(server.data_dir / "run"))
    known = Folder(str(server.data_dir / "run" / one.name)).read("supervisor.json") or {}
    supervisor = psutil.Process(known["pid"])
    return [supervisor, *supervisor.children(recursive=True)]


def run(*, quick: bool = False) -> dict[str, Any]:
    """Memory once all is quiet, and CPU over a minute."""
    settle, watch = (3.0, 5.0) if quick else (SETTLE_SECONDS, WATCH_SECONDS)
    pool_options = ("--LocalBackendSettings.warm_memory=1Gi", "--LocalBackendSettings.warm={'default': 1}")
    with _bare() as bare, running_server() as without, running_server(*pool_options) as server:
        await_warm(server)
        time.sleep(settle)
        bare_bytes, with_bytes = _memory([bare]), _memory([without.process])
        pool = _pool(server)
        pool_bytes = _memory(pool)
        began = time.monotonic()
        groups = {"bare": [bare], "server": [without.process], "pool": pool}
        before = {name: _cpu_seconds(group) for name, group in groups.items()}
        time.sleep(watch)
        seconds = time.monotonic() - began
        used = {name: (_cpu_seconds(group) - before[name]) / seconds * 100 for name, group in groups.items()}
    figures = {
        "benchmark": "idle_cost",
        "bare_server_mb": round(bare_bytes / 1e6, 1),
        "with_extension_mb": round(with_bytes / 1e6, 1),
        "extension_adds_mb": round((with_bytes - bare_bytes) / 1e6, 1),
        "pool_of_one_mb": round(pool_bytes / 1e6, 1),
        "bare_server_cpu_percent": round(used["bare"], 2),
        "server_cpu_percent": round(used["server"], 2),
        "pool_cpu_percent": round(used["pool"], 2),
    }
    idle = used["server"] + used["pool"] <= IDLE_PERCENT
    return {**figures, "pass": with_bytes - bare_bytes <= EXTENSION_BYTES and idle}
