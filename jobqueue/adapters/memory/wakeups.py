"""Wake-ups in memory."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.adapters.memory.listener import MemoryListener
from jobqueue.adapters.memory.store import MemoryRole
from jobqueue.adapters.roles.wakeups import WakeupsRole
from jobqueue.records import WAITING_STATES, JobFilter, JobState


class MemoryWakeups(MemoryRole, WakeupsRole):
    """The listeners in memory, and the time until the next job is due."""

    def listen(self, url: str | None = None) -> MemoryListener:  # noqa: ARG002 - memory has one
        listener = MemoryListener()
        with self._store.lock:
            self._store.listeners.add(listener)
        return listener

    def due_in(self) -> timedelta | None:
        now = self._store.now()
        waiting = self._store.matching(JobFilter(states=WAITING_STATES))
        times = [
            row.record.run_at
            for row in waiting
            if row.record.state is JobState.READY or row.record.run_at > now
        ]
        return min(times) - now if times else None
