"""The tables for what a job leaves behind: attempts, errors, distributions, depths, actions.

The previous release's workers go on meanwhile. They write none of it, so every new column is
nullable or has a default, and none of them is read by what they do. The new index holds only jobs
that have failed at least once under this release. Making it reads the table of jobs once. Within
the transaction this keeps out everybody meanwhile, so `jobqueue migrate` makes it afterwards where
there are many jobs.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(26), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSON(), "postgresql")
IS_LARGE = "SELECT EXISTS (SELECT FROM background_jobs OFFSET 10000)"
HAS_KEY = sa.text("error_key IS NOT NULL")

BUCKETS = (
    *("10ms", "32ms", "100ms", "316ms", "1s", "3s", "10s", "32s", "100s", "316s", "1000s"),
    "longer",
)
HISTOGRAMS = [f"{what}_{bucket}" for what in ("ran", "waited") for bucket in BUCKETS]
COUNTS = ("succeeded", "retried", "failed", "cancelled")
SECONDS = ("run_seconds", "longest_seconds", "wait_seconds")


def upgrade() -> None:
    add_columns(
        "background_jobs",
        sa.Column("meta", JSON),
        sa.Column("started_at", MOMENT),
        sa.Column("run_seconds", sa.Float()),
        sa.Column("performed_by", sa.Text()),
        sa.Column("error_key", sa.Text()),
    )
    if not is_left_for_later():
        op.create_index(
            "background_jobs_error_idx",
            "background_jobs",
            ["error_key", "id"],
            postgresql_where=HAS_KEY,
            sqlite_where=HAS_KEY,
        )
    add_columns(
        "background_queues",
        sa.Column("paused_until", MOMENT),
        sa.Column("paused_by", sa.Text()),
        sa.Column("reason", sa.Text()),
    )
    add_columns("background_workers", sa.Column("release", sa.Text()))
    add_columns("background_stats", *histograms())
    op.create_table(
        "background_attempts",
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.Text()),
        sa.Column("started_at", MOMENT),
        sa.Column("ended_at", MOMENT, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("error_key", sa.Text()),
        sa.PrimaryKeyConstraint("job_id", "place", name="background_attempts_pkey"),
    )
    op.create_index("background_attempts_ended_idx", "background_attempts", ["ended_at"])
    op.create_table(
        "background_errors",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("place", sa.Text()),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("sample", sa.Text(), nullable=False),
        sa.Column("first_seen_at", MOMENT, nullable=False),
        sa.Column("last_seen_at", MOMENT, nullable=False),
        sa.Column("first_release", sa.Text()),
        sa.Column("last_release", sa.Text()),
        sa.Column("last_job_id", sa.BigInteger()),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("changed_at", MOMENT),
        sa.Column("changed_by", sa.Text()),
        sa.Column("reopened_at", MOMENT),
        sa.PrimaryKeyConstraint("key", name="background_errors_pkey"),
    )
    op.create_index("background_errors_seen_idx", "background_errors", ["last_seen_at", "key"])
    op.create_table(
        "background_error_counts",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("hour", MOMENT, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "hour", name="background_error_counts_pkey"),
    )
    op.create_index("background_error_counts_hour_idx", "background_error_counts", ["hour"])
    for table, moment in (("background_hours", "hour"), ("background_days", "day")):
        op.create_table(
            table,
            sa.Column(moment, MOMENT, nullable=False),
            sa.Column("handler", sa.Text(), nullable=False),
            sa.Column("queue", sa.Text(), nullable=False),
            *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
            *(sa.Column(name, sa.Float(), nullable=False) for name in SECONDS),
            *(sa.Column(name, sa.BigInteger(), nullable=False) for name in HISTOGRAMS),
            sa.PrimaryKeyConstraint(moment, "handler", "queue", name=f"{table}_pkey"),
        )
    op.create_table(
        "background_samples",
        sa.Column("minute", MOMENT, nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("later", sa.BigInteger(), nullable=False),
        sa.Column("running", sa.BigInteger(), nullable=False),
        sa.Column("oldest_seconds", sa.Float(), nullable=False),
        sa.Column("more", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("minute", "queue", name="background_samples_pkey"),
    )
    op.create_table(
        "background_ended_workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("release", sa.Text()),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="background_ended_workers_pkey"),
    )
    op.create_index("background_ended_workers_idx", "background_ended_workers", ["ended_at"])
    op.create_table(
        "background_stacks",
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("asked_by", sa.Text()),
        sa.Column("answered_at", MOMENT),
        sa.Column("stacks", JSON),
        sa.PrimaryKeyConstraint("worker_id", name="background_stacks_pkey"),
    )
    op.create_table(
        "background_actions",
        sa.Column("id", ID, sa.Identity(always=False), autoincrement=True),
        sa.Column("done_at", MOMENT, nullable=False),
        sa.Column("done_by", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("target", JSON),
        sa.Column("reason", sa.Text()),
        sa.Column("number", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("state", sa.Text(), server_default="done", nullable=False),
        sa.Column("cursor", sa.BigInteger()),
        sa.Column("run_by", sa.Text()),
        sa.Column("run_until", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="background_actions_pkey"),
        sqlite_autoincrement=True,
    )
    op.create_index("background_actions_ended_idx", "background_actions", ["ended_at", "id"])


def downgrade() -> None:
    for table in (
        *("background_actions", "background_stacks", "background_ended_workers"),
        *("background_samples", "background_days", "background_hours", "background_error_counts"),
        *("background_errors", "background_attempts"),
    ):
        op.drop_table(table)
    drop_columns("background_stats", *HISTOGRAMS)
    drop_columns("background_workers", "release")
    drop_columns("background_queues", "reason", "paused_by", "paused_until")
    # It is not there yet where a migration was killed before it was made.
    op.drop_index("background_jobs_error_idx", "background_jobs", if_exists=True)
    drop_columns(
        "background_jobs", "error_key", "performed_by", "run_seconds", "started_at", "meta"
    )


def is_left_for_later() -> bool:
    """Whether whoever runs this makes the index afterwards. In an application's own tree nobody
    would, and in a small table it is made before anybody has noticed.
    """
    context = op.get_context()
    if not context.opts.get("leaves_indexes"):
        return False
    if context.as_sql:
        return True
    return bool(op.get_bind().execute(sa.text(IS_LARGE)).scalar_one())


def add_columns(table: str, *columns: sa.Column[object]) -> None:
    for column in columns:
        op.add_column(table, column)


def drop_columns(table: str, *columns: str) -> None:
    for column in columns:
        op.drop_column(table, column)


def histograms() -> list[sa.Column[object]]:
    zero = sa.text("0")
    return [sa.Column(n, sa.Integer(), server_default=zero, nullable=False) for n in HISTOGRAMS]
