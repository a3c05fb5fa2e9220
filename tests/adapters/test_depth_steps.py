"""Counting the depths of queues up to a limit costs as much, however many jobs wait behind it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.records import JobFilter, NewJob

FEW, MANY = 2_000, 40_000
MOST = 100


Read = Callable[[SqlAdapter], Any]
READS: dict[str, Read] = {
    "queues": lambda adapter: adapter.queue_depths(MOST),
    "lanes": lambda adapter: adapter.lane_depths(MOST),
    "lanes of a queue": lambda adapter: adapter.lane_depths(MOST, "queue0"),
    "jobs before one": lambda adapter: adapter.due_before(
        adapter.list_jobs(JobFilter(queues=("queue1",)), 1)[0], MOST
    ),
}


@pytest.mark.parametrize("name", READS)
def test_sqlite_takes_as_many_steps_behind_many_jobs(
    migrated_sqlite: Path, tmp_path: Path, name: str
) -> None:
    few, many = (
        _steps(_filled(migrated_sqlite, tmp_path, jobs), READS[name]) for jobs in (FEW, MANY)
    )
    assert many <= 1.5 * few


def _filled(migrated: Path, folder: Path, jobs: int) -> str:
    path = folder / f"{jobs}.sqlite3"
    shutil.copy(migrated, path)
    with closing(connect(f"sqlite:///{path}")) as adapter:
        for number in range(6):
            queue, priority = f"queue{number % 2}", number % 3
            delay = timedelta(days=1) if number == 3 else timedelta(0)
            job = NewJob("Work", "{}", queue, priority, 5, delay=delay)
            adapter.enqueue([job] * (jobs // 6))
    return f"sqlite:///{path}"


def _steps(url: str, read: Read) -> int:
    """How many steps SQLite's virtual machine takes, in hundreds."""
    count = 0  # of hundreds of steps

    def step() -> int:
        nonlocal count
        count += 100
        return 0

    def watch(connection: Any, *_: Any) -> None:
        connection.connection.driver_connection.set_progress_handler(step, 100)

    with closing(connect(url)) as adapter:
        assert isinstance(adapter, SqlAdapter)
        depths = adapter.queue_depths(MOST)
        assert {depth.due for depth in depths} == {2 * MOST, 3 * MOST}
        event.listen(adapter.database.engine, "before_cursor_execute", watch)
        read(adapter)
        event.remove(adapter.database.engine, "before_cursor_execute", watch)
        adapter.database.close_spare()
    return count
