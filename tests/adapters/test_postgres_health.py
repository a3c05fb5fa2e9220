"""What `jobs doctor` finds in PostgreSQL: each made real, in a server of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url
from typer.testing import CliRunner

from jobqueue.adapters import connect
from jobqueue.adapters.postgres import health as postgres_health
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.sql.tables import JOBS, Base
from jobqueue.cli import app
from jobqueue.defaults import default_configuration
from jobqueue.records import Ailment, NewJob
from jobqueue.views.lateness import why_queue_is_late
from jobqueue.views.overview import overview_of
from jobqueue.views.reasons import ReasonKind
from jobqueue.views.troubles import TroubleKind
from tests.conftest import new_postgres_database
from tests.postgres import private_server

SETTINGS = {"fsync": "off", "max_connections": "30", "max_prepared_transactions": "2"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with private_server(SETTINGS) as url:
        yield url


@pytest.fixture
def url(server: str) -> Iterator[str]:
    with new_postgres_database(server) as made:
        adapter = connect(made)
        adapter.migrate()
        adapter.close()
        yield made


@pytest.fixture
def adapter(url: str) -> Iterator[PostgresAdapter]:
    made = connect(url)
    assert isinstance(made, PostgresAdapter)
    yield made
    made.close()


@pytest.fixture
def admin(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a minute in earnest is found at once."""
    monkeypatch.setattr(postgres_health, "OLD_SECONDS", 0.0)


@contextmanager
def session(url: str, program: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, application_name=program) as connection:
        yield connection


def found(adapter: PostgresAdapter) -> dict[str, Ailment]:
    return {ailment.kind: ailment for ailment in adapter.health().ailments}


def test_a_healthy_database(adapter: PostgresAdapter) -> None:
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)])
    health = adapter.health()
    assert health.ailments == ()
    assert set(health.facts) == {
        "oldest_snapshot",
        "live_rows",
        "dead_rows",
        "bytes",
        "last_autovacuum",
    }
    assert health.facts["bytes"] > 0


def test_the_sizes_of_the_tables(adapter: PostgresAdapter, admin: psycopg.Connection) -> None:
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)] * 500)
    admin.execute("CREATE TABLE background_music (id int); CREATE SCHEMA other")
    admin.execute("CREATE TABLE other.background_jobs (id int); CREATE TABLE orders (id int)")
    admin.execute("VACUUM background_jobs")
    tables = adapter.health().tables
    sizes = [table.size_bytes for table in tables]
    assert sizes == sorted(sizes, reverse=True)
    names = [table.name for table in tables]
    assert len(names) == len(set(names))
    assert set(names) == set(Base.metadata.tables)
    largest = tables[0]
    assert largest.name == "background_jobs"
    assert largest.size_bytes == adapter.health().facts["bytes"]
    assert largest.last_vacuum is not None


