"""Bulk actions over HTTP: changes to all jobs that match a filter."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.bulk import bulk_action, new_runner_id, run_action
from jobqueue.canary import canary_action
from jobqueue.errors import RowLocked
from jobqueue.records import (
    UNSTARTED_STATES,
    WAITING_STATES,
    ActionKind,
    ActionRecord,
    ActionState,
    JobFilter,
    JobState,
    NewAction,
)
from jobqueue.redaction import clean_error
from jobqueue.views.query_text import query_text
from jobqueue.web.models import BulkBody, GroupBody, GroupRetryBody, JobFilterBody
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
_NOT_RUNNING = tuple(state for state in JobState if state is not JobState.RUNNING)
POSSIBLE_STATES = {
    ActionKind.RETRY: (*WAITING_STATES, JobState.FAILED, JobState.CANCELLED),
    ActionKind.CANCEL: (*UNSTARTED_STATES, JobState.RUNNING),
    ActionKind.DELETE: _NOT_RUNNING,
}
"""The states of jobs that can be changed so."""
USUAL_STATES = {**POSSIBLE_STATES, ActionKind.RETRY: (JobState.FAILED,)}
"""The states that are meant if a filter has none."""


def retry_all(call: ApiCall) -> Answer:
    """Make failed jobs due now, and others if they are asked for."""
    return _in_bulk(call, ActionKind.RETRY)


def cancel_all(call: ApiCall) -> Answer:
    """End jobs that have not started, and ask running ones to end."""
    return _in_bulk(call, ActionKind.CANCEL)


def delete_all(call: ApiCall) -> Answer:
    """Remove jobs that are not running."""
    return _in_bulk(call, ActionKind.DELETE)


def _in_bulk(call: ApiCall, kind: ActionKind) -> Answer:
    body: BulkBody = call.body
    where = bulk_filter(call.adapter, kind, body.filter)
    return change_jobs(call, kind, replace(where, before_id=body.before))


def change_jobs(call: ApiCall, kind: ActionKind, where: JobFilter) -> Answer:
    """Count or change all jobs that match a filter, as the body of a request asks.

    Args:
        call: the request; its body says whether to count only, and whether to leave it to workers.
        kind: what is done to them.
        where: the filter, from where the body says that it goes on.
    """
    body: BulkBody | GroupBody | GroupRetryBody = call.body
    if body.dry_run:
        count = call.adapter.count_up_to(where, MOST_CHANGED)
        return Answer(
            {"dry_run": True, "count": count.number, "more": count.more, "next": None}
            | {"action": None}
        )
    reason = clean_error(body.reason) if body.reason else None
    action = bulk_action(kind, where, call.actor, reason=reason)
    canary = getattr(body, "canary", None)
    if canary is not None:
        spread = timedelta(seconds=canary.spread_seconds)
        action = canary_action(where, canary.number, spread, call.actor, reason=reason)
    if body.background or canary is not None:
        latest = call.adapter.begin_action(action)
        call.note(f"began to {latest.kind}", f"action {latest.id}: {query_text(where)}")
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


def bulk_filter(adapter: Adapter, kind: ActionKind, asked: JobFilterBody) -> JobFilter:
    """Return the filter of the jobs that a bulk change is for, with their states.

    Args:
        adapter: where the jobs are.
        kind: what is done to them.
        asked: the filter as it was sent.

    Raises:
        Problem: it would mean every job, or jobs that cannot be changed so.
        InvalidQuery: its `q` cannot be understood.
    """
    if not asked.model_dump(exclude_none=True):
        raise Problem(422, "an empty filter would mean every job; say which: state, queue, name, q")
    where = filter_of(asked, adapter)
    if where == JobFilter():
        raise Problem(422, "this filter would mean every job; say which: state, queue, name, q")
    impossible = [state for state in where.states or () if state not in POSSIBLE_STATES[kind]]
    if impossible:
        raise Problem(422, f"{impossible[0]} jobs cannot be {DONE[kind]} in bulk")
    return replace(where, states=where.states or USUAL_STATES[kind])


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
