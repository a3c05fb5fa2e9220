"""The plans of the pages of the dashboard: they look at little, whatever there is.

What is asserted holds for ever: which rows are looked at, not how long it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobqueue import JobQueue
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.views import database as database_view
from jobqueue.web.dashboard.table import PAGES
from tests.adapters.test_history_plans import (
    Read,
    plans_of,
    postgres,
    rows_of,
    sqlite,
    statements_of,
)
from tests.web.conftest import client_of
from tests.web.test_dashboard import OWN

__all__ = ["postgres", "sqlite"]
WINDOW = 10_000
"""So many jobs of a state, or of a priority of a queue, are walked over or counted at most."""
MOST: dict[str, int] = {
    "/": 6 * WINDOW,
    "/jobs": 200,
    "/jobs?q=state:failed": 200,
    "/jobs?q=job:shop.Class7": 5 * WINDOW,
    "/jobs/4000": 6 * WINDOW,
    "/jobs/999999999": 3 * WINDOW,
    "/jobs/change?do=retry&of=all&q=state:failed": 3 * WINDOW,
    "/errors": 10_000,
    "/errors/key7": 500,
    "/errors/key7/change?do=retry": 1_000,
    "/queues": 15_000,
    "/queues/queue3": 6 * WINDOW,
    "/classes": 10_000,
    "/class?name=shop.Class7": 10_000,
    "/workers": 1_000,
    "/workers/worker3": 1_000,
    "/schedules": 100,
    "/schedule?name=nightly": 100,
    "/flows": 100,
    "/limits": 100,
    "/database": 6 * WINDOW,
    "/activity": 200,
    "/activity/4000": 1_000,
}


@pytest.fixture(autouse=True)
def examined_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_view, "LIFETIME_SECONDS", -1.0)


@pytest.fixture
def on_postgres(postgres: SqlAdapter) -> Iterator[TestClient]:
    with client_of(JobQueue(postgres)) as client:
        yield client


@pytest.fixture
def on_sqlite(sqlite: SqlAdapter) -> Iterator[TestClient]:
    with client_of(JobQueue(sqlite)) as client:
        yield client


def reading(client: TestClient, path: str) -> Read:
    def read(_: SqlAdapter) -> None:
        answer = client.get(path, headers=OWN)
        assert answer.status_code in {200, 404}, answer.text

    return read


def test_all_pages_are_here() -> None:
    paths = {path.partition("?")[0] for path in MOST}
    # What may be edited or enqueued is a class of this process, and not of these tables.
    # There are no flows and no limits.
    others = {"/jobs/4000/edit", "/enqueue", "/flows/4000", "/limit"}
    filled = {
        page.path.replace("{id:job_id}", "4000")
        .replace("{key}", "key7")
        .replace("{name}", "queue3")
        .replace("{id}", "worker3")
        for page in PAGES
    }
    assert filled - others <= paths


@pytest.mark.parametrize("path", MOST)
def test_postgresql_looks_at_little(
    postgres: SqlAdapter, on_postgres: TestClient, path: str
) -> None:
    plans = plans_of(postgres, reading(on_postgres, path))
    assert sum(map(rows_of, plans)) <= MOST[path], [plan.root for plan in plans]


@pytest.mark.parametrize("path", MOST)
def test_sqlite_walks_over_no_table_of_jobs(
    sqlite: SqlAdapter, on_sqlite: TestClient, path: str
) -> None:
    """Only by id, and only so far: such a statement has a limit."""
    for statement, values in statements_of(sqlite, reading(on_sqlite, path)):

        def explained(connection: Any, sql: str = statement, given: Any = values) -> list[str]:
            rows = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + sql, given)
            return [row.detail for row in rows]

        scans = [one for one in sqlite.database.read(explained) if one == "SCAN background_jobs"]
        assert not scans or "LIMIT" in statement, statement
