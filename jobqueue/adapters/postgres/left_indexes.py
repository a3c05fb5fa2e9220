"""The indexes that a migration of a large table leaves to be made after it.

An index that is made in a transaction keeps out whoever writes to its table. So it is made when the
columns are there and committed, concurrently. Nothing waits for it meanwhile, and what it serves is
slower until it is there. Two that make it at the same time need no lock for that: whoever comes
second waits for the first, by looking.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Dialect, Index, Row
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from jobqueue.adapters.postgres.database import PostgresDatabase
from jobqueue.adapters.postgres.schema_name import SchemaName
from jobqueue.adapters.sql.database import FOR_EVER
from jobqueue.adapters.sql.named import quoted
from jobqueue.adapters.sql.tables import LEFT_BY, Base
from jobqueue.errors import DatabaseError

DIALECT: Dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
INDEXES = """
SELECT name.relname AS name, indisvalid AND indisready AS is_valid,
       EXISTS (SELECT FROM pg_stat_progress_create_index AS progress
               WHERE progress.index_relid = indexrelid) AS is_being_made
FROM pg_index JOIN pg_class AS name ON name.oid = indexrelid
JOIN pg_class AS owner ON owner.oid = indrelid
WHERE owner.relname = ANY (%(tables)s)
  AND owner.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = {jobs}::regclass)
ORDER BY name.relname
"""
LOOK_SECONDS = 0.2
MOST_DEADLOCKS = 10
DEADLOCK = "40P01"


def make_left_indexes(database: PostgresDatabase) -> None:
    """Make the indexes that migrations have left, and those again whose making was cut off.

    Raises:
        DatabaseError: the server refuses it. What it has begun is made anew the next time.
    """
    schema, deadlocks = database.schema(), 0
    for index in left_indexes():
        while not _is_made(database, schema, index):
            try:
                _begin(database, schema, index)
            except DatabaseError as error:
                deadlocks += 1
                if not _is_deadlock(error) or deadlocks > MOST_DEADLOCKS:
                    raise


def left_indexes(since: str | None = None) -> Iterator[Index]:
    """The indexes that migrations leave, all or those of migrations after a revision."""
    for table in Base.metadata.tables.values():
        for index in table.indexes:
            if index.info.get(LEFT_BY, "") > (since or ""):
                yield index


def concurrently(index: Index, schema: SchemaName | None, *, if_not_exists: bool = False) -> str:
    """The statement that makes an index while others write."""
    places = {} if schema is None else {None: schema.name}
    ddl = CreateIndex(index, if_not_exists=if_not_exists).compile(
        dialect=DIALECT, schema_translate_map=places, render_schema_translate=bool(places)
    )
    return " ".join(str(ddl).replace("INDEX", "INDEX CONCURRENTLY", 1).split())


def state_of_indexes(connection: Connection, schema: SchemaName) -> list[Row[Any]]:
    """The indexes of our tables: their names, and whether each is valid or is being made."""
    tables = {"tables": list(Base.metadata.tables)}
    return list(connection.exec_driver_sql(schema.written_into(INDEXES), tables).all())


def _is_made(database: PostgresDatabase, schema: SchemaName, index: Index) -> bool:
    found = _found(database, schema, index)
    return found is not None and bool(found.is_valid)


def _begin(database: PostgresDatabase, schema: SchemaName, index: Index) -> None:
    """Do the next step towards an index that is not there, or not valid."""
    found = _found(database, schema, index)
    if found is None:
        _run(database, concurrently(index, schema, if_not_exists=True))
    elif found.is_being_made:
        time.sleep(LOOK_SECONDS)
    elif not found.is_valid:
        name = schema.written_into(f"{{schema}}.{quoted(str(index.name))}")
        _run(database, f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def _found(database: PostgresDatabase, schema: SchemaName, index: Index) -> Row[Any] | None:
    found = database.read(lambda connection: state_of_indexes(connection, schema))
    return next((row for row in found if row.name == index.name), None)


def _run(database: PostgresDatabase, statement: str) -> None:
    """Run a statement that must be in no transaction, however long it takes."""
    database.read(lambda c: c.exec_driver_sql(statement), answer_seconds=FOR_EVER)


def _is_deadlock(error: DatabaseError) -> bool:
    """Whether this was chosen to give way, of two that waited for each other."""
    original = getattr(error.__cause__, "orig", None)
    return getattr(original, "sqlstate", None) == DEADLOCK
