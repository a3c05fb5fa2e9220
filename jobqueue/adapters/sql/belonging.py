"""A transaction that a caller brings has to be in the database that holds the jobs.

An application whose tests have a database of their own, or whose framework keeps SQLite files in a
folder of its own, is easily configured with two. Nothing would be found of it before a job is
looked for, in vain: the tables may be in both.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobqueue.adapters.sql.base import SqlBase
from jobqueue.adapters.sql.engine import LONGEST_LOOK_SECONDS
from jobqueue.adapters.sql.executing import Execute, executing_on
from jobqueue.errors import ConfigurationError, DatabaseError

OTHER_DATABASE = (
    "session= is a transaction in {theirs}, but this job is kept in {ours}: {difference}. A "
    "transaction cannot span two databases: set JOBS_DATABASE_URL (`database_url`) to the one that "
    "the session writes to, and run `jobqueue migrate` there"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connection leads, as its other end says.

    Args:
        name: a URL, for messages.
        facts: what tells it from other places, and a word for each of them.
    """

    name: str
    facts: Mapping[str, Any]

    def difference_to(self, ours: Place) -> str | None:
        """What is not the same; None when all is."""
        different = [what for what, value in self.facts.items() if ours.facts[what] != value]
        if not different:
            return None
        what = different[0]
        words = (self.facts[what], ours.facts[what])
        if all(isinstance(word, str) for word in words):
            return f"the {what} is {words[0]}, not {words[1]}"
        return f"it is another {what}"


class SqlBelonging(SqlBase):
    """The part of an adapter that refuses transactions of other databases."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known_addresses: set[Any] = set()

    @abstractmethod
    def _address_of(self, execute: Execute) -> Any:
        """What a connection was made with, as far as it says where it leads."""

    @abstractmethod
    def _place_of(self, execute: Execute) -> Place:
        """Where a connection leads."""

    def refuse_other_database(self, execute: Execute) -> None:
        """Raise `ConfigurationError` for a connection to another database than the jobs'.

        Each address is looked at once.
        """
        address = self._address_of(execute)
        if address in self._known_addresses:
            return
        theirs = self._place_of(execute)
        ours = self._own_place()
        difference = ours and theirs.difference_to(ours)
        if ours is not None and difference is not None:
            raise ConfigurationError(
                OTHER_DATABASE.format(theirs=theirs.name, ours=ours.name, difference=difference)
            )
        self._known_addresses.add(address)

    def _own_place(self) -> Place | None:
        """None when it cannot be told at once: the transaction may hold a pooler's only connection.

        That is no reason to refuse a job, nor to wait for the next one, too.
        """
        try:
            return self.database.read(
                lambda connection: self._place_of(executing_on(connection)),
                answer_seconds=LONGEST_LOOK_SECONDS,
            )
        except DatabaseError:
            return None
