"""Attempts whose supervisor is an ordinary user's, whoever runs the tests: root may read all, which hides much."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from jupyter_trainjob.backends.local import probe, runtime, sandbox, supervisor
from jupyter_trainjob.backends.local.folder import Folder
from jupyter_trainjob.backends.local.prepare import Settings
from jupyter_trainjob.storage.filesystem import FilesystemStore

from .conftest import PLAIN_RUNNER
from .place import a_request, prepared

SYSTEM_PYTHON = "/usr/bin/python3"
NOBODY = 65534


class Ordinary:
    """All below ``root``, a folder that everybody can pass: a copy of the package, a store and a run folder."""

    def __init__(self, root: Path) -> None:
        root.chmod(0o755)
        self.root = root
        left_out = shutil.ignore_patterns("__pycache__", "labextension", "tests")
        shutil.copytree(runtime.package_folder(), root / "lib" / "jupyter_trainjob", ignore=left_out)
        for path in (root / "run", root / "store"):
            path.mkdir(mode=0o700)
        bwrap = shutil.which("bwrap")
        assert bwrap, "this test wants bubblewrap"
        self.store = FilesystemStore(root / "store")
        self.settings = Settings(
            runtime=runtime.Runtime(SYSTEM_PYTHON, "3", ()),
            offer=probe.Offer("namespaces", sandbox.Bwrap(bwrap, as_root=False), cgroups=False, drop=False),
            store=self.store,
            run_folder=str(root / "run"),
            uid_range=(0, -1),
            uid_locks="",
            startup_seconds=20,
            grace_seconds=2,
            nproc_per_sandbox=True,
            runner=(SYSTEM_PYTHON, "-I", "-c", PLAIN_RUNNER),
        )

    def prepare(self, uid: str, code: str, **spec: Any) -> Folder:
        """An attempt, not started."""
        folder = prepared(a_request(uid, code, **spec), self.settings)
        owner = f"{NOBODY}:{NOBODY}"
        subprocess.run(["chown", "-R", owner, str(self.root / "run"), str(self.root / "store")], check=True)
        return folder

    def start(self, folder: Folder) -> None:
        """Its supervisor."""
        self.python(f"from {supervisor.__name__} import main; sys.exit(main(sys.argv[1]))", folder.path)

    def python(self, code: str, *arguments: str) -> str:
        """What ``code`` prints, run by the ordinary user."""
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", "-i"]
        code = f"import sys; sys.path.insert(0, {str(self.root / 'lib')!r}); {code}"
        command += [SYSTEM_PYTHON, "-I", "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=40)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def ended(self, folder: Folder) -> dict[str, Any]:
        """Its exit record."""
        for _ in range(400):
            state = folder.read("state.json")
            if state and state["state"] == "ended":
                return state
            await asyncio.sleep(0.05)
        log = Path(folder.file("supervisor.log"))
        raise AssertionError(folder.read("state.json"), log.read_text() if log.exists() else os.listdir(folder.path))
