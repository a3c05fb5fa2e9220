"""Pages and counts, idempotency keys, stats and tokens, in this process's memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.stored import StoredJob
from jobqueue.clock import Clock
from jobqueue.outside import (
    STATS_LIFETIME,
    Count,
    EnqueuedOnce,
    Page,
    Stat,
    StatOfMinute,
    TokenRecord,
    UsedKey,
)
from jobqueue.records import JobFilter, JobState, NewJob


class MemoryOutside(Adapter):
    """The part of the memory adapter that serves those who look from outside."""

    _clock: Clock
    _lock: threading.RLock

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[str, tuple[UsedKey, int, datetime]] = {}
        self._stats: dict[tuple[datetime, str, str, str], Stat] = {}
        self._tokens: dict[str, TokenRecord] = {}

    def page_jobs(self, where: JobFilter, limit: int) -> Page[StoredJob]:
        """See `Adapter.page_jobs`; memory looks at all of them."""
        found = self.list_jobs(where, limit + 1)
        more = len(found) > limit
        return Page(found[:limit], found[limit - 1].id if more else None)

    def count_up_to(self, where: JobFilter, most: int) -> Count:
        """See `Adapter.count_up_to`."""
        number = self.count_jobs(where)
        return Count(min(number, most), number > most)

    def enqueue_once(self, key: UsedKey, job: NewJob) -> EnqueuedOnce[StoredJob]:
        """See `Adapter.enqueue_once`."""
        now = self._clock.now()
        with self._lock:
            used = self._keys.get(key.key)
            if used is not None and used[2] + used[0].lifetime > now:
                before, job_id, made_at = used
                return EnqueuedOnce(job_id, self.get(job_id), False, before.fingerprint, made_at)
            [record] = self.enqueue([job])
            self._keys[key.key] = (key, record.id, record.created_at)
            return EnqueuedOnce(record.id, record, True, key.fingerprint, record.created_at)

    def prune_keys(self, limit: int) -> int:
        """See `Adapter.prune_keys`."""
        now = self._clock.now()
        with self._lock:
            expired = [k for k, (used, _, at) in self._keys.items() if at + used.lifetime <= now]
            for key in expired[:limit]:
                del self._keys[key]
            return len(expired[:limit])

    def change_args(self, job_id: int, change: Callable[[StoredJob], str]) -> bool:
        """See `Adapter.change_args`."""
        with self._lock:
            job = self.get(job_id)
            if job is None or job.state is not JobState.READY:
                return False
            return self.update_args(job_id, change(job))

    # --- stats -----------------------------------------------------------------------------------

    def add_stats(self, worker_id: str, stats: Sequence[Stat]) -> None:
        """See `Adapter.add_stats`."""
        minute = self._clock.now().replace(second=0, microsecond=0)
        with self._lock:
            for stat in stats:
                key = (minute, worker_id, stat.handler, stat.queue)
                before = self._stats.get(key, Stat(stat.handler, stat.queue))
                self._stats[key] = before.plus(stat)

    def stats(self, period: timedelta) -> list[StatOfMinute]:
        """See `Adapter.stats`."""
        since, found = self._clock.now() - period, dict[tuple[datetime, str, str], Stat]()
        with self._lock:
            for (minute, _, handler, queue), stat in self._stats.items():
                if minute > since:
                    key = (minute, handler, queue)
                    found[key] = found.get(key, Stat(handler, queue)).plus(stat)
        return [StatOfMinute(key[0], found[key]) for key in sorted(found)]

    def prune_stats(self, limit: int) -> int:
        """See `Adapter.prune_stats`."""
        until = self._clock.now() - STATS_LIFETIME
        with self._lock:
            too_old = sorted(key for key in self._stats if key[0] <= until)[:limit]
            for key in too_old:
                del self._stats[key]
            return len(too_old)

    # --- tokens ----------------------------------------------------------------------------------

    def store_token(self, token: TokenRecord) -> None:
        """See `Adapter.store_token`."""
        with self._lock:
            self._tokens[token.id] = token

    def find_token(self, token_id: str) -> TokenRecord | None:
        """See `Adapter.find_token`."""
        return self._tokens.get(token_id)

    def tokens(self) -> list[TokenRecord]:
        """See `Adapter.tokens`."""
        with self._lock:
            return sorted(self._tokens.values(), key=lambda token: (token.created_at, token.id))

    def revoke_token(self, token_id: str) -> bool:
        """See `Adapter.revoke_token`."""
        with self._lock:
            token = self._tokens.get(token_id)
            if token is None or token.revoked_at is not None:
                return False
            self._tokens[token_id] = replace(token, revoked_at=self._clock.now())
            return True
