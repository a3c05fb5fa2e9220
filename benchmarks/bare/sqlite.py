"""The same work on SQLite as one would write it by hand: the sqlite3 module and nothing else."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.side import check, meet, run_step

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

Figures = Mapping[str, Any]


def create(url: str) -> Figures:
    _connect(url).executescript(TABLE)
    return {}


def enqueue_one(url: str, jobs: int) -> Figures:
    connection = _connect(url)
    started = time.perf_counter()
    for number in range(jobs):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(INSERT, ("no_op", json.dumps({"number": number})))
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    _check_stored(connection, jobs)
    return {"jobs": jobs, "seconds": seconds}


def enqueue_bulk(url: str, jobs: int) -> Figures:
    connection = _connect(url)
    started = time.perf_counter()
    rows = (("no_op", json.dumps({"number": number})) for number in range(jobs))
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(INSERT, rows)
    connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    _check_stored(connection, jobs)
    return {"jobs": jobs, "seconds": seconds}


def drain(url: str, batch: int = BATCH, processes: int = 1, folder: str = "") -> Figures:
    """Each transaction settles one batch and claims the next."""
    connection = _connect(url)
    if processes > 1:
        meet(folder, str(os.getpid()), processes)
    count = 0
    done: list[tuple[int]] = []
    jobs = [(0, "")]
    started = time.monotonic()
    while jobs:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(DELETE, done)
        jobs = sorted(connection.execute(CLAIM, (batch,)).fetchall())
        connection.execute("COMMIT")
        for _, args in jobs:
            no_op(**json.loads(args))
        done = [(job_id,) for job_id, _ in jobs]
        count += len(jobs)
    return {"jobs": count, "started": started, "ended": time.monotonic()}


def no_op(number: int) -> None:
    pass


def _connect(url: str) -> sqlite3.Connection:
    path = url.removeprefix("sqlite:///")
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
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
