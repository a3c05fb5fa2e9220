"""PostgreSQL's time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Interval, func, literal

from jobqueue.adapters.sql.time import DatabaseTime


class PostgresTime(DatabaseTime):
    """The server's time. That of the statement: `now()` is when the transaction began, long ago."""

    def _of_statement(self) -> ColumnElement[Any]:
        return func.statement_timestamp()

    def _after_statement(self, delay: timedelta) -> ColumnElement[Any]:
        return func.statement_timestamp() + literal(delay, Interval())
