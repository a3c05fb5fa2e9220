"""Idempotency keys, in memory."""

from __future__ import annotations

from datetime import datetime

from jobqueue.adapters.memory.path import MemoryPath
from jobqueue.adapters.memory.store import MemoryRole, MemoryStore
from jobqueue.adapters.roles.keys import KeysRole
from jobqueue.records import EnqueuedOnce, NewJob, UsedKey
from jobqueue.stored import StoredJob


class MemoryKeys(MemoryRole, KeysRole):
    """The idempotency keys in memory, and the one job that was stored for each.

    Args:
        store: as for every role.
        path: stores the job.
    """

    def __init__(self, store: MemoryStore, path: MemoryPath) -> None:
        super().__init__(store)
        self._path = path
        self._keys: dict[str, tuple[UsedKey, int, datetime]] = {}

    def enqueue_once(self, key: UsedKey, job: NewJob) -> EnqueuedOnce[StoredJob]:
        now = self._store.now()
        with self._store.lock:
            used = self._keys.get(key.key)
            if (
                used is not None
                and now < used[2] + used[0].lifetime
                and used[2] <= now + key.lifetime
            ):
                before, job_id, made_at = used
                job_before = self._store.get(job_id)
                return EnqueuedOnce(job_id, job_before, False, before.fingerprint, made_at)
            [record] = self._path.enqueue([job])
            self._keys[key.key] = (key, record.id, record.created_at)
            return EnqueuedOnce(record.id, record, True, key.fingerprint, record.created_at)

    def prune_keys(self, limit: int) -> int:
        now = self._store.now()
        with self._store.lock:
            expired = [k for k, (used, _, at) in self._keys.items() if at + used.lifetime <= now]
            for key in expired[:limit]:
                del self._keys[key]
            return len(expired[:limit])
