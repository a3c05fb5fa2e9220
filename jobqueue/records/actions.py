"""Actions: what somebody did from outside, by a command or over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from jobqueue.records.jobs import JobFilter

RUN_LEASE = timedelta(seconds=10)
"""How long a bulk action belongs to whoever runs it, from each batch on."""


class ActionKind(StrEnum):
    """A kind of action."""

    RETRY = "retry"
    """Jobs were made due now."""
    CANARY = "canary retry"
    """Some jobs of a group of errors were made due, and the rest as that error stayed away."""
    CANCEL = "cancel"
    """Jobs were cancelled, and running ones asked to end."""
    DELETE = "delete"
    """Jobs were removed."""
    EDIT = "edit"
    """The arguments of a job were changed."""
    PAUSE_QUEUE = "pause queue"
    """A queue was paused."""
    RESUME_QUEUE = "resume queue"
    """A queue was resumed."""
    PAUSE_SCHEDULE = "pause schedule"
    """A recurring job was paused."""
    RESUME_SCHEDULE = "resume schedule"
    """A recurring job was resumed."""
    RUN_SCHEDULE = "run schedule"
    """A recurring job was enqueued beside its schedule."""
    SET_LIMIT = "set limit"
    """Another number was set for a limit, or the declared one was put back."""
    CANCEL_FLOW = "cancel flow"
    """The jobs of a flow that had not ended were cancelled."""
    RETRY_FLOW = "retry flow"
    """The jobs of a flow that had not succeeded were retried."""
    MUTE_ERRORS = "mute errors"
    """A group of errors was left out of lists."""
    RESOLVE_ERRORS = "resolve errors"
    """A group of errors was said to be mended."""
    REOPEN_ERRORS = "reopen errors"
    """A group of errors was put back into lists."""
    CREATE_TOKEN = "create token"  # noqa: S105 - the kind of an action
    """A token for the API was made."""
    REVOKE_TOKEN = "revoke token"  # noqa: S105 - the kind of an action
    """A token for the API was revoked."""


BULK_KINDS = (ActionKind.RETRY, ActionKind.CANARY, ActionKind.CANCEL, ActionKind.DELETE)
"""The kinds of actions that can change any number of jobs."""


class ActionState(StrEnum):
    """The state of an action."""

    RUNNING = "running"
    """A bulk action that has jobs left to change."""
    DONE = "done"
    """It has changed all that it was meant to."""
    STOPPED = "stopped"
    """Somebody has stopped it before its end. It can be resumed."""


@dataclass(frozen=True, slots=True)
class NewAction:
    """An action that is about to be stored.

    Args:
        kind: what is done.
        by: who does it.
        target: to what, as JSON: `{"queue": "email"}`, `{"ids": [42]}`. A bulk action has the
            `filter` of its jobs.
        reason: why, in the words of whoever does it.
        number: how many jobs, queues and so on were changed.
        before_id: where a bulk action begins: with the jobs of smaller ids. None for the newest.
    """

    kind: ActionKind
    by: str
    target: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    number: int = 1
    before_id: int | None = None


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """An action as its row has it.

    Args:
        id: its number.
        done_at: when it was begun.
        done_by: who began it.
        kind: what was done, one of `ActionKind` unless a later release has stored it.
        target: to what, as JSON.
        reason: why; None where nobody said so.
        number: how many jobs, queues and so on it has changed so far.
        state: whether it still runs.
        before_id: where a bulk action goes on: with the jobs of smaller ids. None for the newest,
            and once it has looked at all jobs.
        run_by: who runs it, or ran it last.
        run_until: until when it belongs to them; None for somebody who has just begun nothing.
        ended_at: when it was done or stopped; None while it runs.
    """

    id: int
    done_at: datetime
    done_by: str
    kind: str
    target: Mapping[str, Any]
    reason: str | None
    number: int
    state: ActionState
    before_id: int | None = None
    run_by: str | None = None
    run_until: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ActionFilter:
    """A choice of actions. None matches everything.

    Args:
        kinds: only actions of these kinds.
        states: only actions in these states.
        by: only actions of somebody.
        before_id: only actions with a smaller id: the next page of a list, newest first.
    """

    kinds: tuple[ActionKind, ...] | None = None
    states: tuple[ActionState, ...] | None = None
    by: str | None = None
    before_id: int | None = None


@dataclass(frozen=True, slots=True)
class ActionBatch:
    """Some jobs that a bulk action changes in one transaction.

    Args:
        where: the filter of the action, with the ids of these jobs.
        before_id: where the next batch begins; None if this is the last one.
        target: what the action's target is from now on; None to leave it.
        delay: in how long the jobs of a canary are due; None for now.
        stops: whether the action is stopped with it.
    """

    where: JobFilter
    before_id: int | None
    target: Mapping[str, Any] | None = None
    delay: timedelta | None = None
    stops: bool = False
