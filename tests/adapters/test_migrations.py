"""The history of the tables, on both databases, alone and beside an application's own."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import alembic.command
import alembic.util
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import IntegrityError

from jobqueue import Job, JobQueue
from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.sql import schema
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sql.tables import Base
from jobqueue.errors import DatabaseError, SchemaError
from jobqueue.records import JobFilter, NewJob

TOP = Path(__file__).parents[2]
TABLES = {
    "background_jobs",
    "background_workers",
    "background_queues",
    "background_schedules",
    "background_keys",
    "background_stats",
    "background_tokens",
    "background_attempts",
    "background_errors",
    "background_error_counts",
    "background_hours",
    "background_days",
    "background_samples",
    "background_ended_workers",
    "background_stacks",
    "background_actions",
    "background_slots",
    "background_starts",
    "background_limits",
    "background_flows",
    "background_edges",
}
VERSION_TABLE = "background_jobs_version"
JOB = NewJob("Work", '{"n": 1}', "default", 50, 5)


@pytest.fixture
def adapter(empty_database_url: str) -> Iterator[SqlAdapter]:
    made = connect(empty_database_url)
    assert isinstance(made, SqlAdapter)
    yield made
    made.close()


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    """The application's engine in the same database."""
    url = make_url(empty_database_url)
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    made = create_engine(url)
    yield made
    made.dispose()


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def works(adapter: Adapter) -> bool:
    """A job can be enqueued and read."""
    made = adapter.enqueue([JOB])[0]
    return adapter.get(made.id) == made


# --- alone ---------------------------------------------------------------------------------------


def test_up_down_and_up_again(adapter: SqlAdapter, engine: Engine) -> None:
    adapter.migrate()
    assert tables(engine) == TABLES | {VERSION_TABLE}
    assert works(adapter)
    status = adapter.schema_status()
    assert status.current == status.head
    adapter.downgrade("base")
    assert tables(engine) <= {VERSION_TABLE}
    assert adapter.schema_status().current is None
    with pytest.raises(SchemaError, match="jobqueue migrate"):
        adapter.ping()
    adapter.migrate()
    assert works(adapter)


def test_migrating_again_changes_nothing(adapter: SqlAdapter) -> None:
    adapter.migrate()
    adapter.enqueue([JOB])
    adapter.migrate()
    assert adapter.count_jobs(JobFilter()) == 1


class Forwards(Job):
    name = "migrations.Forwards"

    def perform(self) -> None: ...


def test_from_the_first_revision_on(adapter: SqlAdapter) -> None:
    """Jobs stay, and what writes to the tables before they are migrated says what to do."""
    adapter.migrate("0001")
    queue = JobQueue(adapter)
    enqueue_as_before(adapter, Forwards.name)
    with pytest.raises(SchemaError, match="run `jobqueue migrate`"):
        queue.enqueue(Forwards)
    adapter.migrate()
    [kept] = adapter.list_jobs(JobFilter(), 10)
    assert (kept.handler, kept.meta, kept.performed_by) == (Forwards.name, None, None)
    assert queue.work_off().succeeded == 1
    assert [found.stat.succeeded for found in adapter.stats(timedelta(hours=1))] == [1]


def enqueue_as_before(adapter: SqlAdapter, handler: str) -> None:
    """Store a job as the first release did."""
    statement = (
        "INSERT INTO background_jobs (handler, args, run_at, created_at, updated_at) "
        "VALUES (:handler, '{}', '2026-01-01 00:00:00.000000', CURRENT_TIMESTAMP, "
        "CURRENT_TIMESTAMP)"
    )
    with adapter.database.engine.begin() as connection:
        connection.execute(text(statement), {"handler": handler})


def test_ids_are_not_used_again(adapter: SqlAdapter) -> None:
    adapter.migrate()
    made = adapter.enqueue([JOB] * 3)
    adapter.delete(JobFilter())
    adapter.close()
    assert adapter.enqueue([JOB])[0].id > made[-1].id


