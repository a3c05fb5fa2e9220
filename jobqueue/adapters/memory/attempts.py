"""The attempts of jobs that did not succeed, in memory."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.adapters.memory.store import MemoryRole
from jobqueue.adapters.roles.attempts import AttemptsRole
from jobqueue.records import AttemptRecord


class MemoryAttempts(MemoryRole, AttemptsRole):
    """The attempts of jobs that did not succeed, in memory."""

    def attempts(self, job_id: int) -> list[AttemptRecord]:
        with self._store.lock:
            return list(self._store.attempts.get(job_id, ()))

    def prune_attempts(self, keep: timedelta, limit: int) -> int:
        with self._store.lock:
            until = self._store.now() - keep
            noted = [a for attempts in self._store.attempts.values() for a in attempts]
            old = [a for a in noted if a.ended_at <= until]
            old = sorted(old, key=lambda attempt: attempt.ended_at)[:limit]
            for attempt in old:
                self._store.attempts[attempt.job_id].remove(attempt)
            return len(old)
