"""One scratch database: ours and the bare script's table, filled and emptied."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from benchmarks.loads import NOW, Load, bare_sql

PAUSE = (
    "INSERT INTO background_queues (name, paused_at, updated_at) VALUES ('{name}', {now}, {now})"
)


class Scratch(ABC):
    """A database to measure in.

    `bare` is the module of the bare script, None where there is nothing to compare with. What is
    loaded stays; what is filled in is what is then drained.
    """

    adapter: str
    bare: str | None = None
    is_private = False
    """Whether its server runs for nothing else."""

    def __init__(self, url: str, bare_url: str) -> None:
        self.url, self.bare_url = url, bare_url
        self.is_loaded = False

    def load(self, loads: Sequence[Load]) -> None:
        """Store rows that stay, in all measurements."""
        self.is_loaded = bool(loads)
        if loads:
            self._execute([*(load.sql(self.adapter) for load in loads), "ANALYZE"])
            self.tidy()

    def fill(self, load: Load) -> None:
        """Store jobs to be drained, with nothing left of those before them."""
        self.empty()
        self._execute([load.sql(self.adapter)])
        self.tidy()

    def fill_bare(self, jobs: int) -> None:
        """Store jobs for the bare script to drain, with nothing left of those before them."""
        self.empty()
        self._execute_bare([bare_sql(self.adapter, jobs)])
        self.tidy()

    def pause(self, queue: str) -> None:
        """Pause a queue, for good."""
        self._execute([PAUSE.format(name=queue, now=NOW[self.adapter])])

    def jobs_due(self) -> int:
        """How many jobs of ours are due in the queues that are worked on, or are running."""
        return self._count(
            "SELECT count(*) FROM background_jobs WHERE state = 'running' OR (state = 'ready' "
            f"AND run_at <= {NOW[self.adapter]} AND queue NOT LIKE 'other%')"
        )

    @abstractmethod
    def empty(self) -> None:
        """Remove what was drained and all that it left behind, for it would slow the next."""

    @abstractmethod
    def tidy(self) -> None:
        """Do now what the database would do by itself in the middle of a measurement."""

    @abstractmethod
    def _execute(self, statements: Sequence[str]) -> None: ...

    @abstractmethod
    def _execute_bare(self, statements: Sequence[str]) -> None: ...

    @abstractmethod
    def _count(self, statement: str) -> int: ...


class MemoryScratch(Scratch):
    """Nothing: each process has a memory of its own."""

    adapter = "memory"

    def __init__(self) -> None:
        super().__init__("memory://", "")

    def empty(self) -> None:
        """Do nothing: a process that drains it begins with an empty one."""

    def tidy(self) -> None:
        """Do nothing: memory has no dead rows."""

    def _execute(self, statements: Sequence[str]) -> None:
        raise NotImplementedError("memory is filled by the process that drains it")

    _execute_bare = _execute

    def _count(self, statement: str) -> int:  # noqa: ARG002 - see Scratch
        return 0


class PostgresScratch(Scratch):
    """A schema of a PostgreSQL database."""

    adapter = "postgresql"
    bare = "benchmarks.bare.postgres"

    def __init__(self, url: str, is_private: bool) -> None:
        super().__init__(url, url)
        self.is_private = is_private
        from benchmarks.bare.postgres import create

        create(url)

    def empty(self) -> None:
        """Truncate; a loaded table is vacuumed instead, as it would be in the long run."""
        if self.is_loaded:
            self._execute(["VACUUM background_jobs", "TRUNCATE bare_jobs"])
        else:
            self._execute(["TRUNCATE background_jobs, bare_jobs"])

    def tidy(self) -> None:
        """Analyze; on a private server make a checkpoint too, so that none falls into a figure."""
        self._execute(["ANALYZE background_jobs", "ANALYZE bare_jobs"])
        if self.is_private:
            self._execute(["CHECKPOINT"])

    def _execute(self, statements: Sequence[str]) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    _execute_bare = _execute

    def _count(self, statement: str) -> int:
        with psycopg.connect(self.url) as connection:
            row = connection.execute(statement.encode()).fetchone()
        return int(row[0]) if row else 0


class SqliteScratch(Scratch):
    """Two files: ours and the bare script's."""

    adapter = "sqlite"
    bare = "benchmarks.bare.sqlite"

    def __init__(self, url: str, bare_url: str) -> None:
        super().__init__(url, bare_url)
        from benchmarks.bare.sqlite import create

        create(bare_url)

    def empty(self) -> None:
        """Delete all rows of both; a loaded table is empty of the drained ones already."""
        if not self.is_loaded:
            self._execute(["DELETE FROM background_jobs"])
        self._execute_bare(["DELETE FROM bare_jobs"])

    def tidy(self) -> None:
        """Move the log into the file. Nobody analyzes a SQLite file, so neither is it here."""
        for url in (self.url, self.bare_url):
            _run(url, ["PRAGMA wal_checkpoint(TRUNCATE)"])

    def _execute(self, statements: Sequence[str]) -> None:
        _run(self.url, statements)

    def _execute_bare(self, statements: Sequence[str]) -> None:
        _run(self.bare_url, statements)

    def _count(self, statement: str) -> int:
        return int(_run(self.url, [statement]))


def _run(url: str, statements: Sequence[str]) -> int:
    """Run statements one by one, and return the first value of the last."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=60)
    row = None
    try:
        for statement in statements:
            row = connection.execute(statement).fetchone()
    finally:
        connection.close()
    return row[0] if row else 0


@contextmanager
def dropped_at_the_end(url: str, schema: str) -> Iterator[None]:
    """A schema, while it is needed."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    name = sql.Identifier(schema)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
    try:
        yield
    finally:
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(name))


def inside_schema(url: str, schema: str) -> str:
    """The URL under which nothing but a schema is seen."""
    given = make_url(url).set(drivername="postgresql")
    inside = given.update_query_dict({"options": f"-csearch_path={schema}"})
    return inside.render_as_string(hide_password=False)