def alembic_cli(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alembic", "-c", "alembic.ini", *arguments],
        cwd=TOP,
        env={**os.environ, "JOBS_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


def test_alembic_check_finds_no_drift(adapter: SqlAdapter, empty_database_url: str) -> None:
    adapter.migrate()
    done = alembic_cli(empty_database_url, "check")
    assert (done.returncode, "No new upgrade operations" in done.stdout) == (0, True), done.stderr


def test_alembic_check_finds_drift(
    adapter: SqlAdapter, engine: Engine, empty_database_url: str
) -> None:
    adapter.migrate()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE background_jobs ADD COLUMN extra integer"))
        connection.execute(text("DROP INDEX background_jobs_running_idx"))
    done = alembic_cli(empty_database_url, "check")
    assert done.returncode != 0
    assert "extra" in done.stderr + done.stdout
    assert "background_jobs_running_idx" in done.stderr + done.stdout


MIGRATE = """
import sys
from jobqueue.adapters import connect
import jobqueue.adapters.sql.schema
adapter = connect(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
adapter.migrate()
"""


def test_processes_migrate_at_once(
    adapter: SqlAdapter, engine: Engine, empty_database_url: str
) -> None:
    command = [sys.executable, "-c", MIGRATE, empty_database_url]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert tables(engine) == TABLES | {VERSION_TABLE}
    assert works(adapter)


def test_a_migration_that_fails_leaves_nothing_half_done(
    adapter: SqlAdapter, engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (taken integer)"))
        connection.execute(text("CREATE INDEX background_keys_expires_idx ON theirs (taken)"))
    with pytest.raises(DatabaseError, match="background_keys_expires_idx"):
        adapter.migrate()
    assert tables(engine) == {"theirs"}
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE theirs"))
    adapter.migrate()
    assert works(adapter)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            f"UPDATE {VERSION_TABLE} SET version_num = '9999'",
            ["at revision 9999", "a newer release", "install"],
        ),
        (
            f"DELETE FROM {VERSION_TABLE}",
            ["background_jobs, background_keys", f"no revision in {VERSION_TABLE}", "drop"],
        ),
        (
            "DROP TABLE background_queues",
            ["background_queues is missing", "although", "jobqueue migrate --sql"],
        ),
    ],
)
def test_what_no_migration_can_mend_is_said_and_left_alone(
    adapter: SqlAdapter, engine: Engine, damage: str, said: list[str]
) -> None:
    adapter.migrate()
    with engine.begin() as connection:
        connection.execute(text(damage))
    before = described(engine)
    with pytest.raises(SchemaError) as caught:
        adapter.migrate()
    for words in said:
        assert words in str(caught.value)
    assert adapter.schema_status().trouble == str(caught.value)
    assert described(engine) == before


# --- the statements, for somebody else to run ----------------------------------------------------


def test_the_printed_statements_make_the_same_tables(
    adapter: SqlAdapter, engine: Engine, empty_database_url: str
) -> None:
    run_script(empty_database_url, adapter.migration_sql())
    assert works(adapter)
    assert adapter.schema_status().current == adapter.schema_status().head
    adapter.delete(JobFilter())
    by_hand = described(engine)
    adapter.downgrade("base")
    adapter.migrate()
    assert described(engine) == by_hand


def run_script(url: str, script: str) -> None:
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(make_url(url).database or "")) as connection:
            connection.executescript(script)
    else:
        with psycopg.connect(url, autocommit=True) as postgres:
            for statement in script.split(";\n"):  # as psql does with a file
                postgres.execute(statement.encode())


