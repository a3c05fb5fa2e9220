"""Moments that Python has no number for, written into the table by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import make_url

from jobqueue import JobQueue, JobState
from jobqueue.adapters import connect
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.sql.tables import DAWN, DUSK
from jobqueue.errors import DatabaseRefused
from jobqueue.records import Claim, JobFilter, NewJob
from tests.sample_jobs import Note, calls

WaitFor = Callable[[Callable[[], bool], str], None]
LONG_AGO = ("-infinity", "0044-03-15 12:00 BC", "0001-01-01 00:00+00")
NEVER = "infinity"


@pytest.fixture
def adapter(postgres_url: str) -> Iterator[PostgresAdapter]:
    calls.clear()
    made = connect(postgres_url)
    assert isinstance(made, PostgresAdapter)
    yield made
    made.close()


def enqueue_at(url: str, adapter: PostgresAdapter, run_at: str, queue: str = "default") -> int:
    new = NewJob(Note.name, f'{{"what": "{run_at}"}}', queue, 50, 5)
    job_id = adapter.enqueue([new])[0].id
    with psycopg.connect(url, autocommit=True) as connection:
        # An offset from UTC in which year 1 begins in year 0.
        connection.execute("SET TimeZone = 'America/Los_Angeles'")
        connection.execute("UPDATE background_jobs SET run_at = %s WHERE id = %s", (run_at, job_id))
    return job_id


@pytest.mark.parametrize("paused", [(), ("elsewhere",)], ids=["all queues", "lanes of queues"])
def test_they_are_performed_first_or_wait_for_ever(
    adapter: PostgresAdapter, postgres_url: str, paused: tuple[str, ...], wait_for: WaitFor
) -> None:
    """One such row must not keep the worker from all others."""
    adapter.pause_queues(paused)
    adapter.enqueue([NewJob(Note.name, '{"what": "now"}', "default", 50, 5)])
    never = enqueue_at(postgres_url, adapter, NEVER)
    for run_at in LONG_AGO:
        enqueue_at(postgres_url, adapter, run_at)
    assert JobQueue(adapter).work_off().succeeded == len(LONG_AGO) + 1
    assert calls == [*LONG_AGO, "now"]
    (left,) = adapter.list_jobs(JobFilter(), 10)
    assert (left.id, left.state, left.run_at) == (never, JobState.READY, DUSK)


@pytest.mark.parametrize("column", ["run_at", "created_at"])
@pytest.mark.parametrize(
    "text",
    [
        *LONG_AGO,
        "",
        "infinity",
        "2020-01-01",
        "2020-01-01 10:00+02:00",
        "2020-13-01 00:00:00.000000",
    ],
)
def test_text_that_is_no_moment_on_sqlite(sqlite_url: str, column: str, text: str) -> None:
    """As text it is before now or after it, and so is the job."""
    calls.clear()
    with closing(connect(sqlite_url)) as adapter:
        odd, *_ = adapter.enqueue(
            [NewJob(Note.name, f'{{"what": "{what}"}}', "default", 50, 5) for what in ("odd", 0, 1)]
        )
        with closing(sqlite3.connect(make_url(sqlite_url).database or "")) as connection:
            connection.execute(
                f"UPDATE background_jobs SET {column} = ? WHERE id = ?", (text, odd.id)
            )
            connection.commit()
        waits_for_ever = column == "run_at" and text == "infinity"
        assert JobQueue(adapter).work_off().succeeded == (2 if waits_for_ever else 3)
        assert {"0", "1"} <= set(calls)
        for job in adapter.list_jobs(JobFilter(), 10):
            assert getattr(job, column) == DUSK
        adapter.queue_depths()
        adapter.due_in()


def test_what_looks_from_outside_can_read_them(adapter: PostgresAdapter, postgres_url: str) -> None:
    far = enqueue_at(postgres_url, adapter, NEVER)
    due_in = adapter.due_in()
    assert due_in is not None
    assert due_in.days > 2_000_000
    ancient = [enqueue_at(postgres_url, adapter, run_at) for run_at in LONG_AGO]
    run_ats = {job.id: job.run_at for job in adapter.list_jobs(JobFilter(), 10)}
    assert run_ats.pop(far) == DUSK
    assert set(run_ats) == set(ancient)
    assert max(run_ats.values()) == DAWN
    (depth,) = adapter.queue_depths()
    assert (depth.due, depth.later) == (len(LONG_AGO), 1)
    due_in = adapter.due_in()
    assert due_in is not None
    assert due_in.total_seconds() < 0


def test_a_claim_that_is_refused_is_not_taken_for_an_empty_queue(
    adapter: PostgresAdapter, postgres_url: str
) -> None:
    """Whatever the reason: a worker that claims nothing and does not say so helps nobody."""
    adapter.enqueue([NewJob(Note.name, "{}", "default", 50, 5)])
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = '22000'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON background_jobs"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    try:
        with pytest.raises(DatabaseRefused, match="not this one"):
            adapter.turn([], Claim("w", 1, 10, 10))
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("DROP FUNCTION refuse CASCADE")
