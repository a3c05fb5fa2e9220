"""The tables: jobs, workers, queues, schedules and idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(26), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSON(), "postgresql")

READY = sa.text("state = 'ready'")
RUNNING = sa.text("state = 'running'")
FINISHED = sa.text("finished_at IS NOT NULL")

# SQLAlchemy 2.0 has no `postgresql_with` for tables, and writes what comes after USING as it is.
JOBS_STORAGE = (
    "heap WITH (fillfactor = 85, "
    "autovacuum_vacuum_scale_factor = 0.01, "
    "autovacuum_vacuum_threshold = 1000, "
    "autovacuum_vacuum_insert_scale_factor = 0.1, "
    "autovacuum_analyze_scale_factor = 0.02, "
    "autovacuum_analyze_threshold = 1000, "
    "autovacuum_vacuum_cost_delay = 0)"
)
WORKERS_STORAGE = (
    "heap WITH (fillfactor = 50, "
    "autovacuum_vacuum_scale_factor = 0.0, "
    "autovacuum_vacuum_threshold = 100)"
)


def upgrade() -> None:
    op.create_table(
        "background_jobs",
        sa.Column("id", ID, sa.Identity(always=False), autoincrement=True),
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("args", JSON, server_default="{}", nullable=False),
        sa.Column("queue", sa.Text(), server_default="default", nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("50"), nullable=False),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default=sa.text("24"), nullable=False),
        sa.Column("crashes", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("run_at", MOMENT, nullable=False),
        sa.Column("locked_at", MOMENT),
        sa.Column("locked_by", sa.Text()),
        sa.Column("claim_token", sa.BigInteger()),
        sa.Column("last_error", sa.Text()),
        sa.Column("failed_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("cancel_requested_at", MOMENT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("progress", JSON),
        sa.Column("result", JSON),
        sa.PrimaryKeyConstraint("id", name="background_jobs_pkey"),
        sa.CheckConstraint(
            "state IN ('ready', 'running', 'succeeded', 'failed', 'cancelled')",
            # As it is: the naming convention of whoever runs this is not for it. Tables that were
            # made before this was said have a check of another name.
            name=op.f("background_jobs_state_check"),
        ),
        sqlite_autoincrement=True,
        postgresql_using=JOBS_STORAGE,
    )
    partial_index("background_jobs_ready_idx", ["priority", "run_at", "id"], READY)
    partial_index(
        "background_jobs_ready_by_queue_idx", ["queue", "priority", "run_at", "id"], READY
    )
    partial_index("background_jobs_running_idx", ["locked_by"], RUNNING)
    partial_index("background_jobs_finished_idx", ["state", "handler", "finished_at"], FINISHED)

    op.create_table(
        "background_workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("queues", JSON),
        sa.Column("concurrency", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("lease_seconds", sa.Float(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("heartbeat_at", MOMENT, nullable=False),
        sa.Column("supervisor_id", sa.Text()),
        sa.Column("app", sa.Text()),
        sa.Column("details", JSON),
        sa.PrimaryKeyConstraint("id", name="background_workers_pkey"),
        postgresql_using=WORKERS_STORAGE,
    )
    op.create_table(
        "background_queues",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("paused_at", MOMENT),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="background_queues_pkey"),
    )
    op.create_table(
        "background_schedules",
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("args", JSON, server_default="{}", nullable=False),
        sa.Column("schedule", JSON, nullable=False),
        sa.Column("last_tick", MOMENT),
        sa.Column("paused_at", MOMENT),
        sa.Column("declared_at", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("app", "name", name="background_schedules_pkey"),
    )
    op.create_table(
        "background_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", name="background_keys_pkey"),
    )
    op.create_index("background_keys_expires_idx", "background_keys", ["expires_at"])


def partial_index(name: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, "background_jobs", columns, postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    op.drop_table("background_keys")
    op.drop_table("background_schedules")
    op.drop_table("background_queues")
    op.drop_table("background_workers")
    op.drop_table("background_jobs")
