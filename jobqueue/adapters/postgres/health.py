"""Problems that slow a queue down in PostgreSQL, and their remedies.

A queue replaces its rows all the time, and lives from vacuum: whatever keeps vacuum from removing
dead rows (an old snapshot, an open transaction, a slot that nobody reads, a prepared transaction)
makes every look at the queue walk over them, in all databases of the server or in this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Row
from sqlalchemy.dialects import postgresql

from jobqueue.adapters.postgres.left_indexes import concurrently, state_of_indexes
from jobqueue.adapters.postgres.schema_name import SchemaName
from jobqueue.adapters.sql.tables import Base
from jobqueue.records import Ailment, Health, TableSize

DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
OLD_SECONDS = 60.0
OLD_TRANSACTIONS = 100_000
MANY_DEAD_ROWS = 10_000

# A session holds back vacuum by its snapshot, or since it has written; a vacuum itself does not.
SESSIONS = """
SELECT pid, usename AS role, application_name AS program, host(client_addr) AS address,
       xact_start AS began,
       backend_type = 'walsender' AS is_standby, state LIKE 'idle in transaction%%' AS is_idle,
       coalesce(extract(epoch FROM clock_timestamp() - xact_start), 0)::float8 AS seconds,
       greatest(age(backend_xmin), age(backend_xid)) AS holds
FROM pg_stat_activity
WHERE (datname = current_database() OR backend_type = 'walsender') AND pid <> pg_backend_pid()
  AND backend_type IN ('client backend', 'walsender', 'background worker', 'parallel worker')
  AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL OR state LIKE 'idle in transaction%%')
  AND query NOT ILIKE 'vacuum%%'
ORDER BY holds DESC NULLS LAST, seconds DESC, pid
"""
UNSEEN_SESSIONS = """
SELECT count(*), current_user FROM pg_stat_activity
WHERE datname = current_database() AND backend_type IS NULL
"""
PREPARED = """
SELECT gid, owner, prepared AS began, age(transaction) AS holds,
       extract(epoch FROM clock_timestamp() - prepared)::float8 AS seconds
FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared
"""
SLOTS = """
SELECT slot_name AS name, greatest(age(xmin), age(catalog_xmin)) AS holds,
       pg_size_pretty(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery()
           THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)) AS kept
FROM pg_replication_slots WHERE NOT active AND NOT temporary ORDER BY slot_name
"""
TABLE = """
SELECT n_live_tup AS live, n_dead_tup AS dead, last_autovacuum,
       pg_total_relation_size(relid) AS size,
       current_setting('autovacuum')::bool AS is_on,
       coalesce((SELECT option_value::bool FROM pg_class, pg_options_to_table(reloptions)
                 WHERE oid = relid AND option_name = 'autovacuum_enabled'), true) AS is_on_here,
       coalesce(extract(epoch FROM clock_timestamp() - last_autovacuum), 1e9)::float8 AS seconds
FROM pg_stat_user_tables WHERE relid = {jobs}::regclass
"""
TABLES = """
SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead,
       pg_total_relation_size(relid) AS size, greatest(last_vacuum, last_autovacuum) AS vacuumed
FROM pg_stat_user_tables
WHERE relid = ANY (SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = (
    SELECT relnamespace FROM pg_class WHERE oid = {jobs}::regclass))
