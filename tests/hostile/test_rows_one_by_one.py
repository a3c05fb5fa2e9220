"""Rows that somebody has written by hand keep nobody's jobs from being performed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import text

from jobqueue import Job, JobQueue
from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.records import JobFilter, JobState
from tests.sample_jobs import Note, calls

GOOD: Mapping[str, Any] = {
    "handler": "tests.sample_jobs.Note",
    "args": '{"what": "odd"}',
    "queue": "default",
    "priority": 50,
    "max_attempts": 5,
    "run_at": "2026-01-01 00:00:00.000000",
    "created_at": "2026-01-01 00:00:00.000000",
    "updated_at": "2026-01-01 00:00:00.000000",
}
ON_SQLITE: tuple[Mapping[str, Any], ...] = (
    {"run_at": ""},
    {"run_at": 0},
    {"run_at": "2026-01-30"},
    {"created_at": "garbage"},
    {"updated_at": b"\xff"},
    {"handler": b"tests.sample_jobs.Note"},
    {"queue": b"default"},
    {"crashes": "x"},
    {"attempts": "x"},
    {"finished_at": "never", "state": "succeeded"},
    {"cancel_requested_at": "garbage"},
)
ANYWHERE: tuple[Mapping[str, Any], ...] = (
    {"attempts": 2**31 - 1},
    {"attempts": 2**31 - 1, "max_attempts": 2**31 - 1},
    {"attempts": 2**31 - 1, "state": "failed", "finished_at": "2026-01-01 00:00:00.000000"},
    {"attempts": -(2**31)},
    {"crashes": 2**15 - 1},
    {"crashes": -1},
    {"priority": -(2**31)},
    {"priority": 2**31 - 1},
    {"max_attempts": 0},
    {"max_attempts": -5},
    {"args": '{"what": 1e999}'},
    {"args": "[1]"},
    {"args": "null"},
    {"args": "[" * 500 + "]" * 500},
    {"handler": ""},
    {"handler": "x" * 255},
    {"state": "running", "locked_by": "nobody"},
    {"state": "running"},
    {"run_at": "9999-12-31 23:59:59.999999"},
    {"run_at": "0001-01-01 00:00:00.000000"},
)
ON_POSTGRESQL: tuple[Mapping[str, Any], ...] = (
    {"run_at": "-infinity"},
    {"run_at": "infinity"},
    {"created_at": "-infinity"},
    {"run_at": "4713-01-01 00:00:00 BC"},
)


@pytest.fixture
def adapter(database_url: str) -> Iterator[SqlAdapter]:
    with closing(connect(database_url)) as made:
        assert isinstance(made, SqlAdapter)
        Job.config(adapter=made)
        calls.clear()
        yield made


def write(adapter: SqlAdapter, odd: Mapping[str, Any]) -> None:
    row = {**GOOD, **odd}
    sql = (
        f"INSERT INTO background_jobs ({', '.join(row)}) VALUES ({', '.join(':' + n for n in row)})"
    )
    with adapter.database.engine.begin() as connection:
        connection.execute(text(sql), row)


def rows_for(database_url: str) -> tuple[Mapping[str, Any], ...]:
    return ANYWHERE + (ON_SQLITE if database_url.startswith("sqlite") else ON_POSTGRESQL)


def test_a_hostile_row_stops_nobody(adapter: SqlAdapter, database_url: str) -> None:
    for number, odd in enumerate(rows_for(database_url)):
        write(adapter, odd)
        Note.perform_later(f"honest {number}")
        JobQueue(adapter).work_off()
        assert f"honest {number}" in calls, odd
        with adapter.database.engine.begin() as connection:
            connection.execute(text("DELETE FROM background_jobs"))


def test_all_hostile_rows_together_are_listed(adapter: SqlAdapter, database_url: str) -> None:
    rows = rows_for(database_url)
    for odd in rows:
        write(adapter, odd)
    assert len(adapter.list_jobs(JobFilter(), 100)) == len(rows)
    assert len(adapter.page_jobs(JobFilter(), 100).jobs) == len(rows)
    for depth in adapter.queue_depths(100):
        assert depth.queue
    adapter.due_in()
    assert adapter.retry(JobFilter(states=(JobState.FAILED,))) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_queue_whose_name_is_no_text_beside_a_paused_one(adapter: SqlAdapter) -> None:
    Note.perform_later("honest")
    adapter.pause_queues(["email"])
    write(adapter, {"queue": b"\xff\x00"})
    with adapter.database.engine.begin() as connection:
        connection.execute(text("UPDATE background_jobs SET queue = CAST(queue AS TEXT)"))
    assert JobQueue(adapter).work_off().succeeded == 2
