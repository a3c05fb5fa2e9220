"""The columns and tables of flow control: lines, gates, keys, expiry, flows.

The previous release's workers go on meanwhile. They claim what is `ready`, and a job that waits at
gates is `gated`. Where one of them would make such a job ready, since its worker is gone, the
database refuses it, and a worker of this release does it instead. The indexes hold only rows with
flow control, of which there are none yet, but making them reads the table of jobs once.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(26), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSON(), "postgresql")

CHECK = "background_jobs_state_check"
STATES_BEFORE = "'ready', 'running', 'succeeded', 'failed', 'cancelled'"
STATES = "'ready', 'gated', 'blocked', 'running', 'succeeded', 'failed', 'cancelled'"
RULE_BEFORE = f"state IN ({STATES_BEFORE})"
RULE = f"state IN ({STATES}) AND (state <> 'ready' OR line IS NULL)"

INDEXES = (
    ("gated", "state = 'gated'", ["queue", "line", "priority", "run_at", "id"], False),
    ("gated_due", "state = 'gated'", ["run_at"], False),
    ("line", "line IS NOT NULL AND finished_at IS NULL", ["line", "id"], False),
    ("failed_in_line", "line IS NOT NULL AND state = 'failed'", ["line", "id"], False),
    ("expiry", "expires_at IS NOT NULL AND state = 'gated'", ["expires_at"], False),
    ("unique_key", "unique_key IS NOT NULL AND finished_at IS NULL", ["unique_key"], True),
    ("waiting_key", "waiting_key IS NOT NULL AND finished_at IS NULL", ["waiting_key"], True),
    ("flow", "flow_id IS NOT NULL", ["flow_id", "flow_place", "id"], False),
    (
        "not_succeeded",
        "flow_id IS NOT NULL AND state <> 'succeeded'",
        ["flow_id", "id"],
        False,
    ),
)
CHANGE_TEXT = (
    "UPDATE sqlite_master SET sql = replace(sql, {}, {}) "
    "WHERE type = 'table' AND name = 'background_jobs'"
)
COLUMNS = (
    *("line", "terms", "expires_at", "unique_key", "waiting_key"),
    *("flow_id", "flow_place"),
)
LATER_STATES = "'gated', 'blocked'"


def upgrade() -> None:
    for column in (
        sa.Column("line", sa.Text()),
        sa.Column("terms", JSON),
        sa.Column("expires_at", MOMENT),
        sa.Column("unique_key", sa.Text()),
        sa.Column("waiting_key", sa.Text()),
        sa.Column("flow_id", sa.BigInteger()),
        sa.Column("flow_place", sa.Integer()),
    ):
        op.add_column("background_jobs", column)
    allow_gates()
    for name, where, columns, is_unique in INDEXES:
        op.create_index(
            f"background_jobs_{name}_idx",
            "background_jobs",
            columns,
            unique=is_unique,
            postgresql_where=sa.text(where),
            sqlite_where=sa.text(where),
        )
    op.create_table(
        "background_slots",
        sa.Column("gate", sa.Text(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("claim_token", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gate", "place", name="background_slots_pkey"),
    )
    op.create_table(
        "background_starts",
        sa.Column("gate", sa.Text(), nullable=False),
        sa.Column("begun_at", MOMENT, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("gate", "begun_at", name="background_starts_pkey"),
    )
    op.create_table(
        "background_limits",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("per_seconds", sa.Float()),
        sa.Column("declared_at", MOMENT, nullable=False),
        sa.Column("set_number", sa.Integer()),
        sa.Column("set_at", MOMENT),
        sa.Column("set_by", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("name", name="background_limits_pkey"),
    )
    create_flows()


def create_flows() -> None:
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "background_flows",
        sa.Column("id", row_id, sa.Identity(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("succeeded_at", MOMENT),
        sa.Column("cancelled_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="background_flows_pkey"),
        sqlite_autoincrement=True,
    )
    op.create_index("background_flows_finished_idx", "background_flows", ["finished_at", "id"])
    is_going_on = sa.text("succeeded_at IS NULL")
    op.create_index(
        "background_flows_going_on_idx",
        "background_flows",
        ["id"],
        postgresql_where=is_going_on,
        sqlite_where=is_going_on,
    )
    op.create_table(
        "background_edges",
        sa.Column("child_id", sa.BigInteger(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=False),
        sa.Column("flow_id", sa.BigInteger(), nullable=False),
        sa.Column("runs_anyway", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.Text()),
        sa.PrimaryKeyConstraint("child_id", "parent_id", name="background_edges_pkey"),
    )
    op.create_index("background_edges_child_idx", "background_edges", ["child_id", "outcome"])
    op.create_index("background_edges_parent_idx", "background_edges", ["parent_id"])
    op.create_index("background_edges_flow_idx", "background_edges", ["flow_id"])


def downgrade() -> None:
    for table in ("edges", "flows", "limits", "starts", "slots"):
        op.drop_table(f"background_{table}")
    forget_gates()
    for name, *_ in INDEXES:
        op.drop_index(f"background_jobs_{name}_idx", "background_jobs")
    for column in reversed(COLUMNS):
        op.drop_column("background_jobs", column)


def forget_gates() -> None:
    """Make the jobs at gates ready: the previous release knows nothing of gates.

    What waits for other jobs would be performed before these, so it ends.
    """
    op.execute("UPDATE background_jobs SET line = NULL WHERE line IS NOT NULL")
    if not is_sqlite():
        op.execute(f"ALTER TABLE background_jobs DROP CONSTRAINT IF EXISTS {CHECK}")
    else:
        change_rule(RULE, f"{RULE_BEFORE} OR state IN ({LATER_STATES})")
    op.execute("UPDATE background_jobs SET state = 'ready' WHERE state = 'gated'")
    op.execute(
        "UPDATE background_jobs SET state = 'cancelled', finished_at = updated_at, "
        "last_error = 'the release before flows cannot perform it' WHERE state = 'blocked'"
    )
    change_rule(f"{RULE_BEFORE} OR state IN ({LATER_STATES})", RULE_BEFORE)


def allow_gates() -> None:
    """Let jobs wait at gates, and for other jobs."""
    change_rule(RULE_BEFORE, RULE)


def is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def change_rule(before: str, after: str) -> None:
    """Change which states a row may have."""
    if is_sqlite():
        change_rule_in_text(before, after)
        return
    op.execute(f"ALTER TABLE background_jobs DROP CONSTRAINT IF EXISTS {CHECK}")
    op.execute(f"ALTER TABLE background_jobs ADD CONSTRAINT {CHECK} CHECK ({after})")


def change_rule_in_text(before: str, after: str) -> None:
    """Change the rule where SQLite keeps it: in the text of the table.

    SQLite's documentation has this way for constraints (lang_altertable.html, section 7). To copy
    the table instead would take as long as there are rows.
    """
    op.execute("PRAGMA writable_schema = ON")
    rules = (quoted(f"CHECK ({before})"), quoted(f"CHECK ({after})"))
    op.execute(CHANGE_TEXT.format(*rules))
    op.execute("PRAGMA writable_schema = RESET")


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
