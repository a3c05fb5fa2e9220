"""The base of the adapters for SQL databases, which share most of their roles."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from jobqueue.adapters.composed import ComposedAdapter, Roles
from jobqueue.adapters.sql.actions import SqlActions
from jobqueue.adapters.sql.attempts import SqlAttempts
from jobqueue.adapters.sql.control import SqlControl
from jobqueue.adapters.sql.errors import SqlErrors
from jobqueue.adapters.sql.flows import SqlFlows
from jobqueue.adapters.sql.keys import SqlKeys
from jobqueue.adapters.sql.leases import SqlLeases
from jobqueue.adapters.sql.limits import SqlLimits
from jobqueue.adapters.sql.path import SqlPath
from jobqueue.adapters.sql.reads import SqlReads
from jobqueue.adapters.sql.retention import SqlRetention
from jobqueue.adapters.sql.role import SqlParts
from jobqueue.adapters.sql.roster import SqlRoster
from jobqueue.adapters.sql.samples import SqlSamples
from jobqueue.adapters.sql.schedules import SqlSchedules
from jobqueue.adapters.sql.schema import SqlSchema
from jobqueue.adapters.sql.stacks import SqlStacks
from jobqueue.adapters.sql.stats import SqlStats
from jobqueue.adapters.sql.tokens import SqlTokens
from jobqueue.adapters.sql.transactions import SqlTransactions
from jobqueue.adapters.sql.wakeups import SqlWakeups


class SqlAdapter(ComposedAdapter):
    """The base of the adapters for SQL databases.

    Args:
        parts: what the roles share.
        path: the database's own path.
        transactions: the database's own transactions.
        wakeups: the database's own wake-ups.
        leases: the database's own leases.
        schema: the database's own schema.
        reads: the database's own reads of jobs; None for those of any SQL database.
    """

    def __init__(
        self,
        parts: SqlParts,
        *,
        path: SqlPath,
        transactions: SqlTransactions,
        wakeups: SqlWakeups,
        leases: SqlLeases,
        schema: SqlSchema,
        reads: SqlReads | None = None,
    ) -> None:
        super().__init__(
            Roles(
                path=path,
                transactions=transactions,
                wakeups=wakeups,
                leases=leases,
                roster=SqlRoster(parts),
                stacks=SqlStacks(parts),
                reads=reads or SqlReads(parts),
                attempts=SqlAttempts(parts),
                control=SqlControl(parts),
                actions=SqlActions(parts),
                retention=SqlRetention(parts),
                schedules=SqlSchedules(parts, path),
                stats=SqlStats(parts),
                errors=SqlErrors(parts),
                samples=SqlSamples(parts),
                tokens=SqlTokens(parts),
                keys=SqlKeys(parts, path),
                limits=SqlLimits(parts),
                flows=SqlFlows(parts, path),
                schema=schema,
            )
        )
        self.database = parts.database
        self._schema = schema
        self._transactions = transactions

    def migrating(self, work: Callable[[Connection], None]) -> None:
        """Change the tables in one transaction, while no other migration does."""
        self._schema.migrating(work)

    def close(self) -> None:
        self._transactions.close()
        super().close()
