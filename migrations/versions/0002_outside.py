"""For those who look from outside: tokens, stats, and an index for lists of kept jobs.

The previous release's workers go on meanwhile: they know none of it. Making the index locks out
whoever writes jobs for as long as it takes, about a second for each million of finished rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(26), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSON(), "postgresql")
FINISHED = sa.text("finished_at IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "background_jobs_kept_idx",
        "background_jobs",
        ["state", "id"],
        postgresql_where=FINISHED,
        sqlite_where=FINISHED,
    )
    op.create_table(
        "background_stats",
        sa.Column("minute", MOMENT, nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("retried", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), nullable=False),
        sa.Column("run_seconds", sa.Float(), nullable=False),
        sa.Column("longest_seconds", sa.Float(), nullable=False),
        sa.Column("wait_seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint(
            "minute", "worker_id", "handler", "queue", name="background_stats_pkey"
        ),
    )
    op.create_table(
        "background_tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="background_tokens_pkey"),
    )


def downgrade() -> None:
    op.drop_table("background_tokens")
    op.drop_table("background_stats")
    op.drop_index("background_jobs_kept_idx", "background_jobs")
