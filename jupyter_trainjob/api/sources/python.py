"""Python, as IPython reads it: told by Python's own parser."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from .findings import Complaint, ParameterInfo
from .language import MAX_CODE_CHARACTERS, Language, Uses, without_own_magic
from .pythonvalues import Lines, comments_of, parameter

MAX_TRANSFORM_WORK = 2 * 1024 * 1024
"""Code bytes × IPython-syntax lines beyond which syntax is not checked: each such line costs a pass over the code."""

_IPYTHON_LINE = re.compile(r"^\s*[%!?]|=\s*[%!]|\?\s*$", re.MULTILINE)
_DYNAMIC = frozenset({"globals", "locals", "vars", "exec", "eval", "get_ipython"})


class Python(Language):
    """Python cells."""

    name = "python"
    title = "Python"

    def complaints(self, texts: Sequence[str]) -> list[Complaint | None]:
        """What is wrong with each cell."""
        return [_read(text).complaint for text in texts]

    def declared(self, code: str) -> list[ParameterInfo] | None:
        """What plain assignments at the top of the cell set."""
        if len(code) > MAX_CODE_CHARACTERS:
            return None
        read = _read(code)
        if read.tree is None:
            return None
        found: dict[str, ParameterInfo] = {}
        comments, lines = comments_of(code), Lines(read.text)
        for statement in read.tree.body:
            for name in _assigned(statement):
                if name not in found:
                    found[name] = parameter(name, statement, comments, lines)
        return list(found.values())

    def uses(self, code: str, wanted: Collection[str]) -> Uses | None:
        """The names it uses."""
        if len(code) > MAX_CODE_CHARACTERS:
            return None
        read = _read(code)
        tree = read.tree
        if tree is None:
            return None
        used = frozenset(_names(tree))
        if used & _DYNAMIC or _is_cell_magic(tree):
            return None
        loose = sorted(used - set(dir(builtins)) - _imported(tree))
        return Uses(used, loose, dict(_overwritten(tree, Lines(read.text), set(wanted) & used)))


class _Read(NamedTuple):
    """The cell's tree with the text that it was read from (IPython's syntax made Python's), or what is wrong, or
    neither where that can't be told."""

    tree: ast.Module | None = None
    text: str = ""
    complaint: Complaint | None = None


_TOO_MUCH = (RecursionError, MemoryError)
"""What reading raises at code beyond what it can hold: whether that is code is the kernel's to say."""


def _read(code: str) -> _Read:
    code = without_own_magic(code)
    try:
        return _Read(_parse(code), code)
    except SyntaxError as plain:
        problem = plain
    except _TOO_MUCH:
        return _Read()
    except ValueError as error:
        return _Read(complaint=Complaint(f"the code can't be read as Python: {error}", remedy=""))
    magics = len(_IPYTHON_LINE.findall(code))
    indented = code[:1] in (" ", "\t")
    if magics and magics * len(code) > MAX_TRANSFORM_WORK:
        return _Read()
    if magics or indented:
        from IPython.core.inputtransformer2 import TransformerManager

        try:
            manager = TransformerManager()  # type: ignore[no-untyped-call]
            transformed = "\n" * _empty_above(code) + manager.transform_cell(code)
            return _Read(_parse(transformed), transformed)
        except SyntaxError as still:
            problem = still
        except (*_TOO_MUCH, ValueError, RuntimeError):
            return _Read()  # too much even for IPython: the kernel will say so
    return _Read(complaint=Complaint(problem.msg, problem.lineno or 0, problem.text or ""))


def _empty_above(code: str) -> int:
    """How many lines IPython drops above the code."""
    return next((number for number, line in enumerate(code.split("\n")) if line.strip()), 0)


def _parse(code: str) -> ast.Module:
    """Its tree; an empty one of a text so large that nobody looks at its names: Python objects for a tree take seconds,
    in which no other thread runs."""
    if len(code) > MAX_CODE_CHARACTERS:
        symtable.symtable(code, "<cell>", "exec")
        return ast.Module([], [])
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(code, "<cell>", "exec", flags, dont_inherit=True)
    if not isinstance(tree, ast.Module):
        raise TypeError(f"compile gave a {type(tree).__name__}")
    return tree


# Names


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id


def _assigned(statement: ast.stmt) -> dict[str, int]:
    """Name → line of what a plain top-level assignment sets."""
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    return {
        node.id: statement.lineno
        for target in targets
        for node in ast.walk(target)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _overwritten(tree: ast.Module, text: Lines, wanted: set[str]) -> Iterator[tuple[str, tuple[int, str]]]:
    """Of ``wanted``, the names whose first mention is a plain assignment that doesn't read them."""
    waiting = set(wanted)
    for statement in tree.body:
        if not waiting:
            return
        here = waiting & set(_names(statement))
        waiting -= here
        lines = _assigned(statement)
        value = getattr(statement, "value", None)
        read = set(_names(value)) if here & lines.keys() and value is not None else set()
        for name in sorted(here & lines.keys() - read):
            yield name, (lines[name], text.source(statement)[:80])


def _imported(tree: ast.Module) -> set[str]:
    return {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }


def _is_cell_magic(tree: ast.Module) -> bool:
    """Whether IPython hands the whole cell to a magic, as text: its names are not ours to read."""
    return any(isinstance(node, ast.Attribute) and node.attr == "run_cell_magic" for node in ast.walk(tree))
