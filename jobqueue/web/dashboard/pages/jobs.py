"""The list of jobs."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from jobqueue.errors import InvalidQuery
from jobqueue.records import JobFilter
from jobqueue.views.job_query import words_of
from jobqueue.views.jobs import job_view
from jobqueue.views.query_text import query_text
from jobqueue.web.dashboard.asked import asked_of, before_of
from jobqueue.web.dashboard.chips import quick_chips, word_chips
from jobqueue.web.dashboard.moments import IncidentLink
from jobqueue.web.dashboard.rows import DashboardPage, Shown
from jobqueue.web.models import JobsQuery
from jobqueue.web.operations import ApiCall
from jobqueue.web.pages import filter_of

FILLING_SECONDS = 0.1
ROWS = 50


def jobs_page(call: ApiCall) -> Shown:
    """Return a window of the jobs that match a query, the newest first."""
    asked, before = asked_of(call, "q"), before_of(call)
    shown: dict[str, Any] = {"now": call.adapter.now(), "q": asked, "before": before}
    shown |= {"jobs": (), "next": None, "wrong": None}
    shown |= {"words": word_chips(asked), "quick": quick_chips(asked), "rows": ROWS}
    try:
        where = _filter_of(call, asked)
    except InvalidQuery as error:
        return shown | {"wrong": error}
    if asked:
        # Relative times are absolute in it, so that it means the same tomorrow.
        told = {"q": query_text(where), "before": "" if before is None else str(before)}
        shown["lasting"] = IncidentLink("/jobs", told, "its times are absolute")
    jobs, following = _window(call, replace(where, before_id=before))
    return shown | {"jobs": [job_view(record) for record in jobs], "next": following}


def _filter_of(call: ApiCall, asked: str) -> JobFilter:
    if not asked:
        return JobFilter()
    list(words_of(asked))  # which says of a query that is too long how long it may be
    return filter_of(JobsQuery.model_validate({"q": asked}), call.adapter)


def _window(call: ApiCall, where: JobFilter) -> tuple[list[Any], int | None]:
    """Return some jobs, and where to go on; short pages are joined while there is time."""
    found: list[Any] = []
    deadline = time.monotonic() + FILLING_SECONDS
    while True:
        page = call.adapter.page_jobs(where, ROWS - len(found))
        found += page.jobs
        where = replace(where, before_id=page.next_before_id)
        is_over = page.next_before_id is None or page.is_full or time.monotonic() > deadline
        if is_over or len(found) == ROWS:
            return found, page.next_before_id


PAGES = (DashboardPage("/jobs", "Jobs", "jobs.html", jobs_page),)
