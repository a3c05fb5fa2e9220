"""Batches, chains and flows as they are shown: how far they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobqueue.adapters.roles.flows import FlowsRole
from jobqueue.errors import JobNotFound
from jobqueue.records import FINISHED_STATES, FlowRecord, JobState

IN_ORDER = (
    *(JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED),
    *(JobState.RUNNING, JobState.READY, JobState.GATED, JobState.BLOCKED),
)


@dataclass(frozen=True, slots=True)
class FlowView:
    """A flow as it is shown.

    Args:
        record: its row, and how many of its jobs are in which state.
    """

    record: FlowRecord

    @property
    def number(self) -> int:
        """How many jobs it has, as far as they were counted."""
        return sum(self.record.jobs.values())

    @property
    def ended(self) -> int:
        """How many of them have ended."""
        return sum(self.record.jobs.get(state, 0) for state in FINISHED_STATES)

    @property
    def state(self) -> str:
        """How it stands, in a word or two."""
        record = self.record
        if record.succeeded_at is not None:
            return "succeeded"
        if record.cancelled_at is not None:
            return "cancelled"
        if record.closed_at is None:
            return "being filled"
        return "going on" if record.finished_at is None or self.ended < self.number else "failed"

    @property
    def progress(self) -> str:
        """How many jobs are in which state, in words."""
        more = "+" if self.record.more else ""
        parts = [f"{self.record.jobs[s]:,} {s.value}" for s in IN_ORDER if s in self.record.jobs]
        return f"{self.number:,}{more} jobs: {', '.join(parts)}" if parts else "no jobs"

    def facts(self) -> dict[str, Any]:
        """Return all that is known of the flow, by name."""
        record = self.record
        return {
            "id": record.id,
            "kind": record.kind.value,
            "name": record.name,
            "state": self.state,
            "created_at": record.created_at,
            "closed_at": record.closed_at,
            "finished_at": record.finished_at,
            "succeeded_at": record.succeeded_at,
            "cancelled_at": record.cancelled_at,
            "jobs": {state.value: number for state, number in record.jobs.items()},
            "more": record.more,
        }


def found_flow(adapter: FlowsRole, flow_id: int) -> FlowView:
    """Return one flow.

    Raises:
        JobNotFound: there is none of that id.
    """
    record = adapter.flow(flow_id)
    if record is None:
        raise JobNotFound(
            f"there is no flow {flow_id}: it never was, or it ended longer ago than keep_flows; "
            "`jobqueue flows` lists those that are there"
        )
    return FlowView(record)
