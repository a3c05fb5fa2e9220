"""The rows of the memory adapter and their lock, which all its roles share."""

from __future__ import annotations

import heapq
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.memory.listener import MemoryListener
from jobqueue.adapters.settlement import Pair, Settlement
from jobqueue.clock import Clock
from jobqueue.forks import renewed_in_children
from jobqueue.records import (
    FINISHED_STATES,
    MOST_ATTEMPTS_KEPT,
    AttemptRecord,
    Between,
    Gate,
    JobFilter,
    JobRecord,
    JobState,
    JsonValue,
    LimitRecord,
    PausedQueue,
    Wakeup,
    WorkerEnd,
    WorkerRecord,
)
from jobqueue.stored import StoredJob, kept_by

Position = tuple[int, datetime, int]
Change = Callable[[StoredJob, datetime], StoredJob]


@dataclass(frozen=True, slots=True)
class Row:
    """A job, the text of its arguments, and the token of its claim."""

    record: StoredJob
    args: str
    token: int | None = None


class MemoryStore:
    """The rows, indexes of them, workers and listeners.

    Args:
        adapter: the adapter that the records belong to.
        clock: tells the time.
    """

    def __init__(self, adapter: Adapter, clock: Clock) -> None:
        self.adapter = adapter
        self.clock = clock
        self._begin_alone()
        renewed_in_children(self, MemoryStore._begin_alone)
        self.next_id = 1
        self.rows: dict[int, Row] = {}
        self.running: dict[int, None] = {}
        self.gated: dict[int, None] = {}
        self.starts: dict[str, list[datetime]] = {}
        self.limits: dict[str, LimitRecord] = {}
        self.due: dict[str, list[Position]] = {}
        self.later: list[tuple[datetime, int]] = []
        self.workers: dict[str, WorkerRecord] = {}
        self.attempts: dict[int, list[AttemptRecord]] = {}
        self.ended: dict[str, WorkerEnd] = {}
        self.paused: dict[str, PausedQueue] = {}

    def _begin_alone(self) -> None:
        """Begin with a new lock, which no thread holds, and without listeners."""
        self.lock = threading.RLock()
        self.listeners: weakref.WeakSet[MemoryListener] = weakref.WeakSet()

    def now(self) -> datetime:
        """The current time."""
        return self.clock.now()

    def put(self, row: Row) -> None:
        """Store a row, new or changed, and announce it when it is due."""
        record = row.record
        self.rows[record.id] = row
        if record.state is JobState.READY:
            heapq.heappush(self.later, (record.run_at, record.id))
            self._announce(record)
        if record.state is JobState.GATED:
            self.gated[record.id] = None
            self._announce(record)
        else:
            self.gated.pop(record.id, None)
        if record.state is JobState.RUNNING:
            self.running[record.id] = None
        else:
            self.running.pop(record.id, None)

    def _announce(self, record: JobRecord) -> None:
        if self.listeners and record.run_at <= self.now():
            position = (record.priority, record.run_at, record.id)
            is_gated = record.state is JobState.GATED
            self.wake(Wakeup(frozenset((record.queue,)), position, 1, gated=is_gated))

    def wake(self, wakeup: Wakeup) -> None:
        """Pass a wake-up to every listener."""
        for listener in list(self.listeners):
            listener.receive(wakeup)

    def get(self, job_id: int) -> StoredJob | None:
        """One job, or None when there is no row of that id."""
        row = self.rows.get(job_id)
        return kept_by(self.adapter, [row.record])[0] if row else None

    def remove(self, job_id: int) -> None:
        """Remove a row."""
        del self.rows[job_id]
        self.running.pop(job_id, None)
        self.gated.pop(job_id, None)
        self.attempts.pop(job_id, None)

    def as_declared(self, gate: Gate) -> Gate:
        """A gate with the number and the period that are declared, or its own."""
        limit = self.limits.get(gate.limit)
        return gate if limit is None else replace(gate, number=limit.number, per=limit.per)

    def matching(self, where: JobFilter) -> Iterator[Row]:
        """The rows that match a filter, in the order of their ids."""
        now = self.now()
        with self.lock:
            rows = list(self.rows.values())
        return (row for row in rows if _matches(row.record, where, now))

    def running_rows(self) -> list[Row]:
        """The rows of running jobs."""
        return [self.rows[job_id] for job_id in list(self.running)]

    def claims_of(self, worker_id: str) -> list[tuple[Pair, StoredJob]]:
        """The (id, token) and the record of each job that a worker holds."""
        return [
            ((row.record.id, row.token or 0), row.record)
            for row in self.running_rows()
            if row.record.locked_by == worker_id
        ]

    def change(
        self,
        where: JobFilter,
        states: tuple[JobState, ...],
        changed: Change,
        args: str | None = None,
    ) -> list[StoredJob]:
        """Change the rows that match, and their arguments if new ones are given; return them."""
        now, records = self.now(), []
        with self.lock:
            for row in self.matching(where):
                if row.record.state in states:
                    records.append(changed(row.record, now))
                    new_args = row.args if args is None else args
                    self.put(Row(records[-1], new_args, row.token))
        return kept_by(self.adapter, records)

    def apply(self, settlement: Settlement) -> bool:
        """Settle a job if it still runs under that claim; return whether it did."""
        row = self.rows.get(settlement.id)
        if row is None or row.token != settlement.token:
            return False
        if settlement.remove:
            self.remove(settlement.id)
        else:
            settled = self._settled(row.record, settlement)
            self.put(Row(settled, row.args))
            self._note(row.record, settled, settlement)
        return True

    def _note(self, running: StoredJob, settled: StoredJob, settlement: Settlement) -> None:
        """Note an attempt that has not succeeded: the first of a job stays, and the newest."""
        if settlement.ended is None:
            return
        noted = self.attempts.setdefault(running.id, [])
        noted.append(
            AttemptRecord(
                job_id=running.id,
                number=running.attempts,
                worker_id=settled.performed_by,
                started_at=settled.started_at,
                ended_at=settled.updated_at,
                outcome=settlement.ended,
                error=settlement.error or settled.last_error,
                error_key=settlement.error_key,
            )
        )
        del noted[1 : max(len(noted) - MOST_ATTEMPTS_KEPT + 1, 1)]

    def _settled(self, record: StoredJob, settlement: Settlement) -> StoredJob:
        now, delay, progress = self.now(), settlement.delay, settlement.progress
        is_cancelled = settlement.heeds_cancel and record.cancel_requested_at is not None
        state = JobState.CANCELLED if is_cancelled else settlement.state
        keeps_error = settlement.keeps_error or is_cancelled
        return replace(
            record,
            state=state,
            attempts=record.attempts - settlement.refund,
            crashes=record.crashes + settlement.crashes,
            run_at=record.run_at if delay is None else now + delay,
            locked_at=None,
            locked_by=None,
            last_error=record.last_error if keeps_error else settlement.error,
            failed_at=now if state is JobState.FAILED else None,
            finished_at=now if state in FINISHED_STATES else None,
            progress=record.progress if progress is None else json.loads(progress),
            result=json.loads(settlement.result) if settlement.result else None,
            updated_at=now,
            error_key=record.error_key if keeps_error else settlement.error_key,
            **_performance(record, settlement, now),
        )


