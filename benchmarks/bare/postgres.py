"""The same work on PostgreSQL as one would write it by hand: psycopg and nothing else."""

from __future__ import annotations

import json
import os
import random
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psycopg

from benchmarks.side import check, meet, percentile, run_step

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
CHANNEL = "bare_jobs"

Figures = Mapping[str, Any]
Batch = list[tuple[int, str]]


def create(url: str) -> Figures:
    with psycopg.connect(url) as connection:
        connection.execute(TABLE)
    return {}


def enqueue_one(url: str, jobs: int) -> Figures:
    with psycopg.connect(url, autocommit=True) as connection:
        started = time.perf_counter()
        for number in range(jobs):
            with connection.transaction():
                connection.execute(INSERT, ("no_op", json.dumps({"number": number}))).fetchone()
        seconds = time.perf_counter() - started
        _check_stored(connection, jobs)
    return {"jobs": jobs, "seconds": seconds}


def enqueue_bulk(url: str, jobs: int) -> Figures:
    with psycopg.connect(url, autocommit=True) as connection:
        started = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy(COPY) as copy:
            for number in range(jobs):
                copy.write_row(("no_op", json.dumps({"number": number})))
        seconds = time.perf_counter() - started
        _check_stored(connection, jobs)
    return {"jobs": jobs, "seconds": seconds}


def drain(url: str, batch: int = BATCH, processes: int = 1, folder: str = "") -> Figures:
    """One thread settles and claims, in one statement, while this one performs a batch ahead."""
    claimed: SimpleQueue[Batch] = SimpleQueue()
    performed: SimpleQueue[list[int]] = SimpleQueue()
    performed.put([])
    performed.put([])  # so that two batches are on their way: one performed, one in the database
    with psycopg.connect(url, autocommit=True) as connection:
        if processes > 1:
            meet(folder, str(os.getpid()), processes)
        started = time.monotonic()
        pump = threading.Thread(target=_pump, args=(connection, claimed, performed, batch))
        pump.start()
        count = 0
        while jobs := claimed.get():
            for _, args in jobs:
                no_op(**json.loads(args))
            performed.put([job_id for job_id, _ in jobs])
            count += len(jobs)
        pump.join()
        ended = time.monotonic()
    return {"jobs": count, "started": started, "ended": ended}


def _pump(
    connection: psycopg.Connection,
    claimed: SimpleQueue[Batch],
    performed: SimpleQueue[list[int]],
    batch: int,
) -> None:
    held = 0
    while True:
        done = performed.get()
        jobs = sorted(connection.execute(TURN, (done, batch)).fetchall())
        held += len(jobs) - len(done)
        if jobs:
            claimed.put(jobs)
        elif held == 0:
            claimed.put([])
            return


def listen(url: str) -> Figures:
    """Perform what is announced until the process is ended."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        print("listening", flush=True)
        while True:
            done: list[int] = []
            while jobs := connection.execute(TURN, (done, 1)).fetchall():
                for _, args in jobs:
                    stamp(**json.loads(args))
                done = [job_id for job_id, _ in jobs]
            list(connection.notifies(stop_after=1))


def latency(url: str, samples: int, shortest_gap: float, longest_gap: float) -> Figures:
    """From before BEGIN, INSERT, NOTIFY, COMMIT to the first line of what is performed."""
    seconds = []
    with (
        psycopg.connect(url, autocommit=True) as connection,
        tempfile.TemporaryDirectory(prefix="bench") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
    ):
        path = str(Path(folder) / "s")
        channel.bind(path)
        for _ in range(samples):
            time.sleep(random.uniform(shortest_gap, longest_gap))
            sent = time.monotonic()
            with connection.transaction():
                connection.execute(INSERT, ("stamp", json.dumps({"path": path}))).fetchone()
                connection.execute(f"NOTIFY {CHANNEL}")
            seconds.append(float(channel.recv(64)) - sent)
    return {"p50": percentile(seconds, 0.5) * 1000, "p99": percentile(seconds, 0.99) * 1000}


def no_op(number: int) -> None:
    pass


def stamp(path: str) -> None:
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(str(began).encode(), path)


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
            "listen": listen,
            "latency": latency,
        }
    )
