"""PostgreSQL's time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Interval, func, literal

from jobqueue.adapters.sql.time import DatabaseTime


class PostgresTime(DatabaseTime):
    """The server's time at the statement. `now()` would be the time when the transaction began."""

    def _of_statement(self) -> ColumnElement[Any]:
        return func.statement_timestamp()

    def _after_statement(self, delay: timedelta) -> ColumnElement[Any]:
        return func.statement_timestamp() + literal(delay, Interval())
