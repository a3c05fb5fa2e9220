"""The guard that keeps jobs of tests without an inbox out of the application's own database."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from jobqueue.adapters.base import Adapter
from jobqueue.config import Settings, folder_of, hide_password, load_settings
from jobqueue.errors import ConfigurationError

R = TypeVar("R")

Place = tuple[str, str | None]
"""A database, and the schema in it."""

RELATIVE = "sqlite:///"
IN_MEMORY = "memory:"
REFUSED = (
    "{test} enqueues a job in {url}, which is the database that the application is configured "
    "with, and it has no inbox. Ask for the fixture `jobs_inbox`, or set `jobqueue_inbox = true` "
    "for all tests; or let conftest.py set JOBS_DATABASE_URL to a database for tests; or mark the "
    "test with `@pytest.mark.jobs_real` if this is what you want (`jobqueue_real = true` for all)"
)


class DatabaseGuard:
    """A guard that refuses jobs in the application's own database, unless `session=` is given.

    The application's own is the database which is configured when the tests begin. What tests and
    their `conftest.py` configure afterwards is theirs, and so are adapters that are given in code.
    """

    def __init__(self) -> None:
        self.test: str | None = None
        """The test that is under way and must not enqueue there; None when there is none."""
        self._environ, self._directory = dict(os.environ), Path.cwd()

    def watch(self, adapter: Adapter, settings: Settings) -> None:
        """Guard an adapter that was made from settings, if those are the application's own."""
        place = _place_of(settings, folder_of(settings.database_url))
        if place is not None and place == _own_place(self._environ, self._directory):
            vars(adapter).update(
                enqueue=self._guarding(adapter.enqueue, settings.database_url),
                enqueue_once=self._guarding(adapter.enqueue_once, settings.database_url),
            )

    def _guarding(self, enqueue: Callable[..., R], url: str) -> Callable[..., R]:
        def guarded(*args: Any, **options: Any) -> R:
            __tracebackhide__ = True
            if self.test is not None and options.get("session") is None:
                raise ConfigurationError(REFUSED.format(test=self.test, url=hide_password(url)))
            return enqueue(*args, **options)

        return guarded


def _own_place(environ: Mapping[str, str], directory: Path) -> Place | None:
    try:
        settings = load_settings(environ=environ, directory=directory)
    except ConfigurationError:
        # Whoever needs them is told.
        return None
    return _place_of(settings, directory)


def _place_of(settings: Settings, directory: Path) -> Place | None:
    """The place of tables, by which two are compared; None for those of a process's memory."""
    database = _database_of(settings.database_url, directory)
    return None if database is None else (database, settings.schema)


def _database_of(url: str, directory: Path) -> str | None:
    if url.startswith(IN_MEMORY):
        return None
    if url.startswith(RELATIVE):
        return RELATIVE + str((directory / url.removeprefix(RELATIVE)).resolve())
    return url
