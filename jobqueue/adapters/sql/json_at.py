"""The JSON text at a path in a column: an expression that each database compiles in its own way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from jobqueue.records import JsonValue

# Texts that a server cannot take apart, since an escape in them stands for no character. It would
# refuse the whole statement for one such row.
CANNOT_BE_READ = r"\\u(0000|[dD][89a-fA-F])"
MOST_DIGITS = 10


class JsonAt(ColumnElement[Any]):
    """The JSON text at a path in a column of JSON; NULL where there is nothing, or no JSON.

    Args:
        column: the column.
        path: the names that lead there, from the outermost on.
    """

    inherit_cache = False
    type = Text()

    def __init__(self, column: ColumnElement[Any], path: Sequence[str]) -> None:
        self.column = column
        self.path = tuple(path)


def is_place(name: str) -> bool:
    """Whether a name may be a place in a list."""
    return name.isascii() and name.isdecimal() and len(name) < MOST_DIGITS


def has_value(column: ColumnElement[Any], wanted: JsonValue) -> ColumnElement[bool]:
    """The condition that a column of JSON has a value."""
    found = JsonAt(column, wanted.path)
    if wanted.value is None:
        return found.is_not(None)
    return found.in_(texts_of(wanted.value))


def texts_of(value: str) -> list[str]:
    """The JSON texts that a written value may stand for: `42` for a number and for a text."""
    texts = [json.dumps(value, ensure_ascii=False), json.dumps(value)]
    try:
        is_plain = isinstance(json.loads(value), int | float | None)
    except (ValueError, RecursionError):
        is_plain = False
    return list(dict.fromkeys([*texts, value] if is_plain else texts))


@compiles(JsonAt, "postgresql")
def _in_postgresql(element: JsonAt, compiler: SQLCompiler, **options: Any) -> str:
    column = compiler.process(cast(element.column, Text), **options)
    unreadable = compiler.process(literal(CANNOT_BE_READ, Text()), **options)
    found = f"({column})::json"
    for name in element.path:
        if is_place(name):
            path = compiler.process(literal(_array([name]), Text()), **options)
            found = f"({found} #> ({path})::text[])"
        else:  # in a path, `-1` and `+1` would be places in a list as well
            key = compiler.process(literal(name, Text()), **options)
            found = f"({found} -> ({key})::text)"
    return f"CASE WHEN {column} ~ {unreadable} THEN NULL ELSE {found} END::text"


@compiles(JsonAt, "sqlite")
def _in_sqlite(element: JsonAt, compiler: SQLCompiler, **options: Any) -> str:
    column = compiler.process(cast(element.column, Text), **options)
    found = column
    for name in element.path:
        # As a path of its own, or it would be split at its dots. No name has a quote in it.
        key = compiler.process(literal(f'$."{name}"', Text()), **options)
        # A number may be the name of a key, or a place in a list.
        in_list = f"{found} -> {int(name)}" if is_place(name) else "NULL"
        found = f"coalesce({found} -> {key}, {in_list})"
    return f"CASE WHEN json_valid({column}) THEN {found} END"


def _array(path: Sequence[str]) -> str:
    """An array as PostgreSQL reads it."""
    return (
        "{"
        + ",".join('"' + name.replace("\\", r"\\").replace('"', r"\"") + '"' for name in path)
        + "}"
    )
