"""The tables: the one description that statements, models and migrations share.

Indexes are paid for on every job, so there are few. The two that serve claims equal a claim's
ORDER BY and hold ready rows only: what is finished, failed or running never slows one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Dialect,
    Float,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from jobqueue.records import DEFAULT_PRIORITY, DEFAULT_QUEUE, JobState

# The first and the last moment that Python can tell in any time zone.
DAWN = datetime(1, 1, 3, tzinfo=UTC)
DUSK = datetime(9999, 12, 29, tzinfo=UTC)

TABLE_PREFIX = "background_"
LEFT_BY = "left_by"
"""In the `info` of an index: the migration that leaves it to be made after it, where it can be."""
VERSION_TABLE = "background_jobs_version"

BUCKETS = (
    *("10ms", "32ms", "100ms", "316ms", "1s", "3s", "10s", "32s", "100s", "316s", "1000s"),
    "longer",
)
"""The buckets of a histogram of durations: each holds those up to its name, by half decades."""
HISTOGRAM_COLUMNS = tuple(f"{what}_{bucket}" for what in ("ran", "waited") for bucket in BUCKETS)

STATES = ", ".join(f"'{state}'" for state in JobState)
# A release before flow control would make a job ready that waits at gates: it may not.
STATE_RULE = f"state IN ({STATES}) AND (state <> 'ready' OR line IS NULL)"

# SQLAlchemy 2.0 has no `postgresql_with` for tables. It writes what comes after USING as it is, as
# 2.1 does, and Alembic's autogenerate copies it into the migrations of an application.
#
# A busy queue replaces its rows all the time. Vacuum has to come round after thousands of dead
# rows and not after a share of the table, and must not be throttled while claims walk over them.
JOBS_STORAGE = (
    "heap WITH (fillfactor = 85, "
    "autovacuum_vacuum_scale_factor = 0.01, "
    "autovacuum_vacuum_threshold = 1000, "
    "autovacuum_vacuum_insert_scale_factor = 0.1, "
    "autovacuum_analyze_scale_factor = 0.02, "
    "autovacuum_analyze_threshold = 1000, "
    "autovacuum_vacuum_cost_delay = 0)"
)
# Heartbeats rewrite a few rows for ever: room on the page lets that touch no index.
WORKERS_STORAGE = (
    "heap WITH (fillfactor = 50, "
    "autovacuum_vacuum_scale_factor = 0.0, "
    "autovacuum_vacuum_threshold = 100)"
)


class MomentText(TypeDecorator[datetime]):
    """The type of columns with a moment, which SQLite keeps as text that sorts by time."""

    impl = String(26)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """The text of a moment, for the database."""
        return None if value is None else to_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The moment that a text from the database stands for."""
        return None if value is None else to_utc(value)


def to_text(moment: datetime) -> str:
    """A moment as SQLite keeps it: 26 characters in UTC, so that text order is time order."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def to_utc(value: Any) -> datetime:
    """A moment as either database returns it, as an aware UTC datetime.

    Text that was written by hand and is no moment is read as `DAWN` or `DUSK`, by its order.
    """
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return DAWN if value < to_text(DAWN) else DUSK
    except TypeError:
        # SQLite sorts bytes after text, and numbers before it.
        return DUSK if isinstance(value, bytes) else DAWN


def to_name(value: Any) -> str:
    """A name as either database returns it. SQLite keeps bytes where somebody wrote bytes."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return value if isinstance(value, str) else str(value)


UtcDateTime = DateTime(timezone=True).with_variant(MomentText(), "sqlite")

# `json`, not `jsonb`: it keeps the text as it came (the order of keys, the digits of numbers) and
# is cheaper to write. SQLite keeps JSON as text.
JsonText = JSON(none_as_null=True).with_variant(postgresql.JSON(none_as_null=True), "postgresql")
RowId = BigInteger().with_variant(Integer(), "sqlite")


