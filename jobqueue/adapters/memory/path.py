"""The path of a job in memory: enqueue, claim, settle."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.gate_room import half_of, rest_of
from jobqueue.adapters.memory.controlled_jobs import MemoryControlledJobs
from jobqueue.adapters.memory.flow_progress import MemoryFlowProgress
from jobqueue.adapters.memory.gated_claims import MemoryGatedClaims
from jobqueue.adapters.memory.store import MemoryRole, MemoryStore, Position, Row
from jobqueue.adapters.roles.path import PathRole
from jobqueue.adapters.sessions import JoinedTransactions
from jobqueue.adapters.settlement import (
    settlement_of,
)
from jobqueue.records import (
    WAITING_STATES,
    Claim,
    ClaimedJob,
    JobRecord,
    JobState,
    NewJob,
    Outcome,
    Turn,
    start_by,
)
from jobqueue.stored import StoredJob, kept_by


class MemoryPath(MemoryRole, PathRole):
    """The path of jobs in memory: they are enqueued, claimed and settled."""

    on_stored: Callable[[Sequence[StoredJob]], None] | None = None
    """Called with new jobs when they are stored, which is at the commit of a session."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._joined = JoinedTransactions()
        self._gated = MemoryGatedClaims(store, self._claim_row)
        self._has_odd_place = False
        self._controlled = MemoryControlledJobs(store, self._new_row)
        self.flows = MemoryFlowProgress(store, self._tell_of)

    def enqueue(self, jobs: Sequence[NewJob], *, session: Any = None) -> Sequence[StoredJob]:
        jobs = list(jobs)
        with self._store.lock:
            found = self.rows_of(jobs)
            new = [(job, row) for job, (row, is_new) in zip(jobs, found, strict=True) if is_new]
            if session is None:
                self.put_all([row for _, row in new])
        if session is not None:
            self._joined.at_commit(session, lambda: self._put_at_commit(new))
        return kept_by(self._store.adapter, [row.record for row, _ in found])

    def rows_of(self, jobs: Sequence[NewJob]) -> list[tuple[Row, bool]]:
        """The row of each job, and whether it is new. One that is new is not stored yet.

        Raises:
            StateConflict: its flow has ended.
        """
        for job in jobs:
            self.flows.refuse_if_over(job)
        return self._controlled.rows_of(jobs)

    def at_commit(self, session: Any, action: Callable[[], None]) -> None:
        """Do something when the transaction of a session commits; at once without one."""
        if session is None:
            action()
        else:
            self._joined.at_commit(session, action)

    def _put_at_commit(self, new: Sequence[tuple[NewJob, Row]]) -> None:
        """Store jobs, but those that another transaction has stored meanwhile."""
        with self._store.lock:
            self.put_all([row for job, row in new if self._controlled.row_there(job) is None])

    def _new_row(self, job: NewJob) -> Row:
        now = self._store.now()
        record = StoredJob.of_new(job, self._store.next_id, job.due_at(now).astimezone(UTC), now)
        self._store.next_id += 1
        return Row(record, job.args)

    def put_all(self, rows: Sequence[Row]) -> None:
        """Store rows, and tell of them."""
        with self._store.lock:
            for row in rows:
                self._store.put(row)
        self._tell_of([row.record for row in rows])

    def _tell_of(self, records: Sequence[StoredJob]) -> None:
        if self.on_stored is not None:
            self.on_stored(records)

    def claim(self, claim: Claim) -> list[ClaimedJob]:
        """Claim jobs; half of them from gates, as far as there are such jobs."""
        with self._store.lock:
            if not self._store.gated:
                return self._claim_ready(claim)
            self._has_odd_place = not self._has_odd_place
            half = half_of(claim, has_odd_place=self._has_odd_place)
            taken = [] if half is None else self._claim_ready(half)
            taken += self._gated.claim(rest_of(claim, taken), _size_of)
            return [*taken, *self._claim_ready(rest_of(claim, taken))]

    def _claim_ready(self, claim: Claim) -> list[ClaimedJob]:
        self._sort_in_what_is_due()
        taken, size = [], 0
        for position, row in enumerate(self._take_candidates(claim)):
            size += _size_of(row)
            is_prefetched = row.record.max_attempts > 1 and size <= claim.most_bytes
            if is_prefetched or position < claim.free_slots:
                taken.append(self._claim_row(row, claim))
            else:
                self._put_back(row)
        return taken

    def _sort_in_what_is_due(self) -> None:
        now = self._store.now()
        while self._store.later and self._store.later[0][0] <= now:
            run_at, job_id = heapq.heappop(self._store.later)
            row = self._store.rows.get(job_id)
            if row and row.record.state is JobState.READY and row.record.run_at == run_at:
                position = (row.record.priority, run_at, job_id)
                heapq.heappush(self._store.due.setdefault(row.record.queue, []), position)

    def _take_candidates(self, claim: Claim) -> list[Row]:
        wanted = self._store.due if claim.queues is None else dict.fromkeys(claim.queues)
        heads = [
            (self._store.due[q][0], q)
            for q in wanted
            if self._store.due.get(q) and q not in self._store.paused
        ]
        heapq.heapify(heads)
        candidates: list[Row] = []
        passed_over: list[tuple[str, Position]] = []
        while heads and len(candidates) < claim.limit:
            position, queue = heapq.heappop(heads)
            heapq.heappop(self._store.due[queue])
            row = self._store.rows.get(position[2])
            again = bool(candidates) and candidates[-1] is row
            if row is not None and not again and is_ready_at(row.record, position):
                if row.record.handler in claim.passing_over:
                    passed_over.append((queue, position))
                else:
                    candidates.append(row)
            if self._store.due[queue]:
                heapq.heappush(heads, (self._store.due[queue][0], queue))
        for queue, position in passed_over:
            heapq.heappush(self._store.due[queue], position)
        return candidates

    def _put_back(self, row: Row) -> None:
        """Leave a job to other claims. No wake-up, since the claim would only wake itself."""
        heapq.heappush(self._store.later, (row.record.run_at, row.record.id))

    def _claim_row(self, row: Row, claim: Claim) -> ClaimedJob:
        now = self._store.now()
        record = replace(
            row.record,
            state=JobState.RUNNING,
            attempts=row.record.attempts + 1,
            locked_at=now,
            locked_by=claim.worker_id,
            updated_at=now,
        )
        self._store.put(Row(record, row.args, claim.token))
        return ClaimedJob(
            id=record.id,
            token=claim.token,
            handler=record.handler,
            args=row.args,
            queue=record.queue,
            priority=record.priority,
            attempts=record.attempts,
            max_attempts=record.max_attempts,
            crashes=record.crashes,
            run_at=record.run_at,
            created_at=record.created_at,
            locked_at=now,
            meta=_meta_text(record),
            line=record.line,
            terms=record.terms,
            start_by=None if record.expires_at is None else start_by(now, record.expires_at),
            flow_id=record.flow_id,
        )

    def claim_job(self, job_id: int, claim: Claim) -> ClaimedJob | None:
        """Claim one job, whenever it is due; None when it is not ready."""
        with self._store.lock:
            row = self._store.rows.get(job_id)
            if row is None or row.record.state not in WAITING_STATES:
                return None
            return self._claim_row(row, claim)

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        with self._store.lock:
            rejected = [o for o in outcomes if not self._store.apply(settlement_of(o))]
            self.flows.note_ended(outcomes)
            return rejected

    def turn(
        self,
        outcomes: Sequence[Outcome],
        claim: Claim | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Turn:
        if meanwhile is not None:
            meanwhile()
        # By way of the adapter, so that a subclass may override `settle` and `claim`.
        with self._store.lock:
            turn = Adapter.turn(self._store.adapter, outcomes, claim)
            return replace(turn, look_again_in=self._gated.free_in)


def _size_of(row: Row) -> int:
    """The size of the arguments and the meta of a claimed job, in bytes of UTF-8."""
    return len(row.args.encode()) + len((_meta_text(row.record) or "").encode())


def _meta_text(record: JobRecord) -> str | None:
    return None if record.meta is None else json.dumps(record.meta, ensure_ascii=False)


def is_ready_at(record: JobRecord, position: Position) -> bool:
    return (
        record.state is JobState.READY and (record.priority, record.run_at, record.id) == position
    )
