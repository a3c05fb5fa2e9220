"""The means to run statements in the driver's own style, on a connection of any kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Connection
from sqlalchemy import text as sql_text

NAMED_VALUE = re.compile(r"%\((\w+)\)s")
COLON = re.compile(r"(?<![:\w$]):(?=[\w$])")
"""What SQLAlchemy would take for the beginning of a value's name. It is in the name of a schema."""


@dataclass(frozen=True, slots=True)
class Execute:
    """A callable that runs statements in the driver's own style, in the caller's transaction.

    Args:
        run: runs a statement with its values, or once for each of a list of values.
        driver: the driver's own connection.
        url: of the engine that the connection belongs to; None when it belongs to none.
    """

    run: Callable[[str, Any], Sequence[Any]]
    driver: Any
    url: URL | None = None

    def __call__(self, sql: str, values: Any) -> Sequence[Any]:
        """Run a statement with its values, and return its rows."""
        return self.run(sql, values)


def executing_on(connection: Connection) -> Execute:
    """A callable that runs statements on a SQLAlchemy connection, one of asyncpg's included."""

    def run(sql: str, values: Any) -> Sequence[Any]:
        result = connection.exec_driver_sql(sql, values)
        return result.all() if result.returns_rows else ()

    def run_numbered(sql: str, values: Any) -> Sequence[Any]:
        numbered = NAMED_VALUE.sub(r"(:\1)", COLON.sub(r"\\:", sql)).replace("%%", "%")
        result = connection.execute(sql_text(numbered), values)
        return result.all() if result.returns_rows else ()

    is_numbered = connection.dialect.paramstyle == "numeric_dollar"
    driver = connection.connection.driver_connection
    return Execute(run_numbered if is_numbered else run, driver, connection.engine.url)
