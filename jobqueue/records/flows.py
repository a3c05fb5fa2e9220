"""Flows: jobs that are stored together, and of which some wait for others.

A batch is a flow whose jobs wait for nothing; a chain is one whose jobs wait for each other in a
row. A flow may have two jobs more, which wait for all others: one for their success, one for their
end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from jobqueue.records.base import record
from jobqueue.records.flow_control import ANY_TIME, FlowControl
from jobqueue.records.jobs import JobState, NewJob

PLACE_ON_SUCCESS, PLACE_ON_FINISH = -1, -2
"""The places of the two jobs that wait for all others. Those of the others begin with 0."""
HELD_BACK = "it waits for job "
"""How the reason of a job begins that was cancelled since one before it did not succeed."""
NOT_ALL_SUCCEEDED = "not all jobs of its flow have succeeded"
"""The reason of a job that was to follow their success."""


class FlowKind(StrEnum):
    """The kind of a flow: what made it."""

    BATCH = "batch"
    CHAIN = "chain"
    FLOW = "flow"
    MAP = "map"


@record
class NewFlow:
    """A flow that is about to be stored.

    Args:
        kind: what made it.
        name: a name for people; None for none.
        on_success: is enqueued when all of its jobs have succeeded.
        on_finish: is enqueued when all of its jobs have ended.
        is_open: whether it does not end before it is closed, since jobs are still added to it.
    """

    kind: FlowKind
    name: str | None = None
    on_success: NewJob | None = None
    on_finish: NewJob | None = None
    is_open: bool = False


@record
class NewStep:
    """A job of a new flow.

    Args:
        job: the job.
        after: the places of the steps that it waits for, from 0.
        runs_anyway: whether it starts when these have ended, however they have.
    """

    job: NewJob
    after: tuple[int, ...] = ()
    runs_anyway: bool = False


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """A flow as it is stored. Times are aware and in UTC.

    Args:
        id: unique.
        kind: what made it.
        name: a name for people.
        created_at: when it was stored.
        closed_at: when the last jobs were added by who made it; None before.
        finished_at: when all of its jobs had ended for the first time.
        succeeded_at: when all of its jobs had succeeded.
        cancelled_at: when somebody cancelled it.
        jobs: how many of its jobs are in which state.
        more: whether there are more jobs, since counting stopped there.
    """

    id: int
    kind: FlowKind
    name: str | None
    created_at: datetime
    closed_at: datetime | None = None
    finished_at: datetime | None = None
    succeeded_at: datetime | None = None
    cancelled_at: datetime | None = None
    jobs: Mapping[JobState, int] = field(default_factory=dict)
    more: bool = False


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A job that another one of its flow waits for.

    Args:
        job_id: its id.
        handler: its class.
        state: its state; None when its row is gone.
        result: what it returned.
        runs_anyway: whether the other one starts however this one ends.
    """

    job_id: int
    handler: str | None
    state: JobState | None
    result: Any = None
    runs_anyway: bool = False


def member_of(job: NewJob, flow_id: int, place: int = 0, *, is_blocked: bool = False) -> NewJob:
    """A job as one of a flow. No release before flows claims it: it waits in a line."""
    control = job.flow_control or FlowControl()
    return replace(
        job,
        flow_control=replace(
            control,
            line=control.line or ANY_TIME,
            flow_id=flow_id,
            flow_place=place,
            is_blocked=is_blocked,
        ),
    )
