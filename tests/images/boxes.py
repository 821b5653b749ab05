"""Runs an image as a pod does, without a cluster: read-only root, uid 1000, no rights, no network."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from .archives import archives, environment, reference

RUNNER = ("/opt/venv/bin/python", "-I", "/opt/trainjob/jupyter_trainjob/runner")


@dataclass
class Ended:
    """What a run left."""

    status: int
    log: bytes
    stderr: str
    events: list[dict[str, Any]]
    folder: Path

    @property
    def end(self) -> dict[str, Any]:
        [found] = [event for event in self.events if event["type"] == "end"] or [{}]
        assert found, (self.status, self.events, self.log[-2000:], self.stderr[-4000:])
        return found

    @property
    def notebook(self) -> Any:
        return nbformat.read(self.folder / "trainjob" / "out" / "notebook.ipynb", 4)


@dataclass
class Box:
    """An image's files, and what its configuration says."""

    name: str
    root: Path
    config: dict[str, Any]
    history: list[dict[str, Any]]

    def command(
        self,
        folder: Path,
        words: list[str],
        *,
        writable: bool = False,
        network: bool = False,
        places: tuple[str, ...] = (),
    ) -> list[str]:
        """``words`` in the image. ``folder`` holds what is mounted at ``/work``, ``/trainjob`` and ``places``."""
        argv = ["bwrap", "--bind" if writable else "--ro-bind", str(self.root), "/", "--dev", "/dev", "--proc", "/proc"]
        argv += ["--perms", "1777", "--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", "/dev/shm"]
        for place in ("/work", "/trainjob", *places):
            there = folder / place[1:]
            there.mkdir(exist_ok=True)
            os.chown(there, 1000, 1000)
            argv += ["--bind", str(there), place]
        argv += ["--unshare-ipc", "--unshare-pid", "--unshare-uts", *([] if network else ["--unshare-net"])]
        argv += ["--die-with-parent", "--clearenv"]  # no user namespace: 1000 is to be 1000
        for text in self.config["Env"]:
            argv += ["--setenv", *text.split("=", 1)]
        argv += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        argv += ["--chdir", self.config["WorkingDir"], "--"]
        user, _, group = self.config["User"].partition(":")
        argv += [
            "setpriv",
            f"--reuid={user}",
            f"--regid={group}",
            "--clear-groups",
            "--no-new-privs",
            "--inh-caps=-all",
        ]
        return [*argv, *words]

    def run(self, folder: Path, *words: str, seconds: float = 120, **how: Any) -> subprocess.CompletedProcess[bytes]:
        """To its end."""
        done = subprocess.run(
            self.command(folder, list(words), **how),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        assert not done.stderr.startswith((b"bwrap:", b"setpriv:")), done.stderr
        return done

    def job(self, folder: Path, *cells: str, seconds: float = 180, **orders: Any) -> Ended:
        """A notebook by the image's own runner."""
        exchange = folder / "trainjob"
        for place in (exchange, exchange / "in", exchange / "out"):
            place.mkdir(exist_ok=True)
            os.chown(place, 1000, 1000)
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        nbformat.write(notebook, exchange / "in" / "notebook.ipynb")
        job = {
            "runnerProtocol": 1,
            "uid": "0123456789ab",
            "attempt": 1,
            "name": "digits-x7k2p",
            "notebook": "/trainjob/in/notebook.ipynb",
            "work": "/work",
            "out": "/trainjob/out",
            "graceSeconds": 8,
            "threads": 1,
            "memoryBytes": 2**31,
            **orders,
        }
        (exchange / "in" / "job.json").write_text(json.dumps(job))
        done = self.run(
            folder,
            *("sh", "-c", 'exec "$@" 3>/trainjob/out/events', "sh", *RUNNER, "/trainjob/in/job.json"),
            seconds=seconds,
        )
        events = exchange / "out" / "events"
        told = [json.loads(line) for line in events.read_text().splitlines()] if events.exists() else []
        return Ended(done.returncode, done.stdout, done.stderr.decode(errors="replace"), told, folder)


@contextmanager
def box(name: str) -> Iterator[Box]:
    """The image ``name``, built if it has to be; what a run may have written into it is gone afterwards."""
    [archive] = archives(name).values()

    def buildah(*words: str) -> str:
        return subprocess.run(
            ["buildah", *words], env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        ).stdout.strip()

    known = buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()
    source = reference(name) if reference(name) in known else f"oci-archive:{archive}"
    container = buildah("from", "--pull-never" if ":" not in source.partition("/")[0] else "--pull", source)
    try:
        root = Path(buildah("mount", container))
        told = json.loads(buildah("inspect", container))["OCIv1"]
        yield Box(name, root, told["config"], told["history"])
    finally:
        buildah("umount", container)
        buildah("rm", container)
