"""Workers and their leases, in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from jobqueue.adapters.memory.store import MemoryRole, MemoryStore, Row
from jobqueue.adapters.roles.leases import LeasesRole
from jobqueue.adapters.settlement import Settlement
from jobqueue.records import MOST_CRASHES, CrashedJob, JobState, NewWorker, Rescue, WorkerRecord


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

    def unregister_worker(self, worker_id: str) -> None:
        with self._store.lock:
            self._release_jobs_of(worker_id)
            self._store.workers.pop(worker_id, None)

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
            ended = [(job.id, self._end_crashed(worker_id, job)) for job in performing]
            released = [job_id for job_id, state in ended if state is JobState.READY]
            released += self._release_jobs_of(worker_id)
            self._store.workers.pop(worker_id, None)
            failed = [job_id for job_id, state in ended if state is JobState.FAILED]
            return Rescue(worker_id, tuple(sorted(released)), tuple(sorted(failed)))

    def _end_crashed(self, worker_id: str, job: CrashedJob) -> JobState | None:
        row = self._store.rows.get(job.id)
        if row is None or row.token != job.token or row.record.locked_by != worker_id:
            return None
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
            last_error=job.error,
            failed_at=now if state is JobState.FAILED else None,
            finished_at=None if state is JobState.READY else now,
            updated_at=now,
        )
        self._store.put(Row(changed, row.args))
        return state

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
        released, failed = [], []
        for row in self._store.running_rows():
            record = row.record
            if record.locked_by != worker_id:
                continue
            unlocked = replace(record, locked_at=None, locked_by=None, updated_at=now)
            unlocked = replace(unlocked, last_error=error)
            if record.cancel_requested_at is not None:
                ended = replace(unlocked, state=JobState.CANCELLED, finished_at=now)
                self._store.put(Row(ended, row.args))
            elif record.attempts < record.max_attempts:
                released.append(record.id)
                self._store.put(Row(replace(unlocked, state=JobState.READY), row.args))
            else:
                failed.append(record.id)
                ended = replace(unlocked, state=JobState.FAILED, failed_at=now, finished_at=now)
                self._store.put(Row(ended, row.args))
        return Rescue(worker_id, tuple(sorted(released)), tuple(sorted(failed)))

    def release_strays(self, worker_id: str, held: Collection[tuple[int, int]]) -> int:
        with self._store.lock:
            return len(self._release_jobs_of(worker_id, held))

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
