"""The plans of the statements of the path in PostgreSQL, whatever else is in the table.

What is asserted holds for ever: which rows are touched and which pages read, not how long it
takes. Custom plans are made for the values at hand; generic ones are what a prepared statement may
get after five executions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import psycopg
import pytest
from psycopg import sql

from jobqueue.adapters.sql.postgres import PostgresAdapter
from jobqueue.records import Claim, ClaimedJob
from tests.conftest import new_postgres_database

LIMIT = 100
MODES = ("force_custom_plan", "force_generic_plan")
TEN_QUEUES = tuple(f"queue{n}" for n in range(10))
CLAIMS: dict[str, tuple[str, ...] | None] = {
    "all queues": None,
    "one queue": ("queue0",),
    "ten queues": TEN_QUEUES,
    "one queue, all of it for tomorrow": ("tomorrow",),
    "a paused queue and another": ("paused", "queue0"),
    "no such queue": ("none",),
}
in_both_modes = pytest.mark.parametrize("mode", MODES)


@dataclass
class Table:
    """A database in which statements are explained."""

    connection: psycopg.Connection[Any]
    adapter: PostgresAdapter

    def fill(self, count: int, queue: str, *, priority: int = 50, due: str = "-1 hour") -> None:
        self.connection.execute(
            """
            INSERT INTO background_jobs
                (handler, queue, priority, run_at, created_at, updated_at)
            SELECT 'Work', %s, %s, now() + %s::interval, now(), now() FROM generate_series(1, %s)
            """,
            (queue, priority, due, count),
        )

    def pause(self, queue: str) -> None:
        self.connection.execute(
            "INSERT INTO background_queues (name, paused_at, updated_at) VALUES (%s, now(), now())",
            (queue,),
        )

    def resume_all(self) -> None:
        self.connection.execute("DELETE FROM background_queues")

    def explain(self, statement: str, values: dict[str, Any], mode: str) -> Plan:
        """Run a prepared statement in a transaction that is rolled back, and see how it went."""
        names: list[str] = []

        def numbered(match: re.Match[str]) -> str:
            if match[1] not in names:
                names.append(match[1])
            return f"${names.index(match[1]) + 1}"

        prepared = "PREPARE explained AS " + re.sub(r"%\((\w+)\)s", numbered, statement)
        given = sql.SQL(", ").join(sql.Literal(values[name]) for name in names)
        explain = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE explained ({})"
        with self.connection.transaction(force_rollback=True):
            self.connection.execute(f"SET LOCAL plan_cache_mode = {mode}".encode())
            self.connection.execute(prepared.encode())
            row = self.connection.execute(sql.SQL(explain).format(given)).fetchone()
            self.connection.execute("DEALLOCATE explained")
        assert row is not None
        return Plan(row[0][0]["Plan"])

    def explain_claim(self, queues: tuple[str, ...] | None, mode: str, limit: int = LIMIT) -> Plan:
        statement = self.adapter._claim_all_sql if queues is None else self.adapter._claim_some_sql
        values = {"limit": limit, "free_slots": 1, "worker_id": "w", "token": 7}
        return self.explain(statement, values | {"queues": list(queues or ())}, mode)


@dataclass
class Plan:
    """What EXPLAIN ANALYZE said."""

    root: dict[str, Any]

    def nodes(self) -> Iterator[dict[str, Any]]:
        return _with_descendants(self.root)

    def on_jobs(self) -> list[dict[str, Any]]:
        return [node for node in self.nodes() if _is_of_jobs(node)]

    @property
    def claimed(self) -> int:
        return int(self.root["Actual Rows"])

    @property
    def rows_touched(self) -> float:
        return sum(map(_rows, self.on_jobs()))

    @property
    def rows_sorted(self) -> float:
        sorts = [node for node in self.nodes() if "Sort" in node["Node Type"]]
        return float(sum(node["Actual Rows"] * node["Actual Loops"] for node in sorts))

    @property
    def pages(self) -> int:
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    def joins_jobs_by_value(self) -> bool:
        joins = [n for n in self.nodes() if n["Node Type"] in {"Hash Join", "Merge Join"}]
        joined = [child for join in joins for child in join["Plans"] if _is_joined(child)]
        return any(_is_of_jobs(node) for child in joined for node in _with_descendants(child))

    def scans_whole_table(self) -> bool:
        return any(n["Node Type"] == "Seq Scan" for n in self.on_jobs())


def _with_descendants(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _with_descendants(child)


def _is_joined(child: dict[str, Any]) -> bool:
    return child["Parent Relationship"] in {"Outer", "Inner"}


def _is_of_jobs(node: dict[str, Any]) -> bool:
    names = (node.get("Relation Name", ""), node.get("Index Name", ""))
    return any(name.startswith("background_jobs") for name in names)


def _rows(node: dict[str, Any]) -> float:
    removed = sum(value for key, value in node.items() if key.startswith("Rows Removed by"))
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


def assert_is_small(plan: Plan, *, lanes: int = 1, limit: int = LIMIT) -> None:
    """The work is that of the batch, whatever the size of the table."""
    batch = 8 * limit + lanes * (2 * limit + 20)
    assert not plan.scans_whole_table(), plan.root
    assert not plan.joins_jobs_by_value(), plan.root
    assert plan.rows_touched <= batch, plan.root
    assert plan.rows_sorted <= 2 * batch, plan.root
    assert plan.pages <= 8 * batch + 400, plan.root


# --- tables --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def new_table(postgres_server: str) -> Iterator[Callable[[], Table]]:
    """Makes databases with the tables, in which autovacuum gathers no statistics meanwhile."""
    closing: list[Callable[[], Any]] = []

    def make() -> Table:
        database = new_postgres_database(postgres_server)
        url = database.__enter__()
        adapter = PostgresAdapter(url)
        adapter.migrate()
        connection = psycopg.connect(url, autocommit=True)
        connection.execute("ALTER TABLE background_jobs SET (autovacuum_enabled = off)")
        connection.execute("ALTER TABLE background_jobs SET UNLOGGED")
        connection.execute("SET maintenance_work_mem = '256MB'")
        closing.extend(
            [lambda: database.__exit__(None, None, None), adapter.close, connection.close]
        )
        return Table(connection, adapter)

    yield make
    for close in reversed(closing):
        close()


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def large(request: pytest.FixtureRequest, new_table: Callable[[], Table]) -> Table:
    """A million rows in other queues, where it is analyzed; a fifth of that where it is not."""
    table = new_table()
    rows = 500_000 if request.param == "analyzed" else 100_000
    if request.param == "analyzed":
        indexes = _drop_indexes(table.connection)
    table.fill(rows, "other")
    table.fill(rows // 2, "tomorrow", priority=10, due="1 day")
    table.fill(rows // 2, "paused", priority=20)
    for queue in TEN_QUEUES:
        table.fill(300, queue, priority=60)
        table.fill(300, queue, priority=30, due="1 day")
    if request.param == "analyzed":
        for index in indexes:
            table.connection.execute(index.encode())
        table.connection.execute("VACUUM ANALYZE background_jobs")
    return table


def _drop_indexes(connection: psycopg.Connection[Any]) -> list[str]:
    """Rows are faster to make without indexes. Returns the statements that bring them back."""
    rows = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes"
        " WHERE tablename = 'background_jobs' AND indexname LIKE '%\\_idx'"
    ).fetchall()
    for name, _ in rows:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    return [str(definition) for _, definition in rows]


# --- claims --------------------------------------------------------------------------------------


@in_both_modes
@pytest.mark.parametrize("queues", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_claim_from_a_large_table(
    large: Table, queues: tuple[str, ...] | None, mode: str
) -> None:
    plan = large.explain_claim(queues, mode)
    nothing_there = queues in {("tomorrow",), ("none",)}
    assert plan.claimed == (0 if nothing_there else LIMIT)
    assert_is_small(plan, lanes=len(queues or ()))


@in_both_modes
@pytest.mark.parametrize("queues", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_claim_past_a_paused_queue(
    large: Table, queues: tuple[str, ...] | None, mode: str
) -> None:
    large.pause("paused")
    try:
        plan = large.explain_claim(queues, mode)
    finally:
        large.resume_all()
    nothing_there = queues in {("tomorrow",), ("none",)}
    assert plan.claimed == (0 if nothing_there else LIMIT)
    assert_is_small(plan, lanes=15 if queues is None else len(queues))


@in_both_modes
@pytest.mark.parametrize("limit", [1, 1000])
@pytest.mark.parametrize("queues", [None, ("other",)], ids=["all queues", "one queue"])
def test_claims_of_one_and_of_a_thousand(
    large: Table, queues: tuple[str, ...] | None, limit: int, mode: str
) -> None:
    plan = large.explain_claim(queues, mode, limit)
    assert plan.claimed == limit
    assert_is_small(plan, limit=limit)


@in_both_modes
@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("queues", [None, ("queue0",), TEN_QUEUES], ids=["all", "one", "ten"])
def test_a_claim_from_a_small_table(
    new_small: Callable[[bool], Table],
    queues: tuple[str, ...] | None,
    analyzed: bool,
    mode: str,
) -> None:
    plan = new_small(analyzed).explain_claim(queues, mode)
    assert plan.claimed == (50 if queues != ("queue0",) else 5)
    assert plan.rows_touched <= 3_000, plan.root
    assert plan.pages <= 3_000, plan.root


@pytest.fixture(scope="module")
def new_small(new_table: Callable[[], Table]) -> Callable[[bool], Table]:
    """Fifty jobs in ten queues."""
    tables: dict[bool, Table] = {}

    def make(analyzed: bool) -> Table:
        if analyzed not in tables:
            table = tables[analyzed] = new_table()
            for queue in TEN_QUEUES:
                table.fill(5, queue)
            if analyzed:
                table.connection.execute("ANALYZE background_jobs")
        return tables[analyzed]

    return make


# --- settlements ---------------------------------------------------------------------------------


@in_both_modes
def test_removing_from_a_large_table(large: Table, mode: str) -> None:
    jobs = claimed(large)
    plan = large.explain(large.adapter._remove_sql, pairs(jobs), mode)
    assert plan.claimed == LIMIT
    assert_is_small(plan)


@in_both_modes
def test_changing_in_a_large_table(large: Table, mode: str) -> None:
    jobs = claimed(large)
    values = pairs(jobs) | {
        "states": ["ready"] * len(jobs),
        "refunds": [0] * len(jobs),
        "delays": [60.0] * len(jobs),
        "errors": ["again"] * len(jobs),
        "keeps_errors": [False] * len(jobs),
        "results": [None] * len(jobs),
    }
    plan = large.explain(large.adapter._change_sql, values, mode)
    assert plan.claimed == LIMIT
    # Joining the batch's own rows with each other by a hash is as good a way as any.
    assert not plan.scans_whole_table(), plan.root
    assert plan.rows_touched <= 8 * LIMIT, plan.root
    assert plan.pages <= 80 * LIMIT, plan.root


def claimed(table: Table) -> Sequence[ClaimedJob]:
    return table.adapter.claim(Claim("w", 7, LIMIT, LIMIT, ("other",)))


def pairs(jobs: Sequence[ClaimedJob]) -> dict[str, Any]:
    assert len(jobs) == LIMIT
    return cast("dict[str, Any]", {"ids": [j.id for j in jobs], "tokens": [j.token for j in jobs]})
