"""The table of all pages of the dashboard."""

from __future__ import annotations

from jobqueue.web.dashboard import readers
from jobqueue.web.dashboard.page import Page

PAGES = (
    Page("/", "Now", "now.html", readers.now_page),
    Page("/jobs", "Jobs", "jobs.html", readers.jobs_page),
    Page("/jobs/{id:job_id}", "Jobs", "job.html", readers.job_page),
    Page("/errors", "Errors", "errors.html", readers.errors_page),
    Page("/errors/{key}", "Errors", "error.html", readers.error_page),
    Page("/queues", "Queues", "queues.html", readers.queues_page),
    Page("/queues/{name}", "Queues", "queue.html", readers.queue_page),
    Page("/classes", "Classes", "classes.html", readers.classes_page),
    Page("/class", "Classes", "class.html", readers.class_page),
    Page("/workers", "Workers", "workers.html", readers.workers_page),
    Page("/workers/{id}", "Workers", "worker.html", readers.worker_page),
    Page("/schedules", "Schedules", "schedules.html", readers.schedules_page),
)
TABS = (
    ("Now", "/", "n"),
    ("Jobs", "/jobs", "j"),
    ("Errors", "/errors", "e"),
    ("Queues", "/queues", "q"),
    ("Classes", "/classes", "c"),
    ("Workers", "/workers", "w"),
    ("Schedules", "/schedules", "s"),
)
"""The tabs: their names, their paths, and the key that opens each after `g`."""
