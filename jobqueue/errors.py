"""Every error that jobqueue raises on its own account: one tree, drawn here.

    JobqueueError
    ├── ConfigurationError          a setting, an option or the app cannot be used
    ├── InvalidJob                  a job class that cannot be registered (a TypeError)
    │   └── DuplicateJob            its name is taken by another class
    ├── InvalidArguments            arguments that do not fit `perform` (a TypeError)
    ├── UnknownJob                  no job class of that name here (a LookupError)
    ├── JobNotFound                 no job row of that id (a LookupError)
    ├── StateConflict               the job is in a state that does not allow it
    ├── ClaimLost                   a job's transaction was rolled back: the job is another's now
    ├── InvalidTransaction          `self.transaction()` is used as it cannot be
    ├── JobFailed                   the job that was waited for has no result: it failed
    └── DatabaseError
        ├── InvalidDatabaseUrl      no adapter understands it (a ConfigurationError)
        ├── DatabaseUnavailable     it does not answer; trying again may help
        │   └── TransactionOpen     a job of this process is in SQLite's only write transaction
        ├── DatabaseRefused         it answered, and refused what was sent
        └── SchemaError             the tables are missing or not current

What interrupts a job that runs is no error, and no `Exception` (as `asyncio.CancelledError` and
`KeyboardInterrupt` are none), so that the `except Exception` of a job does not take it for one:

    BaseException
    └── JobTimeout                  raised in a job that runs longer than its `max_runtime`
        └── JobCancelled            raised in a job that is cancelled while it runs

`Retry` and `Discard`, which a job raises to steer its own end, are no errors either
and live in `jobqueue.retry`.
"""

from __future__ import annotations


class JobqueueError(Exception):
    """The base of every error that jobqueue raises on its own account."""


class ConfigurationError(JobqueueError):
    """A setting, a command-line option or the application named by `app` cannot be used."""


class InvalidJob(JobqueueError, TypeError):
    """A job class that cannot be registered or enqueued as it is defined."""


class DuplicateJob(InvalidJob):
    """Two job classes ask for the same name. The message shows where both are."""


class InvalidArguments(JobqueueError, TypeError):
    """Arguments that do not fit the job's `perform`, or that JSON cannot carry.

    Raised before anything is stored.
    """


class UnknownJob(JobqueueError, LookupError):
    """No job class is registered under that name in this process."""


class JobNotFound(JobqueueError, LookupError):
    """No job with that id is in the database: it never was, or it was removed when it ended."""


class StateConflict(JobqueueError):
    """The job is in a state that does not allow what was asked (a running job, for example)."""


class JobTimeout(BaseException):
    """A job ran longer than its `max_runtime`.

    Raised in the job itself. It is no `Exception`: `except Exception` lets it pass. What the job
    does not catch is then treated as any error: its retry policy gets it as `error`, and so can
    answer otherwise than to others. A job that catches it by its name, or as a `BaseException`,
    ends as it does then; one that has not ended `kill_after` later is killed with its process.
    """


class JobCancelled(JobTimeout):
    """A job was cancelled while it ran.

    Raised in a job whose class has `interrupt_on_cancel`. It is a `JobTimeout`, so that what cleans
    up after one does so after the other, and no `Exception` either. The job ends cancelled,
    whatever it does then.
    """

    def __init__(self, message: str = "cancelled while it ran") -> None:
        super().__init__(message)


class ClaimLost(JobqueueError):
    """The job that `self.transaction()` was to complete is no longer held by this worker.

    Its worker was silent for longer than its lease, so that another may be performing it, or
    somebody removed it. Everything that was written in the transaction is rolled back.
    """


class InvalidTransaction(JobqueueError):
    """`self.transaction()` is used as it cannot be: a second time, or committed by hand."""


class JobFailed(JobqueueError):
    """A job that somebody waited for ended failed or cancelled; the message has its last error."""


class DatabaseError(JobqueueError):
    """The database could not do what was asked of it."""


class InvalidDatabaseUrl(ConfigurationError, DatabaseError):
    """A database URL that no adapter understands."""


class DatabaseUnavailable(DatabaseError):
    """The database does not answer, or is read-only or locked. Trying again may help."""


class TransactionOpen(DatabaseUnavailable):
    """SQLite has one writer at a time, and a job's `self.transaction()` of this process is it."""


class DatabaseRefused(DatabaseError):
    """The database answered and refused the data that it was sent."""


class SchemaError(DatabaseError):
    """The tables of jobqueue are missing or not of this release; `jobqueue migrate` mends it."""
