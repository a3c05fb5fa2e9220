"""Everything through PgBouncer in transaction mode: no session, no LISTEN, fewer connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.orm import Session

from jobqueue import Job, JobQueue
from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.base import Listener
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.defaults import default_configuration
from jobqueue.errors import DatabaseUnavailable, InvalidDatabaseUrl
from jobqueue.records import Claim, JobFilter, NewJob
from tests.conftest import new_postgres_database
from tests.outages.conftest import Said
from tests.pgbouncer import PgBouncer
from tests.sample_jobs import Note, calls

WaitFor = Callable[[Callable[[], bool], str], None]
JOB = NewJob("Work", "{}", "default", 50, 5)
MORE_THAN_PSYCOPG_PREPARES_AFTER = 12


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@pytest.fixture
def bounced(bouncer_url: str) -> Iterator[Adapter]:
    """An adapter that goes through PgBouncer, the default one of every job."""
    adapter = connect(bouncer_url)
    Job.config(adapter=adapter)
    yield adapter
    default_configuration.reset()
    adapter.close()


def test_nothing_is_prepared_on_a_connection_that_is_another_next_time(bouncer_url: str) -> None:
    """Three clients take turns on two connections, each often enough to prepare its statements."""
    adapters = [connect(bouncer_url) for _ in range(3)]
    for number in range(MORE_THAN_PSYCOPG_PREPARES_AFTER):
        for adapter in adapters:
            adapter.enqueue([JOB])
            turn = adapter.turn([], Claim("w", number + 1, 1, 1))
            assert len(turn.claimed) == 1
            assert len(adapter.release_strays("w", []).released) == 1
            adapter.delete(JobFilter())
    for adapter in adapters:
        adapter.close()


def test_without_a_pooler_statements_are_prepared(postgres_url: str) -> None:
    """They are what makes a turn cheap, so that they are given up for a pooler only."""
    assert number_prepared(postgres_url, MORE_THAN_PSYCOPG_PREPARES_AFTER) > 0


def test_one_can_insist_on_them(pgbouncer: PgBouncer, bouncer_url: str) -> None:
    """For a PgBouncer that keeps track of them, from 1.22 on. This one shares them unasked."""
    assert number_prepared(bouncer_url, MORE_THAN_PSYCOPG_PREPARES_AFTER) == 0
    assert number_prepared(f"{bouncer_url}?prepare_threshold=0", 1) > 0
    pgbouncer.console(f"RECONNECT {make_url(bouncer_url).database}")
    with pytest.raises(InvalidDatabaseUrl, match="prepare_threshold=never"):
        connect(f"{bouncer_url}?prepare_threshold=never")


def number_prepared(url: str, times: int) -> int:
    adapter = connect(url)
    assert isinstance(adapter, PostgresAdapter)
    for _ in range(times):
        adapter.enqueue([JOB])
    count = "SELECT count(*) FROM pg_prepared_statements"
    number = adapter.database.read(lambda c: c.exec_driver_sql(count).scalar_one())
    adapter.close()
    return int(number)


def test_workers_perform_every_job_once(bounced: Adapter, wait_for: WaitFor, said: Said) -> None:
    queues = [JobQueue(bounced, poll_interval=0.05, listen=False) for _ in range(3)]
    with queues[0].running(), queues[1].running(), queues[2].running():
        Note.perform_all_later([(f"copied {n}",) for n in range(1500)])
        for n in range(100):
            Note.perform_later(f"{n}")
        wait_for(lambda: len(calls) >= 1600, "all jobs")
        wait_for(lambda: bounced.count_by_state() == {}, "the last to be settled")
    assert len(calls) == len(set(calls)) == 1600
    assert "database_lost" not in said.events()


def test_a_worker_says_once_that_it_does_not_hear_and_polls(
    bounced: Adapter, wait_for: WaitFor, said: Said
) -> None:
    attempts = Attempts(bounced)
    with JobQueue(attempts, poll_interval=0.05).running():
        wait_for(lambda: said.count("not_listening") > 0, "it to notice")
        Note.perform_later("polled")
        wait_for(lambda: calls == ["polled"], "the job")
        wait_for(lambda: attempts.number > 1, "it to try again")
    assert said.count("not_listening") == 1
    assert "set `listen_url` to a direct connection" in said.text_of("not_listening")


class Attempts:
    """An adapter that counts how often it is listened to."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self.number = 0

    def listen(self, url: str | None = None) -> Listener:
        self.number += 1
        return self._adapter.listen(url)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)


def test_listening_past_the_pooler(
    bounced: Adapter, postgres_url: str, wait_for: WaitFor, said: Said
) -> None:
    queue = JobQueue(bounced, listen_url=postgres_url, poll_interval=60)
    with queue.running():
        _wait_until_somebody_listens(postgres_url, wait_for)
        Note.perform_later("heard")
        wait_for(lambda: calls == ["heard"], "the job, long before the next look")
    assert "not_listening" not in said.events()


def _wait_until_somebody_listens(url: str, wait_for: WaitFor) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        wait_for(
            lambda: (
                connection.execute(
                    "SELECT FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name = 'jobqueue listener' AND query NOT LIKE 'LISTEN%'"
                ).fetchone()
                is not None
            ),
            "the worker to listen",
        )


