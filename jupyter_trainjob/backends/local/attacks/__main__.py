"""``python -m jupyter_trainjob.backends.local.attacks bare|LEVEL``: a line of JSON for each attack.

With ``--own-network`` (root) in a network namespace of its own, where the machine and the metadata service have
addresses of the suite's. Exit status 1 where a claim did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ..warm.pool import Warmth
from . import bare
from .attack import Attack
from .rows import OPTIONS, as_json, place
from .suite import Suite
from .table import ATTACKS
from .targets import Targets, own_network

BARE_AT_ONCE = 4
"""Most only hold for seconds what they have taken, where nothing takes it from them."""


def main(arguments: list[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m jupyter_trainjob.backends.local.attacks")
    parser.add_argument("level", choices=["bare", *OPTIONS])
    parser.add_argument("--only", default="", metavar="NAMES")
    parser.add_argument("--own-network", action="store_true")
    parser.add_argument("--warm", action="store_true", help="in kernels that were started before their job was known")
    parser.add_argument("--network", action="store_true", help="by jobs that have the machine's network")
    options = parser.parse_args(arguments)
    names = set(filter(None, options.only.split(",")))
    wanted = [attack for attack in ATTACKS if not names or attack.name in names]
    with own_network() if options.own_network else contextlib.nullcontext():
        if options.level == "bare":
            return _bare(wanted)
        told = {"warm": options.warm, "network": options.network}
        return asyncio.run(_level(options.level, {attack.name for attack in wanted}, **told))


def _bare(wanted: list[Attack]) -> int:
    with tempfile.TemporaryDirectory(prefix="trainjob-attacks-") as name:
        folder = Path(name)
        with Targets(folder / "data", folder / "store") as targets:
            (folder / "data/job/work").mkdir(parents=True)
            (folder / "data/job/work/secret.txt").write_text(targets.secret)
            targets.add_victim(f"{folder}/data/job", [])
            with ThreadPoolExecutor(BARE_AT_ONCE) as pool:
                for attack, found in zip(
                    wanted, pool.map(partial(bare.succeeds, targets=targets), wanted), strict=True
                ):
                    print(bare.to_json(attack.name, found), flush=True)
    return 0


async def _level(level: str, names: set[str], *, warm: bool, network: bool) -> int:
    failed = 0
    options: dict[str, Any] = {"warmth": Warmth(2 * 2**30)} if warm else {}
    options["host_network"] = network
    async with place(level, **options) as (backend, store, data_dir):
        found = str(backend.describe()["isolation"])
        if found != level:
            print(f"this machine offers {found}: {backend.describe()['warnings']}", file=sys.stderr)
            return 3
        suite = Suite(backend, store, data_dir, warm=warm, network=network)
        async for row in suite.run(lambda attack: attack.name in names):
            failed += row.failed
            print(as_json(row), flush=True)
        if warm and backend.describe()["warm"]["profiles"]["default"]["missed"] > 1:  # the first, which is attacked
            print(f"not all were warm: {backend.describe()['warm']}", file=sys.stderr)
            return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
