"""Taking a database away from whoever uses it, and giving it back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import make_url


@contextmanager
def outage(database_url: str) -> Iterator[None]:
    """A time during which the database cannot be used."""
    url = make_url(database_url)
    taken_away = locked_file if url.get_backend_name() == "sqlite" else no_connections
    with taken_away(database_url):
        yield


@contextmanager
def locked_file(database_url: str) -> Iterator[None]:
    """Another program holds SQLite's write lock."""
    connection = sqlite3.connect(str(make_url(database_url).database), isolation_level=None)
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
