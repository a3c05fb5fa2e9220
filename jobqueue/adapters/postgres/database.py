"""Connections to PostgreSQL, and several statements in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from select import POLLIN, poll
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, exc

from jobqueue.adapters.postgres.connection import CONNECT_OPTIONS, PatientConnection, connect
from jobqueue.adapters.postgres.limits import LIMIT_SILENCE, LIMIT_WAIT, LONGEST_WAIT_MS
from jobqueue.adapters.postgres.schema_name import SchemaName
from jobqueue.adapters.postgres.schema_search import OwnSchema
from jobqueue.adapters.sql.database import (
    ANSWER_SECONDS,
    LONGEST_LOOK_SECONDS,
    Database,
    parse_url,
)
from jobqueue.adapters.sql.execute import Execute, executing_on
from jobqueue.adapters.sql.named import TRANSLATED
from jobqueue.adapters.sql.readings import decoded
from jobqueue.errors import DatabaseUnavailable, InvalidDatabaseUrl, RowLocked
from jobqueue.read_budget import patience_for

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import IsolationLevel
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState

T = TypeVar("T")

# The statements are written for one index each, in its order and with a limit. Without statistics
# the planner takes a table for small, and would rather read all of it and sort.
LOOK = """
SELECT set_config('statement_timeout', %(milliseconds)s, true),
       set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('enable_sort', 'off', true), set_config('enable_incremental_sort', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true), set_config('jit', 'off', true)
"""
LONGEST_LOOK_MS = round(LONGEST_LOOK_SECONDS * 1000)

PREPARE_THRESHOLD = "prepare_threshold"

ISOLATION: IsolationLevel = "READ COMMITTED"
ENGINE_OPTIONS: dict[str, Any] = {
    "isolation_level": ISOLATION,
    "hide_parameters": True,
    "json_deserializer": decoded,
    "pool_reset_on_return": None,  # it is done here
}

Statement = tuple[str, dict[str, Any]]
"""A statement in the driver's own style, and its values."""


def open_database(url: str, schema: str | None = None) -> PostgresDatabase:
    """An engine for a PostgreSQL URL, whichever of its spellings is used.

    Args:
        url: where the database is.
        schema: the schema that holds the tables; None to find it.

    Raises:
        InvalidDatabaseUrl: it cannot be taken apart.
    """
    parsed = parse_url(url).set(drivername="postgresql+psycopg")
    own = {PREPARE_THRESHOLD: _number_in(parsed, PREPARE_THRESHOLD)}
    parsed = parsed.difference_update_query([PREPARE_THRESHOLD])
    parsed = parsed.set(query={**CONNECT_OPTIONS, **parsed.query})
    engine = new_engine(parsed, own)
    reader = engine.execution_options(isolation_level="AUTOCOMMIT")
    return PostgresDatabase(engine, reader, own, OwnSchema(schema))


def new_engine(url: URL, connect_args: dict[str, Any], **options: Any) -> Engine:
    """An engine whose connections recognize a pooler and limit their waits."""
    engine = create_engine(url, connect_args=connect_args, **ENGINE_OPTIONS, **options)
    # The first connection finds that out. Another thread's, made meanwhile, would not have it.
    engine.dialect.default_isolation_level = ISOLATION
    _reset_quietly(engine)

    @event.listens_for(engine, "do_connect")
    def connect_patiently(
        _dialect: Any, _record: Any, arguments: Sequence[Any], options: dict[str, Any]
    ) -> PatientConnection:
        return connect(*arguments, **options)

    return engine


def _reset_quietly(engine: Engine) -> None:
    """Roll back connections that return to the pool, and close those that cannot be.

    SQLAlchemy would log fifty lines of traceback. The user of the connection has met the error
    already.
    """

    @event.listens_for(engine, "reset")
    def reset(driver: Any, record: ConnectionPoolEntry | None, state: PoolResetState) -> None:
        if state.transaction_was_reset or not state.asyncio_safe:
            return
        try:
            if not _can_be_reset(driver.info):
                raise psycopg.OperationalError("something is under way")
            driver.rollback()
        except psycopg.Error as error:
            if record is not None:
                record.invalidate(error)


def _can_be_reset(info: psycopg.ConnectionInfo) -> bool:
    """Whether no statement is under way, as there may be after Ctrl-C."""
    is_active = info.transaction_status == TransactionStatus.ACTIVE
    return info.pipeline_status == PipelineStatus.OFF and not is_active


def _number_in(url: URL, name: str) -> int | None:
    text = url.query.get(name)
    if text is None:
        return None
    if isinstance(text, str) and text.isdecimal():
        return int(text)
    raise InvalidDatabaseUrl(f"{name}={text} in the database URL: expected a whole number")


