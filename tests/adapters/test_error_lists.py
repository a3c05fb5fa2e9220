"""Lists of errors on PostgreSQL look at little, however many groups and hours there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.records import ErrorFilter, ErrorState
from tests.adapters.explaining import Plan
from tests.conftest import new_postgres_database

GROUPS, HOURS, PAGE = 10_000, 100, 50


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def table(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[PostgresAdapter]:
    with new_postgres_database(postgres_server) as url:
        adapter = PostgresAdapter(url)
        adapter.migrate()
        with psycopg.connect(url, autocommit=True) as connection:
            for name in ("background_errors", "background_error_counts"):
                connection.execute(f"ALTER TABLE {name} SET (autovacuum_enabled = off)".encode())
            connection.execute(
                f"""
                INSERT INTO background_errors
                    (key, handler, kind, message, sample, first_seen_at, last_seen_at)
                SELECT 'key ' || n, 'Work', 'ValueError', 'no', repeat('x', 1000),
                       now(), now() - n * interval '1 minute'
                FROM generate_series(1, {GROUPS}) AS n
                """.encode()
            )
            connection.execute(
                f"""
                INSERT INTO background_error_counts (key, hour, number)
                SELECT 'key ' || n, date_trunc('hour', now()) - h * interval '1 hour', 1
                FROM generate_series(1, {GROUPS}, 20) AS n, generate_series(0, {HOURS - 1}) AS h
                """.encode()
            )
            if request.param == "analyzed":
                connection.execute("ANALYZE background_errors, background_error_counts")
        yield adapter
        adapter.close()


def plans_of(adapter: PostgresAdapter, read: Callable[[], Any]) -> list[Plan]:
    """How each statement of a read on errors is executed."""
    sent: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        sent.append((statement, values))

    event.listen(adapter.database.engine, "before_cursor_execute", note)
    try:
        read()
    finally:
        event.remove(adapter.database.engine, "before_cursor_execute", note)
    explain = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) "

    def explained(connection: Any) -> list[Any]:
        return [
            connection.exec_driver_sql(explain + statement, values).scalar_one()
            for statement, values in sent
            if "background_error" in statement
        ]

    return [Plan(one[0]["Plan"]) for one in adapter.database.look(explained)]


@pytest.mark.parametrize(
    "where",
    [
        ErrorFilter(),
        ErrorFilter(states=(ErrorState.OPEN,)),
        ErrorFilter(states=(ErrorState.OPEN,), period=timedelta(hours=2)),
        ErrorFilter(handlers=("Work",)),
    ],
    ids=str,
)
def test_a_page_looks_at_a_page(table: PostgresAdapter, where: ErrorFilter) -> None:
    following = table.error_groups(where, PAGE).next_before
    assert following is not None
    for page in (where, ErrorFilter(where.states, where.handlers, where.period, following)):
        plans = plans_of(table, lambda page=page: table.error_groups(page, PAGE))  # type: ignore[misc]
        assert len(plans) == 2
        for plan in plans:
            assert not plan.scans_whole_table(), plan.root
        assert sum(plan.rows_touched for plan in plans) <= 2 * PAGE + 24 * PAGE


def test_a_filter_that_nothing_matches_looks_at_all_groups_once(table: PostgresAdapter) -> None:
    where = ErrorFilter(states=(ErrorState.MUTED,))
    plans = plans_of(table, lambda: table.error_groups(where, PAGE))
    assert sum(plan.rows_touched for plan in plans) <= GROUPS + 100


def test_one_group_looks_at_its_hours(table: PostgresAdapter) -> None:
    plans = plans_of(table, lambda: table.error_group("key 1"))
    record = table.error_group("key 1")
    assert record is not None
    assert len(record.hours) == HOURS
    for plan in plans:
        assert not plan.scans_whole_table(), plan.root
    assert sum(plan.rows_touched for plan in plans) <= HOURS + 1
