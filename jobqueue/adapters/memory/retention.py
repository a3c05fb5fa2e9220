"""The removal of finished jobs that need not be kept, in memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from jobqueue.adapters.memory.flow_progress import MemoryFlowProgress
from jobqueue.adapters.memory.store import MemoryRole, MemoryStore
from jobqueue.adapters.roles.retention import RetentionRole
from jobqueue.records import FINISHED_STATES, JobState
from jobqueue.retention import Keep

AHEAD = timedelta(minutes=1)
"""A row that ended further in the future was dated by a clock that was ahead."""


class MemoryRetention(MemoryRole, RetentionRole):
    """The removal of finished jobs that need not be kept, in memory.

    Args:
        store: the rows.
        flows: those whose jobs stay.
    """

    def __init__(self, store: MemoryStore, flows: MemoryFlowProgress) -> None:
        super().__init__(store)
        self._flows = flows

    def finished_handlers(self, state: JobState) -> list[str]:
        if state not in FINISHED_STATES:
            return []
        with self._store.lock:
            records = [row.record for row in self._store.rows.values()]
            return sorted({record.handler for record in records if record.state is state})

    def prune(self, state: JobState, handlers: Collection[str], keep: Keep, limit: int) -> int:
        with self._store.lock:
            self._end_now(state, handlers)
            records = [row.record for row in self._store.rows.values()]
            # Others of its flow may wait for it, or ask for its result, as long as that is there.
            records = [record for record in records if record.flow_id not in self._flows.flows]
            finished = [r for r in records if r.state is state and r.handler in handlers]
            oldest_first = sorted(finished, key=lambda r: (r.finished_at, r.id))
            too_many = oldest_first[: len(oldest_first) - keep.count] if keep.count else []
            if keep.count == 0:
                too_many = oldest_first
            if keep.age is not None:
                until = self._store.now() - keep.age
                too_old = [
                    record
                    for record in oldest_first
                    if record.finished_at and record.finished_at <= until
                ]
                too_many = max(too_many, too_old, key=len)
            for record in too_many[:limit]:
                self._store.remove(record.id)
            return len(too_many[:limit])

    def _end_now(self, state: JobState, handlers: Collection[str]) -> None:
        """Set `finished_at` to now where it lies ahead: such a row would count as the latest."""
        now = self._store.now()
        for row in list(self._store.rows.values()):
            record = row.record
            ended = record.finished_at if record.state is state else None
            if record.handler in handlers and ended is not None and ended > now + AHEAD:
                self._store.rows[record.id] = replace(row, record=replace(record, finished_at=now))
