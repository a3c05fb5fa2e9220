"""Background jobs in the database that an application already has.

class SendWelcomeEmail(Job):
    queue = "email"

    def perform(self, user_id: int) -> None: ...

SendWelcomeEmail.perform_later(42)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobqueue.app import JobQueue, configure, enqueue, get, get_async
from jobqueue.cron import Cron, Every
from jobqueue.errors import (
    ClaimLost,
    ConfigurationError,
    DatabaseError,
    DatabaseRefused,
    DatabaseUnavailable,
    DuplicateJob,
    InvalidArguments,
    InvalidDatabaseUrl,
    InvalidJob,
    InvalidTransaction,
    JobCancelled,
    JobFailed,
    JobNotFound,
    JobqueueError,
    JobTimeout,
    RowLocked,
    SchemaError,
    StateConflict,
    TransactionOpen,
    UnknownJob,
)
from jobqueue.flow_control import Debounce, Fair, Limit, Ordered, Rate, Unique
from jobqueue.hooks import Hooks
from jobqueue.job import Batch, Chain, Flow, Job, JobContext, job
from jobqueue.records import JobRecord, JobState
from jobqueue.retention import Keep
from jobqueue.retry import Constant, Discard, Exponential, Polynomial, Retry
from jobqueue.stored import StoredJob

if TYPE_CHECKING:
    from jobqueue.adapters.memory.adapter import MemoryAdapter
    from jobqueue.adapters.postgres.adapter import PostgresAdapter
    from jobqueue.adapters.sql.tables import BackgroundJob
    from jobqueue.adapters.sqlite.adapter import SqliteAdapter
    from jobqueue.adapters.sqlite.database import begin_immediate

__version__ = "0.1.0"

__all__ = [
    "BackgroundJob",
    "Batch",
    "Chain",
    "ClaimLost",
    "ConfigurationError",
    "Constant",
    "Cron",
    "DatabaseError",
    "DatabaseRefused",
    "DatabaseUnavailable",
    "Debounce",
    "Discard",
    "DuplicateJob",
    "Every",
    "Exponential",
    "Fair",
    "Flow",
    "Hooks",
    "InvalidArguments",
    "InvalidDatabaseUrl",
    "InvalidJob",
    "InvalidTransaction",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobFailed",
    "JobNotFound",
    "JobQueue",
    "JobRecord",
    "JobState",
    "JobTimeout",
    "JobqueueError",
    "Keep",
    "Limit",
    "MemoryAdapter",
    "Ordered",
    "Polynomial",
    "PostgresAdapter",
    "Rate",
    "Retry",
    "RowLocked",
    "SchemaError",
    "SqliteAdapter",
    "StateConflict",
    "StoredJob",
    "TransactionOpen",
    "Unique",
    "UnknownJob",
    "begin_immediate",
    "configure",
    "enqueue",
    "get",
    "get_async",
    "job",
]

# These need SQLAlchemy, or are needed by few: they are imported when somebody asks for them.
_LAZY = {
    "BackgroundJob": "jobqueue.adapters.sql.tables",
    "MemoryAdapter": "jobqueue.adapters.memory.adapter",
    "PostgresAdapter": "jobqueue.adapters.postgres.adapter",
    "SqliteAdapter": "jobqueue.adapters.sqlite.adapter",
    "begin_immediate": "jobqueue.adapters.sqlite.database",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'jobqueue' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
