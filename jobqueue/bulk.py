"""Bulk actions: changes to any number of jobs at once, in batches, by whoever runs them.

An action is a row with a cursor. Whoever begins it runs it. If they are killed, a worker takes it
over where it was, and goes on. Each batch is a short transaction of its own.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from jobqueue.adapters.roles.actions import ActionsRole, ChangedBatch
from jobqueue.adapters.roles.control import ControlRole
from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.ends import EndReporter
from jobqueue.errors import ActionNotFound, InvalidAction, RowLocked
from jobqueue.records import (
    ActionBatch,
    ActionKind,
    ActionRecord,
    Between,
    JobFilter,
    JobState,
    NewAction,
    filter_from_json,
    filter_to_json,
)

BATCH = 500
MOST_TRIES = 8
LOCKED_PAUSE_SECONDS = 0.2
RETRIES = {ActionKind.RETRY.value, ActionKind.CANARY.value}
EVENTS = {ActionKind.CANCEL: "job_cancelled", ActionKind.DELETE: "job_deleted"}


class BulkRoles(ActionsRole, ReadsRole, Protocol):
    """The roles of an adapter that bulk actions need."""


def bulk_action(
    kind: ActionKind,
    where: JobFilter,
    by: str,
    *,
    reason: str | None = None,
) -> NewAction:
    """Return the action that retries, cancels or deletes all jobs that match a filter.

    Args:
        kind: which of the three.
        where: the jobs, with their states; running ones are deleted only if that state is named.
        by: who asks for it.
        reason: why.
    """
    target = {"filter": filter_to_json(replace(where, before_id=None))}
    return NewAction(kind, by, target, reason, number=0, before_id=where.before_id)


def new_runner_id() -> str:
    """Return a name for whoever runs bulk actions here, which nobody else has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def run_action(
    adapter: BulkRoles,
    action: ActionRecord,
    ends: EndReporter,
    goes_on: Callable[[ActionRecord], bool] = lambda _: True,
) -> ActionRecord:
    """Change the jobs of a bulk action, batch by batch, until it is done.

    Args:
        adapter: where the jobs and the action are.
        action: the action, which belongs to who calls this.
        ends: reports the jobs that it ends.
        goes_on: is asked after each batch, with the action as it is then, whether to go on.

    Returns:
        The action as it is then. It was stopped by somebody, or runs elsewhere, if it is not done
        and `goes_on` was true all along.

    Raises:
        InvalidAction: it does not say which jobs are meant in a way that this release knows.
        ActionNotFound: its row is gone.
        RowLocked: somebody keeps a job of the batch under way locked, which is not done.
        DatabaseError: the batch under way is not done; those before it are.
    """
    where = jobs_meant(action)
    while True:
        page = adapter.page_jobs(replace(where, before_id=action.before_id), BATCH)
        ids = tuple(job.id for job in page.jobs)
        batch = ActionBatch(replace(where, ids=ids), page.next_before_id)
        changed = _changed(adapter, action, batch, returning=_has_to_report(action, ends))
        if changed is None:
            return found_action(adapter, action.id)
        _report(changed, ends)
        action = changed.action
        if action.ended_at is not None or not goes_on(action):
            return action


def jobs_left(action: ActionRecord) -> JobFilter:
    """Return the filter of the jobs that a bulk action has yet to look at.

    Raises:
        InvalidAction: it has none that this release knows.
    """
    return replace(jobs_meant(action), before_id=action.before_id)


def jobs_meant(action: ActionRecord) -> JobFilter:
    """Return the filter of the jobs that a bulk action changes.

    Raises:
        InvalidAction: it has none that this release knows.
    """
    where = jobs_of(action)
    return _as_it_was(where, action.done_at) if action.kind in RETRIES else where


def jobs_of(action: ActionRecord) -> JobFilter:
    """Return the filter of the jobs of a bulk action.

    Raises:
        InvalidAction: it has none that this release knows.
    """
    try:
        return filter_from_json(action.target.get("filter"))
    except ValueError as error:
        raise InvalidAction(
            f"action {action.id} ({action.kind}) does not say which jobs are meant: {error}; stop "
            "it, and begin another"
        ) from None


def _changed(
    adapter: BulkRoles, action: ActionRecord, batch: ActionBatch, *, returning: bool
) -> ChangedBatch | None:
    """Change a batch. A job that is locked for a moment is waited for, some seconds in all."""
    for _ in range(MOST_TRIES - 1):
        with suppress(RowLocked):
            return adapter.change_batch(action, batch, returning=returning)
        time.sleep(LOCKED_PAUSE_SECONDS)
    return adapter.change_batch(action, batch, returning=returning)


def _as_it_was(where: JobFilter, began_at: datetime) -> JobFilter:
    """The filter, of jobs that nothing has happened to since an action began.

    A job that has failed since then was not meant, and one that somebody else has retried was, but
    not again.
    """
    changed = where.changed or Between()
    last = began_at if changed.last is None else min(changed.last, began_at)
    return replace(where, changed=replace(changed, last=last))


def found_action(adapter: ActionsRole, action_id: int) -> ActionRecord:
    """Return the action of an id.

    Raises:
        ActionNotFound: there is none.
    """
    action = adapter.action(action_id)
    if action is None:
        raise ActionNotFound(
            f"no action has the id {action_id}; `jobqueue actions` lists them. One that ended "
            "longer ago than `keep_actions` says is removed"
        )
    return action


def _has_to_report(action: ActionRecord, ends: EndReporter) -> bool:
    event = EVENTS.get(ActionKind(action.kind))
    return event is not None and ends.reaches_anybody(event)


def _report(changed: ChangedBatch, ends: EndReporter) -> None:
    if changed.action.kind == ActionKind.CANCEL:
        ends.report(job for job in changed.jobs if job.state is JobState.CANCELLED)
    elif changed.action.kind == ActionKind.DELETE:
        reason = changed.action.reason or f"deleted by {changed.action.done_by}"
        ends.report_deleted(changed.jobs, reason)


def delete_some(adapter: ControlRole, where: JobFilter, reason: str, ends: EndReporter) -> int:
    """Remove those of a few jobs, given by their ids, that are not running; return how many."""
    if not ends.reaches_anybody("job_deleted"):
        return adapter.delete(where)
    deleted = adapter.delete_each(where)
    ends.report_deleted(deleted, reason)
    return len(deleted)
