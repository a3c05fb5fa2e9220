"""Statements that are written out, and name the schema of the tables where there are schemas."""

from __future__ import annotations

import functools
from typing import Any

from sqlalchemy import BindParameter, Connection, TextClause, text

SCHEMA = "{schema}."
TRANSLATED = "schema_translate_map"


def quoted(name: str) -> str:
    """A name as an identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def quoted_in_text(name: str) -> str:
    """The same for SQLAlchemy's `text()`, which takes a colon for the beginning of a parameter."""
    return quoted(name).replace(":", "\\:")


def search_path_set_to(schema: str) -> str:
    """The statement for Alembic by which names mean what is in a schema, within the transaction.

    Its scripts need not know of the schema, then.
    """
    return f"SET LOCAL search_path TO {quoted_in_text(schema)}"


class Named:
    """A statement over tables of ours, each with `{schema}.` before its name.

    Args:
        sql: the statement.
        parameters: those that have a type of their own.
    """

    def __init__(self, sql: str, *parameters: BindParameter[Any]) -> None:
        self._sql = sql
        self._parameters = parameters
        self._within = functools.cache(self._written)

    def on(self, connection: Connection) -> TextClause:
        """The statement for a connection of ours."""
        schemas = connection.get_execution_options().get(TRANSLATED) or {}
        return self._within(schemas.get(None))

    def _written(self, schema: str | None) -> TextClause:
        place = "" if schema is None else quoted_in_text(schema) + "."
        return text(self._sql.replace(SCHEMA, place)).bindparams(*self._parameters)
