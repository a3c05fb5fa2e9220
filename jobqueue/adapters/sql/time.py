"""The time in statements: the database's own or, in tests, that of a clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.sql.expression import ColumnElement

from jobqueue.adapters.sql.tables import UtcDateTime, to_utc
from jobqueue.clock import Clock


class DatabaseTime(ABC):
    """Expressions for the time in statements.

    Args:
        clock: a clock to use in place of the database's own; for tests.
    """

    def __init__(self, clock: Clock | None) -> None:
        self.clock = clock

    @abstractmethod
    def _of_statement(self) -> ColumnElement[Any]:
        """The database's time, at the moment of the statement."""

    @abstractmethod
    def _after_statement(self, delay: timedelta) -> ColumnElement[Any]:
        """The database's time, a delay after the moment of the statement."""

    def now(self) -> ColumnElement[Any]:
        """The current time."""
        if self.clock is None:
            return self._of_statement()
        return bindparam(None, self.clock.now(), type_=UtcDateTime)

    def later(self, delay: timedelta) -> ColumnElement[Any]:
        """The time after a delay from now."""
        if self.clock is None:
            return self._after_statement(delay)
        return bindparam(None, self.clock.now() + delay, type_=UtcDateTime)

    def read(self, connection: Connection) -> datetime:
        """The current time, as a datetime."""
        return to_utc(connection.execute(select(self.now())).scalar_one())
