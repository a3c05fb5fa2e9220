"""The adapter that keeps jobs in this process's memory."""

from __future__ import annotations

from jobqueue.adapters.composed import ComposedAdapter, Roles
from jobqueue.adapters.memory.actions import MemoryActions
from jobqueue.adapters.memory.attempts import MemoryAttempts
from jobqueue.adapters.memory.control import MemoryControl
from jobqueue.adapters.memory.errors import MemoryErrors
from jobqueue.adapters.memory.flows import MemoryFlows
from jobqueue.adapters.memory.keys import MemoryKeys
from jobqueue.adapters.memory.leases import MemoryLeases
from jobqueue.adapters.memory.limits import MemoryLimits
from jobqueue.adapters.memory.path import MemoryPath
from jobqueue.adapters.memory.reads import MemoryReads
from jobqueue.adapters.memory.retention import MemoryRetention
from jobqueue.adapters.memory.roster import MemoryRoster
from jobqueue.adapters.memory.samples import MemorySamples
from jobqueue.adapters.memory.schedules import MemorySchedules
from jobqueue.adapters.memory.schema import MemorySchema
from jobqueue.adapters.memory.stacks import MemoryStacks
from jobqueue.adapters.memory.stats import MemoryStats
from jobqueue.adapters.memory.store import MemoryStore
from jobqueue.adapters.memory.tokens import MemoryTokens
from jobqueue.adapters.memory.transactions import MemoryTransactions
from jobqueue.adapters.memory.wakeups import MemoryWakeups
from jobqueue.clock import Clock, SystemClock


class MemoryAdapter(ComposedAdapter):
    """An adapter that keeps jobs in memory: for tests, and for jobs that may be lost.

    It has the semantics of a database. A SQLAlchemy `Session` or `Connection` given as `session` is
    honoured: the jobs appear when it commits and never do when it rolls back.

    Args:
        clock: tells the time; the machine's clock by default.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        store = MemoryStore(self, clock or SystemClock())
        self.path = MemoryPath(store)
        control = MemoryControl(store)
        super().__init__(
            Roles(
                path=self.path,
                transactions=MemoryTransactions(store),
                wakeups=MemoryWakeups(store),
                leases=MemoryLeases(store),
                roster=MemoryRoster(store),
                stacks=MemoryStacks(store),
                reads=MemoryReads(store),
                attempts=MemoryAttempts(store),
                control=control,
                actions=MemoryActions(store, control),
                retention=MemoryRetention(store, self.path.flows),
                schedules=MemorySchedules(store, self.path),
                stats=MemoryStats(store),
                errors=MemoryErrors(store),
                samples=MemorySamples(store),
                tokens=MemoryTokens(store),
                keys=MemoryKeys(store, self.path),
                limits=MemoryLimits(store),
                flows=MemoryFlows(store, self.path, control),
                schema=MemorySchema(),
            )
        )
