"""The plans of the reads of what jobs leave behind: they look at little, whatever there is.

What is asserted holds for ever: which rows are looked at, not how long it takes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from benchmarks.history_rows import Sizes, fill
from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.records import ActionFilter, ErrorFilter, ErrorState, JobFilter, JobRecord, JobState
from tests.adapters.explaining import Plan
from tests.conftest import new_postgres_database

SIZES = Sizes(
    jobs=20_000,
    classes=20,
    queues=10,
    attempts=20_000,
    groups=2_000,
    hours_of_groups=12,
    hours=10 * 24,
    sampled_minutes=24 * 60,
    actions=20_000,
)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SHOWN = 50
OPEN = (ErrorState.OPEN,)
Read = Callable[[SqlAdapter], Any]
# Each with the most rows of all tables that it may look at.
READS: dict[str, tuple[Read, int]] = {
    "attempts": (lambda adapter: adapter.attempts(4_000), 10),
    "groups of errors": (
        lambda adapter: adapter.error_groups(ErrorFilter(), SHOWN),
        SHOWN * 14,
    ),
    "open groups": (
        lambda adapter: adapter.error_groups(ErrorFilter(states=OPEN), SHOWN),
        SHOWN * 16,
    ),
    "groups of the last minute": (
        lambda adapter: adapter.error_groups(ErrorFilter(period=timedelta(minutes=1)), SHOWN),
        SHOWN * 16,
    ),
    "a group": (lambda adapter: adapter.error_group("key7"), 20),
    "jobs of a group": (
        lambda adapter: adapter.page_jobs(JobFilter(error_keys=("key7",)), SHOWN),
        3 * SHOWN,
    ),
    "the number of jobs of a group": (
        lambda adapter: adapter.count_up_to(JobFilter(error_keys=("key7",)), 1_000),
        3 * SHOWN,
    ),
    "statistics of an hour": (lambda adapter: adapter.class_stats(2 * HOUR), 200),
    "statistics of a day": (lambda adapter: adapter.class_stats(DAY), 1_500),
    "statistics of a class, of a day": (
        lambda adapter: adapter.class_stats(DAY, handlers=["shop.Class3"]),
        1_500,
    ),
    "samples of an hour": (lambda adapter: adapter.samples(HOUR), 1_500),
    "samples of a queue, some of a day": (
        lambda adapter: adapter.samples(DAY, "queue3", 30),
        300,
    ),
    "samples, some of a day": (lambda adapter: adapter.samples(DAY, every=30), 1_000),
    "the lanes of all queues": (
        # Ten lanes, each counted to a hundred, and two probes for each.
        lambda adapter: adapter.lane_depths(100),
        10 * 110,
    ),
    "the lanes of a queue": (lambda adapter: adapter.lane_depths(100, "queue3"), 130),
    "the jobs before a job": (
        lambda adapter: adapter.due_before(_a_ready_job(adapter), 100),
        130,
    ),
    "actions": (lambda adapter: adapter.actions(ActionFilter(), SHOWN), SHOWN + 1),
    "actions further down": (
        lambda adapter: adapter.actions(ActionFilter(before_id=9_000), SHOWN),
        SHOWN + 1,
    ),
    "running jobs": (lambda adapter: adapter.running_jobs(1_000), 10),
    "jobs whose worker is gone": (lambda adapter: adapter.orphaned_workers(), 10),
    "workers that have ended": (lambda adapter: adapter.ended_workers(20), 20),
}


def _a_ready_job(adapter: SqlAdapter) -> JobRecord:
    """The newest job, which all others of its queue come before."""
    job = adapter.get(SIZES.jobs)
    assert job is not None
    assert job.state is JobState.READY
    return job


each_read = pytest.mark.parametrize("name", READS)


def statements_of(adapter: SqlAdapter, read: Read) -> list[tuple[str, Any]]:
    sent: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "background_" in statement:
            sent.append((statement, values))

    read(adapter)  # What it looks up once is known afterwards.
    event.listen(adapter.database.engine, "before_cursor_execute", note)
    try:
        read(adapter)
    finally:
        event.remove(adapter.database.engine, "before_cursor_execute", note)
    assert sent
    return sent


# --- PostgreSQL ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres(postgres_server: str) -> Iterator[SqlAdapter]:
    with new_postgres_database(postgres_server) as url:
        adapter = _adapter(url)
        adapter.migrate()
        adapter.database.write(lambda connection: fill(connection, SIZES))
        yield adapter
        adapter.close()


@each_read
def test_postgresql_looks_at_little(postgres: SqlAdapter, name: str) -> None:
    read, most = READS[name]
    plans = plans_of(postgres, read)
    assert sum(map(rows_of, plans)) <= most, [plan.root for plan in plans]


def plans_of(adapter: SqlAdapter, read: Read) -> list[Plan]:
    explain = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) "
    statements = statements_of(adapter, read)

    def explained(connection: Any) -> list[Any]:
        return [
            connection.exec_driver_sql(explain + s, values).scalar_one() for s, values in statements
        ]

    return [Plan(one[0]["Plan"]) for one in adapter.database.look(explained)]


def rows_of(plan: Plan) -> float:
    """The rows of tables that a plan has looked at, those that it then left out included."""
    looked_at = sum(
        (node["Actual Rows"] + _left_out(node)) * node["Actual Loops"]
        for node in plan.nodes()
        if "Relation Name" in node or node["Node Type"] == "Bitmap Index Scan"
    )
    return float(looked_at)


def _left_out(node: dict[str, Any]) -> float:
    return float(sum(value for key, value in node.items() if key.startswith("Rows Removed by")))


# --- SQLite --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sqlite(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlAdapter]:
    path = tmp_path_factory.mktemp("history") / "history.sqlite3"
    shutil.copy(migrated_sqlite, path)
    adapter = _adapter(f"sqlite:///{path}")
    adapter.database.write(lambda connection: fill(connection, SIZES))
    yield adapter
    adapter.close()


STEPS_A_ROW = 150
"""A row of statistics has thirty columns to be read, checked and added up."""


@each_read
def test_sqlite_looks_at_little(sqlite: SqlAdapter, name: str) -> None:
    read, most = READS[name]
    details = details_of(sqlite, read)
    scans = [detail for detail in details if detail.startswith("SCAN background_")]
    assert all("INDEX" in scan or "actions" in scan for scan in scans), details
    assert _steps(sqlite, read) <= 5_000 + STEPS_A_ROW * most * 2, details


def details_of(adapter: SqlAdapter, read: Read) -> list[str]:
    """What SQLite says of the plans of a read."""
    statements = statements_of(adapter, read)

    def explained(connection: Any) -> list[str]:
        found = []
        for statement, values in statements:
            rows = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, values)
            found += [row.detail for row in rows]
        return found

    return adapter.database.read(explained)


def _steps(adapter: SqlAdapter, read: Read) -> int:
    """How many steps SQLite's virtual machine takes for a read, in hundreds."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 100
        return 0

    def watch(connection: Any, *_: Any) -> None:
        connection.connection.driver_connection.set_progress_handler(step, 100)

    event.listen(adapter.database.engine, "before_cursor_execute", watch)
    try:
        read(adapter)
    finally:
        event.remove(adapter.database.engine, "before_cursor_execute", watch)
        adapter.database.close_spare()
    return count


def _adapter(url: str) -> SqlAdapter:
    made = connect(url)
    assert isinstance(made, SqlAdapter)
    return made
