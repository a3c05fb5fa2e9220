"""What a database has to do to carry jobs: the interface that every adapter implements.

It works in batches throughout: many jobs are enqueued by one call, many claimed by one call and
many settled by one call. It consists of roles, each in a file of its own in `roles/`, and in a file
of the same name in each adapter. `jobqueue.testing.AdapterContract` holds an adapter to all of it.
"""

from __future__ import annotations

from typing import Protocol

from jobqueue.adapters.roles.control import ControlRole
from jobqueue.adapters.roles.keys import KeysRole
from jobqueue.adapters.roles.leases import LeasesRole
from jobqueue.adapters.roles.path import PathRole
from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.adapters.roles.retention import RetentionRole
from jobqueue.adapters.roles.schedules import SchedulesRole
from jobqueue.adapters.roles.schema import SchemaRole
from jobqueue.adapters.roles.stats import StatsRole
from jobqueue.adapters.roles.tokens import TokensRole
from jobqueue.adapters.roles.transactions import TransactionsRole
from jobqueue.adapters.roles.wakeups import Listener, WakeupsRole
from jobqueue.records import JobState, Succeeded

__all__ = ["Adapter", "Listener"]


class Adapter(
    PathRole,
    TransactionsRole,
    WakeupsRole,
    LeasesRole,
    ReadsRole,
    ControlRole,
    RetentionRole,
    SchedulesRole,
    StatsRole,
    TokensRole,
    KeysRole,
    SchemaRole,
    Protocol,
):
    """A place where jobs are kept.

    Every method may be called from any thread. All of them raise `DatabaseUnavailable` when the
    database does not answer and `SchemaError` when its tables are missing, and leave the database
    as it was when they raise. Times are compared by the database's own clock.
    """

    def was_committed(self, outcome: Succeeded) -> bool:
        record = self.get(outcome.job.id)
        return record is None or record.state is JobState.SUCCEEDED
