"""What every attack begins with, and how several of them are one job's code."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .attack import Attack

PRELUDE = '''
import ctypes, errno, json, os, signal, socket, subprocess, sys, time

HOLD = 8
"""Seconds for which a bomb keeps what it has: a watch over it may be late on a machine that is busy."""

def got(what="it worked"):
    print("GOT", str(what)[:400].replace("\\n", " "), flush=True)

_libc = ctypes.CDLL(None, use_errno=True)
_arm = os.uname().machine == "aarch64"

def call(x86, arm, *arguments):
    """A system call by its numbers; raises OSError."""
    done = _libc.syscall(ctypes.c_long(arm if _arm else x86), *arguments)
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return done

def try_each(things, attempt):
    """``attempt`` of each until one works; the last error otherwise."""
    problem = RuntimeError("there was nothing to try")
    for thing in things:
        try:
            return attempt(thing)
        except OSError as error:
            problem = error
    raise problem
'''
MARK = "ATTACK "
SECONDS = 20
"""How long one of several may take."""
_SEVERAL = """
import json, subprocess, sys
for name, code in json.loads(ATTACKS):
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", code], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS,
        )
        said, problem = done.stdout, done.stderr
        status = done.returncode
    except subprocess.TimeoutExpired as error:
        said, problem, status = error.stdout or b"", b"timed out", None
    except OSError as error:
        said, problem, status = b"", str(error).encode(), None
    said, problem = (text.decode("utf-8", "replace") for text in (said, problem))
    last = (problem.strip().splitlines() or [""])[-1][:300]
    print(MARK + json.dumps([name, said[:100] + said[100:][-20000:], last, status]), flush=True)
"""


BEGAN = "BEGAN"
"""What each says before it does anything: of one that never began, nothing is known."""
BROKEN = ("SyntaxError", "NameError", "TypeError", "AttributeError", "ImportError", "ModuleNotFoundError", "KeyError")
"""Errors by which an attack fails of itself: no sandbox raises them."""


def fell_short(said: str, problem: str) -> str:
    """Why what an attack said and the last line of its error tell nothing of the sandbox; empty where they do."""
    if BEGAN not in said:
        return f"it never began: {problem}"
    return f"it is broken: {problem}" if problem.startswith(BROKEN) else ""


def program(attack: Attack, given: dict[str, Any]) -> str:
    """The whole of one attack."""
    given_it = f"given = json.loads({json.dumps(given)!r})\nprint({BEGAN!r}, flush=True)\n"
    return f"{PRELUDE}\n{given_it}{attack.code.strip()}\n"


def several(attacks: Iterable[Attack], given: dict[str, Any]) -> str:
    """One program that runs each attack as a process of its own, and prints a line of :data:`MARK` for each."""
    told = json.dumps([[attack.name, program(attack, given)] for attack in attacks])
    return f"ATTACKS = {told!r}\nMARK, SECONDS = {MARK!r}, {SECONDS}\n{_SEVERAL}"
