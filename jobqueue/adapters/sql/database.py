"""Connections and transactions, and the errors of databases as those of `jobqueue.errors`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, QueuePool, exc, make_url

from jobqueue.config import hide_password
from jobqueue.errors import (
    ConfigurationError,
    DatabaseError,
    DatabaseRefused,
    DatabaseUnavailable,
    InvalidDatabaseUrl,
    RowLocked,
    SchemaError,
)
from jobqueue.forks import renewed_in_children

T = TypeVar("T")

LONGEST_LOOK_SECONDS = 2.0

# PostgreSQL's codes, from its manual's appendix "PostgreSQL Error Codes".
SCHEMA_CODES = {"42P01", "42703", "3F000", "42704"}
LOCK_TIMEOUT_CODE = "55P03"
SOMEBODY_LOCKS = (
    "did nothing: somebody's open transaction keeps a row locked that this needs; try again when "
    "it has ended"
)
# The server has ended a transaction of ours that stood still: this process was frozen meanwhile.
STOOD_STILL_CODES = {"25P03", "25P04"}
# Of data, constraints and triggers, whoever has added them.
REFUSED_CLASSES = {"22", "23", "27", "44", "P0"}
PASSING_CODES = {"25006", "40001", "40P01", LOCK_TIMEOUT_CODE, "57014", *STOOD_STILL_CODES}
PASSING_CLASSES = {"08", "53", "57", "58"}
ANSWER_SECONDS = 30.0
# For heartbeats. Well below a lease, so that one hanging connection does not let workers seem dead.
BEAT_SECONDS = 5.0
# For statements that may touch any number of rows.
FOR_EVER = None
SQLITE_PASSING = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY")
# It could not carry out a statement on what the rows hold.
SQLITE_REFUSED = "SQLITE_ERROR"
SQLITE_SCHEMA_WORDS = ("no such table", "no such column", "has no column")


def parse_url(url: str) -> URL:
    """A database URL, taken apart.

    Raises:
        InvalidDatabaseUrl: it cannot be.
    """
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        raise InvalidDatabaseUrl(
            f"{hide_password(url)!r} is no database URL ({error}); expected "
            "sqlite:///jobs.sqlite3 or postgresql://user@host/database"
        ) from None
    if "@" in (parsed.host or ""):
        # The text before the last @ is not shown: it is probably part of a password.
        raise InvalidDatabaseUrl(
            f"{hide_password(url)!r} is no database URL (there are two @ before the host); within "
            "a user's name or password, write %40"
        )
    return parsed


class Database:
    """An engine, its transactions and its errors.

    Args:
        engine: the engine for writes.
        reader: the same engine, with the options under which a single read needs no transaction.
    """

    def __init__(self, engine: Engine, reader: Engine) -> None:
        self.engine = engine
        self._reader = reader
        self._driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
        forget_connections_after_fork(engine)

    def write(
        self, work: Callable[[Connection], T], *, answer_seconds: float | None = ANSWER_SECONDS
    ) -> T:
        """Do something in a transaction and commit it.

        A pooled connection that turns out to be dead is replaced once: nothing of the transaction
        can have been committed then.

        Args:
            work: what to do.
            answer_seconds: give up when a statement takes longer; None for never. A file's
                statements are not watched.
        """
        with self.errors_translated():
            try:
                return self._transact(work, answer_seconds)
            except exc.DBAPIError as error:
                if not _was_dead_before(error) or isinstance(error, _CommitUnanswered):
                    raise
            return self._transact(work, answer_seconds)

    def write_giving_way(self, work: Callable[[Connection, bool], T]) -> T:
        """Write to rows that others may have locked, and wait for none of them for long.

        PostgreSQL rolls the transaction back if a row stays locked. Then it is made once more, and
        passes over the rows that are locked. So there is no deadlock with a worker that settles,
        and a transaction that somebody has left open holds up nothing but its own rows. Here, in a
        file that has one writer at a time, no row is locked, and the transaction is made once.

        Args:
            work: what to do, on a connection; the second argument says whether to pass over locked
                rows.
        """
        return self.write(lambda connection: work(connection, False))

    def write_unless_locked(self, work: Callable[[Connection], T]) -> T:
        """Write, and wait for no row for long.

        Raises:
            RowLocked: somebody keeps one locked; nothing was done.
        """
        return self.write(work)

    def write_in_one_statement(
        self, work: Callable[[Connection], T], *, answer_seconds: float | None = ANSWER_SECONDS
    ) -> T:
        """Run one statement that may be repeated, as a transaction of its own.

        Where the database can, it is committed without another word from this process: one that is
        frozen, or whose machine is lost, leaves no row locked.
        """
        return self.write(work, answer_seconds=answer_seconds)

    def apart(self) -> Database:
        """The same database, on connections that nobody else uses and that need not be waited for.

        A file has one writer at a time, whichever connection it is on.
        """
        return self

    def _transact(self, work: Callable[[Connection], T], answer_seconds: float | None) -> T:
        with self._connected(self.engine, answer_seconds) as connection:
            self._limit(connection)
            result = work(connection)
            try:
                connection.commit()
            except exc.DBAPIError as error:
                raise _CommitUnanswered.of(error) from error
            return result

    def read(
        self, work: Callable[[Connection], T], *, answer_seconds: float | None = ANSWER_SECONDS
    ) -> T:
        """Do one read. `answer_seconds` is as for `write`."""
        with self.errors_translated():
            try:
                return self._read(work, answer_seconds)
            except exc.DBAPIError as error:
                if not _was_dead_before(error):
                    raise
            return self._read(work, answer_seconds)

    def _read(self, work: Callable[[Connection], T], answer_seconds: float | None) -> T:
        with self._connected(self._reader, answer_seconds) as connection:
            return work(connection)

    def look(self, work: Callable[[Connection], T]) -> T:
        """Do reads that somebody waits for, and give up after two seconds.

        Raises:
            DatabaseUnavailable: the reads took longer.
        """
        return self.read(work)

    def _limit(self, connection: Connection) -> None:
        """Limit how long the server keeps a transaction whose next statement does not come."""

    @contextmanager
    def _connected(self, engine: Engine, answer_seconds: float | None) -> Iterator[Connection]:  # noqa: ARG002
        """A pooled connection. It waits at most so long for each answer."""
        with engine.connect() as connection:
            yield connection

    @contextmanager
    def errors_translated(self) -> Iterator[None]:
        """Turn errors of SQLAlchemy and the drivers into those of `jobqueue.errors`."""
        try:
            yield
        except exc.TimeoutError as error:
            raise DatabaseUnavailable(f"no connection became free: {error}") from error
        except exc.DBAPIError as error:
            raise translated(error.orig or error, self.name) from error
        except self._driver_error as error:
            raise translated(error, self.name) from error
        except UnicodeEncodeError as error:
            raise DatabaseRefused(f"{self.name} refused the data ({error.reason})") from error
        except exc.UnboundExecutionError as error:
            raise ConfigurationError(
                "session= was given a Session that is bound to no engine; make it with one, "
                f"Session(engine) or sessionmaker(engine) ({error})"
            ) from error
        except exc.SQLAlchemyError as error:
            raise DatabaseError(f"{self.name}: {error}") from error

    @property
    def name(self) -> str:
        """The database's URL without its password and without driver options, for messages."""
        url = self.engine.url.set(query={}, drivername=self.engine.url.get_backend_name())
        return url.render_as_string(hide_password=True)

    def close_spare(self) -> None:
        """Close pooled connections that are not in use, until one is left in all."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)  # noqa: S101 - that of every engine made here
        # Those that were in use at an earlier `dispose` are counted as less than none when they are
        # back, and hidden from a sum.
        in_use = max(pool.checkedout(), 0)
        if pool.checkedin() + in_use <= 1:
            return
        # `dispose` closes the connections that are checked in. Detaching them one by one would not
        # do: the pool goes on counting a detached connection.
        with self.errors_translated():
            kept = None if in_use else self.engine.raw_connection()
            pool.dispose()
            if kept is not None:
                kept.close()

    def close(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()


def _was_dead_before(error: exc.DBAPIError) -> bool:
    """Whether the connection was lost before. False if we gave it up for want of an answer."""
    return error.connection_invalidated and not isinstance(error.orig, TimeoutError)


class _CommitUnanswered(exc.DBAPIError):
    """A commit without an answer. It is not known whether it took place."""

    @classmethod
    def of(cls, error: exc.DBAPIError) -> _CommitUnanswered:
        return cls(
            error.statement,
            error.params,
            error.orig or error,
            connection_invalidated=error.connection_invalidated,
        )


def translated(error: BaseException, database: str) -> DatabaseError:
    """The error of `jobqueue.errors` for one of a driver: what happened, and what to do next."""
    code = getattr(error, "sqlstate", None) or ""
    text = _text_of(error)
    # With a code, the words may be those of a row that the message quotes.
    if code in SCHEMA_CODES or (not code and any(words in text for words in SQLITE_SCHEMA_WORDS)):
        return SchemaError(
            f"the tables of jobqueue are missing or out of date in {database} ({text}); "
            "run `jobqueue migrate`"
        )
    if not code and text == "interrupted":
        return DatabaseUnavailable(f"{database} took too long to answer, and was not waited for")
    unavailable = _why_unavailable(error, code, text)
    if unavailable:
        unavailable = f"{database} {unavailable}"
        is_locked = code == LOCK_TIMEOUT_CODE
        return RowLocked(unavailable) if is_locked else DatabaseUnavailable(unavailable)
    if not code and "not a database" in text:
        return DatabaseError(f"{database}: the {text}; check the URL")
    kind = type(error).__name__
    is_refused = code[:2] in REFUSED_CLASSES or _sqlite_name(error) == SQLITE_REFUSED
    if is_refused or _is_a(error, "DataError", "IntegrityError", "NotSupportedError"):
        return DatabaseRefused(f"{database} refused the data ({kind}: {text})")
    return DatabaseError(f"{database}: {kind}: {text}")


def _why_unavailable(error: BaseException, code: str, text: str) -> str | None:
    of_sqlite = _sqlite_name(error)
    if code in PASSING_CODES or code[:2] in PASSING_CLASSES or of_sqlite.startswith(SQLITE_PASSING):
        why = SOMEBODY_LOCKS if code == LOCK_TIMEOUT_CODE else "cannot do it now"
        return f"{why} ({text})"
    if code.startswith(("28", "3D")):
        return f"lets nobody in ({text}); check the URL"
    if code == "" and "FATAL" in text and "does not exist" in text:
        return f"is not to be had ({text}); create it, or check the URL"
    if code == "" and "locked" in text:
        return (
            "is locked: a write transaction is kept open, by another program or by this one "
            f"({text}); to enqueue inside a transaction of yours, pass it as `session=`"
        )
    # psycopg raises InternalError when a pooler goes down in the middle of an answer.
    if (
        code == ""
        and of_sqlite != SQLITE_REFUSED
        and _is_a(error, "OperationalError", "InterfaceError", "InternalError")
    ):
        return (
            f"does not answer ({text}); is it running, and is the URL right? "
            "`jobqueue doctor` shows where it comes from"
        )
    return None


def _sqlite_name(error: BaseException) -> str:
    name: str = getattr(error, "sqlite_errorname", "")
    return name


def _text_of(error: BaseException) -> str:
    """The text of an error without the details of PostgreSQL, which quote rows and arguments."""
    details = getattr(error, "diag", None)
    return " ".join(str(getattr(details, "message_primary", None) or error).split())


def _is_a(error: BaseException, *names: str) -> bool:
    return any(base.__name__ in names for base in type(error).__mro__)


def forget_connections_after_fork(engine: Engine) -> None:
    """A forked child must not talk on its parent's connections: pre-forking web servers do fork."""
    renewed_in_children(engine, lambda engine: engine.dispose(close=False))
