"""Bulk actions over HTTP: changes to all jobs that match a filter."""

from __future__ import annotations

import time
from dataclasses import replace

from jobqueue.adapters.base import Adapter
from jobqueue.bulk import bulk_action, new_runner_id, run_action
from jobqueue.errors import RowLocked
from jobqueue.records import ActionKind, ActionRecord, ActionState, JobFilter, JobState, NewAction
from jobqueue.redaction import clean_error
from jobqueue.views.query_text import query_text
from jobqueue.web.models import BulkBody, GroupBody
from jobqueue.web.operations import Answer, ApiCall
from jobqueue.web.pages import filter_of
from jobqueue.web.problems import Problem

MOST_CHANGED = 10_000
LONGEST_SECONDS = 10.0
DONE = {
    ActionKind.RETRY: "retried",
    ActionKind.CANCEL: "cancelled",
    ActionKind.DELETE: "deleted",
}
"""The words for the log."""


def retry_all(call: ApiCall) -> Answer:
    """Make failed jobs due now, and others if they are asked for."""
    usual, possible = (JobState.FAILED,), (JobState.READY, JobState.FAILED, JobState.CANCELLED)
    return _in_bulk(call, ActionKind.RETRY, usual, possible)


def cancel_all(call: ApiCall) -> Answer:
    """End jobs that have not started, and ask running ones to end."""
    states = (JobState.READY, JobState.RUNNING)
    return _in_bulk(call, ActionKind.CANCEL, states, states)


def delete_all(call: ApiCall) -> Answer:
    """Remove jobs that are not running."""
    states = tuple(state for state in JobState if state is not JobState.RUNNING)
    return _in_bulk(call, ActionKind.DELETE, states, states)


def _in_bulk(
    call: ApiCall,
    kind: ActionKind,
    usual: tuple[JobState, ...],
    possible: tuple[JobState, ...],
) -> Answer:
    """Count or change all jobs that match a filter.

    Args:
        call: the request.
        kind: what is done to them.
        usual: the states that are meant if the filter has none.
        possible: the states of jobs that can be changed so.
    """
    body: BulkBody = call.body
    return change_jobs(call, kind, _bulk_filter(call.adapter, body, usual, possible, DONE[kind]))


def change_jobs(call: ApiCall, kind: ActionKind, where: JobFilter) -> Answer:
    """Count or change all jobs that match a filter, as the body of a request asks.

    Args:
        call: the request; its body says whether to count only, and whether to leave it to workers.
        kind: what is done to them.
        where: the filter, from where the body says that it goes on.
    """
    body: BulkBody | GroupBody = call.body
    if body.dry_run:
        count = call.adapter.count_up_to(where, MOST_CHANGED)
        return Answer(
            {"dry_run": True, "count": count.number, "more": count.more, "next": None}
            | {"action": None}
        )
    reason = clean_error(body.reason) if body.reason else None
    action = bulk_action(kind, where, call.actor, reason=reason)
    if body.background:
        latest = call.adapter.begin_action(action)
        call.note(f"began to {kind}", f"action {latest.id}: {query_text(where)}")
    else:
        latest = _run(call, action, query_text(where))
    return Answer(_bulk_json(latest), 202 if latest.state is ActionState.RUNNING else 200)


def _run(call: ApiCall, action: NewAction, said: str) -> ActionRecord:
    """Run an action for as long as a request may take, and end it there.

    If the database fails in between, or somebody keeps a job locked, it stays as it is, and a
    worker goes on with it.
    """
    deadline = time.monotonic() + LONGEST_SECONDS
    latest = call.adapter.begin_action(action, new_runner_id())

    def goes_on(now: ActionRecord) -> bool:
        nonlocal latest
        latest = now
        return now.number < MOST_CHANGED and time.monotonic() < deadline

    try:
        latest = run_action(call.adapter, latest, call.queue.ends, goes_on)
    except RowLocked:
        return latest
    finally:
        call.note(DONE[action.kind], f"{latest.number:,} jobs: {said}")
    if latest.ended_at is None:
        call.adapter.end_action(latest)
        latest = replace(latest, state=ActionState.DONE)
    return latest


def _bulk_filter(
    adapter: Adapter,
    body: BulkBody,
    usual: tuple[JobState, ...],
    possible: tuple[JobState, ...],
    done: str,
) -> JobFilter:
    if not body.filter.model_dump(exclude_none=True):
        raise Problem(422, "an empty filter would mean every job; say which: state, queue, name, q")
    where = filter_of(body.filter, adapter)
    if where == JobFilter():
        raise Problem(422, "this filter would mean every job; say which: state, queue, name, q")
    impossible = [state for state in where.states or () if state not in possible]
    if impossible:
        raise Problem(422, f"{impossible[0]} jobs cannot be {done} in bulk")
    return replace(where, before_id=body.before, states=where.states or usual)


def _bulk_json(action: ActionRecord) -> dict[str, object]:
    # One that goes on has nothing that its sender should go on with.
    following = None if action.state is ActionState.RUNNING else action.before_id
    return {
        "dry_run": False,
        "count": action.number,
        "more": action.state is ActionState.RUNNING or following is not None,
        "next": following,
        "action": action.id,
    }
