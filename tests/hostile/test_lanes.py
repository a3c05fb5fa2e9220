"""As many lanes as there are jobs: no claim, look or count goes through all of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import text

from jobqueue import Job
from jobqueue.adapters import connect
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.claim_statements import MOST_LANES
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.records import Claim, JobFilter, NewJob
from tests.sample_jobs import Note

LANES = 12_000
QUEUES = 400
LIMIT = 100
PATIENCE_SECONDS = 60
SOON = "2026-01-01 00:00:00.000000"
NUMBERS = f"""
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {LANES - 1})
INSERT INTO background_jobs (handler, args, queue, priority, run_at, created_at, updated_at)
SELECT 'Work', '{{{{}}}}', {{queue}}, {{priority}}, '{SOON}', '{SOON}', '{SOON}' FROM numbers
"""
KINDS = {
    "queues and priorities": ("'q' || (n % 400)", "n / 400"),
    "queues": ("'q' || n", "50"),
    "priorities": ("'q1'", "n"),
}


@pytest.fixture(params=KINDS)
def adapter(request: pytest.FixtureRequest, database_url: str) -> Iterator[SqlAdapter]:
    queue, priority = KINDS[request.param]
    with closing(connect(database_url)) as made:
        assert isinstance(made, SqlAdapter)
        Job.config(adapter=made)
        with made.database.engine.begin() as connection:
            connection.execute(text(NUMBERS.format(queue=queue, priority=priority)))
        yield made


@pytest.mark.parametrize("paused", ["q5", "q1"])
def test_a_claim_goes_through_few_lanes(adapter: SqlAdapter, paused: str) -> None:
    """After a pause, claims are made by lanes of queues."""
    adapter.pause_queues([paused])
    found = adapter.turn([], Claim("w", 1, LIMIT, LIMIT)).claimed
    is_all_paused = adapter.count_jobs(JobFilter(queues=(paused,))) == LANES
    assert len(found) == (0 if is_all_paused else LIMIT)
    assert paused not in {job.queue for job in found}
    assert [job.priority for job in found] == sorted(job.priority for job in found)
    if isinstance(adapter, PostgresAdapter):
        assert len(adapter.path.low_water_marks.of("w", None).lanes()) <= MOST_LANES
        assert len(adapter.path.find_lanes(None).lanes) <= MOST_LANES


def test_one_honest_job_behind_all_of_them_is_found(adapter: SqlAdapter) -> None:
    """Though all others are paused, there are too many of them for one look."""
    queues = [depth.queue for depth in adapter.queue_depths(10)]
    with adapter.database.engine.begin() as connection:
        connection.execute(text(
            "INSERT INTO background_queues (name, paused_at, updated_at) "
            "SELECT DISTINCT queue, run_at, run_at FROM background_jobs"
        ))  # fmt: skip
    assert queues
    [honest] = adapter.enqueue([NewJob(Note.name, "{}", "honest", LANES, 5)])
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    for token in itertools.count(1):
        turn = adapter.turn([], Claim("w", token, LIMIT, LIMIT))
        if turn.claimed:
            break
        assert turn.look_again_in is not None
        assert time.monotonic() < give_up_at
        time.sleep(turn.look_again_in.total_seconds())  # as a worker does
    assert [job.id for job in turn.claimed] == [honest.id]


def test_a_claim_from_many_queues_goes_through_few_lanes(adapter: SqlAdapter) -> None:
    queues = tuple(f"q{n}" for n in range(QUEUES))
    found = adapter.turn([], Claim("w", 1, LIMIT, LIMIT, queues)).claimed
    assert len(found) == LIMIT


def test_what_people_look_at_is_bounded(adapter: SqlAdapter) -> None:
    assert len(adapter.queue_depths()) <= 1000
    due_in = adapter.due_in()
    assert due_in is not None
    assert due_in.total_seconds() <= 0
