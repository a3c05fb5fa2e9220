"""The same work on SQLite as one would write it by hand: the sqlite3 module and nothing else."""

from __future__ import annotations

import json
import sqlite3
import time

from benchmarks.side import check, run_step

BATCH = 1000

TABLE = """
CREATE TABLE bare_jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    handler TEXT NOT NULL, args TEXT NOT NULL, queue TEXT NOT NULL DEFAULT 'default',
    priority INTEGER NOT NULL DEFAULT 50, state TEXT NOT NULL DEFAULT 'ready',
    attempts INTEGER NOT NULL DEFAULT 0, max_attempts INTEGER NOT NULL DEFAULT 24,
    run_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f')), locked_at TEXT, locked_by TEXT,
    last_error TEXT, created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f')));
CREATE INDEX bare_ready ON bare_jobs (priority, run_at, id) WHERE state = 'ready'
"""
INSERT = "INSERT INTO bare_jobs (handler, args) VALUES (?, ?)"
CLAIM = """
UPDATE bare_jobs SET state = 'running', attempts = attempts + 1, locked_by = 'bare',
    locked_at = strftime('%Y-%m-%d %H:%M:%f')
WHERE id IN (
    SELECT id FROM bare_jobs WHERE state = 'ready' AND run_at <= strftime('%Y-%m-%d %H:%M:%f')
    ORDER BY priority, run_at, id LIMIT ?)
RETURNING id, args
"""
DELETE = "DELETE FROM bare_jobs WHERE id = ?"


def create(url: str, jobs: int) -> float:  # noqa: ARG001 - a step's signature
    _connect(url).executescript(TABLE)
    return 0.0


def enqueue_one(url: str, jobs: int) -> float:
    connection = _connect(url)
    started = time.perf_counter()
    for number in range(jobs):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(INSERT, ("no_op", json.dumps({"number": number})))
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    _check_stored(connection, jobs)
    return seconds


def enqueue_bulk(url: str, jobs: int) -> float:
    connection = _connect(url)
    started = time.perf_counter()
    rows = (("no_op", json.dumps({"number": number})) for number in range(jobs))
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(INSERT, rows)
    connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    _check_stored(connection, jobs)
    return seconds


def drain(url: str, jobs: int) -> float:
    """Each transaction settles one batch and claims the next."""
    connection = _connect(url)
    count = 0
    done: list[tuple[int]] = []
    batch = [(0, "")]
    started = time.perf_counter()
    while batch:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(DELETE, done)
        batch = sorted(connection.execute(CLAIM, (BATCH,)).fetchall())
        connection.execute("COMMIT")
        for _, args in batch:
            no_op(**json.loads(args))
        done = [(job_id,) for job_id, _ in batch]
        count += len(batch)
    seconds = time.perf_counter() - started
    _check_stored(connection, 0)
    check(count, jobs, "performed")
    return seconds


def no_op(number: int) -> None:
    pass


def _connect(url: str) -> sqlite3.Connection:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _check_stored(connection: sqlite3.Connection, jobs: int) -> None:
    check(connection.execute("SELECT count(*) FROM bare_jobs").fetchone()[0], jobs, "stored")


if __name__ == "__main__":
    run_step(
        {
            "create": create,
            "enqueue-one": enqueue_one,
            "enqueue-bulk": enqueue_bulk,
            "drain": drain,
        }
    )
