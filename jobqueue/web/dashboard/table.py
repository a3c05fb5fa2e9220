"""The table of all pages of the dashboard."""

from __future__ import annotations

from jobqueue.web.dashboard import readers
from jobqueue.web.dashboard.rows import DashboardPage

PAGES = (
    DashboardPage("/", "Now", "now.html", readers.now_page),
    DashboardPage("/jobs", "Jobs", "jobs.html", readers.jobs_page),
    DashboardPage("/jobs/{id:job_id}", "Jobs", "job.html", readers.job_page),
    DashboardPage("/errors", "Errors", "errors.html", readers.errors_page),
    DashboardPage("/errors/{key}", "Errors", "error.html", readers.error_page),
    DashboardPage("/queues", "Queues", "queues.html", readers.queues_page),
    DashboardPage("/queues/{name}", "Queues", "queue.html", readers.queue_page),
    DashboardPage("/classes", "Classes", "classes.html", readers.classes_page),
    DashboardPage("/class", "Classes", "class.html", readers.class_page),
    DashboardPage("/workers", "Workers", "workers.html", readers.workers_page),
    DashboardPage("/workers/{id}", "Workers", "worker.html", readers.worker_page),
    DashboardPage("/schedules", "Schedules", "schedules.html", readers.schedules_page),
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