def described(engine: Engine) -> list[Any]:
    """All that the catalogs have about our tables."""
    queries = {
        "sqlite": ["SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"],
        "postgresql": [
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
            (
                "SELECT relname, relkind, reloptions FROM pg_class"
                " WHERE relname LIKE 'background%' ORDER BY 1"
            ),
            (
                "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
                " WHERE connamespace = 'public'::regnamespace ORDER BY 1"
            ),
            (
                "SELECT table_name, column_name, data_type, is_nullable, column_default,"
                " is_identity, identity_generation FROM information_schema.columns"
                " WHERE table_schema = 'public' ORDER BY 1, 2"
            ),
        ],
    }
    with engine.connect() as connection:
        return [
            [tuple(map(_flat, row)) for row in connection.execute(text(query))]
            for query in queries[engine.dialect.name]
        ]


def _flat(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) else value


# --- what the catalogs say -----------------------------------------------------------------------


@pytest.mark.parametrize("state", ["ready", "lost", ""])
def test_states_are_checked(adapter: SqlAdapter, engine: Engine, state: str) -> None:
    adapter.migrate()
    insert = text(
        "INSERT INTO background_jobs (handler, state, run_at, created_at, updated_at) VALUES"
        " ('Work', :state, '2030-01-01 00:00:00.000000', '2030-01-01 00:00:00.000000',"
        " '2030-01-01 00:00:00.000000')"
    )
    refused = pytest.raises(IntegrityError) if state != "ready" else contextlib.nullcontext()
    with refused, engine.begin() as connection:
        connection.execute(insert, {"state": state})
    if state == "ready":
        (job,) = adapter.list_jobs(JobFilter(), 10)
        assert (job.queue, job.priority, job.attempts, job.max_attempts) == ("default", 50, 0, 24)
        assert (job.crashes, job.args) == (0, {})


def test_indexes_are_partial(adapter: SqlAdapter, engine: Engine) -> None:
    adapter.migrate()
    definitions = index_definitions(engine)
    ready, queued = "background_jobs_ready_idx", "background_jobs_ready_by_queue_idx"
    assert re.search(r"\(priority, run_at, id\) WHERE .*state = 'ready'", definitions[ready])
    assert re.search(
        r"\(queue, priority, run_at, id\) WHERE .*state = 'ready'", definitions[queued]
    )
    running = definitions["background_jobs_running_idx"]
    assert re.search(r"\(locked_by\) WHERE .*state = 'running'", running)
    finished = definitions["background_jobs_finished_idx"]
    assert re.search(r"\(state, handler, finished_at\) WHERE .*finished_at IS NOT NULL", finished)


def index_definitions(engine: Engine) -> dict[str, str]:
    query = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }[engine.dialect.name]
    with engine.connect() as connection:
        rows = connection.execute(text(query)).all()
    return {name: sql.replace("::text", "").replace("(state)", "state") for name, sql in rows}


def test_storage_parameters(empty_postgres_url: str) -> None:
    adapter = connect(empty_postgres_url)
    adapter.migrate()
    adapter.close()
    with psycopg.connect(empty_postgres_url) as connection:
        rows = connection.execute(
            "SELECT relname, reloptions FROM pg_class"
            " WHERE reloptions IS NOT NULL AND relname LIKE 'background%'"
        ).fetchall()
    options = {name: dict(option.split("=") for option in given) for name, given in rows}
    assert options == {
        "background_jobs": {
            "fillfactor": "85",
            "autovacuum_vacuum_scale_factor": "0.01",
            "autovacuum_vacuum_threshold": "1000",
            "autovacuum_vacuum_insert_scale_factor": "0.1",
            "autovacuum_analyze_scale_factor": "0.02",
            "autovacuum_analyze_threshold": "1000",
            "autovacuum_vacuum_cost_delay": "0",
        },
        "background_workers": {
            "fillfactor": "50",
            "autovacuum_vacuum_scale_factor": "0.0",
            "autovacuum_vacuum_threshold": "100",
        },
    }


# --- beside an application's own history ---------------------------------------------------------

