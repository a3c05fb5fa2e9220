"""Rows that somebody keeps locked: a console with a transaction that was left open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg


@contextmanager
def locked(
    url: str, table: str, row_id: int | str, *, column: str = "id"
) -> Iterator[psycopg.Connection]:
    """Within the block, somebody's transaction has locked a row. At its end it is committed."""
    with psycopg.connect(url) as console:
        console.execute(f"SELECT FROM {table} WHERE {column} = %s FOR UPDATE".encode(), [row_id])
        yield console
