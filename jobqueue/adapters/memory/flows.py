"""The flows in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from jobqueue.adapters.memory.control import MemoryControl
from jobqueue.adapters.memory.flow_progress import Edge
from jobqueue.adapters.memory.path import MemoryPath
from jobqueue.adapters.memory.store import MemoryRole, MemoryStore, Row
from jobqueue.adapters.roles.flows import FlowsRole
from jobqueue.errors import InvalidArguments
from jobqueue.records import (
    FINISHED_STATES,
    PLACE_ON_FINISH,
    PLACE_ON_SUCCESS,
    FlowRecord,
    JobFilter,
    JobState,
    NewFlow,
    NewStep,
    StepRecord,
    member_of,
)
from jobqueue.stored import StoredJob, kept_by


class MemoryFlows(MemoryRole, FlowsRole):
    """The flows in memory.

    Args:
        store: the rows.
        path: stores jobs.
        control: cancels and retries them.
    """

    def __init__(self, store: MemoryStore, path: MemoryPath, control: MemoryControl) -> None:
        super().__init__(store)
        self._path = path
        self._control = control
        self._progress = path.flows
        self._next_id = 1

    def start_flow(
        self, flow: NewFlow, steps: Sequence[NewStep], *, session: Any = None
    ) -> tuple[int, Sequence[StoredJob]]:
        with self._store.lock:
            flow_id, now = self._next_id, self._store.now()
            is_over = not steps and not flow.is_open
            jobs = [
                member_of(step.job, flow_id, place, is_blocked=bool(step.after))
                for place, step in enumerate(steps)
            ]
            following = ((PLACE_ON_SUCCESS, flow.on_success), (PLACE_ON_FINISH, flow.on_finish))
            jobs += [
                member_of(job, flow_id, place, is_blocked=not is_over)
                for place, job in following
                if job is not None
            ]
            found = self._path.rows_of(jobs)
            self._refuse_duplicates([row.record for row, is_new in found if not is_new])
            self._next_id += 1
            record = FlowRecord(
                *(flow_id, flow.kind, flow.name, now),
                closed_at=None if flow.is_open else now,
                finished_at=now if is_over else None,
                succeeded_at=now if is_over else None,
            )
            ids = [row.record.id for row, _ in found]
            edges = [
                Edge(ids[place], ids[parent], flow_id, step.runs_anyway)
                for place, step in enumerate(steps)
                for parent in sorted(set(step.after))
            ]
        rows = [row for row, _ in found]
        self._path.at_commit(session, lambda: self._put(record, edges, rows))
        return flow_id, kept_by(self._store.adapter, [row.record for row in rows[: len(steps)]])

    def _refuse_duplicates(self, there: Sequence[StoredJob]) -> None:
        for job in there:
            raise InvalidArguments(
                f"a flow cannot have a job of {job.handler} that is on its way already, as job "
                f"{job.id}; nothing was stored. Wait for that one, or give the step other arguments"
            )

    def _put(self, record: FlowRecord, edges: Sequence[Edge], rows: Sequence[Row]) -> None:
        with self._store.lock:
            self._progress.flows[record.id] = record
            self._progress.edges += edges
            self._path.put_all(rows)

    def close_flow(self, flow_id: int, *, session: Any = None) -> None:
        def close() -> None:
            with self._store.lock:
                flow = self._progress.flows[flow_id]
                if flow.closed_at is None:
                    self._progress.flows[flow_id] = replace(flow, closed_at=self._store.now())
                self._progress.advance(flow_id)

        self._path.at_commit(session, close)

    def advance_flows(self, most: int = 100) -> int:  # noqa: ARG002 - it looks at all
        with self._store.lock:
            going_on = [f.id for f in self._progress.flows.values() if f.succeeded_at is None]
            return sum(self._progress.advance(flow_id) for flow_id in going_on)

    def flow(self, flow_id: int) -> FlowRecord | None:
        with self._store.lock:
            flow = self._progress.flows.get(flow_id)
            return None if flow is None else self._counted(flow)

    def flows(
        self, limit: int, *, before_id: int | None = None, going_on: bool = False
    ) -> list[FlowRecord]:
        with self._store.lock:
            found = [
                self._counted(flow)
                for flow_id, flow in sorted(self._progress.flows.items(), reverse=True)
                if (before_id is None or flow_id < before_id)
                and not (going_on and flow.succeeded_at is not None)
            ]
        return found[:limit]

    def _counted(self, flow: FlowRecord) -> FlowRecord:
        numbers = Counter(member.state for member in self._progress.members(flow.id))
        return replace(flow, jobs={state: numbers[state] for state in JobState if numbers[state]})

    def steps_before(self, job_id: int) -> list[StepRecord]:
        with self._store.lock:
            job = self._store.get(job_id)
            if job is None or job.flow_id is None:
                return []
            if job.flow_place is not None and job.flow_place < 0:
                return [_step(each.id, each) for each in self._progress.members(job.flow_id)]
            edges = [edge for edge in self._progress.edges if edge.child == job_id]
            found = [
                _step(edge.parent, self._store.get(edge.parent), runs_anyway=edge.runs_anyway)
                for edge in edges
            ]
            return sorted(found, key=lambda each: self._place_of(each.job_id))

    def _place_of(self, job_id: int) -> tuple[int, int]:
        job = self._store.get(job_id)
        return (job.flow_place or 0 if job else 0, job_id)

    def cancel_flow(self, flow_id: int, reason: str) -> int:
        with self._store.lock:
            flow, now = self._progress.flows.get(flow_id), self._store.now()
            if flow is None:
                return 0
            self._progress.flows[flow_id] = replace(
                flow, cancelled_at=now, closed_at=flow.closed_at or now
            )
            ids = [m.id for m in self._progress.members(flow_id) if m.finished_at is None]
            number = sum(self._control.request_cancel(job_id, reason) is not None for job_id in ids)
            self._progress.advance(flow_id)
            return number

    def retry_flow(self, flow_id: int) -> int:
        with self._store.lock:
            ended = {JobState.FAILED, JobState.CANCELLED}
            ids = {m.id for m in self._progress.members(flow_id) if m.state in ended}
            if not ids:
                return 0
            flow = self._progress.flows.get(flow_id)
            if flow is not None:
                self._progress.flows[flow_id] = replace(flow, cancelled_at=None)
            for edge in self._progress.edges:
                if edge.parent in ids:
                    edge.outcome, edge.is_removed = None, False
            retried = self._control.retry_each(JobFilter(ids=tuple(sorted(ids))))
            for job in retried:
                if self._progress.has_to_wait(job.id):
                    row = self._store.rows[job.id]
                    blocked = replace(row.record, state=JobState.BLOCKED)
                    self._store.put(Row(blocked, row.args))
            self._progress.advance(flow_id)
            return len(retried)

    def prune_flows(self, age: timedelta, limit: int) -> int:
        with self._store.lock:
            until = self._store.now() - age
            old = [
                flow_id
                for flow_id, flow in self._progress.flows.items()
                if _is_before(flow.finished_at, until) and not self._has_unfinished(flow_id)
            ]
            for flow_id in old[:limit]:
                self._progress.forget(flow_id)
            return len(old[:limit])

    def _has_unfinished(self, flow_id: int) -> bool:
        rows = self._store.matching(JobFilter(flows=(flow_id,)))
        return any(row.record.state not in FINISHED_STATES for row in rows)


def _is_before(moment: datetime | None, until: datetime) -> bool:
    return moment is not None and moment <= until


def _step(job_id: int, job: StoredJob | None, *, runs_anyway: bool = False) -> StepRecord:
    if job is None:
        return StepRecord(job_id, None, None, None, runs_anyway)
    return StepRecord(job_id, job.handler, job.state, job.result, runs_anyway)
