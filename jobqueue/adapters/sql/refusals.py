"""The jobs that a database refuses to free, and the ways to free the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from jobqueue.adapters.sql.database import translated
from jobqueue.errors import DatabaseRefused

Free = Callable[[Sequence[int]], list[Any]]
"""Frees jobs by their ids, and returns their rows."""


@dataclass(slots=True)
class Refusals:
    """The jobs that the database refuses to free, each with what it says, as they are found.

    Args:
        database: the database's name, for messages.
    """

    database: str
    found: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to free jobs.

    Args:
        passing_over: whether rows that somebody has locked are passed over.
        refused: where it is noted which jobs the database refuses to free. None as long as it has
            refused nothing: then all are freed at once, and an error ends the transaction.
    """

    passing_over: bool
    refused: Refusals | None = None

    @property
    def refusals(self) -> tuple[tuple[int, str], ...]:
        """The jobs that were refused so far, in the order of their ids."""
        return () if self.refused is None else tuple(sorted(self.refused.found.items()))

    def take(self, connection: Connection, ids: Sequence[int], free: Free) -> list[Any]:
        """Free jobs, or their halves, until those that the database refuses stand alone."""
        if self.refused is None:
            return free(ids)
        if not ids:
            return []
        try:
            with connection.begin_nested():
                return free(ids)
        except DBAPIError as error:
            why = translated(error.orig or error, self.refused.database)
            if error.connection_invalidated or not isinstance(why, DatabaseRefused):
                raise
        if len(ids) == 1:
            self.refused.found[ids[0]] = str(why)
            return []
        middle = len(ids) // 2
        first, second = ids[:middle], ids[middle:]
        return [*self.take(connection, first, free), *self.take(connection, second, free)]