def test_a_held_snapshot(
    adapter: PostgresAdapter, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session(url, "a dump") as dump:
        dump.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        dump.execute("SELECT 1")
        pid = dump.info.backend_pid
        ailment = found(adapter)["idle_in_transaction"]
        assert f"session {pid} (a dump, role postgres)" in ailment.what
        assert "holds the oldest snapshot" in ailment.what
        assert f"SELECT pg_terminate_backend({pid});" in ailment.remedy
        assert ailment.since is not None
        assert timedelta(0) <= adapter.now() - ailment.since < timedelta(minutes=5)
        oldest = adapter.health().facts["oldest_snapshot"]
        assert (oldest["pid"], oldest["held_by"]) == (pid, f"session {pid} (a dump, role postgres)")
        monkeypatch.setattr(postgres_health, "OLD_SECONDS", 60.0)
        assert found(adapter) == {}, "a snapshot is no ailment while it is young"
    assert adapter.health().facts["oldest_snapshot"] is None


def test_an_old_snapshot_is_among_what_is_wrong_now(adapter: PostgresAdapter, url: str) -> None:
    with session(url, "a dump") as dump:
        dump.execute("SELECT 1")
        pid = dump.info.backend_pid
        [trouble] = overview_of(adapter, 1_000).troubles
        assert trouble.kind is TroubleKind.DATABASE
        assert trouble.what.startswith(f"The database is ill: session {pid} (a dump, role")
        assert trouble.since is not None
        assert f"SELECT pg_terminate_backend({pid});" in (trouble.command or "")
        adapter.enqueue([NewJob("Work", "{}", "email", 50, 5)])
        why = {reason.kind: reason for reason in why_queue_is_late(adapter, "email").holding}
        assert f"session {pid}" in why[ReasonKind.DATABASE].evidence


def test_the_remedy_for_a_held_snapshot_mends_it(
    adapter: PostgresAdapter, url: str, admin: psycopg.Connection
) -> None:
    forgotten = psycopg.connect(url)
    forgotten.execute("SELECT 1")
    statement, _, _ = found(adapter)["idle_in_transaction"].remedy.partition(";")
    admin.execute(statement.encode())
    while found(adapter):
        pass
    with pytest.raises(psycopg.OperationalError):
        forgotten.execute("SELECT 1")
    forgotten.close()


def test_a_statement_that_takes_long(
    adapter: PostgresAdapter, url: str, admin: psycopg.Connection
) -> None:
    with session(url, "a report") as report:
        report.autocommit = True
        cursor = report.cursor()
        pid = report.info.backend_pid
        with report.pipeline():
            cursor.execute("SELECT pg_sleep(60)")
            while "old_snapshot" not in found(adapter):
                pass
            ailment = found(adapter)["old_snapshot"]
            admin.execute("SELECT pg_cancel_backend(%s)", (pid,))
            with pytest.raises(psycopg.errors.QueryCanceled):
                cursor.fetchall()
    assert f"session {pid} (a report, role postgres) is at work" in ailment.what
    assert "holds the oldest snapshot" in ailment.what
    assert f"SELECT pg_terminate_backend({pid})" in ailment.remedy


def test_a_replication_slot_that_nobody_reads(
    adapter: PostgresAdapter, admin: psycopg.Connection
) -> None:
    admin.execute("SELECT pg_create_physical_replication_slot('old_standby', true)")
    ailment = found(adapter)["stale_slot"]
    assert "nobody reads the replication slot old_standby: it keeps" in ailment.what
    statement = ailment.remedy.removeprefix("start what reads it, or ")
    assert statement == "SELECT pg_drop_replication_slot('old_standby');"
    admin.execute(statement.encode())
    assert found(adapter) == {}


def test_a_prepared_transaction(
    adapter: PostgresAdapter, url: str, admin: psycopg.Connection
) -> None:
    with session(url, "two phases") as other:
        other.execute("CREATE TABLE other (id int)")
        other.execute("PREPARE TRANSACTION 'it''s forgotten'")
    ailment = found(adapter)["prepared_transaction"]
    assert "the transaction it's forgotten was prepared" in ailment.what
    admin.execute(ailment.remedy.partition(" or ")[2].encode())
    assert found(adapter) == {}


def test_dead_rows_and_no_autovacuum(
    adapter: PostgresAdapter, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_health, "MANY_DEAD_ROWS", 500)
    admin.execute("ALTER TABLE background_jobs SET (autovacuum_enabled = false)")
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)] * 600)
    admin.execute("UPDATE background_jobs SET priority = 60")
    admin.execute("SELECT pg_stat_force_next_flush()")
    while "dead_rows" not in found(adapter):
        pass
    ailments = found(adapter)
    assert "background_jobs has 600 dead rows beside" in ailments["dead_rows"].what
    assert "the last autovacuum was never" in ailments["dead_rows"].what
    assert adapter.health().facts["dead_rows"] == 600
    admin.execute(ailments["autovacuum_off"].remedy.encode())
    admin.execute(ailments["dead_rows"].remedy.partition(";")[0].encode())
    admin.execute("SELECT pg_stat_force_next_flush()")
    while found(adapter):
        pass


def test_autovacuum_that_is_off_everywhere(
    adapter: PostgresAdapter, admin: psycopg.Connection
) -> None:
    admin.execute("ALTER SYSTEM SET autovacuum = off")
    admin.execute("SELECT pg_reload_conf()")
    while "autovacuum_off" not in found(adapter):
        pass
    for statement in found(adapter)["autovacuum_off"].remedy.split(";")[:2]:
        admin.execute(statement.encode())
    while found(adapter):
        pass


