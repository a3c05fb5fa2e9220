"""Storing jobs whose calls may mean a job that is there already, in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from jobqueue.adapters.memory.store import MemoryStore, Row
from jobqueue.records import FINISHED_STATES, FlowControl, JobState, NewJob
from jobqueue.stored import StoredJob

MakeRow = Callable[[NewJob], Row]


class MemoryControlledJobs:
    """The jobs of a store that have keys.

    Args:
        store: the rows.
        new_row: makes the row of a job, with an id of its own.
    """

    def __init__(self, store: MemoryStore, new_row: MakeRow) -> None:
        self._store = store
        self._new_row = new_row
        self._held: dict[str, tuple[datetime, int]] = {}

    def rows_of(self, jobs: Sequence[NewJob]) -> list[tuple[Row, bool]]:
        """The row of each job, and whether it is new. One that is new is not stored yet."""
        found: list[tuple[Row, bool]] = []
        for job in jobs:
            fresh = [row for row, is_new in found if is_new]
            there = self.row_there(job, fresh)
            found.append((self._made(job), True) if there is None else (there, False))
        return found

    def row_there(self, job: NewJob, fresh: Sequence[Row] = ()) -> Row | None:
        """The row of the job that another call means, as a duplicate; None when there is none."""
        control = job.flow_control
        if control is None:
            return None
        if control.held_key is not None and control.held_for is not None:
            holder = self._holder(job, control.held_key, fresh)
            if holder is not None:
                return holder
        rows = [*self._store.rows.values(), *fresh]
        there = next((row for row in rows if _means_same(row.record, control)), None)
        if there is None:
            return None
        if there.record.waiting_key == control.waiting_key and control.debounced is not None:
            there = self._debounced(there, job, control)
        return Row(replace(there.record).as_duplicate(), there.args)

    def _made(self, job: NewJob) -> Row:
        row, control = self._new_row(job), job.flow_control
        if control is not None and control.held_key is not None and control.held_for is not None:
            self._held[control.held_key] = (self._store.now() + control.held_for, row.record.id)
        return row

    def _holder(self, job: NewJob, key: str, fresh: Sequence[Row]) -> Row | None:
        until, job_id = self._held.get(key, (self._store.now(), 0))
        if until <= self._store.now():
            return None
        there = [*filter(None, [self._store.rows.get(job_id)]), *fresh]
        row = next((row for row in there if row.record.id == job_id), None)
        if row is not None:
            return Row(replace(row.record).as_duplicate(), row.args)
        now = self._store.now()
        gone = StoredJob.of_new(job, job_id, now, now)
        return Row(replace(gone, state=JobState.SUCCEEDED).as_duplicate(), job.args)

    def _debounced(self, there: Row, job: NewJob, control: FlowControl) -> Row:
        assert control.debounced is not None, "it is one that is debounced"  # noqa: S101
        now, most = self._store.now(), control.debounced.max_wait
        run_at = now + control.debounced.wait
        if most is not None:
            run_at = min(run_at, there.record.created_at + most)
        changed = replace(
            self._new_record_of(there, job),
            run_at=run_at,
            expires_at=None if control.expires_in is None else run_at + control.expires_in,
            updated_at=now,
        )
        row = Row(changed, job.args)
        if there.record.id in self._store.rows:
            self._store.put(row)
        return row

    @staticmethod
    def _new_record_of(there: Row, job: NewJob) -> StoredJob:
        """The record of a job that waits, with the arguments and the meta of another call."""
        record = there.record
        new = StoredJob.of_new(job, record.id, record.run_at, record.created_at)
        return replace(record, args=new.args, meta=new.meta)


def _means_same(record: StoredJob, control: FlowControl) -> bool:
    if record.state in FINISHED_STATES:
        return False
    is_it = control.unique_key is not None and record.unique_key == control.unique_key
    waits = control.waiting_key is not None and record.waiting_key == control.waiting_key
    return is_it or waits
