"""The tables in an application's own migrations: both ways of `docs/migrations.md`, as written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.errors import SchemaError
from tests.adapters.test_migrations import (
    TABLES,
    VERSION_TABLE,
    described,
    engine,
    run_script,
    tables,
    works,
)
from tests.conftest import PROJECT, Project, Run

__all__ = ["engine"]

BLOCK = re.compile(
    r"^```python\n(?P<text># (?P<name>migrations/\S+)\n.*?)^```$", re.MULTILINE | re.DOTALL
)
SHOP = """
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    from jobqueue import begin_immediate

    url = make_url("{url}")
    if url.get_backend_name() == "postgresql":
        engine = create_engine(url.set(drivername="postgresql+psycopg"))
    else:
        engine = begin_immediate(create_engine(url))


    class Base(DeclarativeBase): ...


    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str]
"""
# What jobqueue's metadata was in the release before.
RELEASE_BEFORE = """
    from sqlalchemy import MetaData, text

    from jobqueue.adapters.sql import tables

    NAMES = (
        *("error", "gated", "gated_due", "line", "failed_in_line", "expiry", "unique_key"),
        *("waiting_key", "flow", "not_succeeded"),
    )
    LATER_INDEXES = {f"background_jobs_{name}_idx" for name in NAMES}
    STATES_BEFORE = "state IN ('ready', 'running', 'succeeded', 'failed', 'cancelled')"
    LATER = {
        "background_jobs": {
            *("meta", "started_at", "run_seconds", "performed_by", "error_key"),
            *("line", "terms", "expires_at", "unique_key", "waiting_key", "flow_id", "flow_place"),
        },
        "background_queues": {"paused_until", "paused_by", "reason"},
        "background_workers": {"release"},
        "background_stats": set(tables.HISTOGRAM_COLUMNS),
        **dict.fromkeys(["background_schedules", "background_keys", "background_tokens"], set()),
    }
    metadata = MetaData()
    for table in tables.Base.metadata.tables.values():
        if table.name in LATER:
            copied = table.to_metadata(metadata)
            copied.indexes -= {i for i in copied.indexes if i.name in LATER_INDEXES}
            for rule in [c for c in copied.constraints if "line" in str(getattr(c, "sqltext", ""))]:
                rule.sqltext = text(STATES_BEFORE)
            for name in LATER[table.name]:
                copied._columns.remove(copied.c[name])
"""
FAILING = """
    from alembic import op

    revision = "failing"
    down_revision = {after!r}


    def upgrade():
        op.execute("SELECT nonsense")


    def downgrade():
        pass
