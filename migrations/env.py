"""Runs the migrations: for `jobs migrate`, which brings a connection, or for Alembic's own CLI."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import Connection

from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sql.schema import alembic_options
from jobqueue.config import load_settings


def run(connection: Connection) -> None:
    context.configure(connection=connection, **options())
    with context.begin_transaction():
        context.run_migrations()


def run_on_configured_database() -> None:
    settings = load_settings()
    adapter = connect(settings.database_url, settings.schema)
    if not isinstance(adapter, SqlAdapter):
        raise SystemExit("memory has no tables; set JOBS_DATABASE_URL")
    try:
        adapter.migrating(run)
    finally:
        adapter.close()


def print_statements() -> None:
    dialect_name = context.config.attributes.get("dialect_name", "postgresql")
    context.configure(dialect_name=dialect_name, literal_binds=True, **options())
    with context.begin_transaction():
        for statement in context.config.attributes.get("opening", ()):
            context.execute(statement)
        context.run_migrations()


def options() -> dict[str, Any]:
    leaves_indexes = context.config.attributes.get("leaves_indexes", False)
    return {"leaves_indexes": leaves_indexes, **alembic_options()}


connection = context.config.attributes.get("connection")
if context.is_offline_mode():
    print_statements()
elif connection is not None:
    run(connection)
else:
    run_on_configured_database()
