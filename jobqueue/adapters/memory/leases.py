"""Workers and their leases, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from jobqueue.adapters.memory.store import MemoryRole, MemoryStore, Row
from jobqueue.adapters.roles.leases import LeasesRole
from jobqueue.adapters.settlement import Settlement
from jobqueue.records import MOST_CRASHES, CrashedJob, JobState, NewWorker, Rescue, WorkerRecord
from jobqueue.stored import StoredJob, kept_by


class MemoryLeases(MemoryRole, LeasesRole):
    """Keeps workers in memory, and frees the jobs of those that are gone."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._handlers: dict[str, set[str]] = {}

    def register_worker(self, worker: NewWorker) -> None:
        now = self._store.now()
        with self._store.lock:
            self._store.workers[worker.id] = WorkerRecord(
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
        now = self._store.now()
        with self._store.lock:
            known = set(worker_ids) & set(self._store.workers)
            for worker_id in known:
                self._store.workers[worker_id] = replace(
                    self._store.workers[worker_id], heartbeat_at=now
                )
            return known

    def unregister_worker(self, worker_id: str) -> Rescue:
        with self._store.lock:
            self._store.workers.pop(worker_id, None)
            return self._freed(worker_id, self._release_jobs_of(worker_id))

    def workers(self) -> list[WorkerRecord]:
        with self._store.lock:
            return sorted(
                self._store.workers.values(), key=lambda worker: (worker.started_at, worker.id)
            )

    def rescue(self, seen: WorkerRecord, error: str) -> Rescue | None:
        with self._store.lock:
            known = self._store.workers.get(seen.id)
            if known is None or known.heartbeat_at != seen.heartbeat_at:
                return None
            del self._store.workers[seen.id]
            return self._free_jobs_of(seen.id, error)

    def rescue_crashed(self, worker_id: str, performing: Sequence[CrashedJob]) -> Rescue:
        with self._store.lock:
            self._store.workers.pop(worker_id, None)
            ended = [job.id for job in performing if self._end_crashed(worker_id, job)]
            return self._freed(worker_id, ended + self._release_jobs_of(worker_id))

    def _end_crashed(self, worker_id: str, job: CrashedJob) -> bool:
        row = self._store.rows.get(job.id)
        if row is None or row.token != job.token or row.record.locked_by != worker_id:
            return False
        now, record = self._store.now(), row.record
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
        self._store.put(Row(changed, row.args))
        return True

    def orphaned_workers(self) -> list[str]:
        with self._store.lock:
            owners = {row.record.locked_by for row in self._store.running_rows()}
            return sorted(owner for owner in owners if owner and owner not in self._store.workers)

    def rescue_orphans(self, worker_id: str, error: str) -> Rescue | None:
        with self._store.lock:
            return (
                None if worker_id in self._store.workers else self._free_jobs_of(worker_id, error)
            )

    def _free_jobs_of(self, worker_id: str, error: str) -> Rescue:
        now = self._store.now()
        rows = [row for row in self._store.running_rows() if row.record.locked_by == worker_id]
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
            self._store.put(Row(freed, row.args))
        return self._freed(worker_id, [row.record.id for row in rows])

    def _freed(self, worker_id: str, job_ids: Iterable[int]) -> Rescue:
        records = [self._store.rows[job_id].record for job_id in sorted(job_ids)]
        states = {record.id: record.state for record in records}
        ended = [record for record in records if record.state is not JobState.READY]
        return Rescue.of(worker_id, states, kept_by(self._store.adapter, ended))

    def release_strays(self, worker_id: str, held: Collection[tuple[int, int]]) -> Rescue:
        with self._store.lock:
            return self._freed(worker_id, self._release_jobs_of(worker_id, held))

    def _release_jobs_of(self, worker_id: str, held: Collection[tuple[int, int]] = ()) -> list[int]:
        strays = [pair for pair, _ in self._store.claims_of(worker_id) if pair not in held]
        for job_id, token in strays:
            self._store.apply(Settlement(job_id, token, JobState.READY, refund=1, keeps_error=True))
        return [job_id for job_id, _ in strays]

    def declare_handlers(self, worker_id: str, handlers: Collection[str]) -> None:
        with self._store.lock:
            if worker_id in self._store.workers:
                self._handlers[worker_id] = set(handlers)

    def declared_handlers(self) -> dict[str, set[str]]:
        with self._store.lock:
            return {
                i: set(names) for i, names in self._handlers.items() if i in self._store.workers
            }


def _reason_or(error: str, record: StoredJob) -> str | None:
    """Why somebody had cancelled a job, which stays; otherwise what became of its worker."""
    return error if record.cancel_requested_at is None else record.last_error
