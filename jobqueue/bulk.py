"""Changes to many jobs at once: cancel and delete, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from jobqueue.adapters.roles.control import ControlRole
from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.ends import EndReporter
from jobqueue.records import FINISHED_STATES, UNFINISHED_STATES, JobFilter, JobState

BATCH = 200


class ReadableControl(ReadsRole, ControlRole, Protocol):
    """The roles of an adapter that read, cancel and delete jobs."""


def cancel_some(adapter: ControlRole, where: JobFilter, reason: str, ends: EndReporter) -> int:
    """Cancel those of a few jobs, given by their ids, that have not started; return how many."""
    if not ends.reaches_anybody("job_cancelled"):
        return adapter.cancel(where, reason)
    cancelled = adapter.cancel_each(where, reason)
    ends.report(cancelled)
    return len(cancelled)


def cancel_any(adapter: ReadableControl, where: JobFilter, reason: str, ends: EndReporter) -> int:
    """Cancel those of a few jobs that have not started, and ask running ones to end.

    Args:
        adapter: where they are.
        where: their ids, and the states that are meant.
        reason: becomes their `last_error`.
        ends: reports jobs that have ended by it.
    """
    number = 0
    if JobState.READY in (where.states or ()):
        waiting = replace(where, states=(JobState.READY,))
        number = cancel_some(adapter, waiting, reason, ends)
    if JobState.RUNNING not in (where.states or ()):
        return number
    running = adapter.list_jobs(replace(where, states=(JobState.RUNNING,)), BATCH)
    asked = [job for seen in running if (job := adapter.request_cancel(seen.id, reason))]
    ends.report(job for job in asked if job.state is JobState.CANCELLED)
    return number + len(asked)


def delete_some(adapter: ControlRole, where: JobFilter, reason: str, ends: EndReporter) -> int:
    """Remove those of a few jobs, given by their ids, that are not running; return how many."""
    if not ends.reaches_anybody("job_deleted"):
        return adapter.delete(where)
    deleted = adapter.delete_each(where)
    ends.report_deleted(deleted, reason)
    return len(deleted)


def delete_all(
    adapter: ReadableControl,
    where: JobFilter,
    reason: str,
    ends: EndReporter,
    *,
    include_running: bool = False,
) -> int:
    """Remove all jobs that match; return how many.

    Where somebody is told of those that had not ended, they are read and removed `BATCH` at a time,
    each batch in a transaction of its own. All others go in one.
    """
    if not ends.reaches_anybody("job_deleted"):
        return adapter.delete(where, include_running=include_running)
    number = 0
    for found in in_batches(adapter, _among(where, UNFINISHED_STATES, include_running)):
        deleted = adapter.delete_each(found, include_running=include_running)
        ends.report_deleted(deleted, reason)
        number += len(deleted)
    return number + adapter.delete(_among(where, FINISHED_STATES, include_running))


def _among(where: JobFilter, states: Sequence[JobState], include_running: bool) -> JobFilter:
    wanted = tuple(JobState) if where.states is None else where.states
    spared = () if include_running else (JobState.RUNNING,)
    return replace(where, states=tuple(s for s in states if s in wanted and s not in spared))


def in_batches(adapter: ReadsRole, where: JobFilter) -> Iterator[JobFilter]:
    """The same filter for a few jobs at a time, the newest first."""
    following: int | None = where.before_id
    while where.states:
        page = adapter.page_jobs(replace(where, before_id=following), BATCH)
        if page.jobs:
            yield replace(where, ids=tuple(job.id for job in page.jobs))
        following = page.next_before_id
        if following is None:
            return