def test_an_index_that_could_not_be_made(
    adapter: PostgresAdapter, admin: psycopg.Connection
) -> None:
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)] * 2)
    with pytest.raises(psycopg.errors.UniqueViolation):
        admin.execute("CREATE UNIQUE INDEX CONCURRENTLY one_of_each ON background_jobs (handler)")
    ailment = found(adapter)["invalid_index"]
    assert "the index one_of_each is invalid" in ailment.what
    assert ailment.remedy == "DROP INDEX CONCURRENTLY public.one_of_each;"
    admin.execute(ailment.remedy.encode())
    assert found(adapter) == {}


def test_an_index_of_ours_that_is_invalid_or_missing(
    adapter: PostgresAdapter, admin: psycopg.Connection
) -> None:
    name = min(str(index.name) for index in JOBS.indexes)
    admin.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", (name,))
    ailment = found(adapter)["invalid_index"]
    assert ailment.remedy == f"REINDEX INDEX CONCURRENTLY public.{name};"
    admin.execute(ailment.remedy.encode())
    assert found(adapter) == {}
    before = admin.execute("SELECT pg_get_indexdef(%s::regclass)", (name,)).fetchone()
    admin.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    ailment = found(adapter)["missing_index"]
    assert f"the index {name} is missing" in ailment.what
    admin.execute(ailment.remedy.encode())
    assert found(adapter) == {}
    assert admin.execute("SELECT pg_get_indexdef(%s::regclass)", (name,)).fetchone() == before


def test_a_role_that_may_not_see_the_sessions_of_others(
    url: str, admin: psycopg.Connection
) -> None:
    admin.execute("CREATE ROLE small_app LOGIN")
    admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO small_app")
    adapter = connect(make_url(url).set(username="small_app").render_as_string())
    assert isinstance(adapter, PostgresAdapter)
    ailment = found(adapter)["unseen_sessions"]
    assert ailment.remedy == "GRANT pg_read_all_stats TO small_app;"
    admin.execute(ailment.remedy.encode())
    assert found(adapter) == {}
    adapter.close()
    admin.execute("DROP OWNED BY small_app")
    admin.execute("DROP ROLE small_app")


# --- what the doctor prints ----------------------------------------------------------------------

GOLDEN = """\
Database
  answers          yes (PostgreSQL N)
  tables           N (current) in the schema public
  jobs             N due, N waiting, N gated, N blocked, N running, N succeeded, N failed, N \
cancelled
  workers          none
  rows             N live, N dead; last autovacuum: never
  oldest snapshot  N s, session N (nightly dump, role postgres)

What hurts the queue, and what to do about it
  - session N (nightly dump, role postgres) is idle in a transaction that began N s ago, and holds \
the oldest snapshot: vacuum can remove nothing that died since
    SELECT pg_terminate_backend(N); and to have the server do it: ALTER ROLE postgres SET \
idle_in_transaction_session_timeout = 'Nmin';
  - nobody reads the replication slot old_standby: it keeps N kB of write-ahead log, until the \
disk is full
    start what reads it, or SELECT pg_drop_replication_slot('old_standby');

It works, and could be better.
"""


def test_what_the_doctor_says(
    url: str, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    admin.execute("SELECT pg_create_physical_replication_slot('old_standby', true)")
    with ExitStack() as held:
        held.callback(default_configuration.reset)
        held.callback(admin.execute, "SELECT pg_drop_replication_slot('old_standby')")
        dump = held.enter_context(session(url, "nightly dump"))
        dump.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        dump.execute("SELECT 1")
        result = CliRunner().invoke(app, ["doctor", "--database-url", url])
        as_json = CliRunner().invoke(app, ["doctor", "--json", "--database-url", url])
    assert (result.exit_code, as_json.exit_code) == (0, 0)
    said = result.stdout[result.stdout.index("Database\n") :]
    said = re.sub(r"Advice\n(  - .*\n)+\n", "", said)  # there are no jobs in this folder
    said = re.sub(r"keeps \d+ (bytes|MB)", "keeps N kB", said)
    assert re.sub(r"\d[\d.,]*", "N", said) == GOLDEN
    assert '"kind": "idle_in_transaction"' in as_json.stdout
