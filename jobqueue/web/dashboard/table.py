"""The table of all pages of the dashboard, and of all their forms."""

from __future__ import annotations

from jobqueue.web.dashboard.pages import (
    activity,
    changes,
    classes,
    database,
    edit,
    enqueue,
    errors,
    flows,
    job,
    jobs,
    limits,
    now,
    queues,
    schedules,
    workers,
)

PAGES = (
    *now.PAGES,
    *jobs.PAGES,
    *job.PAGES,
    *edit.PAGES,
    *changes.PAGES,
    *errors.PAGES,
    *queues.PAGES,
    *classes.PAGES,
    *workers.PAGES,
    *schedules.PAGES,
    *flows.PAGES,
    *limits.PAGES,
    *enqueue.PAGES,
    *database.PAGES,
    *activity.PAGES,
)
FORM_ACTIONS = (
    *now.FORM_ACTIONS,
    *job.FORM_ACTIONS,
    *edit.FORM_ACTIONS,
    *enqueue.FORM_ACTIONS,
    *changes.FORM_ACTIONS,
    *activity.FORM_ACTIONS,
    *queues.FORM_ACTIONS,
    *errors.FORM_ACTIONS,
    *workers.FORM_ACTIONS,
    *schedules.FORM_ACTIONS,
    *flows.FORM_ACTIONS,
    *limits.FORM_ACTIONS,
)
TABS = (
    ("Now", "/", "n"),
    ("Jobs", "/jobs", "j"),
    ("Errors", "/errors", "e"),
    ("Queues", "/queues", "q"),
    ("Classes", "/classes", "c"),
    ("Workers", "/workers", "w"),
    ("Schedules", "/schedules", "s"),
    ("Flows", "/flows", "f"),
    ("Limits", "/limits", "l"),
    ("Database", "/database", "d"),
    ("Activity", "/activity", "a"),
    ("Enqueue", "/enqueue", "u"),
)
"""The tabs: their names, their paths, and the key that opens each after `g`."""
