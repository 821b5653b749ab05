"""Controllers in a process of their own, to be killed: ``python -m tests.survive.server URL FOLDER``.

Says ``leading`` on its output once it leads.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from jupyter_trainjob.controllers import report
from jupyter_trainjob.controllers.manager import ControllerManager
from jupyter_trainjob.storage.filesystem import FilesystemStore
from jupyter_trainjob.store import Store

from .ondisk import OnDisk


async def main(url: str, folder: Path) -> None:
    """Until it is killed."""
    report.RETRY_SECONDS = 0.05
    objects = FilesystemStore(folder / "objects")
    log = logging.getLogger("survive")
    manager = ControllerManager(Store.open(url), objects, {"local": OnDisk(folder)}, log=log)
    await manager.start()
    while not manager.leading:
        await asyncio.sleep(0.05)
    print("leading", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
