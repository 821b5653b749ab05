"""What runs in the pods that build environments: ``python -I <this file> make|build|finish|removal …``.

Standard library only, and of ours what needs no more; see ``environments_objects`` for who sees what. What ``build``
leaves may be written over by the code that it installed: all of it is claims.
"""

from __future__ import annotations

import sys

if not __package__:
    sys.path.insert(0, __file__.rsplit("/jupyter_trainjob/", 1)[0])

import json
import os
import platform
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROOT = "/trainjob/environment"
CLAIM = "/trainjob/environments"
ORDERS, CREDENTIALS, AUTHORITIES = (
    "/var/run/trainjob/orders.json",
    "/var/run/trainjob-store/credentials.json",
    "/var/run/trainjob-store/ca.crt",
)
SCRATCH = "/tmp"  # noqa: S108 - a volume of the pod's own
TERMINATION = "/dev/termination-log"
TOLD, READY = "told.json", "ready"
LEFT = "installed.json"
MAX_TOLD_BYTES = 8 * 2**20
MAX_WORDS = 3000
MAX_LAST_BYTES = 12 * 1024 // 4
"""A kubelet keeps 12 KiB of last words of a pod, as much for each of its containers; beyond it they are cut."""
OLD_SECONDS = 2 * 86400.0
"""A folder that nobody knows of and that is older was left by a build whose Job is gone."""


def make(place: str) -> int:
    """A folder of this build's own."""
    path = f"{CLAIM}/{place}/root"
    try:
        Path(path).mkdir(0o755, parents=True, exist_ok=True)
    except OSError as error:
        return _fail(
            f"nothing can be made on the volume of environments (environments_claim): {error.strerror}; the operator "
            f"lets user or group {os.getuid()} write there"
        )
    return 0


def build() -> int:
    """Install what the list names. On a failure the termination message says why."""
    from jupyter_trainjob.backends.local.environments.box import BuildFailed, last_words

    log = f"{SCRATCH}/build.log"
    Path(SCRATCH, "home").mkdir(exist_ok=True)
    try:
        installed = _install(_read(ORDERS), log)
    except (BuildFailed, OSError) as error:
        sys.stderr.write(last_words(log) + "\n")
        return _fail("; ".join(filter(None, [str(error), last_words(log)])) or "nothing tells why")
    Path(SCRATCH, LEFT).write_text(json.dumps(installed), "utf-8")
    return 0


def _install(orders: dict[str, Any], log: str) -> dict[str, Any]:
    """The recipe of a server's own environments; the pod is the sandbox."""
    from jupyter_trainjob.backends.local.environments import python, rlang
    from jupyter_trainjob.backends.local.environments.box import Bounds, Box, NeverBuilt
    from jupyter_trainjob.backends.local.environments.recipes import Recipe, Site
    from jupyter_trainjob.backends.local.probe import Offer
    from jupyter_trainjob.backends.local.runtime import Runtime

    runtime = Runtime(sys.executable, platform.python_version(), ())
    site = Site(dict(orders["pip"]), orders["builds"], tuple(orders["rRepositories"]))
    recipe: Recipe = python.PythonRecipe(runtime, site)
    if orders["format"] == "renv.lock":
        recipe = rlang.RRecipe(site)
    elif orders["format"] != "requirements.txt":
        raise NeverBuilt(f"a {orders['format']} is not built in a cluster", "leave it out")
    recipe.check(orders["text"], forbids_processes=True)
    box = Box(
        offer=Offer("process", None, False, False),
        runtime=runtime,
        bounds=Bounds(float(orders["seconds"]), orders["diskBytes"], orders["memoryBytes"]),
        drop=None,
        root=ROOT,
        scratch=SCRATCH,
        log=log,
        nproc_per_sandbox=False,
        lock=os.open(os.devnull, os.O_RDONLY),
        stopped=lambda: False,
    )
    packages = recipe.build(box, orders["text"], "")
    about = {name: value for name, value in recipe.identity().items() if name not in ("options", "behind")}
    return {"packages": packages, "about": about}


def finish(place: str) -> int:
    """Check what the build left, tell the store what was installed, and mark the folder as whole."""
    from jupyter_trainjob.backends.local.environments.box import BuildFailed, disk_bytes
    from jupyter_trainjob.backends.local.environments.recipes import read_inside
    from jupyter_trainjob.storage.base import StoreError
    from jupyter_trainjob.storage.signed import open_signed

    orders = _read(ORDERS)
    try:
        told = {
            **_installed(read_inside(f"{SCRATCH}/{LEFT}")),
            "bytes": disk_bytes(f"{CLAIM}/{place}/root"),
        }
    except (OSError, ValueError, BuildFailed) as error:
        return _fail(f"what the build left can't be read: {error}")
    ca = AUTHORITIES if Path(AUTHORITIES).exists() else ""
    try:
        store = open_signed(_read(CREDENTIALS)["post"], ca, {})
        store.put(f"{orders['prefix']}{TOLD}", json.dumps(told).encode())
    except StoreError as error:
        return _fail(f"the object store did not take what was installed: {error}")
    os.sync()
    Path(CLAIM, place, READY).touch()
    return 0


def _installed(data: bytes) -> dict[str, Any]:
    """What the build says, which its code could have written over: texts of a bounded size and nothing else."""
    if len(data) > MAX_TOLD_BYTES:
        raise ValueError("its list of packages is too large")
    found = json.loads(data)
    names = ("name", "version", "sha256")
    packages = [
        {name: str(one.get(name, ""))[:300] for name in names if one.get(name)} for one in found["packages"][:20_000]
    ]
    return {"packages": packages, "about": found["about"] if isinstance(found["about"], dict) else {}}


def removal(top: str, told: str) -> int:
    """Remove folders by name, and old ones that nobody knows of."""
    from jupyter_trainjob.backends.local.recover import remove_tree

    orders = json.loads(told)
    folder = Path(CLAIM, top)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        forgotten = path.name not in orders["known"] and time.time() - path.lstat().st_mtime > OLD_SECONDS
        if path.name in orders["remove"] or forgotten:
            remove_tree(str(path))
    return 0


def _read(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    return found


def _fail(words: str) -> int:
    text = words[-MAX_WORDS:]
    while len(data := json.dumps({"problem": text}).encode()) > MAX_LAST_BYTES:
        text = text[len(text) // 10 + 1 :]
    Path(TERMINATION).write_bytes(data)
    sys.stderr.write(f"{words}\n")
    return 1


if __name__ == "__main__":
    steps = {"make": make, "build": build, "finish": finish, "removal": removal}
    if len(sys.argv) < 2 or sys.argv[1] not in steps:
        sys.exit("usage: python -I environments_pod.py make FOLDER | build | finish FOLDER | removal FOLDER ORDERS")
    sys.exit(steps[sys.argv[1]](*sys.argv[2:]))  # type: ignore[operator]
