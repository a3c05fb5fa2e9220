"""The load of many idle workers on the database."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import psutil
import psycopg

from benchmarks.bench import Bench
from benchmarks.rows.row import POSTGRES_ONLY, Figures, Line, Row
from benchmarks.scratch import Scratch
from benchmarks.sizes import Sizes

START_SECONDS = 300
SUPERVISOR_CONNECTIONS = 3  # its heart, its listener, and its own
SETTLE_SECONDS = 2.0
STATISTICS_SECONDS = 1.5  # a backend reports what it did at most once a second

TRANSACTIONS = """
SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()
"""
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@dataclass(frozen=True)
class Reading:
    """The counters of the database at a moment."""

    moment: float
    transactions: int
    cpu_seconds: float


def idle_workers(bench: Bench) -> Figures:
    """Transactions a second and connections for each worker, and the database's CPU."""
    number = bench.sizes.idle_workers
    bench.scratch.empty()
    with bench.commands.working(bench.scratch.url, "-n", str(number)):
        _wait_until_registered(bench.scratch, number)
        with psycopg.connect(bench.scratch.url, autocommit=True) as connection:
            server = _server_of(connection) if bench.scratch.is_private else None
            _rest(SETTLE_SECONDS)
            before = _read(connection, server)
            _rest(bench.sizes.idle_seconds)
            connections = _value(connection, CONNECTIONS)
            after = _read(connection, server)
    return _figures(before, after, connections, number)


def _figures(before: Reading, after: Reading, connections: int, workers: int) -> Figures:
    seconds = after.moment - before.moment
    own = 2  # the first reading itself, and that of the connections
    figures = {
        "transactions": (after.transactions - before.transactions - own) / seconds / workers,
        "connections": connections / workers,
    }
    if after.cpu_seconds:
        figures["cpu"] = 100 * (after.cpu_seconds - before.cpu_seconds) / seconds
    return figures


def _wait_until_registered(scratch: Scratch, workers: int) -> None:
    give_up = time.monotonic() + START_SECONDS
    with psycopg.connect(scratch.url, autocommit=True) as connection:
        while _value(connection, "SELECT count(*) FROM background_workers") < workers:
            if time.monotonic() > give_up:
                raise SystemExit(f"{workers} workers did not start within {START_SECONDS} s")
            _rest(0.2)


def _read(connection: psycopg.Connection, server: psutil.Process | None) -> Reading:
    _rest(STATISTICS_SECONDS)
    cpu_seconds = _cpu_seconds(server) if server is not None else 0.0
    return Reading(time.monotonic(), _value(connection, TRANSACTIONS), cpu_seconds)


def _server_of(connection: psycopg.Connection) -> psutil.Process:
    parent = psutil.Process(connection.info.backend_pid).parent()
    assert parent is not None, "a backend is a child of the server"
    return parent


def _cpu_seconds(server: psutil.Process) -> float:
    """Of the server, its processes, and those that have ended."""
    own = server.cpu_times()
    ended = own.children_user + own.children_system
    living = (process.cpu_times() for process in (server, *server.children()))
    return float(ended + sum(times.user + times.system for times in living))


def _value(connection: psycopg.Connection, statement: str) -> int:
    row = connection.execute(statement.encode()).fetchone()
    return int(row[0]) if row else 0


def _rest(seconds: float) -> None:
    threading.Event().wait(seconds)


def idle_lines(sizes: Sizes) -> tuple[Line, ...]:
    """For each worker, and in all."""
    who = f"{sizes.idle_workers} idle workers"
    return (
        Line(
            f"{who}, transactions of each",
            "transactions",
            unit="/s",
            at_most={"postgresql": 2.0},
        ),
        Line(
            f"{who}, connections for each",
            "connections",
            unit="",
            at_most={"postgresql": 1 + SUPERVISOR_CONNECTIONS / sizes.idle_workers},
        ),
        Line(f"{who}, the database's CPU", "cpu", unit="% of a core"),
    )


ROWS = (Row("idle", "idle workers", idle_workers, idle_lines, adapters=POSTGRES_ONLY, rounds=1),)
