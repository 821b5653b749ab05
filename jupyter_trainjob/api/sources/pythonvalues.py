"""Python's parameters: what an assignment at the top of a cell sets, and what its literal is as JSON."""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
from collections.abc import Sequence
from typing import Any

from .findings import ParameterInfo, shorten
from .language import Comments
from .lexing import MAX_INTEGER_BITS, NotLiteral

_LINE_END = re.compile(r"\r\n?|\n")
_FLOATS = {"nan": "NaN", "inf": "Infinity", "infinity": "Infinity", "-inf": "-Infinity"}


class Lines:
    """A text cut as Python's parser cuts it. Its own words for a node, unlike ``ast.unparse``'s, need no recursion,
    and cutting once keeps many parameters from taking time quadratic in the text."""

    def __init__(self, code: str) -> None:
        self._lines = [line.encode("utf-8", "surrogatepass") for line in _LINE_END.split(code)]

    def source(self, node: ast.stmt | ast.expr) -> str:
        """What the text has for ``node``, on one line, shortened."""
        end_line, end = node.end_lineno or node.lineno, node.end_col_offset
        parts = self._lines[node.lineno - 1 : end_line][:40]  # more than is told
        if not parts:
            return ""
        if len(parts) == end_line - node.lineno + 1:
            parts[-1] = parts[-1][:end]
        parts[0] = parts[0][node.col_offset :]
        return shorten(b"\n".join(parts)[:4000].decode("utf-8", "replace"))


def parameter(name: str, statement: ast.stmt, comments: Comments, lines: Lines) -> ParameterInfo:
    """What the assignment says of ``name``, which it sets."""
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
    except NotLiteral:
        known = False
    declared = lines.source(annotation).strip("'\"") if annotation is not None else ""
    return ParameterInfo(
        name,
        declared or (_type_of(default) if known else ""),
        bool(declared),
        default,
        known,
        lines.source(value),
        help_,
    )


def _type_of(default: Any) -> str:
    """What Python calls the type of a default; empty for None."""
    if isinstance(default, dict) and "$type" in default:
        return {"map": "dict"}.get(default["$type"], str(default["$type"]))
    return "" if default is None else type(default).__name__


def _value(node: ast.expr) -> Any:
    """The value of a literal as a parameter's JSON. Depth is bounded by the brackets that Python's parser takes."""
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, (bool, int, float, str))):
        return _scalar(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = node.operand
        if (
            isinstance(inner, ast.Constant)
            and isinstance(inner.value, (int, float))
            and not isinstance(inner.value, bool)
        ):
            return _scalar(-inner.value if isinstance(node.op, ast.USub) else inner.value)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return _map(node)
    return _named_value(node)


def _scalar(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$type": "float", "value": "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        raise NotLiteral
    return value


def _map(node: ast.Dict) -> Any:
    entries = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            raise NotLiteral
        entries[key.value] = _value(value)
    return {"$type": "map", "value": entries} if "$type" in entries else entries


def _named_value(node: ast.expr) -> Any:
    """``float('nan')``, ``math.inf``, ``date(2026, 11, 22)``."""
    if isinstance(node, ast.Attribute) and _dotted(node).startswith(("math.", "np.", "numpy.")):
        return _special(node.attr)
    if isinstance(node, ast.Call) and not node.keywords:
        arguments = [item.value if isinstance(item, ast.Constant) else None for item in node.args]
        name = _dotted(node.func)
        if name == "float" and len(arguments) == 1 and isinstance(arguments[0], str):
            return _special(arguments[0])
        if name in ("date", "datetime.date"):
            return _date(arguments)
    raise NotLiteral


def _dotted(node: ast.expr) -> str:
    """``a`` or ``a.b``; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def _special(name: str) -> Any:
    if name.lower() not in _FLOATS:
        raise NotLiteral
    return {"$type": "float", "value": _FLOATS[name.lower()]}


def _date(arguments: Sequence[Any]) -> Any:
    if len(arguments) != 3 or not all(type(part) is int and 0 <= part < 10000 for part in arguments):
        raise NotLiteral
    year, month, day = arguments
    return {"$type": "date", "value": f"{year:04}-{month:02}-{day:02}"}


def comments_of(code: str) -> Comments:
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
