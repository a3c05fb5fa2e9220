"""Errors in groups over HTTP: lists, single ones, and changes to all jobs of one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from jobqueue.records import ActionKind, ErrorFilter, ErrorState, JobFilter
from jobqueue.views.errors import (
    ACTION_OF_STATE,
    CANCELLED_STATES,
    RETRIED_STATES,
    error_group_view,
    found_error_group,
    jobs_of_group,
    position_in,
    text_of,
)
from jobqueue.views.jobs import names_meant
from jobqueue.web.bulk import change_jobs
from jobqueue.web.jobs import job_json
from jobqueue.web.models import ErrorsQuery, GroupBody
from jobqueue.web.operations import Answer, ApiCall, plain
from jobqueue.web.problems import Problem

LAST_JOBS = 10
STATES_CHANGED = {ActionKind.RETRY: RETRIED_STATES, ActionKind.CANCEL: CANCELLED_STATES}
"""The states of the jobs of a group that are changed, by what is done to them."""


def list_errors(call: ApiCall) -> Answer:
    """Answer a page of groups, those that were seen last first."""
    query: ErrorsQuery = call.query
    page = call.adapter.error_groups(_filter_of(query), query.limit)
    now = call.adapter.now()
    shown = [plain(error_group_view(record, now).facts()) for record in page.groups]
    following = None if page.next_before is None else text_of(page.next_before)
    return Answer({"errors": shown, "next": following})


def _filter_of(query: ErrorsQuery) -> ErrorFilter:
    before = None if query.before is None else position_in(query.before)
    if query.before is not None and before is None:
        raise Problem(422, "before is no place in a list; expected the `next` of the page before")
    names = [full for name in query.name or () for full in names_meant(name)]
    return ErrorFilter(
        states=tuple(query.state or ErrorState),
        handlers=None if query.name is None else tuple(dict.fromkeys(names)),
        period=None if query.hours is None else timedelta(hours=query.hours),
        before=before,
    )


def show_error(call: ApiCall) -> Answer:
    """Answer everything about a group, with its last jobs."""
    record = found_error_group(call.adapter, call.path["key"])
    view = error_group_view(record, call.adapter.now())
    jobs = call.adapter.page_jobs(jobs_of_group(record.key), LAST_JOBS).jobs
    return Answer({**plain(view.all_facts()), "jobs": list(map(job_json, jobs))})


def mute(call: ApiCall) -> Answer:
    """Leave a group out of lists until it is reopened."""
    return _set_state(call, ErrorState.MUTED)


def resolve(call: ApiCall) -> Answer:
    """Say that a group is mended. When it comes back, it is open again."""
    return _set_state(call, ErrorState.RESOLVED)


def reopen(call: ApiCall) -> Answer:
    """Put a muted or resolved group back into lists."""
    return _set_state(call, ErrorState.OPEN)


def _set_state(call: ApiCall, state: ErrorState) -> Answer:
    record = found_error_group(call.adapter, call.path["key"])
    call.adapter.set_error_state(record.key, state, call.access.who)
    call.note(f"set to {state}", f"errors {record.key}")
    call.act(ACTION_OF_STATE[state], {"errors": record.key}, reason=call.body.reason)
    return Answer({"key": record.key, "state": state, "changed": record.state is not state})


def retry(call: ApiCall) -> Answer:
    """Make all jobs of a group due now: those that failed, and those that wait for a retry."""
    return _change(call, ActionKind.RETRY)


def cancel(call: ApiCall) -> Answer:
    """Cancel all jobs of a group that wait for a retry, and ask running ones to end."""
    return _change(call, ActionKind.CANCEL)


def _change(call: ApiCall, kind: ActionKind) -> Answer:
    body: GroupBody = call.body
    return change_jobs(call, kind, replace(jobs_to_change(call, kind), before_id=body.before))


def jobs_to_change(call: ApiCall, kind: ActionKind) -> JobFilter:
    """Return the filter of the jobs of a group that are retried or cancelled.

    Raises:
        ErrorGroupNotFound: there is no group of the key in the path.
        Problem: it is none of the two.
    """
    if kind not in STATES_CHANGED:
        raise Problem(422, f"the jobs of a group of errors are retried or cancelled, not {kind}d")
    record = found_error_group(call.adapter, call.path["key"])
    return jobs_of_group(record.key, STATES_CHANGED[kind])
