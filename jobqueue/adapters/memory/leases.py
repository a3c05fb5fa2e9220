"""Workers and their leases, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from jobqueue.adapters.memory.store import MemoryRole, MemoryStore
from jobqueue.adapters.roles.leases import ASKED, LEASE_ENDED, PROCESS_DIED, LeasesRole
from jobqueue.adapters.settlement import GIVEN_BACK, Freed
from jobqueue.records import (
    WAITING_STATES,
    ChargedJob,
    CrashedJob,
    NewWorker,
    Rescue,
    WorkerEnd,
    WorkerRecord,
)
from jobqueue.stored import kept_by

NOTHING_CHARGED: Mapping[int, str] = MappingProxyType({})


class MemoryLeases(MemoryRole, LeasesRole):
    """The workers in memory, and the rescue of the jobs of those that are gone."""

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
                release=worker.release,
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

    def unregister_worker(self, worker_id: str, why: str = ASKED) -> Rescue:
        with self._store.lock:
            self._remove(worker_id, why)
            return self._rescue(worker_id, self._free_jobs_of(worker_id, GIVEN_BACK))

    def workers(self) -> list[WorkerRecord]:
        with self._store.lock:
            return sorted(
                self._store.workers.values(), key=lambda worker: (worker.started_at, worker.id)
            )

    def _remove(self, worker_id: str, why: str | None) -> bool:
        """Remove a worker and store its end; return whether there was one.

        Without a reason, that of an earlier end stays.
        """
        worker = self._store.workers.pop(worker_id, None)
        if worker is not None and (why is not None or worker_id not in self._store.ended):
            end = WorkerEnd.of(worker, self._store.now(), why or PROCESS_DIED)
            self._store.ended[worker_id] = end
        return worker is not None

    def rescue(self, seen: WorkerRecord, error: str, why: str = LEASE_ENDED) -> Rescue | None:
        with self._store.lock:
            known = self._store.workers.get(seen.id)
            if known is None or known.heartbeat_at != seen.heartbeat_at:
                return None
            self._remove(seen.id, why)
            freed = self._free_jobs_of(seen.id, Freed.lost(error))
            return self._rescue(seen.id, freed, dict.fromkeys(freed, error))

    def rescue_crashed(
        self, worker_id: str, performing: Sequence[CrashedJob], why: str | None = None
    ) -> Rescue:
        with self._store.lock:
            removed, known = self._remove(worker_id, why), self._store.ended
            if why is not None and not removed and worker_id in known:
                known[worker_id] = replace(known[worker_id], reason=why)
            ended = [job for job in performing if self._end_crashed(worker_id, job)]
            charged = {job.id: job.error for job in ended}
            given_back = self._free_jobs_of(worker_id, GIVEN_BACK)
            return self._rescue(worker_id, [*charged, *given_back], charged)

    def _end_crashed(self, worker_id: str, job: CrashedJob) -> bool:
        row = self._store.rows.get(job.id)
        if row is None or row.record.locked_by != worker_id:
            return False
        return self._store.apply(Freed.crashed(job).settlement_of(row.record, job.token))

    def orphaned_workers(self) -> list[str]:
        with self._store.lock:
            owners = {row.record.locked_by for row in self._store.running_rows()}
            return sorted(owner for owner in owners if owner and owner not in self._store.workers)

    def rescue_orphans(self, worker_id: str, error: str) -> Rescue | None:
        with self._store.lock:
            if worker_id in self._store.workers:
                return None
            freed = self._free_jobs_of(worker_id, Freed.lost(error))
            return self._rescue(worker_id, freed, dict.fromkeys(freed, error))

    def release_strays(self, worker_id: str, held: Collection[tuple[int, int]]) -> Rescue:
        with self._store.lock:
            return self._rescue(worker_id, self._free_jobs_of(worker_id, GIVEN_BACK, but=held))

    def _free_jobs_of(
        self, worker_id: str, freed: Freed, but: Collection[tuple[int, int]] = ()
    ) -> list[int]:
        """Free the jobs of a worker, except for some (id, token) pairs; return their ids."""
        claims = [claim for claim in self._store.claims_of(worker_id) if claim[0] not in but]
        for (_, token), record in claims:
            self._store.apply(freed.settlement_of(record, token))
        return [record.id for _, record in claims]

    def _rescue(
        self, worker_id: str, job_ids: Iterable[int], errors: Mapping[int, str] = NOTHING_CHARGED
    ) -> Rescue:
        """The rescue of these jobs of a worker, which were just freed, with their new states.

        Those that lost an attempt have their error in `errors`, by their ids.
        """
        records = [self._store.rows[job_id].record for job_id in sorted(job_ids)]
        states = {record.id: record.state for record in records}
        ended = [record for record in records if record.state not in WAITING_STATES]
        rescue = Rescue.of(worker_id, states, kept_by(self._store.adapter, ended))
        charged = [ChargedJob(r.id, r.handler, errors[r.id]) for r in records if r.id in errors]
        return replace(rescue, charged=tuple(charged))

    def declare_handlers(self, worker_id: str, handlers: Collection[str]) -> None:
        with self._store.lock:
            if worker_id in self._store.workers:
                self._handlers[worker_id] = set(handlers)

    def declared_handlers(self) -> dict[str, set[str]]:
        with self._store.lock:
            return {
                i: set(names) for i, names in self._handlers.items() if i in self._store.workers
            }