class PostgresDatabase(Database):
    """An engine whose driver can send several statements before it waits for an answer.

    Args:
        engine: for writes.
        reader: for single reads.
        connect_args: what each connection is made with, beside the URL.
        own_schema: the schema that holds the tables.
    """

    def __init__(
        self, engine: Engine, reader: Engine, connect_args: dict[str, Any], own_schema: OwnSchema
    ) -> None:
        super().__init__(engine, reader)
        self._connect_args = connect_args
        self._own_schema = own_schema
        self._apart: list[PostgresDatabase] = []

    def new_engine_for_jobs(self) -> Engine:
        """An engine for any number of open transactions, without a limit on their statements."""
        engine = new_engine(self.engine.url, self._connect_args, max_overflow=-1)

        @event.listens_for(engine, "checkout")
        def replace_what_was_cut(driver: PatientConnection, *_: Any) -> None:
            if _was_cut(driver):
                raise exc.InvalidatePoolError
            driver.patience_seconds = None

        return engine

    def new_async_engine_for_jobs(self) -> AsyncEngine:
        """An async engine for any number of open transactions. It keeps no connections.

        A connection belongs to one event loop, and the engine serves all of them.
        """
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine(
            self.engine.url,
            # One transaction each does not repeat itself, and there may be a pooler.
            connect_args={PREPARE_THRESHOLD: None},
            poolclass=NullPool,
            **ENGINE_OPTIONS,
        )
        _reset_quietly(engine.sync_engine)
        return engine

    @contextmanager
    def _connected(self, engine: Engine, answer_seconds: float | None) -> Iterator[Connection]:
        patience = patience_for(answer_seconds)
        with engine.connect() as connection, _driver_of(connection).patient(patience):
            schema = self._own_schema.of(executing_on(connection))
            yield connection.execution_options(**{TRANSLATED: {None: schema.name}})

    @property
    def given_schema(self) -> SchemaName | None:
        """The schema that is set; None where it is found."""
        return self._own_schema.given

    def schema(self, *, answer_seconds: float | None = ANSWER_SECONDS) -> SchemaName:
        """The schema that holds the tables.

        Raises:
            SchemaError: they may be in several.
        """
        return self._own_schema.known or self.read(
            lambda connection: self._own_schema.of(executing_on(connection)),
            answer_seconds=answer_seconds,
        )

    def schema_for(self, execute: Execute) -> SchemaName:
        """The same, for a transaction of the caller, which may hold a pooler's only connection."""
        try:
            return self.schema(answer_seconds=LONGEST_LOOK_SECONDS)
        except DatabaseUnavailable:
            return self._own_schema.presumed_by(execute)

    def schema_to_migrate(self, connection: Connection) -> SchemaName:
        """The schema to make or change tables in.

        Raises:
            SchemaError: it is not sure that the tables there are not somebody else's.
        """
        return self._own_schema.to_migrate(executing_on(connection))

    def look(self, work: Callable[[Connection], T]) -> T:
        def limited(connection: Connection) -> T:
            connection.exec_driver_sql(LOOK, {"milliseconds": str(LONGEST_LOOK_MS)})
            return work(connection)

        return self.write(limited)

    def write_giving_way(self, work: Callable[[Connection, bool], T]) -> T:
        try:
            return self.write_unless_locked(lambda connection: work(connection, False))
        except RowLocked:
            return self.write(lambda connection: work(connection, True))

    def write_unless_locked(self, work: Callable[[Connection], T]) -> T:
        # The server would end one of two that wait for each other, and that might be the worker
        # that settles.
        def limited(connection: Connection) -> T:
            connection.exec_driver_sql(LIMIT_WAIT, {"longest_wait_ms": str(LONGEST_WAIT_MS)})
            return work(connection)

        return self.write(limited)

    def write_in_one_statement(
        self, work: Callable[[Connection], T], *, answer_seconds: float | None = ANSWER_SECONDS
    ) -> T:
        return self.read(work, answer_seconds=answer_seconds)

    def apart(self) -> PostgresDatabase:
        # An engine as a whole: what a dialect learns of its server at the first connection of one
        # pool is not there yet for another pool that connects at the same time.
        engine = new_engine(self.engine.url, self._connect_args)
        reader = engine.execution_options(isolation_level="AUTOCOMMIT")
        database = PostgresDatabase(engine, reader, self._connect_args, self._own_schema)
        self._apart.append(database)
        return database

    def close(self) -> None:
        super().close()
        for database in self._apart:
            database.close()

    def _limit(self, connection: Connection) -> None:
        connection.exec_driver_sql(LIMIT_SILENCE)

    def write_at_once(
        self, statements: Sequence[Statement], meanwhile: Callable[[], None]
    ) -> list[list[tuple[Any, ...]]]:
        """Run statements in a transaction, in one round trip; return the rows of each.

        It is not tried again when the connection breaks, since it may have been committed.

        Args:
            statements: what to run.
            meanwhile: is called when all of it has been sent, or earlier, where it would have to
                wait for something else. It may be called more than once.
        """
        with self._driver(meanwhile) as driver:
            return _in_one_trip(driver, statements, meanwhile)

    def write_alone(self, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement as a transaction by itself, once, and return its rows."""
        with self._driver() as driver:
            driver.autocommit = True
            try:
                cursor = psycopg.Cursor(driver, row_factory=tuple_row)
                return cursor.execute(sql.encode(), values).fetchall()
            finally:
                _end_autocommit(driver)

    @contextmanager
    def _driver(
        self, before_waiting: Callable[[], None] = lambda: None
    ) -> Iterator[PatientConnection]:
        """The driver's own connection, out of the pool."""
        with self.errors_translated(), self.engine.connect() as connection:
            # All that are in the pool may have been, when the server was restarted.
            while _was_cut(_driver_of(connection)):
                before_waiting()
                connection.invalidate()
            driver = _driver_of(connection)
            try:
                yield driver
            finally:
                if driver.closed or not _can_be_reset(driver.info):
                    connection.invalidate()


def executing_on_psycopg(connection: psycopg.Connection[Any]) -> Execute:
    """Run statements on a psycopg connection of the caller."""

    def run(sql: str, values: Any) -> list[tuple[Any, ...]]:
        with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
            return cursor.execute(sql.encode(), values).fetchall()

    return Execute(run, connection)


def _end_autocommit(driver: psycopg.Connection[Any]) -> None:
    """End autocommit, or close a connection on which a statement is still under way (Ctrl-C)."""
    if driver.info.transaction_status == TransactionStatus.IDLE:
        driver.autocommit = False
    else:
        driver.close()


def _forget_prepared(driver: psycopg.Connection[Any]) -> None:
    """Have the driver forget which statements it has prepared, as it does at a rollback.

    It takes those for prepared, too, that the server did not come to after an error.
    """
    if driver.info.transaction_status == TransactionStatus.IDLE:
        driver.execute(b"BEGIN", prepare=False)
    if driver.info.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
        driver.rollback()


def _driver_of(connection: Connection) -> PatientConnection:
    driver: Any = connection.connection.driver_connection
    return driver  # type: ignore[no-any-return]


def _was_cut(driver: psycopg.Connection[Any]) -> bool:
    """Whether the server has closed the connection since it was last used.

    A server that closes it sends something unasked, which costs nothing to see. Only then is it
    asked.
    """
    if not _has_something_to_read(driver):
        return False
    try:
        driver.execute("SELECT 1")
        driver.rollback()
    except psycopg.OperationalError:
        return True
    return False


def _has_something_to_read(driver: psycopg.Connection[Any]) -> bool:
    """Whether something has arrived. (`select` takes no descriptor above 1,023.)"""
    sockets = poll()
    sockets.register(driver.fileno(), POLLIN)
    return bool(sockets.poll(0))


def _in_one_trip(
    driver: PatientConnection, statements: Sequence[Statement], meanwhile: Callable[[], None]
) -> list[list[tuple[Any, ...]]]:
    cursors: list[psycopg.Cursor[Any]] = []
    driver.autocommit = True
    try:
        with _pipeline(driver) as pipeline:
            # The driver's own BEGIN and COMMIT wait for answers, without sending the rest.
            psycopg.Cursor(driver).execute(b"BEGIN", prepare=False)
            for sql, values in statements:
                cursor = psycopg.Cursor(driver, row_factory=tuple_row)
                cursors.append(cursor.execute(sql.encode(), values, binary=True))
                driver.end_step(pipeline)
            psycopg.Cursor(driver).execute(b"COMMIT", prepare=False)
            # All of it has been sent by now.
            meanwhile()
    except psycopg.Error:
        _forget_prepared(driver)
        raise
    finally:
        _end_autocommit(driver)
    return [cursor.fetchall() for cursor in cursors]


@contextmanager
def _pipeline(driver: psycopg.Connection[Any]) -> Iterator[psycopg.Pipeline]:
    """A pipeline of psycopg that does not log errors at the end of a failed pipeline."""
    failed: psycopg.Error | None = None
    try:
        with driver.pipeline() as pipeline:
            try:
                yield pipeline
            except psycopg.Error as error:
                failed = error
    except psycopg.Error as error:
        raise failed or _first_of(error) from None
    if failed is not None:
        raise failed


def _first_of(error: psycopg.Error) -> psycopg.Error:
    """The error that made all later statements of a pipeline fail."""
    while isinstance(error.__context__, psycopg.Error):
        error = error.__context__
    return error
