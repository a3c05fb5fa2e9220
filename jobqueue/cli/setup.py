"""`jobqueue setup` and `jobqueue migrate`: they make the configuration file and the tables."""

from __future__ import annotations

import json
import os
import re
import textwrap
from dataclasses import Field, fields
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import typer

from jobqueue.adapters import Adapter
from jobqueue.app import default_app_exists
from jobqueue.cli.errors import say
from jobqueue.cli.options import App, DatabaseUrl, Schema
from jobqueue.cli.services import write_procfile, write_unit
from jobqueue.cli.session import note_broken_app, opened
from jobqueue.config import CONFIG_FILE, Settings, config_file, hide_password
from jobqueue.errors import ConfigurationError, SchemaError

PrintSql = Annotated[
    bool, typer.Option("--sql", help="Print the statements instead, and change nothing.")
]
BROKEN_APP = "the tables are made in the database of the settings"
EXAMPLES = {
    "app": "shop.jobs",
    "schema": "jobs",
    "listen_url": "postgresql://localhost/shop",
    "queues": ["default", "email"],
    "max_runtime": 3600,
    "app_version": "2026.11",
}
SECRET_OPTION = re.compile(r"[?&;][^=&;]*(pass|secret|token)", re.IGNORECASE)
HEADER = """\
# Settings of jobqueue. An option of the command line comes before the environment, which comes
# before this file; poll_interval, for one, is --poll-interval and JOBS_POLL_INTERVAL there.
# Durations are in seconds. A password does not belong here: set JOBS_DATABASE_URL for it.
"""


def setup(
    sql: PrintSql = False,
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Write jobqueue.service instead, a systemd unit.")
    ] = False,
    procfile: Annotated[
        bool, typer.Option("--procfile", help="Add the worker to the Procfile instead.")
    ] = False,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Create the tables and jobqueue.toml.

    The file explains every setting. It is safe to repeat: an existing file stays as it is. No
    password is written anywhere: a database URL goes into the file only if it was given as an
    option and has no password.

    \b
    Examples:
      jobs setup
      jobs setup --app shop.jobs --database-url postgresql://localhost/shop
      jobs setup --sql > jobqueue.sql
      jobs setup --systemd --procfile
    """
    options = {"app": app, "database_url": database_url, "schema": schema}
    if sql:
        _print_sql(options)
        return
    if systemd or procfile:
        if systemd:
            write_unit(Path.cwd())
        if procfile:
            write_procfile(Path.cwd())
        return
    with opened(options) as session:  # a URL that cannot be right is refused before it is written
        _write_config(Path.cwd(), options)
        note_broken_app(session, BROKEN_APP)
        _migrate(session.adapter)
        has_app = session.settings.app or default_app_exists(Path.cwd())
    say(
        "Next: `jobqueue work` performs jobs."
        if has_app
        else "Next: `jobqueue new MyJob` writes a job."
    )


def migrate(
    sql: PrintSql = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="REVISION",
            help="With --sql: the revision that the tables are at, as `jobs doctor` shows it.",
        ),
    ] = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Create the tables, or bring them up to date.

    Workers of the previous release may go on working meanwhile.

    \b
    Examples:
      jobs migrate
      jobs migrate --sql
      jobs migrate --sql --from 0001
    """
    options = {"app": app, "database_url": database_url, "schema": schema}
    if sql:
        _print_sql(options, start)
        return
    if start is not None:
        raise ConfigurationError(
            "--from goes with --sql only; `jobqueue migrate` finds out by itself where to begin"
        )
    with opened(options) as session:
        note_broken_app(session, BROKEN_APP)
        _migrate(session.adapter)


def config_text(
    app: str | None = None, database_url: str | None = None, schema: str | None = None
) -> str:
    """Return a `jobqueue.toml` that explains every setting, and sets the given ones."""
    given = {"app": app, "database_url": database_url, "schema": schema}
    return "\n".join([HEADER, *(_explained(s, given.get(s.name)) for s in fields(Settings))])


def has_secret(url: str) -> bool:
    """Return whether a database URL has something that must not get into a file."""
    return any(
        hide_password(one) != one or SECRET_OPTION.search(one) for one in (url, unquote(url))
    )


def _print_sql(options: dict[str, str | None], start: str | None = None) -> None:
    with opened(options) as session:
        note_broken_app(session, BROKEN_APP)
        print(session.adapter.migration_sql(start), end="")


def _write_config(folder: Path, options: dict[str, str | None]) -> None:
    existing = config_file(folder)
    if existing is not None:
        typer.echo(f"{existing.name} has settings already and is left as it is.")
        return
    url = options["database_url"]
    secret = url is not None and has_secret(url)
    text = config_text(options["app"], None if secret else url, options["schema"])
    with open(folder / CONFIG_FILE, "x", encoding="utf-8", opener=_for_its_owner) as file:
        file.write(text)
    typer.echo(f"Created {CONFIG_FILE}.")
    if secret:
        typer.echo("The database URL has a password and is not in it; set JOBS_DATABASE_URL.")


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _migrate(adapter: Adapter) -> None:
    before = _revision(adapter)
    adapter.migrate()
    after = adapter.schema_status()
    done = "Brought the tables up to date"
    if before is None:
        done = "Created the tables"
    elif before == after.current:
        done = "The tables are up to date"
    typer.echo(f"{done} ({after.server}).")


def _revision(adapter: Adapter) -> str | None:
    try:
        return adapter.schema_status().current
    except SchemaError:
        return None  # A SQLite file that is not there yet.


def _explained(setting: Field[Any], value: str | None) -> str:
    words = textwrap.wrap(setting.metadata["help"], 96)
    if value is not None:
        line = f"{setting.name} = {_toml(value)}"
    else:
        default = EXAMPLES.get(setting.name, setting.default)
        line = f"# {setting.name} = {_toml(default)}" if default is not None else ""
    return "\n".join([*(f"# {word}" for word in words), line, ""])


def _toml(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}"
    # What JSON writes for text, numbers, lists and truth values is TOML too.
    return json.dumps(value, ensure_ascii=True)
