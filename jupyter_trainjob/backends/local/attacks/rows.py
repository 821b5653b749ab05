"""A backend to attack, and rows as people and programs read them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ....storage.filesystem import FilesystemStore
from ..backend import LocalBackend
from .suite import Row

OPTIONS: dict[str, dict[str, Any]] = {
    "namespaces+cgroups": {},
    "namespaces": {"allow_cgroups": False},
    "landlock+seccomp": {"allow_bwrap": False, "allow_cgroups": False},
    "process": {"allow_bwrap": False, "allow_cgroups": False, "allow_landlock": False},
}
"""What of a backend's options gives each level."""


@contextlib.asynccontextmanager
async def place(level: str, **options: Any) -> AsyncIterator[tuple[LocalBackend, FilesystemStore, Path]]:
    """A backend at ``level`` in a folder of its own, started; its store and its data folder."""
    with tempfile.TemporaryDirectory(prefix="trainjob-attacks-") as folder:
        data_dir, store = await asyncio.to_thread(_folders, Path(folder))
        options = {"grace_seconds": 2.0, **OPTIONS[level], **options}
        backend = LocalBackend(data_dir=str(data_dir), **options)
        await backend.start(store, lambda ref: None)
        try:
            yield backend, store, data_dir
        finally:
            for ref in await backend.attempts():
                await backend.delete(ref)
            await backend.stop()


def _folders(folder: Path) -> tuple[Path, FilesystemStore]:
    folder.chmod(0o755)
    return folder / "data", FilesystemStore(folder / "store")


def as_json(row: Row) -> str:
    """One line."""
    return json.dumps(row.to_dict())
