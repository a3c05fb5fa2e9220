"""The plans of the statements of the path in PostgreSQL, whatever else is in the table.

What is asserted holds for ever: which rows are touched and which pages read, not how long it
takes. Custom plans are made for the values at hand; generic ones are what a prepared statement may
get after five executions. A claim is explained with the look for its lanes that comes before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.records import Claim, ClaimedJob, JobFilter, Retried, Succeeded
from tests.adapters.explaining import Explained, Plan, Table
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
NUMBERS = itertools.count()
in_both_modes = pytest.mark.parametrize("mode", MODES)


def assert_is_small(explained: Explained, *, lanes: int = 1, limit: int = LIMIT) -> None:
    """The work is that of the batch, whatever the size of the table."""
    batch = 8 * limit + lanes * (2 * limit + 20)
    for plan in explained.plans:
        assert_takes_the_indexes(plan)
    assert explained.rows_touched <= batch, explained.said
    assert sum(plan.rows_sorted for plan in explained.plans) <= 2 * batch, explained.said
    assert explained.pages <= 8 * batch + 400, explained.said


def assert_takes_the_indexes(plan: Plan) -> None:
    assert not plan.scans_whole_table(), plan.root
    assert not plan.joins_jobs_by_value(), plan.root


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
    with _filled_faster(table.connection, request.param == "analyzed"):
        table.fill(rows, "other")
        table.fill(rows // 2, "tomorrow", priority=10, due="1 day")
        table.fill(rows // 2, "paused", priority=20)
        table.fill_queues(10, 300, "'queue' || n - 1", "60")
        table.fill_queues(10, 300, "'queue' || n - 1", "30", "1 day")
    return table


@pytest.fixture(scope="module", params=["never analyzed", "analyzed"])
def scattered(request: pytest.FixtureRequest, new_table: Callable[[], Table]) -> Table:
    """A hundred jobs in each of a thousand queues, in a hundred priorities."""
    table = new_table()
    with _filled_faster(table.connection, request.param == "analyzed"):
        table.fill_queues(1000, 100, "'queue' || n - 1", "n % 100")
    return table


@contextmanager
def _filled_faster(connection: psycopg.Connection[Any], analyzed: bool) -> Iterator[None]:
    """Rows are faster to make without indexes, which are made, or not, with statistics."""
    if not analyzed:
        yield
        return
    rows = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes"
        " WHERE tablename = 'background_jobs' AND indexname LIKE '%\\_idx'"
    ).fetchall()
    for name, _ in rows:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    yield
    for _, definition in rows:
        connection.execute(str(definition).encode())
    connection.execute("VACUUM ANALYZE background_jobs")


# --- claims --------------------------------------------------------------------------------------


@in_both_modes
@pytest.mark.parametrize("queues", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_claim_from_a_large_table(
    large: Table, queues: tuple[str, ...] | None, mode: str
) -> None:
    explained = large.explain_claim(queues, mode, LIMIT)
    nothing_there = queues in {("tomorrow",), ("none",)}
    assert explained.claimed == (0 if nothing_there else LIMIT)
    assert_is_small(explained, lanes=len(queues or ()))


@in_both_modes
@pytest.mark.parametrize("queues", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_claim_past_a_paused_queue(
    large: Table, queues: tuple[str, ...] | None, mode: str
) -> None:
    with large.paused("paused"):
        explained = large.explain_claim(queues, mode, LIMIT)
    nothing_there = queues in {("tomorrow",), ("none",)}
    assert explained.claimed == (0 if nothing_there else LIMIT)
    assert "paused" not in {lane.queue for lane in large.lanes}
    assert_is_small(explained, lanes=15 if queues is None else len(queues))


@in_both_modes
@pytest.mark.parametrize("queues", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_claim_of_a_worker_that_has_not_yet_seen_that_a_queue_is_paused(
    large: Table, queues: tuple[str, ...] | None, mode: str
) -> None:
    """It goes on from its lanes, of which some or all yield nothing, at no cost."""
    large.explain_claim(queues, mode, LIMIT)
    lanes = large.lanes
    with large.paused("paused"):
        claim = large.adapter.path.claim_statement(Claim("w", 7, LIMIT, 1, queues), lanes)
        plan = large.explain(claim, mode)
    assert plan.rows == (LIMIT if lanes and queues is not None else 0)
    assert_takes_the_indexes(plan)
    assert plan.rows_touched <= 8 * LIMIT + len(lanes) * (2 * LIMIT + 20), plan.root


@in_both_modes
@pytest.mark.parametrize("limit", [1, 1000])
@pytest.mark.parametrize("queues", [None, ("other",)], ids=["all queues", "one queue"])
def test_claims_of_one_and_of_a_thousand(
    large: Table, queues: tuple[str, ...] | None, limit: int, mode: str
) -> None:
    explained = large.explain_claim(queues, mode, limit)
    assert explained.claimed == limit
    assert_is_small(explained, limit=limit)


@in_both_modes
@pytest.mark.parametrize("queues", [None, ("queue0",), TEN_QUEUES], ids=["all", "one", "ten"])
def test_a_claim_among_a_thousand_queues_and_a_hundred_priorities(
    scattered: Table, queues: tuple[str, ...] | None, mode: str
) -> None:
    explained = scattered.explain_claim(queues, mode, LIMIT)
    assert explained.claimed == LIMIT
    assert len(scattered.lanes) == {None: 100, ("queue0",): 1, TEN_QUEUES: 10}[queues]
    assert_is_small(explained, lanes=len(queues or ()))


@in_both_modes
def test_a_claim_among_a_thousand_queues_of_which_one_is_paused(
    scattered: Table, mode: str
) -> None:
    with scattered.paused("queue500"):
        explained = scattered.explain_claim(None, mode, LIMIT)
    assert explained.claimed == LIMIT
    assert len(scattered.lanes) == 999
    assert explained.look.rows_touched <= 3 * len(scattered.lanes), explained.look.root
    assert_is_small(explained, lanes=999)


@in_both_modes
@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("queues", [None, ("queue0",), TEN_QUEUES], ids=["all", "one", "ten"])
def test_a_claim_from_a_small_table(
    new_small: Callable[[bool], Table],
    queues: tuple[str, ...] | None,
    analyzed: bool,
    mode: str,
) -> None:
    explained = new_small(analyzed).explain_claim(queues, mode, LIMIT)
    assert explained.claimed == (50 if queues != ("queue0",) else 5)
    assert explained.rows_touched <= 3_000, explained.said
    assert explained.pages <= 3_000, explained.said


@pytest.fixture(scope="module")
def new_small(new_table: Callable[[], Table]) -> Callable[[bool], Table]:
    """Fifty jobs in ten queues."""
    tables: dict[bool, Table] = {}

    def make(analyzed: bool) -> Table:
        if analyzed not in tables:
            table = tables[analyzed] = new_table()
            table.fill_queues(10, 5, "'queue' || n - 1", "50")
            if analyzed:
                table.connection.execute("ANALYZE background_jobs")
        return tables[analyzed]

    return make


# --- settlements ---------------------------------------------------------------------------------


@in_both_modes
def test_removing_from_a_large_table(large: Table, mode: str) -> None:
    with claimed(large) as claim:
        plan = large.explain_settling([Succeeded(job) for job in claim], mode)
    assert plan.rows == LIMIT
    assert_takes_the_indexes(plan)
    assert plan.rows_touched <= 8 * LIMIT, plan.root
    assert plan.pages <= 20 * LIMIT, plan.root


@in_both_modes
def test_changing_in_a_large_table(large: Table, mode: str) -> None:
    with claimed(large) as claim:
        retried = [Retried(job, error="again", delay=timedelta(minutes=1)) for job in claim]
        plan = large.explain_settling(retried, mode)
    assert plan.rows == LIMIT
    # Joining the batch's own rows with each other by a hash is as good a way as any.
    assert not plan.scans_whole_table(), plan.root
    assert plan.rows_touched <= 8 * LIMIT, plan.root
    assert plan.pages <= 80 * LIMIT, plan.root


@contextmanager
def claimed(table: Table) -> Iterator[list[ClaimedJob]]:
    """Jobs that no other test has touched: the dead entries of an index count as rows, too."""
    queue = f"fresh{next(NUMBERS)}"
    table.fill(LIMIT, queue)
    jobs = table.adapter.claim(Claim("w", 7, LIMIT, LIMIT, (queue,)))
    assert len(jobs) == LIMIT
    yield jobs
    table.adapter.delete(JobFilter(queues=(queue,)), include_running=True)
