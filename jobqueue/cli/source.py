"""The source of a user's module, to which a job is added without breaking what is there."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobqueue.cli.templates import job_class
from jobqueue.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class BaseClass:
    """The base class of a new job: its name in a module, and the import that it needs."""

    name: str
    needs_import: str | None = None


def extended(path: Path, class_name: str) -> bytes:
    """Return the content of a module with a job class added at its end.

    Raises:
        ConfigurationError: the module cannot be read, or uses that name already.
    """
    raw = path.read_bytes()
    text, encoding = _decoded(raw, path)
    tree = _parsed(text, path)
    if class_name in _names_in(tree):
        raise ConfigurationError(f"{path.name} uses the name {class_name} already; choose another")
    base = base_class(tree)
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n") if text.strip() else []
    if base.needs_import is not None:
        lines = _with_import(lines, tree, base.needs_import)
    separator = ["", ""] if lines else []
    new = "\n".join([*lines, *separator, job_class(class_name, base.name)])
    newline = "\r\n" if "\r\n" in text else "\n"
    return new.replace("\n", newline).encode(encoding)


def base_class(tree: ast.Module) -> BaseClass:
    """Return how a module can name `jobqueue.Job`: by an import that it has, or by a new one."""
    for name, imported in _imports(tree):
        if imported == "jobqueue.Job" and _is_bound_once(tree, name):
            return BaseClass(name)
    for name, imported in _imports(tree):
        if imported == "jobqueue" and _is_bound_once(tree, name):
            return BaseClass(f"{name}.Job")
    names = _names_in(tree)
    # A star import can bind any name, so that no short name is safe beside it.
    if "Job" not in names and "*" not in names:
        return BaseClass("Job", "from jobqueue import Job")
    if "jobqueue" not in names:
        return BaseClass("jobqueue.Job", "import jobqueue")
    alias = next(a for i in range(2, 100) if (a := f"jobqueue{i}") not in names)
    return BaseClass(f"{alias}.Job", f"import jobqueue as {alias}")


def _decoded(raw: bytes, path: Path) -> tuple[str, str]:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        return raw.decode(encoding), encoding
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name} cannot be read as Python: {error}") from None


def _parsed(text: str, path: Path) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f" in line {line}" if line else ""
        what = getattr(error, "msg", error)
        raise ConfigurationError(
            f"{path.name} is not valid Python{where} ({what}); mend it first"
        ) from None


def _names_in(tree: ast.Module) -> set[str]:
    """Return every name that the module binds or uses anywhere, `*` for star imports."""
    return set(_names(tree))


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Global | ast.Nonlocal):
            yield from node.names


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the names bound by imports at the top of the module, with what they stand for."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield alias.asname or top, alias.name if alias.asname else top


def _is_bound_once(tree: ast.Module, name: str) -> bool:
    """Return whether a single import is all that binds a name."""
    bound = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            bound += node.id == name
        elif isinstance(node, ast.alias):
            bound += (node.asname or node.name.partition(".")[0]) == name
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            bound += node.name == name
    return bound == 1


def _with_import(lines: list[str], tree: ast.Module, statement: str) -> list[str]:
    """Return the lines with an import after those at their top, or before everything else."""
    last = _end_of_imports(tree)
    if last:
        return [*lines[:last], statement, *lines[last:]]
    start = _end_of_header(lines, tree)
    rest = lines[start:]
    if not rest:
        return [*lines, *([""] if lines else []), statement]
    above = [""] if start and lines[start - 1].strip() else []
    return [*lines[:start], *above, statement, "", "", *_without_blank_start(rest)]


def _end_of_imports(tree: ast.Module) -> int:
    """Return the last line of the first block of imports; 0 if there is none."""
    last = 0
    for node in tree.body[1 if ast.get_docstring(tree, clean=False) is not None else 0 :]:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            break
        last = node.end_lineno or 0
    return last


def _end_of_header(lines: list[str], tree: ast.Module) -> int:
    """Return the line after the docstring, or after the block of comments at the top."""
    if ast.get_docstring(tree, clean=False) is not None:
        return tree.body[0].end_lineno or 0
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    is_apart = end == len(lines) or not lines[end].strip()
    magic = [line for line in lines[:2] if line.startswith("#!") or "coding" in line]
    return end if is_apart else len(magic) if lines[0].startswith("#") else 0


def _without_blank_start(lines: list[str]) -> list[str]:
    first = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
    return lines[first:]
