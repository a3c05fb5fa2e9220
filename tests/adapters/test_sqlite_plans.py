"""The plans of the claim in SQLite, and the work that it does, whatever else is in the table."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from jobqueue.adapters.sqlite import database as sqlite_database
from jobqueue.adapters.sqlite.adapter import SqliteAdapter
from jobqueue.records import Claim, Retried, Succeeded

NOW = "2999-01-01 00:00:00.000000"
LIMIT = 100
TEN_QUEUES = tuple(f"queue{n}" for n in range(10))
CLAIMS: dict[str, tuple[str, ...] | None] = {
    "all queues": None,
    "one queue": ("queue0",),
    "ten queues": TEN_QUEUES,
    "one queue, all of it for tomorrow": ("tomorrow",),
    "a paused queue and another": ("paused", "queue0"),
    "no such queue": ("none",),
}
STEPS_A_JOB = 600
STEPS_A_LANE = 60 * LIMIT
STEPS_EACH = 100

ROWS = """
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows)
    INSERT INTO background_jobs (handler, queue, priority, run_at, created_at, updated_at)
    SELECT 'Work', :queue, :priority, strftime('%Y-%m-%d %H:%M:%f', 'now', :due) || '000',
           '2020-01-01 00:00:00.000000', '2020-01-01 00:00:00.000000'
    FROM numbers
"""


@dataclass
class Steps:
    """Counts the steps of SQLite's virtual machine."""

    count: int = 0

    def watch(self, connection: sqlite3.Connection) -> None:
        connection.set_progress_handler(self.step, STEPS_EACH)

    def step(self) -> int:
        self.count += STEPS_EACH
        return 0


