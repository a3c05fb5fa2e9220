"""Jobs kept in this process's memory: for tests, and for what may be lost when it ends."""

from __future__ import annotations

import heapq
import json
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jobqueue.adapters.hearing import MemoryListener
from jobqueue.adapters.joining import JoinedTransactions
from jobqueue.adapters.memory_outside import MemoryOutside
from jobqueue.adapters.memory_pruning import MemoryPruning
from jobqueue.adapters.memory_schedules import MemorySchedules
from jobqueue.adapters.memory_steering import MemorySteering
from jobqueue.adapters.memory_transactions import MemoryTransactions
from jobqueue.adapters.settlement import Settlement, settlement_of
from jobqueue.adapters.stored import StoredJob, kept_by
from jobqueue.clock import Clock, SystemClock
from jobqueue.records import (
    FINISHED_STATES,
    MOST_CRASHES,
    UNFINISHED_STATES,
    Claim,
    ClaimedJob,
    CrashedJob,
    JobFilter,
    JobRecord,
    JobState,
    NewJob,
    NewWorker,
    Outcome,
    QueueDepth,
    Rescue,
    SchemaStatus,
    Turn,
    Wakeup,
    WorkerRecord,
)


@dataclass(frozen=True, slots=True)
class _Row:
    record: StoredJob
    args: str
    token: int | None = None


_Place = tuple[int, datetime, int]


