"""The reads of jobs, in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from jobqueue.adapters.memory.store import MemoryRole
from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.records import (
    LARGEST_PAGE_CHARACTERS,
    WAITING_STATES,
    Count,
    JobFilter,
    JobRecord,
    JobState,
    LaneDepth,
    Page,
    QueueDepth,
)
from jobqueue.stored import StoredJob, kept_by


class MemoryReads(MemoryRole, ReadsRole):
    """The reads of jobs in memory. Most of them look at every job."""

    def get(self, job_id: int) -> StoredJob | None:
        with self._store.lock:
            return self._store.get(job_id)

    def list_jobs(self, where: JobFilter, limit: int) -> list[StoredJob]:
        newest_first = sorted(self._store.matching(where), key=lambda row: -row.record.id)
        return kept_by(self._store.adapter, [row.record for row in newest_first[:limit]])

    def count_jobs(self, where: JobFilter) -> int:
        return sum(1 for _ in self._store.matching(where))

    def count_by_state(self) -> Mapping[JobState, int]:
        counts: dict[JobState, int] = {}
        for row in self._store.matching(JobFilter()):
            counts[row.record.state] = counts.get(row.record.state, 0) + 1
        return counts

    def page_jobs(self, where: JobFilter, limit: int) -> Page[StoredJob]:
        found = self.list_jobs(where, limit + 1)
        fitting = min(limit, _fitting(found))
        more = len(found) > fitting
        return Page(
            found[:fitting],
            found[fitting - 1].id if more else None,
            is_full=fitting < limit and more,
        )

    def count_up_to(self, where: JobFilter, most: int) -> Count:
        number = self.count_jobs(where)
        return Count(min(number, most), number > most)

    def queue_depths(self, most: int | None = None) -> list[QueueDepth]:  # noqa: ARG002
        now = self._store.now()
        where = JobFilter(states=(*WAITING_STATES, JobState.RUNNING))
        unfinished = [row.record for row in self._store.matching(where)]
        names = {record.queue for record in unfinished} | self._store.paused.keys()
        return [
            depth_of(
                name, [r for r in unfinished if r.queue == name], now, name in self._store.paused
            )
            for name in sorted(names)
        ]

    def lane_depths(self, most: int, queue: str | None = None) -> list[LaneDepth]:
        now, lanes = self._store.now(), dict[tuple[str, int], list[datetime]]()
        where = JobFilter(states=(JobState.READY,), queues=None if queue is None else (queue,))
        for row in self._store.matching(where):
            lanes.setdefault((row.record.queue, row.record.priority), []).append(row.record.run_at)
        found = []
        for (name, priority), times in sorted(lanes.items()):
            due = sum(run_at <= now for run_at in times)
            found.append(LaneDepth(name, priority, min(due, most), min(times), due > most))
        return found

    def due_before(self, job: JobRecord, most: int) -> Count:
        now = self._store.now()
        where = JobFilter(states=(JobState.READY,), queues=(job.queue,), due=True)
        number = sum(
            row.record.priority == job.priority
            and (row.record.run_at, row.record.id) < (min(job.run_at, now), job.id)
            for row in self._store.matching(where)
        )
        return Count(min(number, most), number > most)

    def running_jobs(self, limit: int) -> list[StoredJob]:
        running = [
            row.record for row in self._store.matching(JobFilter(states=(JobState.RUNNING,)))
        ]
        first = sorted(running, key=lambda record: (record.locked_at, record.id))[:limit]
        return kept_by(self._store.adapter, first)

    def now(self) -> datetime:
        return self._store.now()


def _fitting(records: Sequence[JobRecord]) -> int:
    """The number of these jobs, from the first on, that a page has room for."""
    room = LARGEST_PAGE_CHARACTERS
    for number, record in enumerate(records, 1):
        texts = (record.args, record.progress, record.result, record.last_error)
        room -= sum(len(json.dumps(text)) for text in texts)
        if room <= 0:
            return number
    return len(records)


def depth_of(name: str, records: list[JobRecord], now: datetime, paused: bool) -> QueueDepth:
    """The depth of a queue with these unfinished jobs."""
    ready = [record for record in records if record.state in WAITING_STATES]
    running = [record for record in records if record.state is JobState.RUNNING]
    due = [record.run_at for record in ready if record.run_at <= now]
    return QueueDepth(
        queue=name,
        due=len(due),
        later=len(ready) - len(due),
        running=len(running),
        oldest_age=now - min(due) if due else timedelta(0),
        paused=paused,
    )
