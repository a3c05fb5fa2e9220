"""When the next job is due, on PostgreSQL: what is passed over to find it, and must not be missed.

Pages are counted, not seconds. The entries of jobs that are done stay in the index while anybody
holds an old snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.next_due import LOOK_AGAIN_SECONDS, MOST_LANES
from jobqueue.records import NewJob
from tests.adapters.claimants import Claimant, Seconds, enqueued
from tests.adapters.explaining import Plan, Table
from tests.process.conftest import WaitFor

MINUTE = timedelta(minutes=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
PATIENCE_SECONDS = 10.0
DONE, BATCH = 3000, 100
PAGES_OF_A_FEW_PROBES = 40
MODES = ("force_custom_plan", "force_generic_plan")


@pytest.fixture
def adapter(postgres_url: str) -> Iterator[PostgresAdapter]:
    with closing(PostgresAdapter(postgres_url)) as made:
        yield made


@pytest.fixture
def seconds(adapter: PostgresAdapter) -> Seconds:
    """The time by which it is decided whether to look from the start."""
    seconds = Seconds()
    adapter.wakeups.next_due.low_water.monotonic = seconds
    return seconds


@pytest.fixture
def many_dead_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is taken for one with many."""
    monkeypatch.setattr("jobqueue.adapters.postgres.next_due.FEW_DEAD_ROWS", 0)


@pytest.fixture
def table(adapter: PostgresAdapter, postgres_url: str) -> Iterator[Table]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield Table(connection, adapter)


@pytest.fixture
def snapshot(postgres_url: str, adapter: PostgresAdapter) -> Iterator[None]:
    """An old transaction, for which nothing that has died since can be removed."""
    with psycopg.connect(postgres_url) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT FROM background_jobs LIMIT 1")
        yield


def perform(adapter: PostgresAdapter, count: int, **facts: Any) -> None:
    """Have jobs come and go."""
    enqueued(adapter, count, **facts)
    claimant = Claimant(adapter)
    while claimant.turn(BATCH):
        pass


def asking(table: Table, mode: str = MODES[0]) -> Plan:
    """How the adapter asks when the next job is due."""
    return table.explain(table.statement_of(table.adapter.wakeups.first_run_at), mode)


# --- what is passed over -------------------------------------------------------------------------


@pytest.mark.usefixtures("snapshot", "seconds")
def test_what_is_done_is_not_walked_over_again(
    adapter: PostgresAdapter, table: Table, wait_for: WaitFor
) -> None:
    perform(adapter, DONE)
    perform(adapter, DONE, priority=7)
    look = asking(table)
    wait_for(
        lambda: asking(table).pages <= PAGES_OF_A_FEW_PROBES, "the server's count of dead rows"
    )
    for mode in MODES:
        perform(adapter, BATCH)
        adapter.due_in()
        assert asking(table, mode).pages <= PAGES_OF_A_FEW_PROBES
    assert look.pages >= 2 * PAGES_OF_A_FEW_PROBES


@pytest.mark.usefixtures("snapshot", "seconds", "many_dead_rows")
def test_jobs_for_later_are_found_at_the_same_cost(adapter: PostgresAdapter, table: Table) -> None:
    perform(adapter, DONE)
    adapter.due_in()
    enqueue_for_later(adapter, MINUTE)
    enqueue_for_later(adapter, MINUTE / 2, priority=9)
    assert asking(table).pages <= PAGES_OF_A_FEW_PROBES
    assert is_about(adapter.due_in(), MINUTE / 2)


@pytest.mark.usefixtures("snapshot", "many_dead_rows")
def test_it_looks_from_the_start_now_and_then(
    adapter: PostgresAdapter, table: Table, seconds: Seconds
) -> None:
    perform(adapter, DONE)
    adapter.due_in()
    cheap = asking(table).pages
    seconds.pass_by(LOOK_AGAIN_SECONDS)
    assert asking(table).pages >= cheap + PAGES_OF_A_FEW_PROBES