class MemoryAdapter(
    MemoryTransactions, MemoryPruning, MemorySchedules, MemorySteering, MemoryOutside
):
    """Keeps jobs in memory, with the semantics of a database.

    A SQLAlchemy `Session` or `Connection` given as `session` is honoured: the jobs appear when it
    commits and never do when it rolls back.

    Args:
        clock: where the time comes from; the machine's clock by default.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__()
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._next_id = 1
        self._rows: dict[int, _Row] = {}
        self._running: dict[int, None] = {}
        self._due: dict[str, list[_Place]] = {}
        self._later: list[tuple[datetime, int]] = []
        self._workers: dict[str, WorkerRecord] = {}
        self._paused: set[str] = set()
        self._joined = JoinedTransactions()
        self._listeners: weakref.WeakSet[MemoryListener] = weakref.WeakSet()

    # --- the path --------------------------------------------------------------------------------

    def enqueue(self, jobs: Sequence[NewJob], *, session: Any = None) -> Sequence[StoredJob]:
        """See `Adapter.enqueue`."""
        with self._lock:
            rows = [self._new_row(job) for job in jobs]
        if session is None:
            self._store(rows)
        else:
            self._joined.at_commit(session, lambda: self._store(rows))
        return kept_by(self, [row.record for row in rows])

    def _new_row(self, job: NewJob) -> _Row:
        now = self._clock.now()
        record = StoredJob.of_new(job, self._next_id, job.due_at(now).astimezone(UTC), now)
        self._next_id += 1
        return _Row(record, job.args)

    def _store(self, rows: Iterable[_Row]) -> None:
        with self._lock:
            for row in rows:
                self._put(row)

    def _put(self, row: _Row) -> None:
        record = row.record
        self._rows[record.id] = row
        if record.state is JobState.READY:
            heapq.heappush(self._later, (record.run_at, record.id))
            self._tell_of(record)
        if record.state is JobState.RUNNING:
            self._running[record.id] = None
        else:
            self._running.pop(record.id, None)

    def _tell_of(self, record: JobRecord) -> None:
        if self._listeners and record.run_at <= self._clock.now():
            place = (record.priority, record.run_at, record.id)
            self._wake(Wakeup(frozenset((record.queue,)), place, 1))

    def _wake(self, wakeup: Wakeup) -> None:
        for listener in list(self._listeners):
            listener.hear(wakeup)

    def listen(self, url: str | None = None) -> MemoryListener:  # noqa: ARG002 - memory has one
        """See `Adapter.listen`; `url` is not needed here."""
        listener = MemoryListener()
        with self._lock:
            self._listeners.add(listener)
        return listener

    def due_in(self) -> timedelta | None:
        """See `Adapter.due_in`."""
        ready = self._matching(JobFilter(states=(JobState.READY,)))
        first = min((row.record.run_at for row in ready), default=None)
        return None if first is None else first - self._clock.now()

    def claim(self, claim: Claim) -> list[ClaimedJob]:
        """See `Adapter.claim`."""
        with self._lock:
            self._sort_in_what_is_due()
            candidates = self._take_candidates(claim)
            taken = []
            for position, row in enumerate(candidates):
                if row.record.max_attempts > 1 or position < claim.free_slots:
                    taken.append(self._claim_row(row, claim))
                else:
                    self._put_back(row)
            return taken

    def _sort_in_what_is_due(self) -> None:
        now = self._clock.now()
        while self._later and self._later[0][0] <= now:
            run_at, job_id = heapq.heappop(self._later)
            row = self._rows.get(job_id)
            if row and row.record.state is JobState.READY and row.record.run_at == run_at:
                place = (row.record.priority, run_at, job_id)
                heapq.heappush(self._due.setdefault(row.record.queue, []), place)

    def _take_candidates(self, claim: Claim) -> list[_Row]:
        wanted = self._due if claim.queues is None else dict.fromkeys(claim.queues)
        heads = [(self._due[q][0], q) for q in wanted if self._due.get(q) and q not in self._paused]
        heapq.heapify(heads)
        candidates: list[_Row] = []
        passed_over: list[tuple[str, tuple[int, datetime, int]]] = []
        while heads and len(candidates) < claim.limit:
            place, queue = heapq.heappop(heads)
            heapq.heappop(self._due[queue])
            row = self._rows.get(place[2])
            again = bool(candidates) and candidates[-1] is row
            if row is not None and not again and _is_ready_at(row.record, place):
                if row.record.handler in claim.passing_over:
                    passed_over.append((queue, place))
                else:
                    candidates.append(row)
            if self._due[queue]:
                heapq.heappush(heads, (self._due[queue][0], queue))
        for queue, place in passed_over:
            heapq.heappush(self._due[queue], place)
        return candidates

    def _put_back(self, row: _Row) -> None:
        """Leave it to others. They know of it; to be told, who claims would wake itself."""
        heapq.heappush(self._later, (row.record.run_at, row.record.id))

    def _claim_row(self, row: _Row, claim: Claim) -> ClaimedJob:
        now = self._clock.now()
        record = replace(
            row.record,
            state=JobState.RUNNING,
            attempts=row.record.attempts + 1,
            locked_at=now,
            locked_by=claim.worker_id,
            updated_at=now,
        )
        self._put(_Row(record, row.args, claim.token))
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
        )

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """See `Adapter.settle`."""
        with self._lock:
            return [o for o in outcomes if not self._apply(settlement_of(o))]

    def turn(self, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
        """See `Adapter.turn`: nobody comes in between."""
        with self._lock:
            return super().turn(outcomes, claim)

    def is_held(self, job: ClaimedJob) -> bool:
        """See `MemoryTransactions.is_held`."""
        row = self._rows.get(job.id)
        return row is not None and row.token == job.token

    def _apply(self, settlement: Settlement) -> bool:
        row = self._rows.get(settlement.id)
        if row is None or row.token != settlement.token:
            return False
        if settlement.remove:
            self._remove(settlement.id)
        else:
            self._put(_Row(self._settled(row.record, settlement), row.args))
        return True

    def _settled(self, record: StoredJob, settlement: Settlement) -> StoredJob:
        now = self._clock.now()
        delay, state, progress = settlement.delay, settlement.state, settlement.progress
        if state is JobState.READY and record.cancel_requested_at is not None:
            state = JobState.CANCELLED
        finished = state in FINISHED_STATES
        keeps_error = settlement.keeps_error or state is not settlement.state
        return replace(
            record,
            state=state,
            attempts=record.attempts - settlement.refund,
            run_at=record.run_at if delay is None else now + delay,
            locked_at=None,
            locked_by=None,
            last_error=record.last_error if keeps_error else settlement.error,
            failed_at=now if settlement.state is JobState.FAILED else None,
            finished_at=now if finished else None,
            progress=record.progress if progress is None else json.loads(progress),
            result=json.loads(settlement.result) if settlement.result else None,
            updated_at=now,
        )

    def _remove(self, job_id: int) -> None:
        del self._rows[job_id]
        self._running.pop(job_id, None)

    # --- workers and their leases ----------------------------------------------------------------

    def register_worker(self, worker: NewWorker) -> None:
        """See `Adapter.register_worker`."""
        now = self._clock.now()
        with self._lock:
            self._workers[worker.id] = WorkerRecord(
                id=worker.id,
                name=worker.name,
                host=worker.host,
                pid=worker.pid,
                queues=worker.queues,
                concurrency=worker.concurrency,
                lease=worker.lease,
                started_at=now,
                heartbeat_at=now,
            )

    def beat(self, worker_ids: Collection[str]) -> set[str]:
        """See `Adapter.beat`."""
        now = self._clock.now()
        with self._lock:
            known = set(worker_ids) & set(self._workers)
            for worker_id in known:
                self._workers[worker_id] = replace(self._workers[worker_id], heartbeat_at=now)
            return known

    def unregister_worker(self, worker_id: str) -> Rescue:
        """See `Adapter.unregister_worker`."""
        with self._lock:
            self._workers.pop(worker_id, None)
            return self._freed(worker_id, self._release_jobs_of(worker_id))

    def workers(self) -> list[WorkerRecord]:
        """See `Adapter.workers`."""
        with self._lock:
            return sorted(self._workers.values(), key=lambda worker: (worker.started_at, worker.id))

    def rescue(self, seen: WorkerRecord, error: str) -> Rescue | None:
        """See `Adapter.rescue`."""
        with self._lock:
            known = self._workers.get(seen.id)
            if known is None or known.heartbeat_at != seen.heartbeat_at:
                return None
            del self._workers[seen.id]
            return self._free_jobs_of(seen.id, error)

    def rescue_crashed(self, worker_id: str, performing: Sequence[CrashedJob]) -> Rescue:
        """See `Adapter.rescue_crashed`."""
        with self._lock:
            self._workers.pop(worker_id, None)
            ended = [job.id for job in performing if self._end_crashed(worker_id, job)]
            return self._freed(worker_id, ended + self._release_jobs_of(worker_id))

    def _end_crashed(self, worker_id: str, job: CrashedJob) -> bool:
        row = self._rows.get(job.id)
        if row is None or row.token != job.token or row.record.locked_by != worker_id:
            return False
        now, record = self._clock.now(), row.record
        crashes = record.crashes + int(job.guilty)
        used_up = record.attempts >= record.max_attempts or crashes >= MOST_CRASHES or job.final
        state = JobState.FAILED if used_up else JobState.READY
        if record.cancel_requested_at is not None:
            state = JobState.CANCELLED
        changed = replace(
            record,
            state=state,
            crashes=crashes,
            run_at=now + job.delay if job.delay else record.run_at,
            locked_at=None,
            locked_by=None,
            last_error=_reason_or(job.error, record),
            failed_at=now if state is JobState.FAILED else None,
            finished_at=None if state is JobState.READY else now,
            updated_at=now,
        )
        self._put(_Row(changed, row.args))
        return True

    def orphaned_workers(self) -> list[str]:
        """See `Adapter.orphaned_workers`."""
        with self._lock:
            owners = {row.record.locked_by for row in self._running_rows()}
            return sorted(owner for owner in owners if owner and owner not in self._workers)

    def rescue_orphans(self, worker_id: str, error: str) -> Rescue | None:
        """See `Adapter.rescue_orphans`."""
        with self._lock:
            return None if worker_id in self._workers else self._free_jobs_of(worker_id, error)

    def _free_jobs_of(self, worker_id: str, error: str) -> Rescue:
        now = self._clock.now()
        rows = [row for row in self._running_rows() if row.record.locked_by == worker_id]
        for row in rows:
            record = row.record
            unlocked = replace(record, locked_at=None, locked_by=None, updated_at=now)
            unlocked = replace(unlocked, last_error=_reason_or(error, record))
            if record.cancel_requested_at is not None:
                freed = replace(unlocked, state=JobState.CANCELLED, finished_at=now)
            elif record.attempts < record.max_attempts:
                freed = replace(unlocked, state=JobState.READY)
            else:
                freed = replace(unlocked, state=JobState.FAILED, failed_at=now, finished_at=now)
            self._put(_Row(freed, row.args))
        return self._freed(worker_id, [row.record.id for row in rows])

    def _freed(self, worker_id: str, job_ids: Iterable[int]) -> Rescue:
        records = [self._rows[job_id].record for job_id in sorted(job_ids)]
        states = {record.id: record.state for record in records}
        ended = [record for record in records if record.state is not JobState.READY]
        return Rescue.of(worker_id, states, kept_by(self, ended))

    def release_strays(self, worker_id: str, held: Collection[tuple[int, int]]) -> Rescue:
        """See `Adapter.release_strays`."""
        with self._lock:
            return self._freed(worker_id, self._release_jobs_of(worker_id, held))

    def _release_jobs_of(self, worker_id: str, held: Collection[tuple[int, int]] = ()) -> list[int]:
        strays = [pair for pair, _ in self._claims_of(worker_id) if pair not in held]
        for job_id, token in strays:
            self._apply(Settlement(job_id, token, JobState.READY, refund=1, keeps_error=True))
        return [job_id for job_id, _ in strays]

    def _claims_of(self, worker_id: str) -> list[tuple[tuple[int, int], StoredJob]]:
        return [
            ((row.record.id, row.token or 0), row.record)
            for row in self._running_rows()
            if row.record.locked_by == worker_id
        ]

    def _running_rows(self) -> list[_Row]:
        return [self._rows[job_id] for job_id in list(self._running)]

    # --- reads -----------------------------------------------------------------------------------

    def get(self, job_id: int) -> StoredJob | None:
        """See `Adapter.get`."""
        with self._lock:
            row = self._rows.get(job_id)
            return kept_by(self, [row.record])[0] if row else None

    def list_jobs(self, where: JobFilter, limit: int) -> list[StoredJob]:
        """See `Adapter.list_jobs`."""
        newest_first = sorted(self._matching(where), key=lambda row: -row.record.id)
        return kept_by(self, [row.record for row in newest_first[:limit]])

    def count_jobs(self, where: JobFilter) -> int:
        """See `Adapter.count_jobs`."""
        return sum(1 for _ in self._matching(where))

    def count_by_state(self) -> Mapping[JobState, int]:
        """See `Adapter.count_by_state`."""
        counts: dict[JobState, int] = {}
        for row in self._matching(JobFilter()):
            counts[row.record.state] = counts.get(row.record.state, 0) + 1
        return counts

    def queue_depths(self, most: int | None = None) -> list[QueueDepth]:  # noqa: ARG002
        """See `Adapter.queue_depths`; memory counts them all."""
        now = self._clock.now()
        unfinished = [row.record for row in self._matching(JobFilter(states=UNFINISHED_STATES))]
        names = {record.queue for record in unfinished} | self.paused_queues()
        return [
            depth_of(name, [r for r in unfinished if r.queue == name], now, name in self._paused)
            for name in sorted(names)
        ]

    def running_jobs(self, limit: int) -> list[StoredJob]:
        """See `Adapter.running_jobs`."""
        running = [row.record for row in self._matching(JobFilter(states=(JobState.RUNNING,)))]
        first = sorted(running, key=lambda record: (record.locked_at, record.id))[:limit]
        return kept_by(self, first)

    def paused_queues(self) -> set[str]:
        """See `Adapter.paused_queues`."""
        with self._lock:
            return set(self._paused)

    def _matching(self, where: JobFilter) -> Iterator[_Row]:
        now = self._clock.now()
        with self._lock:
            rows = list(self._rows.values())
        return (row for row in rows if _matches(row.record, where, now))

    # --- steering --------------------------------------------------------------------------------

    def retry(self, where: JobFilter) -> int:
        """See `Adapter.retry`."""

        def retried(record: StoredJob, now: datetime) -> StoredJob:
            return replace(
                record,
                state=JobState.READY,
                run_at=min(record.run_at, now),
                max_attempts=max(record.max_attempts, record.attempts + 1),
                failed_at=None,
                finished_at=None,
                cancel_requested_at=None,
                updated_at=now,
            )

        states = (JobState.READY, JobState.FAILED, JobState.CANCELLED)
        return len(self._change(where, states, retried))

    def cancel(self, where: JobFilter, reason: str) -> int:
        """See `Adapter.cancel`."""
        return len(self.cancel_each(where, reason))

    def cancel_each(self, where: JobFilter, reason: str) -> list[StoredJob]:
        """See `Adapter.cancel_each`."""

        def cancelled(record: StoredJob, now: datetime) -> StoredJob:
            return replace(
                record,
                state=JobState.CANCELLED,
                last_error=reason,
                finished_at=now,
                updated_at=now,
            )

        return self._change(where, (JobState.READY,), cancelled)

    def _change(
        self,
        where: JobFilter,
        states: tuple[JobState, ...],
        changed: Callable[[StoredJob, datetime], StoredJob],
        args: str | None = None,
    ) -> list[StoredJob]:
        """Change the rows that match, and their arguments, if new ones are given."""
        now, records = self._clock.now(), []
        with self._lock:
            for row in self._matching(where):
                if row.record.state in states:
                    records.append(changed(row.record, now))
                    new_args = row.args if args is None else args
                    self._put(_Row(records[-1], new_args, row.token))
        return kept_by(self, records)

    def _find(self, job_id: int, token: int) -> StoredJob | None:
        row = self._rows.get(job_id)
        return row.record if row is not None and row.token == token else None

    def delete(self, where: JobFilter, *, include_running: bool = False) -> int:
        """See `Adapter.delete`."""
        return len(self.delete_each(where, include_running=include_running))

    def delete_each(self, where: JobFilter, *, include_running: bool = False) -> list[StoredJob]:
        """See `Adapter.delete_each`."""
        with self._lock:
            records = [
                row.record
                for row in self._matching(where)
                if include_running or row.record.state is not JobState.RUNNING
            ]
            for record in records:
                self._remove(record.id)
        return kept_by(self, records)

    def pause_queues(self, queues: Collection[str]) -> set[str]:
        """See `Adapter.pause_queues`."""
        with self._lock:
            changed = set(queues) - self._paused
            self._paused |= changed
            return changed

    def resume_queues(self, queues: Collection[str]) -> set[str]:
        """See `Adapter.resume_queues`."""
        with self._lock:
            changed = set(queues) & self._paused
            self._paused -= changed
            if changed:
                self._wake(Wakeup(frozenset(changed)))
            return changed

    # --- the database itself ---------------------------------------------------------------------

    def ping(self) -> None:
        """Memory is always there."""

    def migrate(self, revision: str = "head") -> None:
        """Memory has no tables."""

    def downgrade(self, revision: str) -> None:
        """Memory has no tables."""

    def migration_sql(self, start: str | None = None) -> str:  # noqa: ARG002 - others have some
        """Memory has no tables."""
        return ""

    def schema_status(self) -> SchemaStatus:
        """See `Adapter.schema_status`."""
        return SchemaStatus(server="memory of this process", current=None, head="")

    def close(self) -> None:
        """Memory needs no closing."""


def _reason_or(error: str, record: StoredJob) -> str | None:
    """Why somebody had cancelled a job, which stays; otherwise what became of its worker."""
    return error if record.cancel_requested_at is None else record.last_error


def _is_ready_at(record: JobRecord, place: _Place) -> bool:
    return record.state is JobState.READY and (record.priority, record.run_at, record.id) == place


def depth_of(name: str, records: list[JobRecord], now: datetime, paused: bool) -> QueueDepth:
    """The depth of a queue with these unfinished jobs."""
    ready = [record for record in records if record.state is JobState.READY]
    due = [record.run_at for record in ready if record.run_at <= now]
    return QueueDepth(
        queue=name,
        due=len(due),
        later=len(ready) - len(due),
        running=len(records) - len(ready),
        oldest_age=now - min(due) if due else timedelta(0),
        paused=paused,
    )


def _matches(record: JobRecord, where: JobFilter, now: datetime) -> bool:
    return (
        (where.ids is None or record.id in where.ids)
        and (where.states is None or record.state in where.states)
        and (where.queues is None or record.queue in where.queues)
        and (where.handlers is None or record.handler in where.handlers)
        and (where.before_id is None or record.id < where.before_id)
        and (where.due is None or where.due == (record.run_at <= now))
    )
