"""The groups of errors, and the page of each."""

from __future__ import annotations

from jobqueue.records import ErrorFilter, ErrorState
from jobqueue.views.errors import (
    HOUR,
    WEEK_HOURS,
    as_it_was,
    error_group_view,
    found_error_group,
    jobs_of_group,
    position_in,
    release_of_new,
    text_of,
    week_of,
)
from jobqueue.views.jobs import job_view
from jobqueue.views.tracebacks import error_text_of
from jobqueue.web import error_groups as api_error_groups
from jobqueue.web import models
from jobqueue.web.dashboard.asked import asked_of
from jobqueue.web.dashboard.charts import bar_chart
from jobqueue.web.dashboard.moments import moment_of
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, LinkFor, Shown
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem

ERROR_ROWS = 50
FEW = 10
SPARK = (120.0, 24.0)
WIDE = (600.0, 80.0)


def errors_page(call: ApiCall) -> Shown:
    """Return a page of groups of errors, those that were seen last first."""
    state = asked_of(call, "state") or ErrorState.OPEN.value
    if state not in {"all", *ErrorState}:
        raise Problem(422, f"there is no state {state!r}; there are open, muted, resolved and all")
    place = asked_of(call, "before")
    before = position_in(place) if place else None
    if place and before is None:
        raise Problem(422, "this is no place in the list; begin at its start")
    states = tuple(ErrorState) if state == "all" else (ErrorState(state),)
    where = ErrorFilter(states=states, before=before)
    moment = moment_of(call)
    hours = WEEK_HOURS + -(-moment.ago // HOUR)
    page = call.adapter.error_groups(where, ERROR_ROWS, hours)
    now = moment.at
    known = [as_it_was(each, now) for each in page.groups if each.first_seen_at <= now]
    views = [error_group_view(record, now) for record in known]
    return {
        "now": now,
        "moment": moment,
        "state": state,
        "states": ("open", "muted", "resolved", "all"),
        "errors": views,
        "sparks": {v.record.key: bar_chart(week_of(v.record, now), *SPARK) for v in views},
        "new_with": {view.record.key: release_of_new(view.record, now) for view in views},
        "next": None if page.next_before is None else text_of(page.next_before),
    }


def error_page(call: ApiCall) -> Shown:
    """Return everything about a group of errors, with its last jobs."""
    moment = moment_of(call)
    record = as_it_was(found_error_group(call.adapter, call.path["key"]), moment.at)
    now = moment.at
    view = error_group_view(record, now)
    jobs = call.adapter.page_jobs(jobs_of_group(record.key), FEW).jobs
    return {
        "now": now,
        "moment": moment,
        "error": view,
        "new_with": release_of_new(record, now),
        "week": bar_chart(week_of(record, now), *WIDE),
        "sample": error_text_of(record.sample),
        "hours": bar_chart(view.hours, *WIDE),
        "days": bar_chart(view.days, *WIDE),
        "jobs": [job_view(job) for job in jobs],
    }


PAGES = (
    DashboardPage("/errors", "Errors", "errors.html", errors_page, tomorrow=LinkFor.MOMENT),
    DashboardPage("/errors/{key}", "Errors", "error.html", error_page, tomorrow=LinkFor.MOMENT),
)
FORM_ACTIONS = (
    FormAction(
        "/errors/{key}/mute",
        api_error_groups.mute,
        "These errors are muted until somebody reopens them.",
        "/errors/{key}",
        models.ReasonBody,
    ),
    FormAction(
        "/errors/{key}/resolve",
        api_error_groups.resolve,
        "These errors are resolved. They are open again when they come back.",
        "/errors/{key}",
        models.ReasonBody,
    ),
    FormAction(
        "/errors/{key}/reopen",
        api_error_groups.reopen,
        "These errors are open.",
        "/errors/{key}",
        models.ReasonBody,
    ),
)
