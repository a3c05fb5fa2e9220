"""The stacks of workers, in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta

from jobqueue.adapters.memory.store import MemoryRole, MemoryStore
from jobqueue.adapters.roles.stacks import StacksRole
from jobqueue.records import Stack, WorkerStacks


class MemoryStacks(MemoryRole, StacksRole):
    """The questions for stacks, and the answers, in memory."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._asked: dict[str, WorkerStacks] = {}

    def ask_for_stacks(self, worker_id: str, by: str | None = None) -> WorkerStacks:
        with self._store.lock:
            question = WorkerStacks(worker_id, self._store.now(), by)
            self._asked[worker_id] = question
            return question

    def workers_asked_for_stacks(self, worker_ids: Collection[str]) -> set[str]:
        with self._store.lock:
            unanswered = {i for i, asked in self._asked.items() if asked.answered_at is None}
            return unanswered & set(worker_ids)

    def answer_with_stacks(self, worker_id: str, stacks: Sequence[Stack]) -> bool:
        with self._store.lock:
            asked = self._asked.get(worker_id)
            if asked is None or asked.answered_at is not None:
                return False
            now = self._store.now()
            self._asked[worker_id] = replace(asked, answered_at=now, stacks=tuple(stacks))
            return True

    def stacks_of(self, worker_id: str) -> WorkerStacks | None:
        return self._asked.get(worker_id)

    def prune_stacks(self, age: timedelta, limit: int) -> int:
        with self._store.lock:
            latest = self._store.now() - age
            old = [i for i, asked in self._asked.items() if asked.asked_at <= latest][:limit]
            for worker_id in old:
                del self._asked[worker_id]
            return len(old)
