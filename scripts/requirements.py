"""Print what the project and its ``dev`` extra need, without the project itself.

``pip install .[dev]`` would build and install the project too; an environment that many clones share must not hold one
of them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

PROJECT = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
OURS = re.compile(r"jupyter_trainjob\[(?P<extras>[\w,]+)\]")


def needs(requirements: list[str]) -> list[str]:
    """``requirements`` with those that name extras of ours replaced by what these hold."""
    found = []
    for requirement in requirements:
        ours = OURS.fullmatch(requirement)
        if ours is None:
            found.append(requirement)
        else:
            for extra in ours["extras"].split(","):
                found += needs(PROJECT["optional-dependencies"][extra])
    return found


print("\n".join(sorted(set(PROJECT["dependencies"] + needs(["jupyter_trainjob[dev]"])))))
