"""SQLite's time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, String, literal_column

from jobqueue.adapters.sql.tables import to_text
from jobqueue.adapters.sql.time import DatabaseTime

# SQLite's clock has milliseconds; zeros make the text as long as Python's.
TIME = "strftime('%Y-%m-%d %H:%M:%f', {moment}) || '000'"
TIME_LATER = "strftime('%Y-%m-%d %H:%M:%f', {moment}, printf('%+.3f seconds', {delay})) || '000'"


class SqliteTime(DatabaseTime):
    """The machine's time, in SQLite's own format."""

    @property
    def now_sql(self) -> str:
        """The current time, in statements that are written out."""
        return TIME.format(moment=self._moment())

    def later_sql(self, delay: str) -> str:
        """The time `delay` seconds from now, in statements that are written out; `delay` is SQL."""
        return TIME_LATER.format(moment=self._moment(), delay=delay)

    def values(self) -> dict[str, Any]:
        """The values that `now_sql` and `later_sql` need."""
        return {"now": to_text(self.clock.now())} if self.clock else {}

    def _moment(self) -> str:
        return ":now" if self.clock else "'now'"

    def _of_statement(self) -> ColumnElement[Any]:
        return literal_column(f"({self.now_sql})", String())

    def _after_statement(self, delay: timedelta) -> ColumnElement[Any]:
        return literal_column(f"({self.later_sql(repr(delay.total_seconds()))})", String())
