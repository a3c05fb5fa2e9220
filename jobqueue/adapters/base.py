"""The interface that every adapter implements.

It works in batches throughout: many jobs are enqueued by one call, many claimed by one call and
many settled by one call. It consists of roles, each in a file of its own in `roles/`, and in a file
of the same name in `memory/` and in `sql/`. `postgres/` and `sqlite/` have the files of those roles
in which they differ. `jobqueue.testing.AdapterContract` holds an adapter to all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from jobqueue.adapters.roles.actions import ActionsRole
from jobqueue.adapters.roles.attempts import AttemptsRole
from jobqueue.adapters.roles.control import ControlRole
from jobqueue.adapters.roles.errors import ErrorsRole
from jobqueue.adapters.roles.flows import FlowsRole
from jobqueue.adapters.roles.keys import KeysRole
from jobqueue.adapters.roles.leases import LeasesRole
from jobqueue.adapters.roles.limits import LimitsRole
from jobqueue.adapters.roles.path import PathRole
from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.adapters.roles.retention import RetentionRole
from jobqueue.adapters.roles.roster import RosterRole
from jobqueue.adapters.roles.samples import SamplesRole
from jobqueue.adapters.roles.schedules import SchedulesRole
from jobqueue.adapters.roles.schema import SchemaRole
from jobqueue.adapters.roles.stacks import StacksRole
from jobqueue.adapters.roles.stats import StatsRole
from jobqueue.adapters.roles.tokens import TokensRole
from jobqueue.adapters.roles.transactions import TransactionsRole
from jobqueue.adapters.roles.wakeups import Listener, WakeupsRole
from jobqueue.adapters.settlement import Pair, cancelled_among, may_be_cancelled, was_called_off
from jobqueue.records import Claim, JobState, Outcome, Succeeded, Turn

__all__ = ["Adapter", "Listener"]


class Adapter(
    PathRole,
    TransactionsRole,
    WakeupsRole,
    LeasesRole,
    RosterRole,
    StacksRole,
    ReadsRole,
    AttemptsRole,
    ControlRole,
    ActionsRole,
    RetentionRole,
    SchedulesRole,
    StatsRole,
    ErrorsRole,
    SamplesRole,
    TokensRole,
    KeysRole,
    LimitsRole,
    FlowsRole,
    SchemaRole,
    Protocol,
):
    """A place where jobs are kept.

    Every method may be called from any thread. All of them raise `DatabaseUnavailable` when the
    database does not answer and `SchemaError` when its tables are missing, and leave the database
    as it was when they raise. Times are compared by the database's own clock.
    """

    def turn(
        self,
        outcomes: Sequence[Outcome],
        claim: Claim | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Turn:
        if meanwhile is not None:
            meanwhile()
        rejected = self.settle(outcomes) if outcomes else []
        reasons = self._reasons_of_cancelled([o for o in outcomes if o not in rejected])
        claimed = self.claim(claim) if claim is not None else []
        cancelled = cancelled_among(outcomes, reasons)
        return Turn(tuple(rejected), tuple(claimed), cancelled=cancelled)

    def between_writes(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _reasons_of_cancelled(self, settled: Sequence[Outcome]) -> dict[Pair, str]:
        """Why jobs ended cancelled. The jobs are read again, since there may be no transaction."""
        reasons = {}
        for outcome in settled:
            record = self.get(outcome.job.id) if may_be_cancelled(outcome) else None
            if record is not None and was_called_off(record):
                reasons[outcome.job.id, outcome.job.token] = record.last_error or ""
        return reasons

    def was_committed(self, outcome: Succeeded) -> bool:
        record = self.get(outcome.job.id)
        return record is None or record.state is JobState.SUCCEEDED