def test_the_application_enqueues_in_its_own_transaction(
    bouncer_url: str, bounced: Adapter
) -> None:
    engine = create_engine(
        bouncer_url.replace("postgresql", "postgresql+psycopg", 1),
        connect_args={"prepare_threshold": None},
    )
    for n in range(MORE_THAN_PSYCOPG_PREPARES_AFTER):
        with Session(engine) as session, session.begin():
            Note.set(session=session).perform_later(f"{n}")
    with Session(engine) as session:
        Note.set(session=session).perform_later("rolled back")
    engine.dispose()
    assert JobQueue(bounced).work_off().succeeded == MORE_THAN_PSYCOPG_PREPARES_AFTER


class EnqueueOnce(Job):
    """Writes in a transaction of its own; what it writes is another job."""

    def perform(self, what: str) -> None:
        with self.transaction() as session:
            session.execute(text("SELECT count(*) FROM background_jobs"))
            Note.perform_later(what)


class EnqueueOnceAsync(Job):
    async def perform(self, what: str) -> None:
        async with self.transaction() as session:
            await session.execute(text("SELECT count(*) FROM background_jobs"))
            await Note.perform_later_async(what)


def test_transactions_of_jobs(bounced: Adapter) -> None:
    """Several at once, on fewer connections, and none of them leaves anything behind on one."""
    number = MORE_THAN_PSYCOPG_PREPARES_AFTER
    for job_class in (EnqueueOnce, EnqueueOnceAsync):
        job_class.perform_all_later([(f"{job_class.__name__} {n}",) for n in range(number)])
    assert JobQueue(bounced, concurrency=4).work_off().succeeded == 4 * number
    assert len(set(calls)) == len(calls) == 2 * number
    assert isinstance(bounced, PostgresAdapter)
    for _ in range(4):
        with bounced.database.engine.connect() as connection:
            left = connection.execute(text("SHOW idle_in_transaction_session_timeout"))
            assert left.scalar_one() == "0"


def test_the_tables_are_made_through_it(pgbouncer: PgBouncer, postgres_server: str) -> None:
    with new_postgres_database(postgres_server) as url:
        database = make_url(url).database
        adapter = connect(pgbouncer.url(database))
        adapter.migrate()
        adapter.migrate()
        assert adapter.schema_status().current == adapter.schema_status().head
        adapter.close()
        # It holds its connections to a database that is to be dropped.
        pgbouncer.console(f"KILL {database}")


def test_options_of_the_session_are_refused_and_that_is_said(bouncer_url: str) -> None:
    adapter = connect(f"{bouncer_url}?options=-cstatement_timeout%3D5000")
    with pytest.raises(DatabaseUnavailable, match="unsupported startup parameter: options"):
        adapter.ping()
    adapter.close()


def test_nothing_of_ours_stays_behind_on_a_shared_connection(
    bounced: Adapter, bouncer_url: str
) -> None:
    """No SET that the next client of the connection would be surprised by."""
    settings = (
        "SELECT name, setting FROM pg_settings WHERE source IN ('session', 'client')"
        # PgBouncer itself sets this one anew for each client, and others to what they were.
        " AND name <> 'application_name' AND setting IS DISTINCT FROM reset_val"
    )
    with psycopg.connect(bouncer_url, autocommit=True, prepare_threshold=None) as other:
        before = set(other.execute(settings).fetchall())
        Note.perform_later()
        JobQueue(bounced).work_off()
        assert set(other.execute(settings).fetchall()) == before


@pytest.mark.needs("pgbouncer")
def test_a_pooler_that_is_restarted(
    postgres_server: str, postgres_url: str, wait_for: WaitFor, said: Said
) -> None:
    with PgBouncer(postgres_server) as bouncer:
        adapter = connect(bouncer.url(make_url(postgres_url).database))
        with JobQueue(adapter, poll_interval=0.02).running() as queue:
            queue.enqueue(Note, "before")
            wait_for(lambda: calls == ["before"], "a job")
            bouncer.halt()
            wait_for(lambda: said.count("database_lost") > 0, "the worker to notice")
            bouncer.start()
            wait_for(lambda: said.count("database_back") > 0, "the worker to be back")
            queue.enqueue(Note, "after")
            wait_for(lambda: calls == ["before", "after"], "another job")
        adapter.close()
    assert (said.count("database_lost"), said.count("database_back")) == (1, 1)


def test_a_pooler_that_takes_everything_and_answers_nothing(
    pgbouncer: PgBouncer, bouncer_url: str, postgres_url: str
) -> None:
    """As one does whose server is gone. The server's own `statement_timeout` says how long."""
    database = str(make_url(bouncer_url).database)
    with statement_timeout_of(postgres_url, "300ms"):
        pgbouncer.console(f"RECONNECT {database}")
        known, unknown = connect(bouncer_url), connect(f"{bouncer_url}?connect_timeout=2")
        known.ping()
        pgbouncer.console(f"PAUSE {database}")
        try:
            for adapter in (known, unknown):
                began = time.monotonic()
                with pytest.raises(DatabaseUnavailable, match=r"no answer within"):
                    adapter.enqueue([JOB])
                assert time.monotonic() - began < 4
        finally:
            pgbouncer.console(f"RESUME {database}")
        known.enqueue([JOB])
        known.close()
        unknown.close()
    pgbouncer.console(f"RECONNECT {database}")


@contextmanager
def statement_timeout_of(url: str, timeout: str) -> Iterator[None]:
    name = sql.Identifier(str(make_url(url).database))
    with psycopg.connect(url, autocommit=True) as connection:
        change = sql.SQL("ALTER DATABASE {} SET statement_timeout = {}")
        connection.execute(change.format(name, timeout))
        try:
            yield
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} RESET statement_timeout").format(name))
