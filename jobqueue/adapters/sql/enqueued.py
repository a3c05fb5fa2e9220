"""The records of jobs that have just been stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import eq
from typing import TYPE_CHECKING, Any, overload

from jobqueue.adapters.sql.tables import to_utc
from jobqueue.records import NewJob
from jobqueue.stored import StoredJob

if TYPE_CHECKING:
    from jobqueue.adapters.base import Adapter


def record_of_new(job: NewJob, job_id: int, run_at: Any, created_at: Any) -> StoredJob:
    """The record of a job just inserted, from what was given and what the database added."""
    return StoredJob.of_new(job, job_id, to_utc(run_at), to_utc(created_at))


class Enqueued(Sequence[StoredJob]):
    """Many jobs that have just been stored, in order; a record is made when it is looked at.

    To make a hundred thousand takes longer than to store them, and few look at more than one.

    Args:
        adapter: where they are kept.
        jobs: what was stored.
        ids: theirs, in the same order.
        now: when they were stored.
    """

    def __init__(
        self, adapter: Adapter, jobs: Sequence[NewJob], ids: Sequence[int], now: datetime
    ) -> None:
        self._adapter = adapter
        self._jobs = jobs
        self._ids = ids
        self._now = now

    def __len__(self) -> int:
        return len(self._jobs)

    @overload
    def __getitem__(self, index: int) -> StoredJob: ...
    @overload
    def __getitem__(self, index: slice) -> list[StoredJob]: ...
    def __getitem__(self, index: int | slice) -> StoredJob | list[StoredJob]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        job = self._jobs[index]
        record = record_of_new(job, self._ids[index], job.due_at(self._now), self._now)
        record.adapter = self._adapter
        return record

    def __eq__(self, other: object) -> bool:
        """Whether a list, or another sequence, has the same records, as between lists."""
        if not isinstance(other, list | tuple | Enqueued):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__: None  # type: ignore[assignment]  # unhashable, as a list is

    def __repr__(self) -> str:
        return f"<{len(self)} jobs, from {self._ids[0]} to {self._ids[-1]}>"
