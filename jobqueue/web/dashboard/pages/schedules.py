"""The recurring jobs."""

from __future__ import annotations

from jobqueue.records import JobFilter
from jobqueue.views.schedules import all_schedules
from jobqueue.web.dashboard.rows import DashboardPage, Shown
from jobqueue.web.operations import ApiCall

ROWS = 50


def schedules_page(call: ApiCall) -> Shown:
    """Return the recurring jobs, with their next ticks and the last jobs of their classes."""
    schedules = all_schedules(call.adapter)
    handlers = list(dict.fromkeys(view.record.handler for view in schedules))[:ROWS]
    last = {
        handler: call.adapter.page_jobs(JobFilter(handlers=(handler,)), 5).jobs
        for handler in handlers
    }
    return {"now": call.adapter.now(), "schedules": schedules, "last": last}


PAGES = (DashboardPage("/schedules", "Schedules", "schedules.html", schedules_page),)