GATED_COLUMNS = ("queue", "line", "priority", "run_at", "id")
UNFINISHED_IN_LINE = "line IS NOT NULL AND finished_at IS NULL"
FAILED_IN_LINE = "line IS NOT NULL AND state = 'failed'"
EXPIRING = "expires_at IS NOT NULL AND state = 'gated'"
HAS_UNIQUE_KEY = "unique_key IS NOT NULL AND finished_at IS NULL"
HAS_WAITING_KEY = "waiting_key IS NOT NULL AND finished_at IS NULL"
IN_FLOW = "flow_id IS NOT NULL"
NOT_SUCCEEDED = "flow_id IS NOT NULL AND state <> 'succeeded'"


def _partial(name: str, where: str, *columns: str, unique: bool = False) -> Index:
    """An index of the rows for which a condition holds."""
    condition = text(where)
    return Index(name, *columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


class Base(DeclarativeBase):
    """The base of jobqueue's models, with a `MetaData` of its own."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )


class BackgroundJob(Base):
    """A job. One row from `perform_later` until it is done, and after that if it is kept."""

    __tablename__ = "background_jobs"

    id: Mapped[int] = mapped_column(RowId, Identity(), primary_key=True, autoincrement=True)
    handler: Mapped[str] = mapped_column(Text)
    args: Mapped[Any] = mapped_column(JsonText, nullable=False, server_default="{}")
    queue: Mapped[str] = mapped_column(Text, server_default=DEFAULT_QUEUE)
    priority: Mapped[int] = mapped_column(Integer, server_default=text(str(DEFAULT_PRIORITY)))
    state: Mapped[str] = mapped_column(Text, server_default=JobState.READY.value)
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    max_attempts: Mapped[int] = mapped_column(Integer, server_default=text("24"))
    crashes: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    run_at: Mapped[datetime] = mapped_column(UtcDateTime)
    locked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    locked_by: Mapped[str | None] = mapped_column(Text)
    claim_token: Mapped[int | None] = mapped_column(BigInteger)
    last_error: Mapped[str | None] = mapped_column(Text)
    failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancel_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    progress: Mapped[Any | None] = mapped_column(JsonText)
    result: Mapped[Any | None] = mapped_column(JsonText)
    meta: Mapped[Any | None] = mapped_column(JsonText)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    run_seconds: Mapped[float | None] = mapped_column(Float)
    performed_by: Mapped[str | None] = mapped_column(Text)
    error_key: Mapped[str | None] = mapped_column(Text)
    line: Mapped[str | None] = mapped_column(Text)
    terms: Mapped[Any | None] = mapped_column(JsonText)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    unique_key: Mapped[str | None] = mapped_column(Text)
    waiting_key: Mapped[str | None] = mapped_column(Text)
    flow_id: Mapped[int | None] = mapped_column(BigInteger)
    flow_place: Mapped[int | None] = mapped_column(Integer)

    __table_args__ = (
        CheckConstraint(STATE_RULE, name="state"),
        Index(
            "background_jobs_ready_idx",
            "priority",
            "run_at",
            "id",
            postgresql_where=text("state = 'ready'"),
            sqlite_where=text("state = 'ready'"),
        ),
        Index(
            "background_jobs_ready_by_queue_idx",
            "queue",
            "priority",
            "run_at",
            "id",
            postgresql_where=text("state = 'ready'"),
            sqlite_where=text("state = 'ready'"),
        ),
        Index(
            "background_jobs_running_idx",
            "locked_by",
            postgresql_where=text("state = 'running'"),
            sqlite_where=text("state = 'running'"),
        ),
        # What is kept, for retention and for lists of what failed; paid for by kept rows only.
        Index(
            "background_jobs_finished_idx",
            "state",
            "handler",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL"),
            sqlite_where=text("finished_at IS NOT NULL"),
        ),
        # Lists of what is kept, the newest first; paid for by kept rows only.
        Index(
            "background_jobs_kept_idx",
            "state",
            "id",
            postgresql_where=text("finished_at IS NOT NULL"),
            sqlite_where=text("finished_at IS NOT NULL"),
        ),
        # The jobs of a group of errors; paid for by jobs that have failed at least once.
        Index(
            "background_jobs_error_idx",
            "error_key",
            "id",
            postgresql_where=text("error_key IS NOT NULL"),
            sqlite_where=text("error_key IS NOT NULL"),
            info={LEFT_BY: "0003"},
        ),
        # The lines that wait at gates; paid for by jobs with flow control only, as are the others.
        _partial("background_jobs_gated_idx", "state = 'gated'", *GATED_COLUMNS),
        _partial("background_jobs_gated_due_idx", "state = 'gated'", "run_at"),
        _partial("background_jobs_line_idx", UNFINISHED_IN_LINE, "line", "id"),
        _partial("background_jobs_failed_in_line_idx", FAILED_IN_LINE, "line", "id"),
        _partial("background_jobs_expiry_idx", EXPIRING, "expires_at"),
        _partial("background_jobs_unique_key_idx", HAS_UNIQUE_KEY, "unique_key", unique=True),
        _partial("background_jobs_waiting_key_idx", HAS_WAITING_KEY, "waiting_key", unique=True),
        _partial("background_jobs_flow_idx", IN_FLOW, "flow_id", "flow_place", "id"),
        _partial("background_jobs_not_succeeded_idx", NOT_SUCCEEDED, "flow_id", "id"),
        {"sqlite_autoincrement": True, "postgresql_using": JOBS_STORAGE},
    )


class BackgroundWorker(Base):
    """A worker process; its heartbeat is the lease on every job that it holds."""

    __tablename__ = "background_workers"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int] = mapped_column(Integer)
    queues: Mapped[Any | None] = mapped_column(JsonText)
    concurrency: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    lease_seconds: Mapped[float] = mapped_column(Float)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    heartbeat_at: Mapped[datetime] = mapped_column(UtcDateTime)
    supervisor_id: Mapped[str | None] = mapped_column(Text)
    app: Mapped[str | None] = mapped_column(Text)
    details: Mapped[Any | None] = mapped_column(JsonText)
    release: Mapped[str | None] = mapped_column(Text)

    __table_args__ = ({"postgresql_using": WORKERS_STORAGE},)


class BackgroundQueue(Base):
    """A queue that somebody has paused. A queue without a row is not."""

    __tablename__ = "background_queues"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    paused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    paused_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paused_by: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)


class BackgroundSchedule(Base):
    """A recurring job of one application, and the last tick that was enqueued."""

    __tablename__ = "background_schedules"

    app: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    handler: Mapped[str] = mapped_column(Text)
    args: Mapped[Any] = mapped_column(JsonText, nullable=False, server_default="{}")
    schedule: Mapped[Any] = mapped_column(JsonText, nullable=False)
    last_tick: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    declared_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class BackgroundKey(Base):
    """An idempotency key that was used, the job that it made, and what was asked with it."""

    __tablename__ = "background_keys"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    job_id: Mapped[int] = mapped_column(BigInteger)
    fingerprint: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (Index("background_keys_expires_idx", "expires_at"),)


class BackgroundStat(Base):
    """The statistics of the attempts of a worker, a class and a queue in one minute."""

    __tablename__ = "background_stats"

    minute: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    worker_id: Mapped[str] = mapped_column(Text, primary_key=True)
    handler: Mapped[str] = mapped_column(Text, primary_key=True)
    queue: Mapped[str] = mapped_column(Text, primary_key=True)
    succeeded: Mapped[int] = mapped_column(Integer)
    retried: Mapped[int] = mapped_column(Integer)
    failed: Mapped[int] = mapped_column(Integer)
    cancelled: Mapped[int] = mapped_column(Integer)
    run_seconds: Mapped[float] = mapped_column(Float)
    longest_seconds: Mapped[float] = mapped_column(Float)
    wait_seconds: Mapped[float] = mapped_column(Float)


def _of_zero() -> Mapped[int]:
    return mapped_column(Integer, server_default=text("0"), nullable=False)


for _name in HISTOGRAM_COLUMNS:
    setattr(BackgroundStat, _name, _of_zero())


class BackgroundHour(Base):
    """The statistics of the attempts of a class and a queue in one hour, of all workers."""

    __tablename__ = "background_hours"

    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    handler: Mapped[str] = mapped_column(Text, primary_key=True)
    queue: Mapped[str] = mapped_column(Text, primary_key=True)
    succeeded: Mapped[int] = mapped_column(BigInteger)
    retried: Mapped[int] = mapped_column(BigInteger)
    failed: Mapped[int] = mapped_column(BigInteger)
    cancelled: Mapped[int] = mapped_column(BigInteger)
    run_seconds: Mapped[float] = mapped_column(Float)
    longest_seconds: Mapped[float] = mapped_column(Float)
    wait_seconds: Mapped[float] = mapped_column(Float)


for _name in HISTOGRAM_COLUMNS:
    setattr(BackgroundHour, _name, mapped_column(BigInteger, nullable=False))


class BackgroundDay(Base):
    """The sums of the hours of a day, in UTC: long windows are read by days."""

    __tablename__ = "background_days"

    day: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    handler: Mapped[str] = mapped_column(Text, primary_key=True)
    queue: Mapped[str] = mapped_column(Text, primary_key=True)
    succeeded: Mapped[int] = mapped_column(BigInteger)
    retried: Mapped[int] = mapped_column(BigInteger)
    failed: Mapped[int] = mapped_column(BigInteger)
    cancelled: Mapped[int] = mapped_column(BigInteger)
    run_seconds: Mapped[float] = mapped_column(Float)
    longest_seconds: Mapped[float] = mapped_column(Float)
    wait_seconds: Mapped[float] = mapped_column(Float)


for _name in HISTOGRAM_COLUMNS:
    setattr(BackgroundDay, _name, mapped_column(BigInteger, nullable=False))


class BackgroundAttempt(Base):
    """An attempt at a job that did not succeed. Its place counts those of the job, from 1."""

    __tablename__ = "background_attempts"

    job_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    place: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer)
    worker_id: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime] = mapped_column(UtcDateTime)
    outcome: Mapped[str] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    error_key: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index("background_attempts_ended_idx", "ended_at"),)


class BackgroundError(Base):
    """A group of errors that are alike, of one job class."""

    __tablename__ = "background_errors"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    handler: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    place: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str] = mapped_column(Text)
    sample: Mapped[str] = mapped_column(Text)
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    first_release: Mapped[str | None] = mapped_column(Text)
    last_release: Mapped[str | None] = mapped_column(Text)
    last_job_id: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(Text, server_default="open")
    changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    changed_by: Mapped[str | None] = mapped_column(Text)
    reopened_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (Index("background_errors_seen_idx", "last_seen_at", "key"),)


class BackgroundErrorCount(Base):
    """How many attempts ended with an error of a group in one hour."""

    __tablename__ = "background_error_counts"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index("background_error_counts_hour_idx", "hour"),)


class BackgroundSample(Base):
    """The depth of a queue at one minute."""

    __tablename__ = "background_samples"

    minute: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    queue: Mapped[str] = mapped_column(Text, primary_key=True)
    due: Mapped[int] = mapped_column(BigInteger)
    later: Mapped[int] = mapped_column(BigInteger)
    running: Mapped[int] = mapped_column(BigInteger)
    oldest_seconds: Mapped[float] = mapped_column(Float)
    more: Mapped[bool] = mapped_column(Boolean)


class BackgroundEndedWorker(Base):
    """A worker process that has ended, and why."""

    __tablename__ = "background_ended_workers"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int] = mapped_column(Integer)
    release: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(Text)

    __table_args__ = (Index("background_ended_workers_idx", "ended_at"),)


class BackgroundStack(Base):
    """A question for the stacks of a worker, and its answer."""

    __tablename__ = "background_stacks"

    worker_id: Mapped[str] = mapped_column(Text, primary_key=True)
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    asked_by: Mapped[str | None] = mapped_column(Text)
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stacks: Mapped[Any | None] = mapped_column(JsonText)


class BackgroundAction(Base):
    """An action of somebody from outside. A bulk change has a cursor, from which it goes on."""

    __tablename__ = "background_actions"

    id: Mapped[int] = mapped_column(RowId, Identity(), primary_key=True, autoincrement=True)
    done_at: Mapped[datetime] = mapped_column(UtcDateTime)
    done_by: Mapped[str] = mapped_column(Text)
    what: Mapped[str] = mapped_column(Text)
    target: Mapped[Any | None] = mapped_column(JsonText)
    reason: Mapped[str | None] = mapped_column(Text)
    number: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    state: Mapped[str] = mapped_column(Text, server_default="done")
    cursor: Mapped[int | None] = mapped_column(BigInteger)
    run_by: Mapped[str | None] = mapped_column(Text)
    run_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("background_actions_ended_idx", "ended_at", "id"),
        {"sqlite_autoincrement": True},
    )


class BackgroundSlot(Base):
    """A slot that a running job holds at a gate.

    It counts as long as the job runs under that token, and is removed some time after that. So
    whatever ends or frees the job frees the slot.
    """

    __tablename__ = "background_slots"

    gate: Mapped[str] = mapped_column(Text, primary_key=True)
    place: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    job_id: Mapped[int] = mapped_column(BigInteger)
    claim_token: Mapped[int] = mapped_column(BigInteger)


class BackgroundStart(Base):
    """How many jobs started at a gate within a small part of its period."""

    __tablename__ = "background_starts"

    gate: Mapped[str] = mapped_column(Text, primary_key=True)
    begun_at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    number: Mapped[int] = mapped_column(Integer)


class BackgroundLimit(Base):
    """A limit: what a class declares, and what somebody has set instead."""

    __tablename__ = "background_limits"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(Integer)
    per_seconds: Mapped[float | None] = mapped_column(Float)
    declared_at: Mapped[datetime] = mapped_column(UtcDateTime)
    set_number: Mapped[int | None] = mapped_column(Integer)
    set_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    set_by: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)


class BackgroundFlow(Base):
    """Jobs that are stored together, and of which some may wait for others."""

    __tablename__ = "background_flows"

    id: Mapped[int] = mapped_column(RowId, Identity(), primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    succeeded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancelled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("background_flows_finished_idx", "finished_at", "id"),
        _partial("background_flows_going_on_idx", "succeeded_at IS NULL", "id"),
        {"sqlite_autoincrement": True},
    )


class BackgroundEdge(Base):
    """A job of a flow that waits for another one, and how that one ended."""

    __tablename__ = "background_edges"

    child_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    parent_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    flow_id: Mapped[int] = mapped_column(BigInteger)
    runs_anyway: Mapped[bool] = mapped_column(Boolean)
    outcome: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index("background_edges_child_idx", "child_id", "outcome"),
        Index("background_edges_parent_idx", "parent_id"),
        Index("background_edges_flow_idx", "flow_id"),
    )


class BackgroundToken(Base):
    """A bearer token for the API; its secret part is stored as a hash."""

    __tablename__ = "background_tokens"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[Any] = mapped_column(JsonText, nullable=False)
    secret_hash: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


JOBS = cast("Table", BackgroundJob.__table__)
WORKERS = cast("Table", BackgroundWorker.__table__)
KEYS = cast("Table", BackgroundKey.__table__)
STATS = cast("Table", BackgroundStat.__table__)
TOKENS = cast("Table", BackgroundToken.__table__)
ATTEMPTS = cast("Table", BackgroundAttempt.__table__)
ERRORS = cast("Table", BackgroundError.__table__)
ERROR_COUNTS = cast("Table", BackgroundErrorCount.__table__)
HOURS = cast("Table", BackgroundHour.__table__)
DAYS = cast("Table", BackgroundDay.__table__)
SAMPLES = cast("Table", BackgroundSample.__table__)
ENDED_WORKERS = cast("Table", BackgroundEndedWorker.__table__)
STACKS = cast("Table", BackgroundStack.__table__)
ACTIONS = cast("Table", BackgroundAction.__table__)
SLOTS = cast("Table", BackgroundSlot.__table__)
STARTS = cast("Table", BackgroundStart.__table__)
LIMITS = cast("Table", BackgroundLimit.__table__)
FLOWS = cast("Table", BackgroundFlow.__table__)
EDGES = cast("Table", BackgroundEdge.__table__)
