"""The pages, and what is written in their blocks."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parents[2]
PAGES = sorted([*TOP.glob("*.md"), *TOP.glob("docs/*.md")])


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of ``page`` that say they are in ``language`` (empty: that say nothing)."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (TOP / page).read_text("utf-8"), re.M | re.S)
    return [code for said, code in found if said == language]
