"""Somebody keeps rows locked that threads beside the pump write to, in PostgreSQL.

The schedule, the job or the minute of statistics that is locked waits. The others do not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta

import pytest

from jobqueue import Every, RowLocked
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.clock import ManualClock
from jobqueue.maintenance.ticker import Ticks
from jobqueue.records import Claim, ErrorFilter, ErrorGroup, JobFilter, NewErrors, NewJob, Stat
from tests.outages.conftest import Said
from tests.outages.locks import locked
from tests.test_recurring import LOG, due_times, schedule_of, ticking

MINUTE = timedelta(minutes=1)
SCHEDULES = "background_schedules"


@pytest.fixture
def adapter(postgres_url: str, clock: ManualClock) -> Iterator[PostgresAdapter]:
    made = PostgresAdapter(postgres_url, clock=clock)
    yield made
    made.close()


def test_a_locked_schedule_does_not_hold_up_the_others(
    adapter: PostgresAdapter, clock: ManualClock, postgres_url: str, said: Said
) -> None:
    start = clock.now()
    ticks = ticking(adapter, schedule_of(Every(minutes=1), "A"), schedule_of(Every(minutes=1), "B"))
    with locked(postgres_url, SCHEDULES, "A", column="name"):
        clock.advance(MINUTE)
        ticks.look()
        assert due_times(adapter) == [start + MINUTE]
        clock.advance(MINUTE)
        ticks.look()
        assert due_times(adapter) == [start + MINUTE, start + 2 * MINUTE]
    assert said.count("schedule_locked") == 1
    # What was due when it was tried first, and what is due now: as by a ticker that is on time.
    pause = ticks.look()
    assert pause is not None
    assert pause < 1
    ticks.look()
    assert sorted(due_times(adapter)) == [start + MINUTE] * 2 + [start + 2 * MINUTE] * 2


def test_a_locked_schedule_does_not_keep_others_from_being_declared(
    adapter: PostgresAdapter, clock: ManualClock, postgres_url: str
) -> None:
    seconds = itertools.count(step=100)  # each look declares anew
    ticking(adapter, schedule_of(Every(minutes=1), "A"))
    ticks = Ticks(adapter, None, LOG, lambda: next(seconds))
    ticks.take([schedule_of(Every(minutes=2), "A"), schedule_of(Every(minutes=2), "B")])
    with locked(postgres_url, SCHEDULES, "A", column="name"):
        clock.advance(1)
        ticks.look()
        assert rules(adapter) == {"A": 60, "B": 120}
        assert adapter.renew_schedules("jobs", ["A", "B", "C"]) == {"A", "B"}
    ticks.look()
    assert rules(adapter) == {"A": 120, "B": 120}


def rules(adapter: PostgresAdapter) -> dict[str, object]:
    return {record.name: record.rule["every_seconds"] for record in adapter.schedules()}


def test_the_progress_of_a_locked_job_does_not_hold_up_that_of_others(
    adapter: PostgresAdapter, postgres_url: str
) -> None:
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)] * 2)
    first, second = adapter.claim(Claim("w", 1, 2, 2))
    reports = {(first.id, 1): "1", (second.id, 1): "2"}
    with locked(postgres_url, "background_jobs", first.id), pytest.raises(RowLocked):
        adapter.report_progress(reports)
    assert progress(adapter) == [None, 2]
    adapter.report_progress(reports)
    assert progress(adapter) == [1, 2]


def progress(adapter: PostgresAdapter) -> list[object]:
    return [job.progress for job in reversed(adapter.list_jobs(JobFilter(), 10))]


def test_a_locked_group_of_errors_holds_up_no_other(
    adapter: PostgresAdapter, clock: ManualClock, postgres_url: str
) -> None:
    groups = [ErrorGroup(key, "Work", "ValueError", None, "no") for key in ("a", "b", "c")]
    errors = [NewErrors(group, 1, "no", 1) for group in groups]
    assert adapter.add_errors(errors[:2]) == set()
    with locked(postgres_url, "background_errors", "b", column="key"):
        assert adapter.add_errors(errors) == {"b"}
        clock.advance(timedelta(days=40))
        assert adapter.prune_errors(timedelta(days=30), 10) == 3
    assert [group.key for group in adapter.error_groups(ErrorFilter(), 10).groups] == ["b"]
    assert adapter.add_errors(errors) == set()
    assert adapter.prune_errors(timedelta(days=30), 10) == 0


def test_a_locked_minute_of_statistics_stays_until_it_is_free(
    adapter: PostgresAdapter, clock: ManualClock, postgres_url: str
) -> None:
    for worker in ("locked", "other"):
        adapter.add_stats(worker, [Stat("Work", "default", 1)])
    clock.advance(timedelta(days=8))
    with locked(postgres_url, "background_stats", "locked", column="worker_id"):
        assert adapter.prune_stats(10) == 1
    assert adapter.prune_stats(10) == 1
