"""Rows put into the tables by one statement of SQL, as many as a figure needs."""

from __future__ import annotations

from dataclasses import dataclass

OURS = {
    "postgresql": """
INSERT INTO background_jobs
    (handler, args, queue, priority, state, attempts, run_at, finished_at, created_at, updated_at)
SELECT '{handler}', json_build_object('number', n), {queue}, {priority}, '{state}', {attempts},
       now() + interval '{due_in} seconds', {finished_at}, now(), now()
FROM generate_series(0, {rows} - 1) AS n
""",
    "sqlite": """
INSERT INTO background_jobs
    (handler, args, queue, priority, state, attempts, run_at, finished_at, created_at, updated_at)
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {rows})
SELECT '{handler}', json_object('number', n), {queue}, {priority}, '{state}', {attempts},
       {later}, {finished_at}, {now}, {now}
FROM numbers
""",
}
BARE = {
    "postgresql": """
INSERT INTO bare_jobs (handler, args)
SELECT 'no_op', json_build_object('number', n) FROM generate_series(0, {rows} - 1) AS n
""",
    "sqlite": """
INSERT INTO bare_jobs (handler, args)
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {rows})
SELECT 'no_op', json_object('number', n) FROM numbers
""",
}
NOW = {"postgresql": "now()", "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now')"}
DAY_SECONDS = 86_400
DUE_SECONDS_AGO = 5


@dataclass(frozen=True)
class Load:
    """Some rows of `background_jobs`.

    Args:
        rows: how many.
        handler: the job's registered name.
        queue: the queue of all of them, or what comes before the number of each queue.
        queues: over how many queues they are spread.
        priorities: over how many priorities; with one, it is the default.
        tomorrow: whether they are due in a day; a few seconds ago otherwise.
        finished: whether they have succeeded and are kept.
    """

    rows: int
    handler: str = "NoOp"
    queue: str = "default"
    queues: int = 1
    priorities: int = 1
    tomorrow: bool = False
    finished: bool = False

    def sql(self, dialect: str) -> str:
        """The statement that stores them."""
        number = f"CAST(n % {self.queues} AS text)"
        due_in = DAY_SECONDS if self.tomorrow else -DUE_SECONDS_AGO
        now = NOW[dialect]
        return OURS[dialect].format(
            handler="Kept" if self.finished else self.handler,
            queue=f"'{self.queue}'" if self.queues == 1 else f"'{self.queue}' || {number}",
            priority="50" if self.priorities == 1 else f"n % {self.priorities}",
            state="succeeded" if self.finished else "ready",
            attempts=1 if self.finished else 0,
            due_in=due_in,
            later=now.replace("'now'", f"'now', '{due_in:+} seconds'"),
            finished_at=now if self.finished else "NULL",
            rows=self.rows,
            now=now,
        )


def bare_sql(dialect: str, rows: int) -> str:
    """The statement that stores due jobs for the bare script."""
    return BARE[dialect].format(rows=rows)


def grown(rows: int) -> tuple[Load, ...]:
    """A table that has grown: so many rows of each kind that a claim must not stumble over."""
    return later(rows) + elsewhere(rows) + kept(rows)


def later(rows: int) -> tuple[Load, ...]:
    """Jobs that wait for tomorrow, in the queue that is worked on."""
    return (Load(rows, tomorrow=True),)


def elsewhere(rows: int) -> tuple[Load, ...]:
    """Due jobs in ten queues that nobody works on."""
    return (Load(rows, queue="other", queues=10),)


def kept(rows: int) -> tuple[Load, ...]:
    """Jobs that have succeeded, of a class that keeps them."""
    return (Load(rows, finished=True),)
