"""What the queue is kept in during a chaos run, with a witness inside.

The witness are triggers: one notes each change of a job's state or claim, in the transaction that
makes it, whoever makes it; another hears each heartbeat of a worker. They know nothing of jobqueue
but the names of the columns.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.pool import NullPool

from jobqueue.adapters import connect
from tests.outages.server import IMMEDIATE, Server

DOWN_SECONDS = 0.3
DURABLE = {"fsync": "on", "max_connections": "100"}

COLUMNS = (
    "began, at, job_id, number, queue, old_state, new_state, old_token, new_token, worker, "
    "attempts, crashes"
)
TABLES = """
CREATE TABLE chaos_effects (number bigint, job_id bigint, token bigint);
CREATE TABLE chaos_orders (number bigint);
CREATE TABLE chaos_beats (worker text, at float8);
"""
POSTGRES_WITNESS = f"""
CREATE TABLE chaos_history (
    seq bigint GENERATED ALWAYS AS IDENTITY, began float8, at float8, job_id bigint, number bigint,
    queue text, old_state text, new_state text, old_token bigint, new_token bigint, worker text,
    attempts int, crashes int
);
CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = NEW.state
       AND OLD.claim_token IS NOT DISTINCT FROM NEW.claim_token THEN
        RETURN NULL;
    END IF;
    INSERT INTO chaos_history ({COLUMNS})
    VALUES (extract(epoch FROM statement_timestamp()), extract(epoch FROM clock_timestamp()),
            coalesce(NEW.id, OLD.id), (coalesce(NEW.args, OLD.args) ->> 'number')::bigint,
            coalesce(NEW.queue, OLD.queue), OLD.state, NEW.state, OLD.claim_token, NEW.claim_token,
            coalesce(NEW.locked_by, OLD.locked_by), coalesce(NEW.attempts, OLD.attempts),
            coalesce(NEW.crashes, OLD.crashes));
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_note AFTER INSERT OR UPDATE OR DELETE ON background_jobs
FOR EACH ROW EXECUTE FUNCTION chaos_note();
CREATE FUNCTION chaos_hear() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_beats VALUES (NEW.id, extract(epoch FROM clock_timestamp()));
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_hear AFTER INSERT OR UPDATE OF heartbeat_at ON background_workers
FOR EACH ROW EXECUTE FUNCTION chaos_hear();
"""
SQLITE_NOW = "(julianday('now') - 2440587.5) * 86400.0"
SQLITE_HISTORY = """
CREATE TABLE chaos_history (
    seq INTEGER PRIMARY KEY, began, at, job_id, number, queue, old_state, new_state, old_token,
    new_token, worker, attempts, crashes
)
"""
SQLITE_TRIGGER = (
    "CREATE TRIGGER chaos_{what} AFTER {what} ON background_jobs {when} BEGIN "
    f"INSERT INTO chaos_history ({COLUMNS}) VALUES ({SQLITE_NOW}, {SQLITE_NOW}, {{row}}.id, "
    "json_extract({row}.args, '$.number'), {row}.queue, {old_state}, {new_state}, {old_token}, "
    "{new_token}, {worker}, {row}.attempts, {row}.crashes); END"
)
SQLITE_TRIGGERS = (
    SQLITE_TRIGGER.format(
        what="insert", when="", row="new", old_state="NULL", new_state="new.state",
        old_token="NULL", new_token="new.claim_token", worker="NULL",
    ),
    SQLITE_TRIGGER.format(
        what="update",
        when="WHEN old.state <> new.state OR old.claim_token IS NOT new.claim_token",
        row="new", old_state="old.state", new_state="new.state", old_token="old.claim_token",
        new_token="new.claim_token", worker="coalesce(new.locked_by, old.locked_by)",
    ),
    SQLITE_TRIGGER.format(
        what="delete", when="", row="old", old_state="old.state", new_state="NULL",
        old_token="old.claim_token", new_token="NULL", worker="old.locked_by",
    ),
)  # fmt: skip
SQLITE_EARS = tuple(
    f"CREATE TRIGGER chaos_hear_{number} AFTER {what} ON background_workers "
    f"BEGIN INSERT INTO chaos_beats VALUES (new.id, {SQLITE_NOW}); END"
    for number, what in enumerate(("INSERT", "UPDATE OF heartbeat_at"))
)


@dataclass(frozen=True, slots=True)
class Size:
    """How large the table of jobs is."""

    dead_rows: int
    table_bytes: int


class ChaosDatabase:
    """A database with the tables, the witness, and ways to ask it, past every proxy.

    Args:
        url: of a direct connection, for us.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: Engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def prepare(self) -> None:
        """Make the tables and the witness."""
        adapter = connect(self.url)
        adapter.migrate()
        adapter.close()
        for statement in (*TABLES.split(";")[:-1], *self._witness()):
            self.run(statement)

    def _witness(self) -> tuple[str, ...]:
        raise NotImplementedError

    def run(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Run a statement; its rows, if it has any."""
        with self.engine.connect() as connection:
            if values:
                result = connection.execute(text(statement), values)
            else:
                result = connection.exec_driver_sql(statement)
            return [tuple(row) for row in result] if result.returns_rows else []

    def unfinished(self) -> int:
        """How many jobs are still to be done."""
        rows = self.run("SELECT count(*) FROM background_jobs WHERE state IN ('ready', 'running')")
        return int(rows[0][0])

    def size(self) -> Size:
        """How large the table of jobs is now."""
        raise NotImplementedError


class ChaosPostgres(ChaosDatabase):
    """In a server of its own, with fsync on.

    Args:
        server: which one.
        name: of the database, which is made.
    """

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        url = make_url(server.url).set(drivername="postgresql+psycopg")
        maker = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with maker.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        super().__init__(url.set(database=name).render_as_string(hide_password=False))

    def _witness(self) -> tuple[str, ...]:
        return (POSTGRES_WITNESS.replace("%", "%%"),)

    @property
    def socket(self) -> str:
        """The path of the server's socket."""
        return f"{make_url(self.url).query['host']}/.s.PGSQL.5432"

    def restart_hard(self) -> None:
        """As if the machine had lost power, but for its disk: what was not synced is gone."""
        self._server.stop(IMMEDIATE)
        time.sleep(DOWN_SECONDS)
        self._server.start()

    def size(self) -> Size:
        """As PostgreSQL sees it once it has looked: a crash makes it forget its statistics."""
        self.run("ANALYZE background_jobs")
        rows = self.run(
            "SELECT n_dead_tup, pg_total_relation_size('background_jobs') "
            "FROM pg_stat_user_tables WHERE relname = 'background_jobs'"
        )
        return Size(*rows[0])


class ChaosSqlite(ChaosDatabase):
    """In a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:///{path}")
        self._path = path
        event.listen(self.engine, "connect", _be_patient)

    def _witness(self) -> tuple[str, ...]:
        return (SQLITE_HISTORY, *SQLITE_TRIGGERS, *SQLITE_EARS)

    def size(self) -> Size:
        """Nothing is dead in SQLite; its size is the file's, the log beside it included."""
        files = self._path.parent.glob(self._path.name + "*")
        return Size(0, sum(file.stat().st_size for file in files))


def _be_patient(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA busy_timeout = 20000")
