"""How statements of the path are explained: which rows they touch and which pages they read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import event

from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.database import Statement
from jobqueue.adapters.postgres.low_water import Lane
from jobqueue.adapters.settlement import settlements_of
from jobqueue.records import Claim, Outcome


@dataclass
class Table:
    """A database in which statements are explained."""

    connection: psycopg.Connection[Any]
    adapter: PostgresAdapter

    lanes: list[Lane] = field(default_factory=list)

    def fill(self, count: int, queue: str, *, priority: int = 50, due: str = "-1 hour") -> None:
        self.fill_queues(1, count, f"'{queue}'", str(priority), due)

    def fill_queues(
        self, queues: int, each: int, name: str, priority: str, due: str = "-1 hour"
    ) -> None:
        """Jobs in several queues, whose name and priority are expressions of their number `n`."""
        self.connection.execute(
            f"""
            INSERT INTO background_jobs
                (handler, queue, priority, run_at, created_at, updated_at)
            SELECT 'Work', {name}, {priority}, now() + '{due}'::interval, now(), now()
            FROM generate_series(1, {each}), generate_series(1, {queues}) AS n
            """.encode()
        )

    @contextmanager
    def paused(self, queue: str) -> Iterator[None]:
        self.adapter.pause_queues([queue])
        try:
            yield
        finally:
            self.adapter.resume_queues([queue])

    def explain_claim(self, queues: tuple[str, ...] | None, mode: str, limit: int) -> Explained:
        """The look for lanes, and the claim from those that it found."""
        look = self.statement_of(lambda: self.adapter.path.find_lanes(queues))
        self.lanes = sorted(
            self.adapter.path.find_lanes(queues).lanes,
            key=lambda lane: (lane.priority, lane.run_at, lane.id),
        )
        claim = Claim("w", 7, limit, 1, queues)
        statements = [self.adapter.path.claim_statement(claim, self.lanes)] if self.lanes else []
        return Explained(
            self.explain(look, mode), [self.explain(statement, mode) for statement in statements]
        )

    def explain_settling(self, outcomes: Sequence[Outcome], mode: str) -> Plan:
        """The one statement that settles some outcomes of the same kind."""
        (statement,) = self.adapter.path.settle_statements(settlements_of(outcomes))
        return self.explain(statement, mode)

    def statement_of(self, run: Callable[[], Any]) -> Statement:
        """What the adapter sends when this is run."""
        sent: list[Statement] = []
        self.adapter.database.schema()  # Else the first statement looks for it.

        def note(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
            sent.append((statement, values))

        event.listen(self.adapter.database.engine, "before_cursor_execute", note)
        try:
            run()
        finally:
            event.remove(self.adapter.database.engine, "before_cursor_execute", note)
        (only,) = sent
        return only

    def explain(self, statement: Statement, mode: str) -> Plan:
        """Run a prepared statement in a transaction that is rolled back, and see how it went."""
        text, values = statement
        names: list[str] = []

        def numbered(match: re.Match[str]) -> str:
            if match[1] not in names:
                names.append(match[1])
            return f"${names.index(match[1]) + 1}"

        prepared = "PREPARE explained AS " + re.sub(r"%\((\w+)\)s", numbered, text)
        given = sql.SQL(", ").join(sql.Literal(values[name]) for name in names)
        execute = sql.SQL("EXECUTE explained ({})").format(given) if names else EXECUTE
        with self.connection.transaction(force_rollback=True):
            self.connection.execute(f"SET LOCAL plan_cache_mode = {mode}".encode())
            self.connection.execute(prepared.encode())
            row = self.connection.execute(EXPLAIN + execute).fetchone()
            self.connection.execute("DEALLOCATE explained")
        assert row is not None
        return Plan(row[0][0]["Plan"])


EXPLAIN = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ")
EXECUTE = sql.SQL("EXECUTE explained")


@dataclass
class Plan:
    """What EXPLAIN ANALYZE said of a statement."""

    root: dict[str, Any]

    def nodes(self) -> Iterator[dict[str, Any]]:
        return _with_descendants(self.root)

    def on_jobs(self) -> list[dict[str, Any]]:
        return [node for node in self.nodes() if _is_of_jobs(node)]

    @property
    def rows(self) -> int:
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


@dataclass
class Explained:
    """A look, and the claim that came after it, if it found anything."""

    look: Plan
    claims: list[Plan]

    @property
    def plans(self) -> list[Plan]:
        return [self.look, *self.claims]

    @property
    def claimed(self) -> int:
        return sum(plan.rows for plan in self.claims)

    @property
    def rows_touched(self) -> float:
        return sum(plan.rows_touched for plan in self.plans)

    @property
    def pages(self) -> int:
        return sum(plan.pages for plan in self.plans)

    @property
    def said(self) -> list[Any]:
        return [plan.root for plan in self.plans]


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
