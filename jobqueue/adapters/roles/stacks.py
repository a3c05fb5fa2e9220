"""The stacks of workers, which somebody asks for and the workers store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Protocol

from jobqueue.records import Stack, WorkerStacks


class StacksRole(Protocol):
    """The role that takes questions for the stacks of workers, and keeps the answers."""

    def ask_for_stacks(self, worker_id: str, by: str | None = None) -> WorkerStacks:
        """Ask a worker for its stacks, and return the question. An older answer is forgotten."""
        ...

    def workers_asked_for_stacks(self, worker_ids: Collection[str]) -> set[str]:
        """Return those of some workers that are asked for stacks, and have not answered. Cheap."""
        ...

    def answer_with_stacks(self, worker_id: str, stacks: Sequence[Stack]) -> bool:
        """Store the answer of a worker; return whether it was asked and had not answered yet."""
        ...

    def stacks_of(self, worker_id: str) -> WorkerStacks | None:
        """Return the question for the stacks of a worker, and its answer; None if nobody asked."""
        ...

    def prune_stacks(self, age: timedelta, limit: int) -> int:
        """Remove questions that are older than `age`; return how many, at most `limit`."""
        ...
