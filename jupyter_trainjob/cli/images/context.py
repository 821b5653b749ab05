"""What an engine is given to build from: ``kernels/`` and our package, laid out as in a clone, and nothing else.

A clone has ``kernels/`` beside the package, an installed wheel in the package's ``_data``.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
_LEFT_OUT = ("__pycache__", "labextension", "_data", "*.pyc")
_TIME_SECONDS = 315532800  # 1980: engines know layers again by the files' contents, and some by their times
_NAMES = ("python", "r", "scala", "service")


class ContextError(Exception):
    """There is nothing to build from. The text says where it was looked for."""


def known() -> list[str]:
    """The images there are."""
    return list(_NAMES)


def kernels() -> Path:
    """The folder of the Dockerfiles. Raises :class:`ContextError`."""
    places = [PACKAGE / "_data" / "kernels", PACKAGE.parent / "kernels"]
    for place in places:
        if (place / "python" / "Dockerfile").is_file():
            return place
    raise ContextError(
        f"The Dockerfiles are neither in {places[0]} nor in {places[1]}. "
        "Install jupyter_trainjob again, or run this in a clone."
    )


def prepare(folder: Path) -> Path:
    """Fill ``folder``, which is not there yet, and return it. Raises :class:`ContextError`."""
    if not (PACKAGE / "_version.py").is_file():
        raise ContextError(f"{PACKAGE} lacks _version.py, which installing makes: run pip install -e . in the clone.")
    shutil.copytree(kernels(), folder / "kernels", ignore=shutil.ignore_patterns(*_LEFT_OUT))
    shutil.copytree(PACKAGE, folder / "jupyter_trainjob", ignore=shutil.ignore_patterns(*_LEFT_OUT))
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (_TIME_SECONDS, _TIME_SECONDS))
    return folder