def _performance(record: StoredJob, settlement: Settlement, now: datetime) -> dict[str, Any]:
    """When the attempt began, how long it took, and who performed it."""
    run_time = settlement.run_time
    if run_time is None and settlement.ended is None:
        return {}
    return {
        "started_at": record.locked_at if run_time is None else now - run_time,
        "run_time": run_time,
        "performed_by": record.locked_by,
    }


class MemoryRole:
    """A role of the memory adapter."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store


def _matches(record: JobRecord, where: JobFilter, now: datetime) -> bool:
    return (
        (where.ids is None or record.id in where.ids)
        and (where.states is None or record.state in where.states)
        and (where.queues is None or record.queue in where.queues)
        and (where.handlers is None or record.handler in where.handlers)
        and (where.before_id is None or record.id < where.before_id)
        and (where.due is None or where.due == (record.run_at <= now))
        and (where.error_keys is None or record.error_key in where.error_keys)
        and (where.flows is None or record.flow_id in where.flows)
        and _matches_further(record, where)
    )


def _matches_further(record: JobRecord, where: JobFilter) -> bool:
    workers, error = where.workers, where.error
    return (
        (workers is None or not {record.locked_by, record.performed_by}.isdisjoint(workers))
        and (where.attempts is None or record.attempts >= where.attempts)
        and _is_within(record.created_at, where.created)
        and _is_within(record.locked_at or record.started_at, where.started)
        and _is_within(record.finished_at, where.finished)
        and _is_within(record.updated_at, where.changed)
        and all(_has_value(record.args, wanted) for wanted in where.args)
        and all(_has_value(record.meta, wanted) for wanted in where.meta)
        and (error is None or error.lower() in (record.last_error or "").lower())
    )


def _is_within(moment: datetime | None, between: Between | None) -> bool:
    if between is None or (between.first is None and between.last is None):
        return True
    if moment is None:
        return False
    is_late_enough = between.first is None or moment >= between.first
    return is_late_enough and (between.last is None or moment <= between.last)


def _is_place(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _has_value(found: Any, wanted: JsonValue) -> bool:
    for name in wanted.path:
        if isinstance(found, list) and _is_place(name) and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            return False
    if wanted.value is None:
        return True
    if isinstance(found, dict | list):
        return False
    written = found if isinstance(found, str) else json.dumps(found)
    return bool(written == wanted.value)
