"""What can be said of code before it runs: does it read as code, what parameters does it take, what is it. Pure.

Runs in a thread; sizes are capped so that it takes seconds at most. What can't be told here in time is accepted:
the job itself will tell.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..resources.errors import FieldError

MAX_TRANSFORM_WORK = 2 * 1024 * 1024
"""Code bytes × IPython-syntax lines beyond which syntax is not checked: each such line costs a pass over the code."""

NEWEST_NBFORMAT = 4
_IPYTHON_LINE = re.compile(r"^\s*[%!?]|=\s*[%!]|\?\s*$", re.MULTILINE)
_OWN_MAGIC = re.compile(r"\s*%%trainjob\b[^\n]*(\n|\Z)")
_DYNAMIC = frozenset({"globals", "locals", "vars", "exec", "eval", "get_ipython"})


@dataclass
class Findings:
    """What a source is, and what is wrong with it."""

    errors: list[FieldError] = field(default_factory=list)
    language: str = ""
    """As the source itself tells; empty where it doesn't."""
    kernel: str = ""
    """The kernelspec that a notebook was written with."""
    code_hash: str = ""
    """SHA-256 of the code alone: outputs and metadata don't change it."""


def code_hash(cells: Collection[str]) -> str:
    """SHA-256 over code cells, whatever their line ends, trailing blanks and outputs."""
    canonical = ["\n".join(line.rstrip() for line in cell.splitlines()).strip("\n") for cell in cells]
    return hashlib.sha256(json.dumps(canonical, ensure_ascii=True).encode()).hexdigest()


def inspect_cell(code: str, language: str, parameters: Collection[str]) -> Findings:
    """Findings about one cell."""
    findings = Findings(code_hash=code_hash([code]))
    if language not in ("", "python"):
        return findings
    tree = _read(code, "spec.source.code", "", findings.errors)
    if tree is not None and not findings.errors:
        findings.errors += _cell_parameters(tree, parameters)
    return findings


def inspect_notebook(data: bytes, path: str, language: str, parameters: Collection[str]) -> Findings:
    """Findings about a notebook file."""
    findings = Findings()
    notebook = _load(data, path, findings.errors)
    if notebook is None:
        return findings
    metadata = notebook.get("metadata") or {}
    kernelspec = metadata.get("kernelspec") or {}
    told = (metadata.get("language_info") or {}).get("name") or kernelspec.get("language") or ""
    findings.language = str(told).lower()
    findings.kernel = str(kernelspec.get("name") or "")
    cells = [(number, cell) for number, cell in enumerate(notebook["cells"], 1) if cell["cell_type"] == "code"]
    findings.code_hash = code_hash([_source(cell) for _, cell in cells])
    if not any(_source(cell).strip() for _, cell in cells):
        findings.errors.append(
            FieldError(
                "spec.source.digest",
                f"the notebook {path!r} has no code cell with code in it",
                None,
                "Check that it is the right file and that it is saved.",
            )
        )
        return findings
    if (language or findings.language or "python") == "python":
        for number, cell in cells:
            if "raises-exception" not in _tags(cell):
                _read(_source(cell), "spec.source.digest", f"cell {number}, ", findings.errors)
    if not findings.errors:
        findings.errors += _notebook_parameters(cells, path, parameters)
    return findings


# Python


def _read(code: str, where: str, place: str, errors: list[FieldError]) -> ast.Module | None:
    """The cell's tree, or None where it can't be told; a syntax error is put into ``errors``."""
    own = _OWN_MAGIC.match(code)
    if own:  # inside a job the magic runs its cell in place
        code = "\n" * own.group().count("\n") + code[own.end() :]
    try:
        return _parse(code)
    except SyntaxError as plain:
        problem = plain
    except (ValueError, RecursionError, MemoryError) as error:
        errors.append(FieldError(where, f"{place}the code can't be read as Python: {error or type(error).__name__}"))
        return None
    magics = len(_IPYTHON_LINE.findall(code))
    indented = code[:1] in (" ", "\t")
    if magics and magics * len(code) > MAX_TRANSFORM_WORK:
        return None
    if magics or indented:
        from IPython.core.inputtransformer2 import TransformerManager

        try:
            manager = TransformerManager()  # type: ignore[no-untyped-call]
            return _parse(manager.transform_cell(code))
        except SyntaxError as transformed:
            problem = transformed
        except (ValueError, RecursionError, MemoryError, RuntimeError):
            return None  # too much even for IPython: the kernel will say so
    errors.append(_syntax_error(problem, where, place))
    return None


def _parse(code: str) -> ast.Module:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(code, "<cell>", "exec", flags, dont_inherit=True)
    if not isinstance(tree, ast.Module):
        raise TypeError(f"compile gave a {type(tree).__name__}")
    return tree


