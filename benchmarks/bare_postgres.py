"""The same work on PostgreSQL as one would write it by hand: psycopg and nothing else."""

from __future__ import annotations

import json
import threading
import time
from queue import SimpleQueue

import psycopg

from benchmarks.side import check, run_step

BATCH = 1000

TABLE = """
CREATE TABLE bare_jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    handler text NOT NULL, args json NOT NULL, queue text NOT NULL DEFAULT 'default',
    priority int NOT NULL DEFAULT 50, state text NOT NULL DEFAULT 'ready',
    attempts int NOT NULL DEFAULT 0, max_attempts int NOT NULL DEFAULT 24,
    run_at timestamptz NOT NULL DEFAULT now(), locked_at timestamptz, locked_by text,
    last_error text, created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON bare_jobs (priority, run_at, id) WHERE state = 'ready'
"""
INSERT = "INSERT INTO bare_jobs (handler, args) VALUES (%s, %s) RETURNING id"
COPY = "COPY bare_jobs (handler, args) FROM STDIN"
TURN = """
WITH settled AS (DELETE FROM bare_jobs WHERE id = ANY (%s)),
due AS MATERIALIZED (
    SELECT id FROM bare_jobs WHERE state = 'ready' AND run_at <= now()
    ORDER BY priority, run_at, id LIMIT %s FOR UPDATE SKIP LOCKED)
UPDATE bare_jobs SET state = 'running', attempts = attempts + 1, locked_at = now(),
    locked_by = 'bare'
WHERE id = ANY (ARRAY(SELECT id FROM due)) RETURNING id, args::text
"""


def create(url: str, jobs: int) -> float:  # noqa: ARG001 - a step's signature
    with psycopg.connect(url) as connection:
        connection.execute(TABLE)
    return 0.0


def enqueue_one(url: str, jobs: int) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        started = time.perf_counter()
        for number in range(jobs):
            with connection.transaction():
                connection.execute(INSERT, ("no_op", json.dumps({"number": number}))).fetchone()
        seconds = time.perf_counter() - started
        _check_stored(connection, jobs)
    return seconds


def enqueue_bulk(url: str, jobs: int) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        started = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy(COPY) as copy:
            for number in range(jobs):
                copy.write_row(("no_op", json.dumps({"number": number})))
        seconds = time.perf_counter() - started
        _check_stored(connection, jobs)
    return seconds


def drain(url: str, jobs: int) -> float:
    """One thread settles and claims, in one statement, while this one performs a batch ahead."""
    claimed: SimpleQueue[list[tuple[int, str]]] = SimpleQueue()
    performed: SimpleQueue[list[int]] = SimpleQueue()
    performed.put([])
    performed.put([])  # so that two batches are on their way: one performed, one in the database
    with psycopg.connect(url, autocommit=True) as connection:
        started = time.perf_counter()
        pump = threading.Thread(target=_pump, args=(connection, claimed, performed))
        pump.start()
        count = 0
        while batch := claimed.get():
            for _, args in batch:
                no_op(**json.loads(args))
            performed.put([job_id for job_id, _ in batch])
            count += len(batch)
        pump.join()
        seconds = time.perf_counter() - started
        _check_stored(connection, 0)
    check(count, jobs, "performed")
    return seconds


def _pump(
    connection: psycopg.Connection,
    claimed: SimpleQueue[list[tuple[int, str]]],
    performed: SimpleQueue[list[int]],
) -> None:
    held = 0
    while True:
        done = performed.get()
        batch = sorted(connection.execute(TURN, (done, BATCH)).fetchall())
        held += len(batch) - len(done)
        if batch:
            claimed.put(batch)
        elif held == 0:
            claimed.put([])
            return


def no_op(number: int) -> None:
    pass


def _check_stored(connection: psycopg.Connection, jobs: int) -> None:
    row = connection.execute("SELECT count(*) FROM bare_jobs").fetchone()
    check(row[0] if row else 0, jobs, "stored")


if __name__ == "__main__":
    run_step(
        {
            "create": create,
            "enqueue-one": enqueue_one,
            "enqueue-bulk": enqueue_bulk,
            "drain": drain,
        }
    )