@pytest.mark.usefixtures("seconds", "many_dead_rows")
@pytest.mark.parametrize("mode", MODES)
def test_it_takes_the_index_whatever_is_in_the_table(table: Table, mode: str) -> None:
    table.fill_queues(50, 40, "'q'", "n", "1 hour")
    table.fill(2000, "q", priority=80)
    for _ in range(2):
        plan = asking(table, mode)
        assert not plan.scans_whole_table(), plan.root
        assert plan.rows_touched <= 2 * 52, plan.root
        assert plan.rows_sorted == 0, plan.root


# --- what must not be missed ---------------------------------------------------------------------


def enqueue_for_later(adapter: PostgresAdapter, delay: timedelta, priority: int = 50) -> None:
    adapter.enqueue([NewJob("Work", "{}", "a", priority, 5, delay=delay)])


def is_about(due_in: timedelta | None, expected: timedelta) -> bool:
    return due_in is not None and timedelta(0) <= expected - due_in < MINUTE / 4


@pytest.mark.usefixtures("seconds", "many_dead_rows")
@pytest.mark.parametrize("priority", [-(2**31), 7, 50, 51, 2**31 - 1])
def test_a_job_in_any_priority_is_found_without_a_look(
    adapter: PostgresAdapter, priority: int
) -> None:
    assert adapter.due_in() is None
    enqueue_for_later(adapter, MINUTE, priority)
    assert is_about(adapter.due_in(), MINUTE)
    enqueued(adapter, priority=priority)
    due_in = adapter.due_in()
    assert due_in is not None
    assert due_in <= timedelta(0)


@pytest.mark.usefixtures("seconds", "many_dead_rows")
def test_jobs_in_more_priorities_than_are_remembered(adapter: PostgresAdapter) -> None:
    for priority in range(2 * MOST_LANES):
        enqueue_for_later(adapter, MINUTE - priority * MINUTE / 1000, priority)
    expected = MINUTE - (2 * MOST_LANES - 1) * MINUTE / 1000
    for _ in range(2):
        assert is_about(adapter.due_in(), expected)


@pytest.mark.usefixtures("seconds", "many_dead_rows")
def test_an_announced_job_behind_the_mark_is_found(adapter: PostgresAdapter) -> None:
    with closing(adapter.listen()) as listener:
        assert adapter.due_in() is None
        enqueued(adapter, run_at=LONG_AGO, priority=20)
        enqueued(adapter, run_at=LONG_AGO)
        assert adapter.due_in() is None
        heard = listener.wait(PATIENCE_SECONDS)
        assert heard is not None
    due_in = adapter.due_in()
    assert due_in is not None
    assert due_in < -MINUTE


@pytest.mark.usefixtures("many_dead_rows")
def test_one_that_was_not_announced_is_found_by_a_look(
    adapter: PostgresAdapter, seconds: Seconds
) -> None:
    assert adapter.due_in() is None
    enqueued(adapter, run_at=LONG_AGO)
    assert adapter.due_in() is None
    seconds.pass_by(LOOK_AGAIN_SECONDS)
    due_in = adapter.due_in()
    assert due_in is not None
    assert due_in < -MINUTE


def test_where_few_rows_have_died_every_reading_is_a_look(
    adapter: PostgresAdapter, seconds: Seconds
) -> None:
    assert adapter.due_in() is None
    enqueued(adapter, run_at=LONG_AGO)
    seconds.pass_by(0.001)
    due_in = adapter.due_in()
    assert due_in is not None
    assert due_in < -MINUTE


@pytest.mark.usefixtures("seconds", "many_dead_rows")
def test_a_job_that_stays_due_is_said_to_be_due_each_time(adapter: PostgresAdapter) -> None:
    enqueued(adapter, run_at=LONG_AGO)
    assert [adapter.due_in() < -MINUTE for _ in range(3)] == [True] * 3  # type: ignore[operator]
