"""Removing finished jobs that need not be kept, in this process's memory."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

from jobqueue.adapters.base import Adapter
from jobqueue.clock import Clock
from jobqueue.records import FINISHED_STATES, JobState
from jobqueue.retention import Keep


class MemoryPruning(Adapter):
    """The part of the memory adapter that removes what need not be kept."""

    _clock: Clock
    _lock: threading.RLock
    _rows: dict[int, Any]
    _workers: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[str, set[str]] = {}

    def finished_handlers(self, state: JobState) -> list[str]:
        """See `Adapter.finished_handlers`."""
        if state not in FINISHED_STATES:
            return []
        with self._lock:
            records = [row.record for row in self._rows.values()]
            return sorted({record.handler for record in records if record.state is state})

    def prune(self, state: JobState, handlers: Collection[str], keep: Keep, limit: int) -> int:
        """See `Adapter.prune`."""
        with self._lock:
            records = [row.record for row in self._rows.values()]
            finished = [r for r in records if r.state is state and r.handler in handlers]
            oldest_first = sorted(finished, key=lambda r: (r.finished_at, r.id))
            too_many = oldest_first[: len(oldest_first) - keep.count] if keep.count else []
            if keep.count == 0:
                too_many = oldest_first
            if keep.age is not None:
                until = self._clock.now() - keep.age
                too_old = [record for record in oldest_first if record.finished_at <= until]
                too_many = max(too_many, too_old, key=len)
            for record in too_many[:limit]:
                del self._rows[record.id]
            return len(too_many[:limit])

    def declare_handlers(self, worker_id: str, handlers: Collection[str]) -> None:
        """See `Adapter.declare_handlers`."""
        with self._lock:
            if worker_id in self._workers:
                self._handlers[worker_id] = set(handlers)

    def declared_handlers(self) -> dict[str, set[str]]:
        """See `Adapter.declared_handlers`."""
        with self._lock:
            return {i: set(names) for i, names in self._handlers.items() if i in self._workers}
