"""``jupyter trainjob doctor --sandbox``: attack the sandbox of this very machine, and say what held."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from ..backends.base import BackendError
from ..backends.local.attacks.rows import place
from ..backends.local.attacks.suite import Row, Suite
from ..backends.local.attacks.table import ATTACKS
from ..backends.local.doctor import Local
from .configuration import ConfigurationError
from .terminal import Screen

_GOT_THROUGH, _HELD, _NOT_CLAIMED = "GOT THROUGH", "contained", "not claimed"
_COLOURS = {_GOT_THROUGH: 31, _HELD: 32, _NOT_CLAIMED: 33}


def chosen(names: str) -> frozenset[str]:
    """Those that ``names`` (with commas) names; all where it is empty. Raises :class:`ConfigurationError`."""
    known = {attack.name for attack in ATTACKS}
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    if unknown := sorted(wanted - known):
        raise ConfigurationError(
            f"--only names {', '.join(unknown)}, which is no attack; there are: {', '.join(sorted(known))}"
        )
    return frozenset(wanted or known)


def attack_machine(local: Local, screen: Screen, *, as_json: bool, only: frozenset[str]) -> int:
    """Run the attacks of ``only`` against the sandbox that jobs get here. 1 where something got through that must not.

    Raises :class:`BackendError` where no job can be run at all.
    """
    options: dict[str, Any] = {
        "python": local.python,
        "kernelspec_dirs": local.kernelspec_dirs,
        "bwrap": local.bwrap,
        "allow_bwrap": local.allow_bwrap,
        "allow_cgroups": local.allow_cgroups,
        "allow_landlock": local.allow_landlock,
        "uid_first": local.uids[0],
        "uid_last": local.uids[1],
    }
    show = (lambda row: None) if as_json else (lambda row: screen.write(line(row, screen)))
    try:
        rows = asyncio.run(_rows(options, only, show))
    except TimeoutError as error:
        raise BackendError(str(error), remedy="Look at what jupyter trainjob doctor says without --sandbox.") from error
    if as_json:
        screen.write(json.dumps([row.to_dict() for row in rows], indent=2) + "\n")
    else:
        screen.write(summary(rows))
    return 1 if any(row.failed for row in rows) else 0


async def _rows(options: dict[str, Any], only: frozenset[str], show: Callable[[Row], None]) -> list[Row]:
    found = []
    async with place("namespaces+cgroups", **options) as (backend, store, data_dir):
        async for row in Suite(backend, store, data_dir).run(lambda attack: attack.name in only):
            show(row)
            found.append(row)
    return found


def line(row: Row, screen: Screen) -> str:
    """One attack: what came of it, its name, and what held it, or what it does."""
    mark = _GOT_THROUGH if row.failed else _HELD if row.contained else _NOT_CLAIMED
    shown = f"{mark:11}"
    if screen.colour:
        shown = f"\x1b[{_COLOURS[mark]}m{shown}\x1b[0m"
    told = f"by: {row.by}" if row.contained else f"{row.what} ({row.told})" if row.failed else row.what
    return f"{shown}  {row.name:22}  {told}\n"


def summary(rows: list[Row]) -> str:
    """The last lines."""
    open_ones = [row.name for row in rows if not row.contained and not row.failed]
    failed = [row.name for row in rows if row.failed]
    told = [
        f"{len(rows)} attacks on a job at the level {rows[0].level}: {sum(row.contained for row in rows)} contained."
    ]
    if open_ones:
        told.append(f"The level does not claim to hold {', '.join(open_ones)}; a stronger one does (docs/sandbox.md).")
    if failed:
        told.append(f"GOT THROUGH, and must not: {', '.join(failed)}. Let nobody you don't trust send jobs here.")
    return "\n".join(told) + "\n"