def _syntax_error(error: SyntaxError, where: str, place: str) -> FieldError:
    line = f"line {error.lineno}: " if error.lineno else ""
    text = (error.text or "").strip()
    shown = f": {text[:160]}" if text else ""
    return FieldError(
        where, f"{place}{line}{error.msg}{shown}", text[:160] or None, "Correct the line and send it again."
    )


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


def _cell_parameters(tree: ast.Module, parameters: Collection[str]) -> list[FieldError]:
    """Parameters that the cell doesn't use, or that it would overwrite before it uses them."""
    used = set(_names(tree))
    if not parameters or used & _DYNAMIC or _is_cell_magic(tree):
        return []
    loose = sorted(used - set(dir(builtins)) - _imported(tree))
    errors = []
    for name in parameters:
        if name not in used:
            errors.append(_undeclared(name, "the cell uses no such name", loose, "It uses"))
            continue
        for statement in tree.body:
            if name not in set(_names(statement)):
                continue
            line = _assigned(statement).get(name)
            value = getattr(statement, "value", None)
            if line is not None and (value is None or name not in set(_names(value))):
                text = ast.unparse(statement)[:80]
                errors.append(
                    FieldError(
                        f"spec.parameters.{name}",
                        f"line {line} of the cell, {text}, would overwrite the parameter",
                        None,
                        "Take that line out: parameters are set before the cell runs.",
                    )
                )
            break
    return errors


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


def _undeclared(name: str, problem: str, declared: list[str], those: str) -> FieldError:
    near = difflib.get_close_matches(name, declared, n=1, cutoff=0.5)
    remedy = f"Did you mean {near[0]!r}? " if near else ""
    remedy += f"{those}: {', '.join(declared[:20])}." if declared else f"{those} none."
    return FieldError(f"spec.parameters.{name}", problem, name, remedy)


# Notebooks


def _load(data: bytes, path: str, errors: list[FieldError]) -> dict[str, Any] | None:
    """The notebook in format 4, valid; None with the reason in ``errors``."""
    import nbformat
    from nbformat.validator import iter_validate

    def refuse(message: str, remedy: str) -> None:
        errors.append(FieldError("spec.source.digest", message, None, remedy))

    try:
        notebook = json.loads(data)
    except (ValueError, RecursionError):
        refuse(f"{path!r} is no notebook: it is not JSON", "Send the .ipynb file itself.")
        return None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("nbformat"), int):
        refuse(f"{path!r} is no notebook: it names no nbformat", "Send the .ipynb file itself.")
        return None
    major, minor = notebook["nbformat"], notebook.get("nbformat_minor", 0)
    if major > NEWEST_NBFORMAT:
        refuse(
            f"{path!r} is of notebook format {major}.{minor}; this server reads up to "
            f"{NEWEST_NBFORMAT}.{nbformat.current_nbformat_minor}",
            "Save it in format 4 with the program that wrote it, or ask the operator to update nbformat.",
        )
        return None
    if major < NEWEST_NBFORMAT:
        refuse(
            f"{path!r} is of the old notebook format {major}.{minor}",
            f"Bring it to format 4: jupyter nbconvert --to notebook --nbformat 4 {path}",
        )
        return None
    for cell in notebook["cells"] if isinstance(notebook.get("cells"), list) else ():
        if isinstance(cell, dict) and minor >= 5:
            cell.setdefault("id", "none")  # older writers forget it; runners give one
    problem = next(
        iter_validate(notebook, version=major, version_minor=minor, relax_add_props=True),  # type: ignore[no-untyped-call]
        None,
    )
    if problem is not None:
        at = "/".join(str(part) for part in problem.absolute_path)
        refuse(
            f"{path!r} is no valid notebook: {str(problem.message)[:160]}" + (f" (at {at})" if at else ""),
            "Open it in JupyterLab and save it again.",
        )
        return None
    return notebook


def _source(cell: Mapping[str, Any]) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def _tags(cell: Mapping[str, Any]) -> Collection[str]:
    tags = (cell.get("metadata") or {}).get("tags") or ()
    return tags if isinstance(tags, list) else ()


def _notebook_parameters(
    cells: list[tuple[int, dict[str, Any]]], path: str, parameters: Collection[str]
) -> list[FieldError]:
    """Parameters that the cell tagged ``parameters`` doesn't assign."""
    if not parameters:
        return []
    tagged = [(number, _source(cell)) for number, cell in cells if "parameters" in _tags(cell)]
    if not tagged:
        return [
            FieldError(
                "spec.parameters",
                f"the notebook {path!r} has no cell tagged 'parameters', so it takes none",
                ", ".join(parameters),
                "Tag the cell that sets their defaults with 'parameters' (property inspector, Cell Tags).",
            )
        ]
    number, code = tagged[0]
    tree = _read(code, "spec.source.digest", f"cell {number}, ", [])
    if tree is None:
        return []
    declared = sorted({name for statement in tree.body for name in _assigned(statement)})
    return [
        _undeclared(name, f"cell {number}, tagged 'parameters', does not set it", declared, "It sets")
        for name in parameters
        if name not in declared
    ]