"""
ADDED_LATER = {
    "background_attempts",
    "background_errors",
    "background_error_counts",
    "background_hours",
    "background_days",
    "background_samples",
    "background_ended_workers",
    "background_stacks",
    "background_actions",
    "background_slots",
    "background_starts",
    "background_limits",
    "background_flows",
    "background_edges",
}
SINCE_THE_FIRST = ADDED_LATER | {"background_stats", "background_tokens"}


@dataclass(frozen=True)
class Application:
    """An application with migrations of its own, made by `alembic init`."""

    project: Project

    def alembic(self, *arguments: str, exit_code: int = 0) -> Run:
        run = self.project.python("-m", "alembic", *arguments)
        assert run.exit_code == exit_code, run.err
        return run

    def write(self, name: str, text: str) -> None:
        self.project.write(name, text)

    def revise(self, message: str) -> str:
        """Have Alembic make a revision of what has changed; its text."""
        self.alembic("revision", "--autogenerate", "-m", message)
        (made,) = (self.project.folder / "migrations/versions").glob(f"*_{message}.py")
        return made.read_text()

    def path_of(self, message: str) -> str:
        (made,) = (self.project.folder / "migrations/versions").glob(f"*_{message}.py")
        return str(made.relative_to(self.project.folder))

    def has_no_drift(self) -> bool:
        return "No new upgrade operations" in self.alembic("check").out


@pytest.fixture
def application(empty_project: Project, empty_database_url: str) -> Application:
    made = Application(empty_project)
    made.write("shop.py", SHOP.format(url=empty_database_url))
    if empty_database_url.startswith("sqlite"):
        Path(empty_database_url.removeprefix("sqlite:///")).touch()
    made.alembic("init", "migrations")
    ini = empty_project.folder / "alembic.ini"
    assert "prepend_sys_path = ." in ini.read_text()
    return made


@pytest.fixture
def adapter(empty_database_url: str) -> Iterator[SqlAdapter]:
    made = connect(empty_database_url)
    assert isinstance(made, SqlAdapter)
    yield made
    made.close()


def blocks() -> list[tuple[str, str]]:
    """The files that the page has, by name, in its order."""
    page = (PROJECT / "docs/migrations.md").read_text()
    return [(found["name"], found["text"]) for found in BLOCK.finditer(page)]


AUTOGENERATING, CALLING, FIRST, SECOND = (text for _, text in blocks())
FIRST_FILE, SECOND_FILE = "migrations/versions/add_jobs.py", "migrations/versions/upgrade_jobs.py"


# --- autogenerating them -------------------------------------------------------------------------


def test_autogenerating_them(application: Application, adapter: SqlAdapter, engine: Engine) -> None:
    application.write("migrations/env.py", AUTOGENERATING)
    first = application.revise("first")
    assert "jobqueue" not in first
    application.alembic("upgrade", "head")
    assert application.has_no_drift()
    assert tables(engine) == TABLES | {"users", "alembic_version"}
    assert works(adapter)
    assert adapter.schema_status().current is None
    made = described(engine)
    application.alembic("downgrade", "base")
    assert tables(engine) == {"alembic_version"}
    adapter.migrate()
    assert ours(described(engine)) == ours(made)


def test_autogenerating_what_the_next_release_needs(
    application: Application, adapter: SqlAdapter, engine: Engine
) -> None:
    before = AUTOGENERATING.replace("tables.Base.metadata", "release_before.metadata")
    application.write("release_before.py", RELEASE_BEFORE)
    application.write(
        "migrations/env.py", before.replace("from shop", "import release_before\nfrom shop")
    )
    application.revise("first")
    application.alembic("upgrade", "head")
    assert application.has_no_drift()
    assert tables(engine) == (TABLES - ADDED_LATER) | {"users", "alembic_version"}

    application.write("migrations/env.py", AUTOGENERATING)
    second = application.revise("second")
    assert "drop" not in second.partition("def downgrade")[0]
    application.write(application.path_of("second"), with_rules_of_states(second))
    application.alembic("upgrade", "head")
    assert application.has_no_drift()
    assert works(adapter)
    application.alembic("downgrade", "-1")
    assert tables(engine) == (TABLES - ADDED_LATER) | {"users", "alembic_version"}


def with_rules_of_states(revision: str) -> str:
    """A revision that was autogenerated, with what the page says to add."""
    upgrade, downgrade = revision.split("def downgrade() -> None:\n")
    docstring, rest = downgrade.split("\n", 1)
    return "\n".join(
        [
            upgrade.rstrip(),
            '    schema.set_state_rule("0004")',
            "\n\nfrom jobqueue.adapters.sql import schema",
            "\n\ndef downgrade() -> None:",
            docstring,
            '    schema.set_state_rule("0003")',
            rest,
        ]
    )


def test_a_statement_that_fails_undoes_what_was_autogenerated(
    application: Application, engine: Engine
) -> None:
    application.write("migrations/env.py", AUTOGENERATING)
    text = application.revise("first")
    (revision,) = re.findall(r"^revision: str = '(\w+)'", text, re.MULTILINE)
    application.write("migrations/versions/failing.py", FAILING.format(after=revision))
    assert "nonsense" in application.alembic("upgrade", "head", exit_code=1).err
    assert not tables(engine) & TABLES


# --- calling ours --------------------------------------------------------------------------------


def test_calling_ours(application: Application, adapter: SqlAdapter, engine: Engine) -> None:
    application.write("migrations/env.py", CALLING)
    application.write(FIRST_FILE, FIRST)
    application.alembic("upgrade", "head")
    assert adapter.schema_status().current == "0001"
    assert tables(engine) == (TABLES - SINCE_THE_FIRST) | {VERSION_TABLE, "alembic_version"}

    application.write(SECOND_FILE, SECOND)
    application.alembic("upgrade", "head")
    status = adapter.schema_status()
    assert (status.current, status.missing, status.trouble) == (status.head, (), None)
    assert works(adapter)
    assert "create_table('users'" in application.revise("own")
    application.alembic("upgrade", "head")
    assert application.has_no_drift()
    made = described(engine)

    application.alembic("downgrade", "add_jobs")
    assert adapter.schema_status().current == "0001"
    application.alembic("downgrade", "base")
    assert tables(engine) == {"alembic_version"}
    adapter.migrate()
    assert ours(described(engine)) == ours(made)


def test_a_statement_that_fails_undoes_what_ours_have_done(
    application: Application, adapter: SqlAdapter, engine: Engine
) -> None:
    application.write("migrations/env.py", CALLING)
    application.write(FIRST_FILE, FIRST)
    application.alembic("upgrade", "head")
    application.write(SECOND_FILE, SECOND)
    application.write("migrations/versions/failing.py", FAILING.format(after="upgrade_jobs"))
    assert "nonsense" in application.alembic("upgrade", "head", exit_code=1).err
    assert adapter.schema_status().current == "0001"
    assert not tables(engine) & SINCE_THE_FIRST
    assert "add_jobs" in application.alembic("current").out


def ours(found: list[list[tuple[str, ...]]]) -> list[list[list[str]]]:
    """What the catalogs have about our tables, whatever order the parts of a table are in."""
    return [
        [sorted(re.findall(r"\w+", str(row))) for row in rows if is_ours(row)] for rows in found
    ]


def is_ours(row: tuple[str, ...]) -> bool:
    return "background_" in str(row) and VERSION_TABLE not in str(row)


# --- as statements -------------------------------------------------------------------------------


def test_the_printed_statements_lead_from_one_release_to_the_next(
    adapter: SqlAdapter, engine: Engine, empty_database_url: str
) -> None:
    adapter.migrate()
    made = described(engine)
    adapter.downgrade("0001")
    run_script(empty_database_url, adapter.migration_sql("0001"))
    assert adapter.schema_status().current == adapter.schema_status().head
    assert described(engine) == made


def test_the_command_prints_them(project: Project) -> None:
    printed = project.jobs("migrate", "--sql", "--from", "0001").out
    assert "CREATE TABLE background_stats" in printed
    assert "CREATE TABLE background_jobs" not in printed
    assert "CREATE TABLE background_jobs " in project.jobs("migrate", "--sql").out
    alone = project.jobs("migrate", "--from", "0001")
    assert (alone.exit_code, alone.out) == (2, "")
    assert "--from goes with --sql" in alone.err
    unknown = project.jobs("migrate", "--sql", "--from", "0815")
    assert unknown.exit_code == 3
    assert "there is no revision '0815'" in unknown.err
    assert "0001, 0002, 0003" in unknown.err


def test_only_known_revisions_are_gone_to() -> None:
    from jobqueue.adapters.sql.schema import migrate_within

    with pytest.raises(SchemaError, match="'head'"):
        migrate_within(None, "head")
