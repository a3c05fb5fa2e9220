"""Which schema holds the tables, where the setting `schema` does not say.

They are wherever the search path found a place for them when they were made, mostly in `public`.
But any role that may create schemas in the database can make one that the path looks into first
(`"$user"`, or one that is named there and does not exist), and plant tables in it. So each schema
of the path that has a table of jobs is judged by whom it belongs to, and the first one of the best
kind is ours:

1. The schema belongs to somebody trusted, and so does the table, unless not everybody may create
   tables there. Trusted are superusers, the owner of the database, this role, and the roles that it
   is a member of: who is one of them could do as this role does anyway, or drop the database.
2. The table belongs to somebody trusted: nobody else can make such a table, or give one away.
3. All others. An installation whose tables were made by another role is one of these.

If there are several of the second or the third kind, and none of the first, it cannot be known
which are planted: the setting has to say. So who plants tables brings about that error at most.
Tables are changed only where they are of the first two kinds, and made only in a schema of somebody
trusted.

Everything here is named with `pg_catalog`: functions can be planted as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from jobqueue.adapters.postgres.schema_name import SchemaName
from jobqueue.adapters.sql.execute import Execute
from jobqueue.errors import SchemaError

# `pg_has_role` would not do: for a superuser it says yes to any role.
FIND_PLACES = """
WITH RECURSIVE mine (oid) AS (
    SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user
    UNION
    SELECT roleid FROM pg_catalog.pg_auth_members JOIN mine ON member = mine.oid
),
trusted (oid) AS (
    SELECT oid FROM mine
    UNION SELECT oid FROM pg_catalog.pg_roles WHERE rolsuper OR rolname = 'pg_database_owner'
    UNION SELECT datdba FROM pg_catalog.pg_database
          WHERE datname = pg_catalog.current_database()
)
SELECT place.nspname, pg_catalog.pg_get_userbyid(place.nspowner),
       pg_catalog.pg_get_userbyid(jobs.relowner),
       place.nspowner IN (SELECT oid FROM trusted), jobs.relowner IN (SELECT oid FROM trusted),
       pg_catalog.has_schema_privilege('public', place.oid, 'CREATE')
FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS path (name, number)
JOIN pg_catalog.pg_namespace AS place ON place.nspname = path.name
LEFT JOIN pg_catalog.pg_class AS jobs
    ON jobs.relnamespace = place.oid AND jobs.relname = 'background_jobs'
    AND jobs.relkind IN ('r', 'p')
ORDER BY path.number
"""
USUAL = SchemaName("public")


class Trust(IntEnum):
    """How sure it is that nobody has planted the tables of a schema; the surest first."""

    WHOLE = 1
    TABLE = 2
    NONE = 3


@dataclass(frozen=True, slots=True)
class Place:
    """A schema of the search path.

    Args:
        name: the schema's.
        owner: the role that it belongs to.
        table_owner: the role that the table of jobs in it belongs to; None where there is none.
        is_trusted: whether its owner is trusted.
        is_table_trusted: whether the owner of the table is.
        is_open: whether everybody may create tables in it.
    """

    name: str
    owner: str
    table_owner: str | None
    is_trusted: bool
    is_table_trusted: bool | None
    is_open: bool

    @property
    def trust(self) -> Trust:
        """How far it can be trusted."""
        if self.is_trusted and (self.is_table_trusted or not self.is_open):
            return Trust.WHOLE
        return Trust.TABLE if self.is_table_trusted else Trust.NONE


@dataclass(frozen=True, slots=True)
class SearchPath:
    """The schemas in which a connection looks for tables, in that order."""

    places: Sequence[Place]

    @classmethod
    def of(cls, execute: Execute) -> SearchPath:
        """The search path of a connection."""
        return cls([Place(*row) for row in execute(FIND_PLACES, {})])

    def place_of_tables(self) -> Place | None:
        """Where the tables are; None if they are nowhere.

        Raises:
            SchemaError: they may be in several places.
        """
        found = [place for place in self.places if place.table_owner is not None]
        if not found:
            return None
        best = min(place.trust for place in found)
        chosen, *others = [place for place in found if place.trust is best]
        if others and best is not Trust.WHOLE:
            raise SchemaError(
                f"tables of jobqueue are in {_listed([chosen, *others])}, and which of them are "
                "yours cannot be told, since none belongs to a role that this one trusts; set "
                "`schema` to the right one"
            )
        return chosen

    def place_for_tables(self) -> Place | None:
        """Where to make tables: the first place that is nobody else's; None if there is none."""
        return next((place for place in self.places if place.is_trusted), None)

    def place_to_migrate(self) -> SchemaName:
        """Where the tables are, or are to be made, if nobody else can have planted any of it.

        Raises:
            SchemaError: there is no such place.
        """
        place = self.place_of_tables()
        if place is not None and place.trust is Trust.NONE:
            raise SchemaError(
                f"tables of jobqueue are in {_listed([place])}, a role that this one does not "
                f"trust; if they are yours, set `schema` to {place.name}, or have that role "
                "migrate them"
            )
        place = place or self.place_for_tables()
        if place is None:
            raise SchemaError(
                f"the search path leads to {_listed(self.places) or 'no schema'}, and to none "
                "that belongs to this role or to one that it trusts; set `schema` to the one that "
                "the tables are to be in"
            )
        return SchemaName(place.name)


def _listed(places: Sequence[Place]) -> str:
    return ", ".join(f"{place.name} (of {place.table_owner or place.owner})" for place in places)


class OwnSchema:
    """The schema that holds the tables: as it is set, or else where they are found.

    Once found, it stays so for as long as the process lives.

    Args:
        name: as it is set; None where it is not.
    """

    def __init__(self, name: str | None) -> None:
        self.given = None if name is None else SchemaName(name)
        self.known = self.given
        self._presumed: SchemaName | None = None

    def of(self, execute: Execute) -> SchemaName:
        """The schema, found with a connection of ours if need be.

        While there are no tables it is where they are to be made.

        Raises:
            SchemaError: the tables may be in several schemas.
        """
        if self.known is not None:
            return self.known
        path = SearchPath.of(execute)
        place = path.place_of_tables()
        if place is not None:
            self.known = SchemaName(place.name)
            return self.known
        expected = path.place_for_tables()
        return USUAL if expected is None else SchemaName(expected.name)

    def to_migrate(self, execute: Execute) -> SchemaName:
        """The schema to make or change tables in.

        Raises:
            SchemaError: the search path leads to none that is surely ours.
        """
        return self.given or SearchPath.of(execute).place_to_migrate()

    def presumed_by(self, execute: Execute) -> SchemaName:
        """The schema by a connection of the caller, since ours cannot be asked now.

        The next job does not wait for that either.
        """
        if self._presumed is None:
            place = SearchPath.of(execute).place_of_tables()
            self._presumed = None if place is None else SchemaName(place.name)
        return self.known or self._presumed or USUAL
