"""The progress of flows in memory: what starts, and what is cancelled, when others have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from jobqueue.adapters.memory.store import MemoryStore, Row
from jobqueue.adapters.settlement import flow_is_over
from jobqueue.records import (
    FINISHED_STATES,
    HELD_BACK,
    NOT_ALL_SUCCEEDED,
    PLACE_ON_FINISH,
    PLACE_ON_SUCCESS,
    FlowRecord,
    JobState,
    NewJob,
    Outcome,
)
from jobqueue.stored import StoredJob


@dataclass(slots=True)
class Edge:
    """A job that waits for another one; how that one ended, when it is known."""

    child: int
    parent: int
    flow_id: int
    runs_anyway: bool
    outcome: JobState | None = None
    is_removed: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it is not known how the other one ended."""
        return self.outcome is None and not self.is_removed

    @property
    def is_bad(self) -> bool:
        """Whether the job may not start for that."""
        is_good = self.runs_anyway or self.outcome is JobState.SUCCEEDED
        return not self.is_open and not is_good


@dataclass(slots=True)
class MemoryFlowProgress:
    """The flows of a store, and their progress.

    Args:
        store: the rows.
        on_released: called with jobs that may start, when they have waited for others.
    """

    store: MemoryStore
    on_released: Callable[[Sequence[StoredJob]], None]
    flows: dict[int, FlowRecord] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    _released: list[StoredJob] = field(default_factory=list)

    def refuse_if_over(self, job: NewJob) -> None:
        """Refuse a job that is added to a flow that has ended.

        Raises:
            StateConflict: it has.
        """
        control = job.flow_control
        if control is None or control.flow_id is None or (control.flow_place or 0) < 0:
            return
        flow = self.flows.get(control.flow_id)
        if flow is not None and (flow.finished_at is not None or flow.cancelled_at is not None):
            raise flow_is_over(control.flow_id)

    def note_ended(self, outcomes: Iterable[Outcome]) -> None:
        """Have flows go on whose jobs were settled."""
        flow_ids = {o.job.flow_id for o in outcomes if o.job.flow_id is not None}
        for flow_id in sorted(flow_ids):
            self.advance(flow_id)

    def advance(self, flow_id: int) -> bool:
        """Have a flow go on; return whether it did."""
        with self.store.lock:
            if flow_id not in self.flows:
                return False
            has_gone_on = False
            while self._go_on(flow_id):
                has_gone_on = True
            has_gone_on = self._end(flow_id) or has_gone_on
            released, self._released = self._released, []
        if released:
            self.on_released(released)
        return has_gone_on

    def _go_on(self, flow_id: int) -> bool:
        edges = [edge for edge in self.edges if edge.flow_id == flow_id]
        for edge in edges:
            row = self.store.rows.get(edge.parent)
            if row is None:
                edge.is_removed = edge.outcome is None
            elif row.record.state in FINISHED_STATES:
                edge.outcome = row.record.state
        has_gone_on = False
        for child in sorted({edge.child for edge in edges}):
            has_gone_on |= self._decide(child, [edge for edge in edges if edge.child == child])
        return has_gone_on

    def _decide(self, child: int, edges: list[Edge]) -> bool:
        row = self.store.rows.get(child)
        if row is None or not _waits_for_others(row.record):
            return False
        bad = min((edge.parent for edge in edges if edge.is_bad), default=None)
        if bad is not None:
            if row.record.state is not JobState.BLOCKED:
                return False
            self._cancel(row, f"{HELD_BACK}{bad}, which has not succeeded")
            return True
        if any(edge.is_open for edge in edges):
            return False
        return self._release(row)

    def _release(self, row: Row) -> bool:
        """Let a job start; not if another one has its key by now."""
        record, now = row.record, self.store.now()
        if record.finished_at is not None and self._has_lost_its_key(record):
            return False
        run_at = max(record.run_at, now)
        expires_at = record.expires_at
        if expires_at is not None:
            expires_at = run_at + (expires_at - record.run_at)
        released = replace(
            record,
            state=record.waiting_state,
            run_at=run_at,
            expires_at=expires_at,
            last_error=None,
            finished_at=None,
            cancel_requested_at=None,
            updated_at=now,
        )
        self.store.put(Row(released, row.args))
        self._released.append(released)
        return True

    def _has_lost_its_key(self, record: StoredJob) -> bool:
        keys = {key for key in (record.unique_key, record.waiting_key) if key is not None}
        return any(
            other.record.finished_at is None
            and not keys.isdisjoint({other.record.unique_key, other.record.waiting_key})
            for other in self.store.rows.values()
        )

    def _cancel(self, row: Row, reason: str) -> None:
        now = self.store.now()
        cancelled = replace(
            row.record,
            state=JobState.CANCELLED,
            last_error=reason,
            error_key=None,
            finished_at=now,
            updated_at=now,
        )
        self.store.put(Row(cancelled, row.args))

    def _end(self, flow_id: int) -> bool:
        flow, now = self.flows[flow_id], self.store.now()
        members = self.members(flow_id)
        if flow.closed_at is None or any(m.state not in FINISHED_STATES for m in members):
            return False
        has_succeeded = all(member.state is JobState.SUCCEEDED for member in members)
        changed = flow
        if flow.finished_at is None:
            changed = replace(changed, finished_at=now)
            self._start_what_follows(flow_id, PLACE_ON_FINISH)
            if not has_succeeded:
                self._hold_back_what_follows(flow_id)
        if has_succeeded and flow.succeeded_at is None:
            changed = replace(changed, succeeded_at=now)
            self._start_what_follows(flow_id, PLACE_ON_SUCCESS)
        self.flows[flow_id] = changed
        return changed is not flow

    def members(self, flow_id: int) -> list[StoredJob]:
        """The jobs of a flow in their order, without those that follow it."""
        found = [
            row.record
            for row in self.store.rows.values()
            if row.record.flow_id == flow_id and (row.record.flow_place or 0) >= 0
        ]
        return sorted(found, key=lambda each: (each.flow_place or 0, each.id))

    def _following(self, flow_id: int, place: int) -> list[Row]:
        return [
            row
            for row in self.store.rows.values()
            if (row.record.flow_id, row.record.flow_place) == (flow_id, place)
        ]

    def _start_what_follows(self, flow_id: int, place: int) -> None:
        for row in self._following(flow_id, place):
            if _waits_for_others(row.record):
                self._release(row)

    def _hold_back_what_follows(self, flow_id: int) -> None:
        for row in self._following(flow_id, PLACE_ON_SUCCESS):
            if row.record.state is JobState.BLOCKED:
                self._cancel(row, NOT_ALL_SUCCEEDED)

    def has_to_wait(self, job_id: int) -> bool:
        """Whether a job has to wait for others."""
        return any(e.is_open or e.is_bad for e in self.edges if e.child == job_id)

    def forget(self, flow_id: int) -> None:
        """Forget a flow."""
        del self.flows[flow_id]
        self.edges = [edge for edge in self.edges if edge.flow_id != flow_id]


def _waits_for_others(job: StoredJob) -> bool:
    """Whether a job has to start when those before it have succeeded.

    One that was cancelled since they had not is revived, and no other.
    """
    if job.state is JobState.BLOCKED:
        return True
    reason = job.last_error or ""
    is_held_back = reason.startswith(HELD_BACK) or reason == NOT_ALL_SUCCEEDED
    return job.state is JobState.CANCELLED and is_held_back and not job.attempts