ORDER BY size DESC, name
"""


def examine(connection: Connection, schema: SchemaName) -> Health:
    """The state of the server, as far as the role may see it, and of the tables in a schema."""
    sessions = connection.exec_driver_sql(SESSIONS).all()
    table = connection.exec_driver_sql(schema.written_into(TABLE)).one()
    facts = {
        "oldest_snapshot": _oldest(sessions),
        "live_rows": table.live,
        "dead_rows": table.dead,
        "bytes": table.size,
        "last_autovacuum": table.last_autovacuum,
    }
    ailments = (
        *_of_sessions(sessions),
        *_of_prepared(connection),
        *_of_slots(connection),
        *_of_table(table, f"{_quoted(schema.name)}.background_jobs"),
        *_of_indexes(connection, schema),
        *_of_rights(connection),
    )
    return Health(facts, ailments, tuple(_sizes(connection, schema)))


def _sizes(connection: Connection, schema: SchemaName) -> Iterator[TableSize]:
    for row in connection.exec_driver_sql(schema.written_into(TABLES)):
        if row.name in Base.metadata.tables:
            yield TableSize(row.name, row.live, row.dead, row.size, row.vacuumed)


# --- what holds back vacuum ----------------------------------------------------------------------


def _oldest(sessions: Sequence[Row[Any]]) -> dict[str, Any] | None:
    """The session that holds the oldest snapshot."""
    if not sessions or sessions[0].holds is None:
        return None
    oldest = sessions[0]
    return {"held_by": _name(oldest), "seconds": round(oldest.seconds, 1), "pid": oldest.pid}


def _of_sessions(sessions: Sequence[Row[Any]]) -> Iterator[Ailment]:
    for number, session in enumerate(sessions):
        is_old = session.seconds >= OLD_SECONDS
        if number == 0 and session.holds is not None:
            which = ", and holds the oldest snapshot: vacuum can remove nothing that died since"
        else:
            which = ": vacuum can remove nothing that it may still see"
        if session.is_standby:
            if session.holds is not None and session.holds >= OLD_TRANSACTIONS:
                yield _of_standby(session)
        elif is_old and session.is_idle:
            yield Ailment(
                "idle_in_transaction",
                f"{_name(session)} is idle in a transaction that began "
                f"{_span(session.seconds)} ago{which}",
                f"SELECT pg_terminate_backend({session.pid}); and to have the server do it: "
                f"ALTER ROLE {_quoted(session.role)} SET idle_in_transaction_session_timeout "
                "= '1min';",
                session.began,
            )
        elif is_old:
            yield Ailment(
                "old_snapshot",
                f"{_name(session)} is at work in a transaction that began "
                f"{_span(session.seconds)} ago{which}",
                f"let it end, or SELECT pg_terminate_backend({session.pid});",
                session.began,
            )


def _of_standby(session: Row[Any]) -> Ailment:
    return Ailment(
        "standby_feedback",
        f"{_name(session)} reports a query that is {session.holds:,} transactions old on a "
        "standby: vacuum removes nothing here that it may still see",
        "end that query there, or on the standby: ALTER SYSTEM SET hot_standby_feedback = off; "
        "SELECT pg_reload_conf();",
    )


def _of_prepared(connection: Connection) -> Iterator[Ailment]:
    for prepared in connection.exec_driver_sql(PREPARED):
        if prepared.seconds >= OLD_SECONDS:
            gid = prepared.gid.replace("'", "''")
            yield Ailment(
                "prepared_transaction",
                f"the transaction {prepared.gid} was prepared {_span(prepared.seconds)} ago by "
                f"{prepared.owner} and never ended: it holds its locks, and vacuum back",
                f"COMMIT PREPARED '{gid}'; or ROLLBACK PREPARED '{gid}';",
                prepared.began,
            )


def _of_slots(connection: Connection) -> Iterator[Ailment]:
    for slot in connection.exec_driver_sql(SLOTS):
        rows = ", and old rows with it" if slot.holds is not None else ""
        kept = slot.kept or "no"
        yield Ailment(
            "stale_slot",
            f"nobody reads the replication slot {slot.name}: it keeps {kept} of "
            f"write-ahead log{rows}, until the disk is full",
            f"start what reads it, or SELECT pg_drop_replication_slot('{slot.name}');",
        )


# --- the tables ----------------------------------------------------------------------------------


def _of_table(table: Row[Any], name: str) -> Iterator[Ailment]:
    if not table.is_on:
        yield Ailment(
            "autovacuum_off",
            "autovacuum is off on this server: dead rows are never removed",
            "ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf();",
        )
    if not table.is_on_here:
        yield Ailment(
            "autovacuum_off",
            "autovacuum is off for background_jobs: its dead rows are never removed",
            f"ALTER TABLE {name} RESET (autovacuum_enabled);",
        )
    if table.dead >= max(MANY_DEAD_ROWS, table.live) and table.seconds >= OLD_SECONDS:
        when = "never" if table.last_autovacuum is None else f"{_span(table.seconds)} ago"
        yield Ailment(
            "dead_rows",
            f"background_jobs has {table.dead:,} dead rows beside {table.live:,} live ones; the "
            f"last autovacuum was {when}",
            f"VACUUM (VERBOSE) {name}; which says of rows that are `dead but not yet "
            "removable` that something holds it back",
        )


@dataclass(frozen=True, slots=True)
class _Index:
    name: str
    ddl: str


def _of_indexes(connection: Connection, schema: SchemaName) -> Iterator[Ailment]:
    ours = {index.name: index for index in _our_indexes(schema)}
    found = state_of_indexes(connection, schema)
    for row in found:
        if row.is_valid or row.is_being_made:
            continue
        name = f"{_quoted(schema.name)}.{_quoted(row.name)}"
        yield Ailment(
            "invalid_index",
            f"the index {row.name} is invalid: whoever made it was interrupted or refused; it is "
            "kept up to date with every job and serves no query",
            f"REINDEX INDEX CONCURRENTLY {name};"
            if row.name in ours
            else f"DROP INDEX CONCURRENTLY {name};",
        )
    there = {row.name for row in found}
    for index in ours.values():
        if index.name not in there:
            yield Ailment(
                "missing_index",
                f"the index {index.name} is missing: what it serves walks over whole tables",
                index.ddl,
            )


def _our_indexes(schema: SchemaName) -> Iterator[_Index]:
    for table in Base.metadata.tables.values():
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            ddl = concurrently(index, schema)
            yield _Index(str(index.name), f"{_to_be_typed(ddl)};")


# --- the role, and words -------------------------------------------------------------------------


def _of_rights(connection: Connection) -> Iterator[Ailment]:
    number, role = connection.exec_driver_sql(UNSEEN_SESSIONS).one()
    if number:
        yield Ailment(
            "unseen_sessions",
            f"of {number} sessions of other roles it cannot be seen what they do",
            f"GRANT pg_read_all_stats TO {_quoted(role)};",
        )


def _name(session: Row[Any]) -> str:
    facts = [session.program or "no application_name", f"role {session.role}"]
    if session.address:
        facts.append(f"from {session.address}")
    return f"session {session.pid} ({', '.join(facts)})"


def _quoted(name: str) -> str:
    """A name as SQL has it."""
    return _to_be_typed(DIALECT.identifier_preparer.quote(name))


def _to_be_typed(sql: str) -> str:
    """A statement as people type it: for a driver, SQLAlchemy writes each % twice."""
    return sql.replace("%%", "%")


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
