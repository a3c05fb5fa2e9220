"""Changes over HTTP to all jobs that match a filter, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from jobqueue.adapters.base import Adapter
from jobqueue.bulk import BATCH, cancel_any, delete_some
from jobqueue.records import JobFilter, JobState
from jobqueue.web.jobs import cancel_reason, delete_reason
from jobqueue.web.models import BulkBody, GroupBody
from jobqueue.web.operations import Answer, ApiCall
from jobqueue.web.pages import filter_of
from jobqueue.web.problems import Problem

MOST_CHANGED = 10_000
LONGEST_SECONDS = 10.0

Change = Callable[[Adapter, JobFilter], int]


def retry_all(call: ApiCall) -> Answer:
    """Make failed jobs due now, and others if they are asked for."""
    usual, possible = (JobState.FAILED,), (JobState.READY, JobState.FAILED, JobState.CANCELLED)
    return _in_bulk(call, "retried", usual, possible, lambda adapter, where: adapter.retry(where))


def cancel_all(call: ApiCall) -> Answer:
    """End jobs that have not started, and ask running ones to end."""
    states, reason = (JobState.READY, JobState.RUNNING), cancel_reason(call)

    def cancel(adapter: Adapter, where: JobFilter) -> int:
        return cancel_any(adapter, where, reason, call.queue.ends)

    return _in_bulk(call, "cancelled", states, states, cancel)


def delete_all(call: ApiCall) -> Answer:
    """Remove jobs that are not running."""
    states = tuple(state for state in JobState if state is not JobState.RUNNING)
    reason, ends = delete_reason(call), call.queue.ends

    def delete(adapter: Adapter, where: JobFilter) -> int:
        return delete_some(adapter, where, reason, ends)

    return _in_bulk(call, "deleted", states, states, delete)


def _in_bulk(
    call: ApiCall,
    done: str,
    usual: tuple[JobState, ...],
    possible: tuple[JobState, ...],
    change: Change,
) -> Answer:
    """Count or change all jobs that match a filter.

    Args:
        call: the request.
        done: the word for the log.
        usual: the states that are meant if the filter has none.
        possible: the states of jobs that can be changed so.
        change: changes jobs, in one transaction, and returns how many it changed.
    """
    body: BulkBody = call.body
    where = _bulk_filter(call.adapter, body, usual, possible, done)
    said = body.filter.model_dump_json(exclude_none=True)
    return change_jobs(call, where, done, said, change)


def change_jobs(call: ApiCall, where: JobFilter, done: str, said: str, change: Change) -> Answer:
    """Count or change all jobs that match a filter, as the body of a request asks.

    Args:
        call: the request; its body says whether to count only.
        where: the filter, from where the body says that it goes on.
        done: the word for the log.
        said: which jobs they are, for the log.
        change: changes jobs, in one transaction, and returns how many it changed.
    """
    body: BulkBody | GroupBody = call.body
    if body.dry_run:
        count = call.adapter.count_up_to(where, MOST_CHANGED)
        return _bulk_answer(body, count.number, count.more, None)
    number, going_on = 0, None
    try:
        for changed, following in _change_in_batches(call.adapter, where, change):
            number, going_on = number + changed, following
    finally:  # even if the database fails in between, since earlier batches stay changed
        call.note(done, f"{number:,} jobs: {said}")
    return _bulk_answer(body, number, going_on is not None, going_on)


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


def _change_in_batches(
    adapter: Adapter, where: JobFilter, change: Change
) -> Iterator[tuple[int, int | None]]:
    """Yield how many jobs each batch changed, and where to go on after the last one."""
    number, deadline = 0, time.monotonic() + LONGEST_SECONDS
    while True:
        found, changed = adapter.page_jobs(where, BATCH), 0
        if found.jobs:
            changed = change(adapter, replace(where, ids=tuple(job.id for job in found.jobs)))
        yield changed, found.next_before_id
        number += changed
        is_enough = number >= MOST_CHANGED or time.monotonic() > deadline
        if found.next_before_id is None or is_enough:
            return
        where = replace(where, before_id=found.next_before_id)


def _bulk_answer(
    body: BulkBody | GroupBody, count: int, more: bool, following: int | None
) -> Answer:
    return Answer({"dry_run": body.dry_run, "count": count, "more": more, "next": following})
