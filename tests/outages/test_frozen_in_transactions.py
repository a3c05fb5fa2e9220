"""A process is frozen, or its machine lost, in the middle of a transaction on PostgreSQL.

Whatever it has locked is passed over by all others. After a while the server ends the transaction.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest

from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.database import PostgresDatabase
from jobqueue.records import Claim, JobState, NewJob, NewWorker, Succeeded
from tests.conftest import PROJECT
from tests.process.conftest import WaitFor

LIMITS_LEFT = """
SELECT name FROM pg_settings
WHERE setting <> '0'
  AND name IN ('lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""
TRANSACTION_TIMEOUT = 170_000
LIVING, FROZEN = "living", "frozen"
LIVING_WORKER = NewWorker(LIVING, "worker", "host", 1, None, 2, timedelta(seconds=30))
TCP_SETTINGS = "SELECT name FROM pg_settings WHERE name LIKE 'tcp%%' AND source = 'session'"


@pytest.fixture
def adapter(postgres_url: str) -> Iterator[PostgresAdapter]:
    made = connect(postgres_url)
    assert isinstance(made, PostgresAdapter)
    made.register_worker(LIVING_WORKER)
    yield made
    made.close()


@contextmanager
def frozen(url: str, name: str, how: str = "") -> Iterator[subprocess.Popen[str]]:
    """Within the block, a process stands still after its statement."""
    command = [sys.executable, "-m", "tests.outages.freezing", url, name, how]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), "it has ended instead"
            yield process
        finally:
            process.kill()


def thawed(process: subprocess.Popen[str]) -> str:
    """How its call ends when it goes on."""
    process.send_signal(signal.SIGCONT)
    return process.communicate(timeout=60)[0].strip()


def unlocked(url: str, table: str) -> set[int | str]:
    """The ids of the rows that nobody has locked."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(f"SELECT id FROM {table} FOR UPDATE SKIP LOCKED".encode())
        return {row[0] for row in rows}


@pytest.mark.parametrize("name", ["beat", "register"])
def test_a_beat_leaves_nothing_locked(
    name: str, adapter: PostgresAdapter, postgres_url: str
) -> None:
    """It is one statement, committed when the server has done it."""
    with frozen(postgres_url, name) as process:
        assert unlocked(postgres_url, "background_workers") == {FROZEN, LIVING}
        assert adapter.beat([FROZEN, LIVING]) == {FROZEN, LIVING}
        assert thawed(process) == "done"


FREEZES = [("settle", "", 1), ("claim", "", 2), ("rescue", "", 1)]
# Something more is to come, as far as the server knows. Since version 17 it does not wait for ever.
EARLY = [("settle", "as soon as sent", 1), ("claim", "as soon as sent", 2)]


@pytest.mark.parametrize(("name", "how", "locked_id"), FREEZES + EARLY)
def test_the_others_go_on_and_the_server_ends_it(
    name: str,
    how: str,
    locked_id: int,
    adapter: PostgresAdapter,
    postgres_url: str,
    wait_for: WaitFor,
) -> None:
    if how and server_version(adapter) < TRANSACTION_TIMEOUT:
        pytest.skip("the server has no transaction_timeout")
    with frozen(postgres_url, name, how) as process:
        assert unlocked(postgres_url, "background_jobs") == {1, 2, 3} - {locked_id}
        # Before the server ends it, and without having waited for that.
        assert adapter.beat([LIVING]) == {LIVING}
        mine = adapter.turn([], Claim(LIVING, 3, 3, 3)).claimed
        assert {job.id for job in mine} == {2, 3} - {locked_id}
        assert adapter.turn([Succeeded(job) for job in mine], None).rejected == ()
        assert unlocked(postgres_url, "background_jobs") == {1} - {locked_id}
        wait_for(
            lambda: locked_id in unlocked(postgres_url, "background_jobs"), "the server to end it"
        )
        free_everything(adapter)
        assert states(adapter) == {JobState.READY}
        # A rescue has statements left, and learns by them that nothing was committed. It is made
        # once more, and finds nothing to free. Of the others only the answer to the commit is left.
        assert thawed(process) == ("done" if name == "rescue" else "DatabaseUnavailable")
        assert states(adapter) == {JobState.READY}


def server_version(adapter: PostgresAdapter) -> int:
    query = "SELECT current_setting('server_version_num')::int"
    return int(adapter.database.read(lambda c: c.exec_driver_sql(query).scalar_one()))


def free_everything(adapter: Adapter) -> None:
    """As after a lease: whatever is held belongs to somebody who is gone."""
    for worker in adapter.workers():
        if worker.id == FROZEN:
            adapter.rescue(worker, "it stands still")
    for worker_id in adapter.orphaned_workers():
        adapter.rescue_orphans(worker_id, "it is gone")


def states(adapter: Adapter) -> set[JobState]:
    return {state for state, number in adapter.count_by_state().items() if number}


def test_the_server_is_asked_to_notice_that_a_machine_is_lost(
    adapter: PostgresAdapter, bouncer_url: str
) -> None:
    """On our connections, those of jobs' own transactions included, and on no pooler's."""
    asked_for = {
        "tcp_keepalives_count",
        "tcp_keepalives_idle",
        "tcp_keepalives_interval",
        "tcp_user_timeout",
    }
    assert set(tcp_settings(adapter)) == asked_for
    database = adapter.database
    assert isinstance(database, PostgresDatabase)
    engine = database.new_engine_for_jobs()
    with engine.connect() as connection:
        assert set(connection.exec_driver_sql(TCP_SETTINGS).scalars()) == asked_for
    engine.dispose()
    bounced = connect(bouncer_url)
    assert isinstance(bounced, PostgresAdapter)
    assert tcp_settings(bounced) == []
    bounced.close()


def tcp_settings(adapter: PostgresAdapter) -> list[str]:
    return list(adapter.database.read(lambda c: c.exec_driver_sql(TCP_SETTINGS).scalars().all()))


def test_nothing_of_a_limit_is_left_on_a_connection(adapter: PostgresAdapter) -> None:
    """Through a pooler it would be somebody else's next."""
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)])
    (job,) = adapter.claim(Claim(LIVING, 1, 1, 1))
    adapter.turn([Succeeded(job)], Claim(LIVING, 2, 1, 1))
    adapter.release_strays(LIVING, set())
    adapter.beat([LIVING])
    assert adapter.database.read(lambda c: c.exec_driver_sql(LIMITS_LEFT).scalars().all()) == []
