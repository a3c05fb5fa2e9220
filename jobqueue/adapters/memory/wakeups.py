"""Wake-ups in memory."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.adapters.memory.listener import MemoryListener
from jobqueue.adapters.memory.store import MemoryRole
from jobqueue.adapters.roles.wakeups import WakeupsRole
from jobqueue.records import JobFilter, JobState


class MemoryWakeups(MemoryRole, WakeupsRole):
    """The listeners in memory, and the time until the next job is due."""

    def listen(self, url: str | None = None) -> MemoryListener:  # noqa: ARG002 - memory has one
        listener = MemoryListener()
        with self._store.lock:
            self._store.listeners.add(listener)
        return listener

    def due_in(self) -> timedelta | None:
        ready = self._store.matching(JobFilter(states=(JobState.READY,)))
        first = min((row.record.run_at for row in ready), default=None)
        return None if first is None else first - self._store.now()
