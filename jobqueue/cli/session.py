"""A session of a command: the settings, the application's jobs and the database."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobqueue.adapters import Adapter
from jobqueue.app import import_app
from jobqueue.cli.errors import say_note, users_traceback
from jobqueue.config import PLACE, Settings, load_settings
from jobqueue.defaults import default_configuration
from jobqueue.errors import ConfigurationError
from jobqueue.job import registry

# What follows from an application that cannot be imported, for `note_broken_app`.
OTHER_DATABASE = "a database that it sets in code is not known here"
SECRETS_UNKNOWN = "what is secret is not known then"


@dataclass(frozen=True, slots=True)
class Session:
    """The settings, the application and the database of a command.

    Args:
        settings: the ones in force, options included.
        adapter: the database, not yet connected to.
        modules: the modules of the application that were imported.
        app_error: why the application could not be imported, if it could not.
    """

    settings: Settings
    adapter: Adapter
    modules: tuple[str, ...]
    app_error: ConfigurationError | None = None


@contextmanager
def opened(options: Mapping[str, Any], *, app: str = "if possible") -> Iterator[Session]:
    """Load the settings and the application, and close the database afterwards.

    Args:
        options: settings given on the command line; None means not given.
        app: `required`: it has to be importable and to have jobs. `if possible`: a broken one is
            noted where it matters. `unwanted`: it is not imported.

    Raises:
        ConfigurationError: the settings or a required application cannot be used.
    """
    session = _opened(options, app)
    try:
        yield session
    finally:
        session.adapter.close()


def refuse_memory(adapter: Adapter) -> None:
    """Raise `ConfigurationError` for a database that is gone when this process ends."""
    from jobqueue.adapters.memory.adapter import MemoryAdapter

    if isinstance(adapter, MemoryAdapter):
        raise ConfigurationError(
            "the database is memory://, which every process has for itself and loses at its end; "
            "set JOBS_DATABASE_URL to a SQLite or PostgreSQL database for the command line"
        )


def _opened(options: Mapping[str, Any], app: str) -> Session:
    ours = load_settings(options)
    default_configuration.configure(settings=ours)
    modules, error = ([], None) if app == "unwanted" else _import(ours.app, app)
    if app == "required":
        _require_jobs(modules)
    settings, adapter = _with_options_on_top(ours, options)
    return Session(settings, adapter, tuple(modules), error)


def _import(app: str | None, how: str) -> tuple[list[str], ConfigurationError | None]:
    try:
        return _import_quietly(app), None
    except ConfigurationError as error:
        if how != "required":
            return [], error
        if error.__cause__ is not None:
            error.add_note(users_traceback(error.__cause__))
        raise


def _import_quietly(app: str | None) -> list[str]:
    """Import the application; what it prints meanwhile goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        return import_app(app)


def _require_jobs(modules: list[str]) -> None:
    if registry.names():
        return
    if modules:
        raise ConfigurationError(
            f"{', '.join(modules)} defines no jobs (classes with a `perform`); write one with "
            "`jobqueue new MyJob`, or name the module that has them with --app, JOBS_APP or `app` "
            "in jobqueue.toml"
        )
    raise ConfigurationError(
        f"there are no jobs: {Path.cwd()} has no jobs.py and no package jobs, and `app` is not "
        "set; write a job with `jobqueue new MyJob`, or name the module that has them with --app, "
        "JOBS_APP or `app` in jobqueue.toml"
    )


def _with_options_on_top(ours: Settings, options: Mapping[str, Any]) -> tuple[Settings, Adapter]:
    """Return the settings and the adapter: options come before what the application's code says."""
    given = [name for name, value in options.items() if value is not None]
    adapter = None if PLACE.intersection(given) else default_configuration.adapter
    current = default_configuration.settings
    settings = replace(current, **{name: getattr(ours, name) for name in given})
    default_configuration.configure(settings=settings, adapter=adapter)
    return settings, default_configuration.adapter


def note_broken_app(session: Session, consequence: str) -> None:
    """Print on standard error that the application could not be imported, and what follows."""
    if session.app_error is not None:
        say_note(f"{session.app_error}; {consequence}")
