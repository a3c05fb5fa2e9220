"""All errors of jobqueue: one tree, drawn here.

    JobqueueError
    ├── ConfigurationError          a setting, an option or the app cannot be used
    │   ├── InvalidQuery            a query for jobs that cannot be understood
    │   └── ScheduleNotFound        no schedule of that name, or several (a LookupError)
    ├── InvalidJob                  a job class that cannot be registered (a TypeError)
    │   └── DuplicateJob            its name is taken by another class
    ├── InvalidArguments            arguments that do not fit `perform` (a TypeError)
    ├── UnknownJob                  no job class of that name here (a LookupError)
    ├── JobNotFound                 no job row of that id (a LookupError)
    ├── ErrorGroupNotFound          no group of errors of that key (a LookupError)
    ├── ActionNotFound              no action of that id (a LookupError)
    ├── InvalidAction               a bulk action that does not say which jobs are meant
    ├── StateConflict               the job is in a state that does not allow it
    ├── ClaimLost                   a job's transaction was rolled back: the job is another's now
    ├── InvalidTransaction          `self.transaction()` is used in a way that it does not allow
    ├── JobFailed                   a job that was waited for ended failed or cancelled
    └── DatabaseError
        ├── InvalidDatabaseUrl      no adapter understands the URL (a ConfigurationError)
        ├── DatabaseUnavailable     it does not answer; trying again may help
        │   ├── RowLocked           somebody's open transaction keeps locked what it needs
        │   └── TransactionOpen     a job of this process is in SQLite's only write transaction
        ├── DatabaseRefused         it answered, and refused what was sent
        └── SchemaError             the tables are missing or not current

Two exceptions interrupt a running job. They are no errors and no `Exception`, as
`asyncio.CancelledError` and `KeyboardInterrupt` are none. So an `except Exception` in the job does
not catch them:

    BaseException
    └── JobTimeout                  raised in a job that runs longer than its `max_runtime`
        └── JobCancelled            raised in a job that is cancelled while it runs

`Retry` and `Discard` are no errors either. A job raises them to be run again, or to end itself.
They are in `jobqueue.retry`.
"""

from __future__ import annotations


class JobqueueError(Exception):
    """The base of every error of jobqueue."""


class ConfigurationError(JobqueueError):
    """A setting, a command-line option or the application named by `app` cannot be used."""


class InvalidQuery(ConfigurationError):
    """A query for jobs cannot be understood. Two notes point at the word.

    Args:
        why: what is wrong, and what to write instead.
        query: the query.
        start: where the word begins in it, from 0.
        length: how many characters the word has.
    """

    def __init__(self, why: str, query: str, start: int, length: int) -> None:
        self.why, self.query, self.start, self.length = why, query, start, length
        super().__init__(why)
        self.add_note("  " + "".join(c if c.isprintable() else " " for c in query))
        self.add_note("  " + " " * start + "^" * max(length, 1))


class InvalidJob(JobqueueError, TypeError):
    """A job class cannot be registered or enqueued as it is defined."""


class DuplicateJob(InvalidJob):
    """Two job classes have the same name. The message says where both are."""


class InvalidArguments(JobqueueError, TypeError):
    """The arguments do not fit the job's `perform`, or JSON cannot carry them.

    It is raised before anything is stored.
    """


class UnknownJob(JobqueueError, LookupError):
    """No job class is registered under that name in this process."""


class JobNotFound(JobqueueError, LookupError):
    """No job with that id is in the database. There never was one, or its row was removed."""


class ErrorGroupNotFound(JobqueueError, LookupError):
    """No group of errors of that key is in the database. There never was one, or it was removed."""


class ActionNotFound(JobqueueError, LookupError):
    """No action of that id is in the database. There never was one, or it was removed."""


class InvalidAction(JobqueueError):
    """The row of a bulk action does not say which jobs are meant, as far as this release knows."""


class ScheduleNotFound(ConfigurationError, LookupError):
    """No schedule of that name is in the database, or several could be meant."""


class StateConflict(JobqueueError):
    """The job is in a state that does not allow the change (a running job, for example)."""


class JobTimeout(BaseException):
    """A job ran longer than its `max_runtime`.

    It is raised in the job itself. It is no `Exception`, so that `except Exception` lets it pass.
    If the job does not catch it, the attempt fails with it as with any error, and the retry policy
    gets it as `error`. A job that catches it, by its name or as a `BaseException`, ends as it then
    returns or raises. A job that has not ended `kill_after` later is killed with its process.
    """


class JobCancelled(JobTimeout):
    """A job was cancelled while it ran.

    It is raised in a job whose class has `interrupt_on_cancel`. It is a `JobTimeout`, so that code
    which cleans up after one does so after the other. It is no `Exception` either. The job ends
    cancelled, whatever it does then.
    """

    def __init__(self, message: str = "cancelled while it ran") -> None:
        super().__init__(message)


class ClaimLost(JobqueueError):
    """The worker no longer holds the job that `self.transaction()` was to complete.

    Either the worker was silent for longer than its lease, and another may be performing the job.
    Or somebody removed the job. Everything that the transaction has written is rolled back.
    """


class InvalidTransaction(JobqueueError):
    """`self.transaction()` is used a second time, or is committed by hand."""


class JobFailed(JobqueueError):
    """A job that was waited for ended failed or cancelled. The message has its last error."""


class DatabaseError(JobqueueError):
    """The database could not do what it was sent."""


class InvalidDatabaseUrl(ConfigurationError, DatabaseError):
    """No adapter understands the database URL."""


class DatabaseUnavailable(DatabaseError):
    """The database does not answer, or is read-only or locked. Trying again may help."""


class RowLocked(DatabaseUnavailable):
    """Somebody's open transaction keeps a row or a table locked for longer than is waited for.

    Nothing else is wrong with the database. On PostgreSQL only: a SQLite file is locked as a whole.
    """


class TransactionOpen(DatabaseUnavailable):
    """A job of this process is in `self.transaction()`, and SQLite has one writer at a time."""


class DatabaseRefused(DatabaseError):
    """The database answered, and refused the data that it was sent."""


class SchemaError(DatabaseError):
    """The tables are missing, or are not of this release; `jobqueue migrate` mends that."""
