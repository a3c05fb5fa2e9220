"""The roster of workers, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from jobqueue.adapters.memory.store import MemoryRole
from jobqueue.adapters.roles.roster import RosterRole
from jobqueue.records import WorkerEnd, WorkerNote


class MemoryRoster(MemoryRole, RosterRole):
    """How workers are and how they have ended, in memory."""

    def note_workers(self, notes: Mapping[str, WorkerNote]) -> None:
        with self._store.lock:
            for worker_id in notes.keys() & self._store.workers.keys():
                worker = self._store.workers[worker_id]
                self._store.workers[worker_id] = replace(worker, note=notes[worker_id])

    def ended_workers(self, limit: int) -> list[WorkerEnd]:
        with self._store.lock:
            ended = [e for e in self._store.ended.values() if e.id not in self._store.workers]
        ended.sort(key=lambda end: end.id)
        return sorted(ended, key=lambda end: end.ended_at, reverse=True)[:limit]

    def prune_ended_workers(self, age: timedelta, limit: int) -> int:
        with self._store.lock:
            latest = self._store.now() - age
            old = [end.id for end in self._store.ended.values() if end.ended_at <= latest][:limit]
            for worker_id in old:
                del self._store.ended[worker_id]
            return len(old)
