"""Idempotency keys: one job for each, however often it is asked for."""

from __future__ import annotations

from typing import Protocol

from jobqueue.records import EnqueuedOnce, NewJob, UsedKey
from jobqueue.stored import StoredJob


class KeysRole(Protocol):
    """The role that stores one job for each idempotency key."""

    def enqueue_once(self, key: UsedKey, job: NewJob) -> EnqueuedOnce[StoredJob]:
        """Store a job, unless the key was used before: then return the job that was stored then.

        Of several calls at the same moment, one stores the job and the others return it.
        """
        ...

    def prune_keys(self, limit: int) -> int:
        """Remove idempotency keys that have expired, at most `limit`; return how many."""
        ...
