"""The first line of a cell is read twice: by the magic, and by the front end for notebooks without IPython's magics."""

from __future__ import annotations

import re
from pathlib import Path

from jupyter_trainjob.verbs.options import CELL_OPTIONS

SOURCE = Path(__file__).parents[2] / "labextension" / "src" / "submit" / "options.ts"


def test_the_front_end_knows_every_option_of_a_cell() -> None:
    table = re.search(r"const KINDS[^{]*\{(.*?)\};", SOURCE.read_text("utf-8"), re.DOTALL)
    assert table is not None
    there = {name.strip("'"): kind for name, kind in re.findall(r"([\w'-]+): '(\w+)'", table[1])}
    kinds = {"store_true": "switch", "append": "many", None: "one"}
    wanted = {}
    for option in CELL_OPTIONS:
        long = next(flag for flag in option.flags if flag.startswith("--"))
        wanted[long[2:]] = kinds[option.settings.get("action")]
    assert len(wanted) > 25
    assert {name: there.get(name) for name in wanted} == wanted
