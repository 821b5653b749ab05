"""Pods.

- ``store``: a filesystem object store
- ``pod``: a :class:`.pods.Pod` with the plain runner, not started
- ``real``: one with the real runner
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_trainjob.storage.filesystem import FilesystemStore

from .pods import Pod


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    return FilesystemStore(tmp_path / "store")


@pytest.fixture
def pod(tmp_path: Path, store: FilesystemStore) -> Iterator[Pod]:
    made = Pod(tmp_path / "pod", store)
    yield made
    made.clear()


@pytest.fixture
def real(tmp_path: Path, store: FilesystemStore) -> Iterator[Pod]:
    made = Pod(tmp_path / "pod", store, runner=None)
    yield made
    made.clear()
