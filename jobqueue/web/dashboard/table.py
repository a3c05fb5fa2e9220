"""The table of all pages of the dashboard, and of all their forms."""

from __future__ import annotations

from jobqueue.web.dashboard.pages import (
    classes,
    database,
    errors,
    job,
    jobs,
    now,
    queues,
    schedules,
    workers,
)

PAGES = (
    *now.PAGES,
    *jobs.PAGES,
    *job.PAGES,
    *errors.PAGES,
    *queues.PAGES,
    *classes.PAGES,
    *workers.PAGES,
    *schedules.PAGES,
    *database.PAGES,
)
FORM_ACTIONS = (
    *now.FORM_ACTIONS,
    *job.FORM_ACTIONS,
    *queues.FORM_ACTIONS,
    *errors.FORM_ACTIONS,
    *workers.FORM_ACTIONS,
)
TABS = (
    ("Now", "/", "n"),
    ("Jobs", "/jobs", "j"),
    ("Errors", "/errors", "e"),
    ("Queues", "/queues", "q"),
    ("Classes", "/classes", "c"),
    ("Workers", "/workers", "w"),
    ("Schedules", "/schedules", "s"),
    ("Database", "/database", "d"),
)
"""The tabs: their names, their paths, and the key that opens each after `g`."""
