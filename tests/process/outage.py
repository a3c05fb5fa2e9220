"""Taking a database away from whoever uses it, stopping a process, and undoing it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import psutil
import psycopg
from sqlalchemy import make_url

from tests.conftest import wait_until

LOCK_SECONDS = 30.0
"""How long to wait for SQLite's write lock, which workers take again and again."""


@contextmanager
def outage(database_url: str) -> Iterator[None]:
    """A time during which the database cannot be used."""
    url = make_url(database_url)
    taken_away = locked_file if url.get_backend_name() == "sqlite" else no_connections
    with taken_away(database_url):
        yield


def freeze(pid: int, database_url: str) -> Callable[[], None]:
    """Stop a process and its children in their tracks; returns what wakes them.

    Not while one of them is writing to SQLite: frozen with the write lock, it would stop everybody.
    """
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    with _nobody_writing(database_url):
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.suspend()
                _wait_until_stopped(member)
    return partial(_wake, family)


@contextmanager
def _nobody_writing(database_url: str) -> Iterator[None]:
    if make_url(database_url).get_backend_name() == "sqlite":
        with locked_file(database_url):
            yield
    else:
        yield


def _wait_until_stopped(process: psutil.Process) -> None:
    """The signal stops one thread at first, as soon as that runs; the others go on until then."""
    wait_until(
        lambda: all(_is_stopped(thread.id) for thread in process.threads()), "all threads to stop"
    )


def _is_stopped(thread_id: int) -> bool:
    try:
        return psutil.Process(thread_id).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return True


def _wake(family: list[psutil.Process]) -> None:
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.resume()


@contextmanager
def locked_file(database_url: str) -> Iterator[None]:
    """Another program holds SQLite's write lock."""
    path = str(make_url(database_url).database)
    connection = sqlite3.connect(path, isolation_level=None, timeout=LOCK_SECONDS)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("ROLLBACK")
    connection.close()


@contextmanager
def no_connections(database_url: str) -> Iterator[None]:
    """Every backend of the PostgreSQL database is killed, and no new one is let in."""
    url = make_url(database_url)
    server = url.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        name = psycopg.sql.Identifier(str(url.database))
        allow = psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        connection.execute(allow.format(name, psycopg.sql.SQL("false")))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (url.database,),
        )
        try:
            yield
        finally:
            connection.execute(allow.format(name, psycopg.sql.SQL("true")))
