"""What workers add up of their attempts, and store beside the jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue import Discard, Job, JobQueue, MemoryAdapter
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.records import Claim, NewJob, Outcome, Released, Stat, Succeeded
from jobqueue.worker.stats import Stats

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


class Counted(Job):
    name = "stats.Counted"
    queue = "email"
    max_attempts = 2

    def perform(self, how: str) -> None:
        if how == "fail":
            raise ValueError(how)
        if how == "discard":
            raise Discard(how)


def counts(stat: Stat) -> tuple[str, str, int, int, int, int]:
    return (
        stat.handler,
        stat.queue,
        stat.succeeded,
        stat.retried,
        stat.failed,
        stat.cancelled,
    )


@pytest.fixture
def queue(adapter: Adapter) -> JobQueue:
    return JobQueue(adapter)


def test_a_worker_stores_how_its_jobs_ended(adapter: Adapter, queue: JobQueue) -> None:
    Counted.perform_all_later([("succeed",), ("fail",), ("discard",), ("succeed",)])
    queue.work_off()
    [found] = adapter.stats(HOUR)
    assert counts(found.stat) == ("stats.Counted", "email", 2, 1, 0, 1)
    assert timedelta(0) < found.stat.longest <= found.stat.run_time
    assert found.stat.attempts == 4


def test_two_workers_in_one_minute(adapter: Adapter, queue: JobQueue) -> None:
    for _ in range(2):
        Counted.perform_later("succeed")
        queue.work_off()
    assert sum(found.stat.succeeded for found in adapter.stats(HOUR)) == 2


def test_a_running_worker_stores_them_when_it_stops(
    adapter: Adapter, queue: JobQueue, wait_for: Callable[[Callable[[], bool], str], None]
) -> None:
    with queue.running():
        job = Counted.perform_later("succeed")
        wait_for(lambda: adapter.get(job.id) is None, "the job to be done")
    assert [counts(found.stat)[2] for found in adapter.stats(HOUR)] == [1]


# --- adding up -----------------------------------------------------------------------------------


class Moody(MemoryAdapter):
    error: DatabaseError | None = None

    def add_stats(self, worker_id: str, stats: Sequence[Stat]) -> None:
        if self.error is not None:
            raise self.error
        super().add_stats(worker_id, stats)


@pytest.fixture
def moody(clock: ManualClock) -> Moody:
    return Moody(clock=clock)


def outcomes(adapter: Adapter, number: int) -> list[Outcome]:
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5) for _ in range(number)])
    return [Succeeded(job, run_time=SECOND) for job in adapter.claim(Claim("w", 1, 100, 100))]


def added(adapter: Adapter) -> list[tuple[int, timedelta]]:
    return [(found.stat.succeeded, found.stat.run_time) for found in adapter.stats(HOUR)]


def test_what_was_given_back_does_not_count(moody: Moody) -> None:
    stats = Stats(moody, "worker-1", logging.getLogger())
    kept, released = outcomes(moody, 2)
    stats.note([kept, Released(released.job)])
    stats.flush()
    assert added(moody) == [(1, SECOND)]


def test_jobs_that_were_due_since_the_year_1(moody: Moody) -> None:
    """A thousand of them have waited for longer than any duration."""
    stats = Stats(moody, "worker-1", logging.getLogger())
    (done,) = outcomes(moody, 1)
    old = replace(done, job=replace(done.job, run_at=datetime(1, 1, 1, tzinfo=UTC)))
    stats.note([old] * 1500)
    moody.error = DatabaseUnavailable("away")
    stats.flush()
    stats.note([old] * 1500)
    moody.error = None
    stats.flush()
    [found] = moody.stats(HOUR)
    assert (found.stat.succeeded, found.stat.wait_time) == (3000, timedelta.max)


def test_what_the_database_did_not_take_is_stored_later(moody: Moody) -> None:
    stats = Stats(moody, "worker-1", logging.getLogger())
    stats.note(outcomes(moody, 2))
    moody.error = DatabaseUnavailable("away")
    stats.flush()
    stats.note(outcomes(moody, 1))
    moody.error = None
    stats.flush()
    stats.flush()
    assert added(moody) == [(3, 3 * SECOND)]


def test_what_the_database_refuses_is_said(moody: Moody, caplog: pytest.LogCaptureFixture) -> None:
    stats = Stats(moody, "worker-1", logging.getLogger("jobqueue"))
    stats.note(outcomes(moody, 1))
    moody.error = DatabaseError("no")
    stats.flush()
    assert "what became of attempts could not be stored: no" in caplog.text
