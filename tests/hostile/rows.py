"""Rows as somebody may write them by hand: any value that the type of a column allows."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger as Big
from sqlalchemy import Boolean, Column, DateTime, Float, Integer, SmallInteger, Table, exc, text

from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sql.tables import HISTOGRAM_COLUMNS, Base, JsonText
from jobqueue.records import JobState

TABLES: Mapping[str, Table] = Base.metadata.tables
LONG_AGO, LATELY, FAR = "2001-01-01 00:00:00.000000", "2026-01-01 00:00:00.000000", "9999-12-31"
DEEP = 900
DEEPER = 5000  # deeper than Python reads
TEXTS = ("", " ", "x" * 300, "é\U0001f4a5", "a\nb\x1b[31m", "*", "{}", "%s", "' OR 1 = 1 --", "[1")
WHOLE = (0, -1, 1, 2**15 - 1, -(2**15), 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
FLOATS = (0.0, -1.0, 1e-300, 1e300, 1.7e308, -1.7e308)
MOMENTS = (LONG_AGO, LATELY, "2026-06-01 00:00:00.000000", f"{FAR} 23:59:59.999999",
           "0001-01-01 00:00:00.000000")  # fmt: skip
MOMENTS_OF_POSTGRESQL = ("infinity", "-infinity", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59")
FLOATS_OF_POSTGRESQL = ("NaN", "Infinity", "-Infinity")
JSONS = (
    "null",
    "[]",
    "{}",
    "0",
    '""',
    "true",
    "1e999",
    "-1e999",
    "[1e999]",
    '{"what": 1e999}',
    '{"what": 12345678901234567890123456789}',
    f'{{"what": {"[" * DEEP}{"]" * DEEP}}}',
    f"{'[' * DEEPER}{']' * DEEPER}",
    f'{{"a":{"[" * 99}{"]" * 99}}}',
    '{"handlers": 1}',
    '{"handlers": [1, null, {}]}',
    '{"process": {}}',
    '{"rule": {}}',
    '{"rule": {"cron": "* * * * *", "tz": "Nowhere/At_All"}}',
    '["default", 1, null]',
    '{"what": "\\ud800"}',
)
ANY_ON_SQLITE: tuple[Any, ...] = (
    *("garbage", "", b"", b"\xff\xfe", b"default", 0, -1, 2**63 - 1, -(2**63), 1e308, float("inf")),
    *("2026-01-01", "0000", "9", "\U0001f4a5", "nul\0nul", "[" * DEEPER, "{", "NaN", "1e999"),
)
SCHEDULE = {
    "rule": {"every_seconds": 3600.0},
    "catch_up": True,
    "queue": "odd",
    "priority": 50,
    "max_attempts": 3,
    "since": "2026-01-01T00:00:00+00:00",
}
STORED: Mapping[str, Mapping[str, Any]] = {
    "background_jobs": {
        "handler": "tests.sample_jobs.Note",
        "args": '{"what": "odd"}',
        "queue": "odd",
        "run_at": LATELY,
        "created_at": LATELY,
        "updated_at": LATELY,
    },
    "background_workers": {
        "id": "odd",
        "name": "odd",
        "host": "elsewhere",
        "pid": 1,
        "lease_seconds": 30.0,
        "started_at": LATELY,
        "heartbeat_at": LATELY,
    },
    "background_queues": {"name": "odd", "paused_at": LATELY, "updated_at": LATELY},
    "background_schedules": {
        "app": "jobs",
        "name": "odd",
        "handler": "tests.sample_jobs.Note",
        "schedule": json.dumps(SCHEDULE),
        "declared_at": LATELY,
        "created_at": LATELY,
        "updated_at": LATELY,
    },
    "background_keys": {
        "key": "odd",
        "job_id": 1,
        "fingerprint": "x",
        "expires_at": FAR,
        "created_at": LATELY,
    },
    "background_stats": {
        "minute": LATELY,
        "worker_id": "odd",
        "handler": "odd",
        "queue": "odd",
        **dict.fromkeys(("succeeded", "retried", "failed", "cancelled"), 1),
        **dict.fromkeys(("run_seconds", "longest_seconds", "wait_seconds"), 1.0),
        **dict.fromkeys(HISTOGRAM_COLUMNS, 1),
    },
    "background_hours": {
        "hour": LATELY,
        "handler": "odd",
        "queue": "odd",
        **dict.fromkeys(("succeeded", "retried", "failed", "cancelled"), 1),
        **dict.fromkeys(("run_seconds", "longest_seconds", "wait_seconds"), 1.0),
        **dict.fromkeys(HISTOGRAM_COLUMNS, 1),
    },
    "background_days": {
        "day": LATELY,
        "handler": "odd",
        "queue": "odd",
        **dict.fromkeys(("succeeded", "retried", "failed", "cancelled"), 1),
        **dict.fromkeys(("run_seconds", "longest_seconds", "wait_seconds"), 1.0),
        **dict.fromkeys(HISTOGRAM_COLUMNS, 1),
    },
    "background_samples": {
        "minute": LATELY,
        "queue": "odd",
        **dict.fromkeys(("due", "later", "running"), 1),
        "oldest_seconds": 1.0,
        "more": False,
    },
    "background_attempts": {
        "job_id": 1,
        "place": 1,
        "number": 1,
        "ended_at": LATELY,
        "outcome": "retried",
        "error": "odd",
    },
    "background_errors": {
        **dict.fromkeys(("handler", "kind", "message", "sample"), "odd"),
        **dict.fromkeys(("first_seen_at", "last_seen_at"), LATELY),
        "key": "odd",
    },
    "background_error_counts": {"hour": LATELY, "number": 1, "key": "odd"},
    "background_ended_workers": {
        "id": "odd",
        "name": "odd",
        "host": "elsewhere",
        "pid": 1,
        "started_at": LATELY,
        "ended_at": LATELY,
        "reason": "odd",
    },
    "background_stacks": {"worker_id": "odd", "asked_at": LATELY},
    "background_actions": {"done_at": LATELY, "done_by": "odd", "what": "retry"},
    "background_slots": {"gate": "odd", "place": 1, "job_id": 1, "claim_token": 1},
    "background_starts": {"gate": "odd", "begun_at": LATELY, "number": 1},
    "background_limits": {"name": "odd", "number": 1, "declared_at": LATELY},
    "background_flows": {"kind": "flow", "created_at": LATELY},
    "background_edges": {"child_id": 1, "parent_id": 2, "flow_id": 1, "runs_anyway": False},
    "background_tokens": {
        "id": "odd",
        "name": "odd",
        "scopes": '["read"]',
        "secret_hash": "x",
        "created_at": LATELY,
    },
}
"""A good row of each table, with the columns that need a value."""

COUNTED = ("background_jobs", "background_actions", "background_flows")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Hand:
    """Somebody who writes rows into a database with SQL.

    Args:
        adapter: the database.
    """

    adapter: SqlAdapter

    @property
    def is_sqlite(self) -> bool:
        """Whether any column takes any value there."""
        return self.adapter.database.engine.dialect.name == "sqlite"

    def values_for(self, column: Column[Any]) -> Sequence[Any]:
        """Values that a column takes, odd ones among them."""
        values = [*_of_type(column)]
        if self.is_sqlite and column.name == "id" and column.table.name in COUNTED:
            return (-5, 4_000_000_000)  # after the highest id of all SQLite takes no other row
        if self.is_sqlite:
            values += ANY_ON_SQLITE
        elif isinstance(column.type, DateTime):
            values += MOMENTS_OF_POSTGRESQL
        elif isinstance(column.type, Float):
            values += FLOATS_OF_POSTGRESQL
        if column.name == "state":
            values = [state.value for state in JobState]
        return [*values, None] if column.nullable else values

    def one_at_a_time(self, table: str) -> Iterator[Row]:
        """Good rows in which one value is odd: each value of each column once."""
        for column in TABLES[table].columns:
            for number, value in enumerate(self.values_for(column)):
                yield self._with(table, {column.name: value}, f"{column.name} {number}")

    def at_random(self, table: str, chance: random.Random, number: int) -> Iterator[Row]:
        """Rows in which several values are odd, the same ones for the same seed."""
        columns = list(TABLES[table].columns)
        for place in range(number):
            chosen = chance.sample(columns, chance.randint(1, min(6, len(columns))))
            odd = {column.name: chance.choice(self.values_for(column)) for column in chosen}
            yield self._with(table, odd, f"random {place}")

    def _with(self, table: str, odd: Row, what: str) -> Row:
        """A good row with these values; its key is its own, unless that is what is odd."""
        row = {**STORED[table], **odd}
        for key in [c.name for c in TABLES[table].primary_key][-1:]:
            if isinstance(row.get(key), str) and key not in odd:
                row[key] = f"{row[key]} {what}"
        return row

    def write(self, table: str, row: Row) -> bool:
        """Write a row; return whether the database has taken it."""
        names, values = ", ".join(row), ", ".join(self._literal(table, name) for name in row)
        try:
            with self.adapter.database.engine.begin() as connection:
                connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)
        except exc.DBAPIError:
            return False
        return True

    def _literal(self, table: str, name: str) -> str:
        kind = TABLES[table].c[name].type
        if self.is_sqlite:
            return f":{name}"
        return (
            f"CAST(CAST(:{name} AS TEXT) AS {kind.compile(self.adapter.database.engine.dialect)})"
        )

    def clear(self) -> None:
        """Remove all rows of all tables."""
        with self.adapter.database.engine.begin() as connection:
            for table in TABLES:
                connection.execute(text(f"DELETE FROM {table}"))


def _of_type(column: Column[Any]) -> Sequence[Any]:
    kind = column.type
    if isinstance(kind, Boolean):
        return (True, False)
    if isinstance(kind, type(JsonText)):
        return JSONS
    if isinstance(kind, DateTime):
        return MOMENTS
    if isinstance(kind, Float):
        return FLOATS
    if isinstance(kind, SmallInteger):
        return WHOLE[:5]
    if isinstance(kind, Integer) and not isinstance(kind, Big):
        return WHOLE[:7]
    return WHOLE if isinstance(kind, Integer) else TEXTS