@pytest.fixture(scope="module")
def steps() -> Steps:
    return Steps()


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def large_table(
    request: pytest.FixtureRequest,
    migrated_sqlite: Path,
    tmp_path_factory: pytest.TempPathFactory,
    steps: Steps,
) -> Iterator[SqliteAdapter]:
    """Three hundred thousand rows in other queues, a third of them for tomorrow and more urgent."""
    path = tmp_path_factory.mktemp("large") / "large.sqlite3"
    shutil.copy(migrated_sqlite, path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        fill(connection)
        if request.param == "analyzed":
            connection.execute("ANALYZE")
        connection.commit()
    adapter = SqliteAdapter(f"sqlite:///{path}")

    @event.listens_for(adapter.database.engine, "connect")
    def watch(connection: Any, _: Any) -> None:
        steps.watch(connection)

    yield adapter
    adapter.close()


def fill(connection: sqlite3.Connection) -> None:
    rows = [
        (100_000, "other", 50, "-1 hour"),
        (100_000, "tomorrow", 10, "1 day"),
        (100_000, "paused", 20, "-1 hour"),
    ]
    for queue in TEN_QUEUES:
        rows += [(300, queue, 60, "-1 hour"), (300, queue, 30, "1 day")]
    for count, queue, priority, due in rows:
        values = {"rows": count, "queue": queue, "priority": priority, "due": due}
        connection.execute(ROWS, values)


@pytest.fixture
def large(large_table: SqliteAdapter) -> Iterator[SqliteAdapter]:
    """The large table, as it was before the test when it is over."""
    large_table.ping()
    yield large_table
    large_table.unregister_worker("w")
    statement = "DELETE FROM background_queues"
    large_table.database.write(lambda c: c.exec_driver_sql(statement))


def pause(adapter: SqliteAdapter, queue: str) -> None:
    statement = (
        "INSERT INTO background_queues (name, paused_at, updated_at) "
        "VALUES (?, '2020-01-01', '2020-01-01')"
    )
    adapter.database.write(lambda c: c.exec_driver_sql(statement, (queue,)))


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("queues", CLAIMS.values(), ids=CLAIMS.keys())
def test_the_work_of_a_claim_is_that_of_its_batch(
    large: SqliteAdapter, steps: Steps, queues: tuple[str, ...] | None, paused: bool
) -> None:
    if paused:
        pause(large, "paused")
    steps.count = 0
    jobs = large.claim(Claim("w", 7, LIMIT, LIMIT, queues))
    assert len(jobs) == (0 if queues in {("tomorrow",), ("none",)} else LIMIT)
    lanes = 2 * (len(queues or ()) + 13 * paused)
    assert steps.count <= STEPS_A_JOB * LIMIT + STEPS_A_LANE * lanes


def test_the_work_of_a_settlement_is_that_of_its_batch(large: SqliteAdapter, steps: Steps) -> None:
    jobs = large.claim(Claim("w", 7, LIMIT, LIMIT, ("other",)))
    steps.count = 0
    outcomes = [Succeeded(j, keep=True) if j.id % 2 else Retried(j, error="again") for j in jobs]
    assert large.settle(outcomes) == []
    assert steps.count <= STEPS_A_JOB * LIMIT


@pytest.mark.parametrize("queue", [None, "queue0"])
def test_a_claim_walks_its_own_index_in_order(large: SqliteAdapter, queue: str | None) -> None:
    statement = large.path._find_in_all_sql if queue is None else large.path._find_in_one_sql
    index = "background_jobs_ready_idx" if queue is None else "background_jobs_ready_by_queue_idx"
    values = {
        "limit": LIMIT,
        "free_slots": 1,
        "most_bytes": 1000,
        "worker_id": "w",
        "token": 7,
        "now": NOW,
        "queue": queue,
    }
    plan = explained(large, statement, values)
    assert all(f"INDEX {index}" in line for line in plan if _is_of_jobs(line)), plan
    assert not [line for line in plan if "ORDER BY" in line], plan


def test_a_claim_from_some_queues_goes_lane_by_lane(large: SqliteAdapter) -> None:
    values = {
        "limit": LIMIT,
        "free_slots": 1,
        "most_bytes": 1000,
        "worker_id": "w",
        "token": 7,
        "now": NOW,
        "queues": '["a", "b"]',
    }
    plan = explained(large, large.path._find_in_some_sql, values)
    index = "INDEX background_jobs_ready_by_queue_idx"
    assert all(index in line for line in plan if _is_of_jobs(line)), plan


def explained(adapter: SqliteAdapter, statement: str, values: dict[str, Any]) -> list[str]:
    rows = adapter.database.read(
        lambda c: c.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    )
    return [str(row[3]) for row in rows]


def _is_of_jobs(line: str) -> bool:
    """Whether it reads the table other than by the ids that were chosen."""
    names = ("background_jobs", " job ", " candidate ")
    return any(name in f"{line} " for name in names) and "INTEGER PRIMARY KEY" not in line


def test_a_search_may_be_stopped_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-Z. It has two seconds of its own time, and not of everybody's."""
    now = 0.0
    monkeypatch.setattr(f"{sqlite_database.__name__}.time.monotonic", lambda: now)
    patience = sqlite_database._Patience(2)
    for _ in range(19):
        now += 0.1
        assert not patience.is_over()
    patience, now = sqlite_database._Patience(2), now + 3600
    assert not patience.is_over()
    for _ in range(16):
        now += 0.1
        found = patience.is_over()
    assert found


def test_ctrl_c_while_sqlite_asks_is_not_forgotten(
    sqlite_adapter_for_ctrl_c: SqliteAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite asks now and then whether to go on, and takes an error there for a no."""

    def interrupted(_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(sqlite_database._Patience, "is_over", interrupted)
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) "
    with pytest.raises(KeyboardInterrupt):
        sqlite_adapter_for_ctrl_c.database.look(
            lambda c: c.exec_driver_sql(numbers + "SELECT count(*) FROM n").scalar()
        )


@pytest.fixture
def sqlite_adapter_for_ctrl_c(sqlite_url: str) -> Iterator[SqliteAdapter]:
    adapter = SqliteAdapter(sqlite_url)
    yield adapter
    adapter.close()
