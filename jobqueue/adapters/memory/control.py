"""The control of jobs and queues by people, in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from jobqueue.adapters.memory.store import MemoryRole
from jobqueue.adapters.roles.control import ControlRole
from jobqueue.records import (
    RETRIABLE_STATES,
    UNFINISHED_STATES,
    UNSTARTED_STATES,
    UNTIL_RESUMED,
    WAITING_STATES,
    JobFilter,
    JobState,
    Pause,
    PausedQueue,
    Wakeup,
)
from jobqueue.stored import StoredJob, kept_by


class MemoryControl(MemoryRole, ControlRole):
    """The control of jobs and queues in memory: retry, cancel, change, delete, pause."""

    def retry(self, where: JobFilter) -> int:
        return len(self.retry_each(where))

    def retry_each(self, where: JobFilter, delay: timedelta | None = None) -> list[StoredJob]:
        """Make jobs due now, as `retry` does, or after a delay; return them."""

        def retried(record: StoredJob, now: datetime) -> StoredJob:
            return replace(
                record,
                state=record.waiting_state,
                run_at=now + delay if delay else min(record.run_at, now),
                max_attempts=max(record.max_attempts, record.attempts + 1),
                failed_at=None,
                finished_at=None,
                cancel_requested_at=None,
                updated_at=now,
                expires_at=None if _is_over(record.expires_at, now) else record.expires_at,
            )

        with self._store.lock:
            newest = self._newest_of_keys(where)
            return self._store.change(replace(where, ids=newest), RETRIABLE_STATES, retried)

    def _newest_of_keys(self, where: JobFilter) -> tuple[int, ...]:
        """The jobs that a retry makes due: of those that have ended with a key only the newest, and
        none whose key another job has by now.
        """
        records = [row.record for row in self._store.rows.values()]
        taken = {key for each in records if each.finished_at is None for key in _keys_of(each)}
        found: list[int] = []
        for row in sorted(self._store.matching(where), key=lambda row: -row.record.id):
            record = row.record
            if record.finished_at is not None:
                if not taken.isdisjoint(_keys_of(record)):
                    continue
                if record.state in RETRIABLE_STATES:
                    taken |= _keys_of(record)
            found.append(record.id)
        return tuple(found)

    def cancel(self, where: JobFilter, reason: str) -> int:
        return len(self.cancel_each(where, reason))

    def cancel_each(self, where: JobFilter, reason: str) -> list[StoredJob]:

        def cancelled(record: StoredJob, now: datetime) -> StoredJob:
            return replace(
                record,
                state=JobState.CANCELLED,
                last_error=reason,
                error_key=None,
                finished_at=now,
                updated_at=now,
            )

        return self._store.change(where, UNSTARTED_STATES, cancelled)

    def request_cancel(self, job_id: int, reason: str) -> StoredJob | None:

        def requested(record: StoredJob, now: datetime) -> StoredJob:
            return replace(
                record,
                last_error=reason,
                error_key=None,
                cancel_requested_at=now,
                updated_at=now,
            )

        where = JobFilter(ids=(job_id,))
        with self._store.lock:
            found = self.cancel_each(where, reason)
            found = found or self._store.change(where, (JobState.RUNNING,), requested)
        return found[0] if found else None

    def cancel_requests(self, worker_id: str) -> dict[tuple[int, int], str]:
        with self._store.lock:
            return {
                pair: record.last_error or ""
                for pair, record in self._store.claims_of(worker_id)
                if record.cancel_requested_at is not None
            }

    def update_args(self, job_id: int, args: str) -> bool:

        def updated(record: StoredJob, now: datetime) -> StoredJob:
            return replace(record, args=json.loads(args), updated_at=now)

        states = RETRIABLE_STATES
        return bool(self._store.change(JobFilter(ids=(job_id,)), states, updated, args))

    def change_args(
        self, job_id: int, change: Callable[[StoredJob], str], *, retry: bool = False
    ) -> bool:
        allowed = RETRIABLE_STATES if retry else WAITING_STATES
        with self._store.lock:
            job = self._store.get(job_id)
            if job is None or job.state not in allowed:
                return False
            args = change(job)
            if retry and not self.retry(JobFilter(ids=(job_id,))):
                return False
            self.update_args(job_id, args)
            return True

    def set_progress(self, job_id: int, progress: str) -> bool:

        def reported(record: StoredJob, now: datetime) -> StoredJob:
            return replace(record, progress=json.loads(progress), updated_at=now)

        return bool(self._store.change(JobFilter(ids=(job_id,)), UNFINISHED_STATES, reported))

    def report_progress(self, reports: Mapping[tuple[int, int], str]) -> None:
        with self._store.lock:
            for (job_id, token), progress in reports.items():
                if self._find(job_id, token) is not None:
                    self.set_progress(job_id, progress)

    def _find(self, job_id: int, token: int) -> StoredJob | None:
        row = self._store.rows.get(job_id)
        return row.record if row is not None and row.token == token else None

    def delete(self, where: JobFilter, *, include_running: bool = False) -> int:
        return len(self.delete_each(where, include_running=include_running))

    def delete_each(self, where: JobFilter, *, include_running: bool = False) -> list[StoredJob]:
        with self._store.lock:
            records = [
                row.record
                for row in self._store.matching(where)
                if include_running or row.record.state is not JobState.RUNNING
            ]
            for record in records:
                self._store.remove(record.id)
        return kept_by(self._store.adapter, records)

    def pause_queues(self, queues: Collection[str], pause: Pause = UNTIL_RESUMED) -> set[str]:
        with self._store.lock:
            now, paused = self._store.now(), self._store.paused
            changed = set(queues) - paused.keys()
            for name in queues:
                since = paused[name].paused_at if name in paused else now
                paused[name] = PausedQueue(name, since, pause)
            return changed

    def resume_queues(self, queues: Collection[str]) -> set[str]:
        with self._store.lock:
            changed = set(queues) & self._store.paused.keys()
            for name in changed:
                del self._store.paused[name]
            if changed:
                self._store.wake(Wakeup(frozenset(changed)))
            return changed

    def resume_due_queues(self) -> set[str]:
        with self._store.lock:
            now = self._store.now()
            untils = {name: paused.pause.until for name, paused in self._store.paused.items()}
            return self.resume_queues([n for n, until in untils.items() if until and until <= now])

    def paused_queues(self) -> set[str]:
        with self._store.lock:
            return set(self._store.paused)

    def pauses(self) -> list[PausedQueue]:
        with self._store.lock:
            return sorted(self._store.paused.values(), key=lambda paused: paused.name)


def _is_over(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now


def _keys_of(record: StoredJob) -> set[tuple[str, str]]:
    keys = (("unique", record.unique_key), ("waiting", record.waiting_key))
    return {(kind, key) for kind, key in keys if key is not None}
