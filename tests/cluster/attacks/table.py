"""What attacks share: one line of JSON for each, ``[name, what came of it]``."""

import json
import threading
from collections.abc import Callable
from typing import Any

GIVEN: dict[str, Any] = {}
"""Where to, and with what: each attack says what it wants."""
_lock = threading.Lock()


def tell(name: str, got: object) -> None:
    with _lock:
        print(json.dumps([name, str(got)[:2000]]), flush=True)


def attack(name: str, step: Callable[[], object]) -> None:
    try:
        tell(name, step())
    except BaseException as error:
        tell(name, f"{type(error).__name__}: {error}")