APP_ENV = """
    from alembic import context
    from sqlalchemy import Column, Integer, MetaData, Table, Text

    from jobqueue.adapters.sql.schema import is_ours

    metadata = MetaData()
    Table("users", metadata, Column("id", Integer, primary_key=True), Column("email", Text))

    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_name=lambda name, kind, parents: not is_ours(name, kind, parents),
    )
    with context.begin_transaction():
        context.run_migrations()
"""
# The other way: our tables become part of the application's own history.
INCLUDING_ENV = """
    from alembic import context
    from sqlalchemy import Column, Integer, MetaData, Table, Text

    from jobqueue.adapters.sql.schema import render_item
    from jobqueue.adapters.sql.tables import Base

    metadata = MetaData()
    Table("users", metadata, Column("id", Integer, primary_key=True), Column("email", Text))

    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=[metadata, Base.metadata],
        render_item=render_item,
    )
    with context.begin_transaction():
        context.run_migrations()
"""
MAKO = """
    from alembic import op
    import sqlalchemy as sa
    ${imports if imports else ""}

    revision = ${repr(up_revision)}
    down_revision = ${repr(down_revision)}


    def upgrade():
        ${upgrades if upgrades else "pass"}


    def downgrade():
        ${downgrades if downgrades else "pass"}
"""


class Application:
    """An application with its own Alembic."""

    def __init__(self, folder: Path, env: str, engine: Engine) -> None:
        (folder / "versions").mkdir(parents=True)
        (folder / "env.py").write_text(textwrap.dedent(env))
        (folder / "script.py.mako").write_text(textwrap.dedent(MAKO))
        self.folder = folder
        self.engine = engine

    def run(self, command: str, *arguments: Any, **options: Any) -> None:
        with self.engine.connect() as connection:
            getattr(alembic.command, command)(self._config(connection), *arguments, **options)
            connection.commit()

    def revise(self) -> str:
        """What autogenerate proposes."""
        self.run("revision", "proposed", autogenerate=True)
        newest = max((self.folder / "versions").glob("*.py"), key=lambda p: p.stat().st_mtime_ns)
        return newest.read_text()

    def _config(self, connection: Connection) -> Config:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(self.folder))
        config.set_main_option("path_separator", "os")
        return config


def test_beside_an_application_of_its_own_history(
    adapter: SqlAdapter, engine: Engine, tmp_path: Path, empty_database_url: str
) -> None:
    app = Application(tmp_path / "app", APP_ENV, engine)
    adapter.migrate()
    proposed = app.revise()
    assert "create_table('users'" in proposed
    assert "background_" not in proposed
    app.run("upgrade", "head")
    app.run("check")
    assert tables(engine) == TABLES | {VERSION_TABLE, "users", "alembic_version"}
    assert alembic_cli(empty_database_url, "check").returncode == 0

    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users VALUES (1, 'ada@example.org')"))
    adapter.downgrade("base")
    assert tables(engine) - {VERSION_TABLE} == {"users", "alembic_version"}
    with engine.connect() as connection:
        assert connection.execute(text("SELECT email FROM users")).scalar_one()
    adapter.migrate()
    app.run("downgrade", "base")
    assert "users" not in tables(engine)
    assert works(adapter)


def test_inside_the_history_of_the_application(
    adapter: SqlAdapter, engine: Engine, tmp_path: Path
) -> None:
    app = Application(tmp_path / "app", INCLUDING_ENV, engine)
    proposed = app.revise()
    for table in TABLES | {"users"}:
        assert f"create_table('{table}'" in proposed
    app.run("upgrade", "head")
    app.run("check")
    assert works(adapter)
    assert index_definitions(engine).keys() >= {"background_jobs_ready_idx"}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=schema.alembic_options())
        assert compare_metadata(context, Base.metadata) == []
    app.run("downgrade", "base")
    assert tables(engine) == {"alembic_version"}


def test_an_application_that_forgets_the_filter_is_what_it_is_for(
    adapter: SqlAdapter, engine: Engine, tmp_path: Path
) -> None:
    env = APP_ENV.replace("not is_ours(name, kind, parents)", "True")
    app = Application(tmp_path / "app", env, engine)
    adapter.migrate()
    assert "drop_table('background_jobs')" in app.revise()
