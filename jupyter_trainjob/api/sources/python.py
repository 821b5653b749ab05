"""Python, as IPython reads it: told by Python's own parser."""

from __future__ import annotations

import ast
import builtins
import io
import math
import re
import symtable
import tokenize
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from .findings import Complaint, ParameterInfo, shorten
from .language import MAX_CODE_CHARACTERS, Comments, Language, Uses, without_own_magic

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
        return [_read(text)[1] for text in texts]

    def declared(self, code: str) -> list[ParameterInfo] | None:
        """What plain assignments at the top of the cell set."""
        if len(code) > MAX_CODE_CHARACTERS:
            return None
        tree, _ = _read(code)
        if tree is None:
            return None
        found: dict[str, ParameterInfo] = {}
        comments = _comments(code)
        for statement in tree.body:
            for name in _assigned(statement):
                if name not in found:
                    found[name] = _parameter(name, statement, comments)
        return list(found.values())

    def uses(self, code: str, wanted: Collection[str]) -> Uses | None:
        """The names it uses."""
        tree, _ = _read(code) if len(code) <= MAX_CODE_CHARACTERS else (None, None)
        if tree is None:
            return None
        used = frozenset(_names(tree))
        if used & _DYNAMIC or _is_cell_magic(tree):
            return None
        loose = sorted(used - set(dir(builtins)) - _imported(tree))
        return Uses(used, loose, dict(_overwritten(tree, set(wanted) & used)))


def _read(code: str) -> tuple[ast.Module | None, Complaint | None]:
    """The cell's tree, or what is wrong with it, or neither where that can't be told."""
    code = without_own_magic(code)
    try:
        return _parse(code), None
    except SyntaxError as plain:
        problem = plain
    except (ValueError, RecursionError, MemoryError) as error:
        return None, Complaint(f"the code can't be read as Python: {error or type(error).__name__}", remedy="")
    magics = len(_IPYTHON_LINE.findall(code))
    indented = code[:1] in (" ", "\t")
    if magics and magics * len(code) > MAX_TRANSFORM_WORK:
        return None, None
    if magics or indented:
        from IPython.core.inputtransformer2 import TransformerManager

        try:
            manager = TransformerManager()  # type: ignore[no-untyped-call]
            return _parse(manager.transform_cell(code)), None
        except SyntaxError as transformed:
            problem = transformed
        except (ValueError, RecursionError, MemoryError, RuntimeError):
            return None, None  # too much even for IPython: the kernel will say so
    return None, Complaint(problem.msg, problem.lineno or 0, problem.text or "")


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


def _overwritten(tree: ast.Module, wanted: set[str]) -> Iterator[tuple[str, tuple[int, str]]]:
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
            yield name, (lines[name], ast.unparse(statement)[:80])


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


# Parameters


class _NotLiteral(Exception):
    """The expression's value can't be told by reading it."""


def _parameter(name: str, statement: ast.stmt, comments: Comments) -> ParameterInfo:
    help_ = comments.help(statement.lineno, statement.end_lineno or statement.lineno)
    annotation = statement.annotation if isinstance(statement, ast.AnnAssign) else None
    simple = isinstance(statement, ast.AnnAssign) or (
        isinstance(statement, ast.Assign) and all(isinstance(target, ast.Name) for target in statement.targets)
    )
    value = getattr(statement, "value", None)
    if not simple or value is None:
        return ParameterInfo(name, help=help_)
    known, default = True, None
    try:
        default = _value(value)
    except _NotLiteral:
        known = False
    declared = ast.unparse(annotation).strip("'\"") if annotation is not None else ""
    return ParameterInfo(
        name,
        declared[:200] or (_type_of(default) if known else ""),
        bool(declared),
        default,
        known,
        shorten(ast.unparse(value)),
        help_,
    )


def _type_of(default: Any) -> str:
    """What Python calls the type of a default; empty for None."""
    if isinstance(default, dict) and "$type" in default:
        return {"map": "dict"}.get(default["$type"], str(default["$type"]))
    return "" if default is None else type(default).__name__


def _value(node: ast.expr) -> Any:
    """The value of a literal as a parameter's JSON. Depth is bounded by what Python's parser takes."""
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, (bool, int, str))):
        return node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, float):
        return _float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = node.operand
        if (
            isinstance(inner, ast.Constant)
            and isinstance(inner.value, (int, float))
            and not isinstance(inner.value, bool)
        ):
            return _float(-inner.value if isinstance(node.op, ast.USub) else inner.value)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return _map(node)
    return _named_value(ast.unparse(node) if isinstance(node, (ast.Call, ast.Attribute)) else "")


def _float(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$type": "float", "value": "Infinity" if value > 0 else "-Infinity"}
    return value


def _map(node: ast.Dict) -> Any:
    entries = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            raise _NotLiteral
        entries[key.value] = _value(value)
    return {"$type": "map", "value": entries} if "$type" in entries else entries


_FLOATS = {"nan": "NaN", "inf": "Infinity", "infinity": "Infinity", "-inf": "-Infinity"}
_FLOAT = re.compile(r"(?:float\(['\"](?P<text>-?\w+)['\"]\)|(?:math|np|numpy)\.(?P<name>\w+))\Z")
_DATE = re.compile(r"(?:datetime\.)?date\((\d{1,4}), (\d{1,2}), (\d{1,2})\)\Z")


def _named_value(text: str) -> Any:
    """``float('nan')``, ``math.inf``, ``date(2026, 11, 22)``."""
    if found := _FLOAT.match(text[:40]):
        name = (found["text"] or found["name"]).lower()
        if name in _FLOATS:
            return {"$type": "float", "value": _FLOATS[name]}
    if found := _DATE.match(text[:40]):
        year, month, day = map(int, found.groups())
        return {"$type": "date", "value": f"{year:04}-{month:02}-{day:02}"}
    raise _NotLiteral


def _comments(code: str) -> Comments:
    """The comments that Python's tokenizer finds before it gives up."""
    comments = Comments()
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.COMMENT:
                place = comments.beside if token.line[: token.start[1]].strip() else comments.alone
                place[token.start[0]] = token.string.lstrip("#").strip()
    except (tokenize.TokenError, SyntaxError):
        pass  # a line in IPython's own syntax: what was found before it stays
    return comments
