"""Fills a database with what jobs leave behind, by a few statements: for plans and for timing."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from jobqueue.adapters.sql.tables import HISTOGRAM_COLUMNS

MOMENTS = {
    "postgresql": "now() - ({0}) * interval '1 second'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ({0}) || ' seconds') || '000'",
}
HOURS = {
    "postgresql": "date_trunc('hour', now()) - ({0}) * interval '1 hour'",
    "sqlite": ("strftime('%Y-%m-%d %H:00:00.000000', 'now', '-' || ({0}) || ' hours')"),
}
MINUTES = {
    "postgresql": "date_trunc('minute', now()) - ({0}) * interval '1 minute'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:00.000000', 'now', '-' || ({0}) || ' minutes')",
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows there are of each kind; by default as many as are promised to be fast."""

    jobs: int = 10_000_000
    classes: int = 100
    queues: int = 50
    attempts: int = 1_000_000
    groups: int = 10_000
    hours_of_groups: int = 24
    hours: int = 90 * 24
    sampled_minutes: int = 7 * 24 * 60
    actions: int = 100_000


def fill(connection: Connection, sizes: Sizes) -> None:
    """Store the rows, and have the database count them."""
    dialect = connection.dialect.name
    # Without the parameters that SQLAlchemy and psycopg would look for.
    connection.exec_driver_sql("SELECT 1")
    cursor = connection.connection.cursor()
    moment, hour, minute = MOMENTS[dialect], HOURS[dialect], MINUTES[dialect]
    for statement in (
        _jobs(sizes, moment),
        _attempts(sizes, moment),
        _groups(sizes, moment),
        _counts(sizes, hour),
        _hours(sizes, hour),
        _samples(sizes, minute),
        _actions(sizes, moment),
    ):
        cursor.execute(statement)
    connection.exec_driver_sql("ANALYZE")


def _numbers(name: str, most: int) -> str:
    """A common table expression with the numbers from 0 on."""
    return f"{name} (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM {name} WHERE n + 1 < {most})"


def _jobs(sizes: Sizes, moment: str) -> str:
    """Mostly jobs that have ended, the newest ready; one failed job in ten of each class."""
    age, ends = f"({sizes.jobs} - n) / 20", "(n % 10 < 9)"
    args = _json("'{\"user_id\": ' || n || '}'", moment)
    meta = _json("'{\"tenant\": ' || (n % 1000) || '}'", moment)
    return f"""
        WITH RECURSIVE {_numbers("numbers", sizes.jobs)}
        INSERT INTO background_jobs
            (handler, args, queue, state, attempts, run_at, created_at, updated_at, started_at,
             run_seconds, finished_at, failed_at, performed_by, last_error, error_key, meta)
        SELECT 'shop.Class' || (n / 7 % {sizes.classes}), {args},
               'queue' || (n / 13 % {sizes.queues}),
               CASE WHEN n % 10 = 9 THEN 'ready' WHEN n % 10 = 0 THEN 'failed' ELSE 'succeeded' END,
               1 + n % 3, {moment.format(age)}, {moment.format(age)}, {moment.format(age)},
               CASE WHEN {ends} THEN {moment.format(age)} END, CASE WHEN {ends} THEN 0.5 END,
               CASE WHEN {ends} THEN {moment.format(age)} END,
               CASE WHEN n % 10 = 0 THEN {moment.format(age)} END,
               CASE WHEN {ends} THEN 'worker' || (n % 8) END,
               CASE WHEN n % 10 = 0 THEN 'ValueError: order ' || n || ' is late' END,
               CASE WHEN n % 10 = 0 THEN 'key' || (n / 10 % {sizes.groups}) END,
               CASE WHEN n % 10 = 0 THEN {meta} END
        FROM numbers
        """


def _json(expression: str, moment: str) -> str:
    return f"CAST({expression} AS JSON)" if moment is MOMENTS["postgresql"] else expression


def _attempts(sizes: Sizes, moment: str) -> str:
    at = moment.format(f"({sizes.attempts} - n) / 2")
    return f"""
        WITH RECURSIVE {_numbers("numbers", sizes.attempts)}
        INSERT INTO background_attempts
            (job_id, place, number, worker_id, started_at, ended_at, outcome, error, error_key)
        SELECT 1 + n / 2, 1 + n % 2, 1 + n % 2, 'worker' || (n % 8), {at}, {at}, 'failed',
               'ValueError: late', 'key' || (n % {sizes.groups})
        FROM numbers"""


def _groups(sizes: Sizes, moment: str) -> str:
    return f"""
        WITH RECURSIVE {_numbers("numbers", sizes.groups)}
        INSERT INTO background_errors
            (key, handler, kind, place, message, sample, first_seen_at, last_seen_at, last_job_id,
             state)
        SELECT 'key' || n, 'shop.Class' || (n % {sizes.classes}), 'ValueError', 'jobs.py:perform',
               'late', 'ValueError: late', {moment.format("n + 86400")}, {moment.format("n")}, 1,
               CASE WHEN n % 50 = 0 THEN 'resolved' WHEN n % 20 = 0 THEN 'muted' ELSE 'open' END
        FROM numbers"""


def _counts(sizes: Sizes, hour: str) -> str:
    return f"""
        WITH RECURSIVE {_numbers("groups_of", sizes.groups)},
                       {_numbers("hours_of", sizes.hours_of_groups)}
        INSERT INTO background_error_counts (key, hour, number)
        SELECT 'key' || groups_of.n, {hour.format("hours_of.n")}, 7 FROM groups_of, hours_of
        """


def _hours(sizes: Sizes, hour: str) -> str:
    histogram = ", ".join(HISTOGRAM_COLUMNS)
    return f"""
        WITH RECURSIVE {_numbers("classes_of", sizes.classes)}, {_numbers("hours_of", sizes.hours)}
        INSERT INTO background_hours
            (hour, handler, queue, succeeded, retried, failed, cancelled, run_seconds,
             longest_seconds, wait_seconds, {histogram})
        SELECT {hour.format("hours_of.n + 1")}, 'shop.Class' || classes_of.n,
               'queue' || (classes_of.n % {sizes.queues}), 100, 5, 2, 1, 60, 3, 5,
               {", ".join("4" for _ in HISTOGRAM_COLUMNS)}
        FROM classes_of, hours_of
        """


def _samples(sizes: Sizes, minute: str) -> str:
    """In each minute a row for each queue, and one without a name that says of how many."""
    return f"""
        WITH RECURSIVE {_numbers("queues_of", sizes.queues + 1)},
                       {_numbers("minutes_of", sizes.sampled_minutes)}
        INSERT INTO background_samples (minute, queue, due, later, running, oldest_seconds, more)
        SELECT {minute.format("minutes_of.n")},
               CASE WHEN queues_of.n = 0 THEN '' ELSE 'queue' || (queues_of.n - 1) END,
               CASE WHEN queues_of.n = 0 THEN {sizes.queues} ELSE 10 END, 5, 2, 30, false
        FROM queues_of, minutes_of
        """


def _actions(sizes: Sizes, moment: str) -> str:
    return f"""
        WITH RECURSIVE {_numbers("numbers", sizes.actions)}
        INSERT INTO background_actions (done_at, done_by, what, number, state, ended_at)
        SELECT {moment.format("n")}, 'ann', 'retry', 3, 'done', {moment.format("n")} FROM numbers
        """
