"""The classes of jobs, and the page of each."""

from __future__ import annotations

from collections import Counter
from typing import Any

from jobqueue.job import JOB_OPTIONS, registry
from jobqueue.records import ErrorFilter, ErrorState, JobFilter
from jobqueue.views.errors import error_group_view
from jobqueue.views.jobs import job_view
from jobqueue.views.stats import by_class, stats_by_hour, sum_of
from jobqueue.web.dashboard.asked import asked_of
from jobqueue.web.dashboard.charts import bar_chart, by_minute, duration_chart
from jobqueue.web.dashboard.rows import DashboardPage, Shown
from jobqueue.web.dashboard.windows import HOUR, WINDOWS
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem

FEW = 10
LONGEST_NAME = 255
SPARK = (120.0, 24.0)
WIDE = (600.0, 80.0)


def classes_page(call: ApiCall) -> Shown:
    """Return the attempts of all classes in a window."""
    window = asked_of(call, "window") if asked_of(call, "window") in WINDOWS else "24 hours"
    sums = by_class(call.adapter.class_stats(WINDOWS[window]))
    ordered = sorted(sums.values(), key=lambda stat: (-stat.attempts, stat.handler))
    return {
        "now": call.adapter.now(),
        "window": window,
        "windows": tuple(WINDOWS),
        "classes": ordered,
    }


def class_page(call: ApiCall) -> Shown:
    """Return whether a class got slower, its recent runs, and its settings."""
    name, adapter = asked_of(call, "name"), call.adapter
    if not 0 < len(name) <= LONGEST_NAME or "\0" in name:
        raise Problem(404, "the name of a class is missing; Classes lists them")
    now = adapter.now()
    of_class = [one for one in adapter.stats(HOUR) if one.stat.handler == name]
    minutes: Counter[Any] = Counter()
    for one in of_class:
        minutes[one.minute] += one.stat.attempts
    job_class = registry.find(name)
    runs = stats_by_hour(adapter, name, now, handlers=(name,))
    open_ones = ErrorFilter(states=(ErrorState.OPEN,), handlers=(name,))
    errors = [error_group_view(one, now) for one in adapter.error_groups(open_ones, FEW).groups]
    return {
        "now": now,
        "name": name,
        "windows": {
            text: sum_of(adapter.class_stats(age, handlers=(name,)), name)
            for text, age in WINDOWS.items()
        },
        "chart": bar_chart(by_minute(minutes, now, 60), *WIDE),
        "runs": runs,
        "hours": duration_chart({hour: s.run_quantile(0.95) for hour, s in runs.items()}, *WIDE),
        "errors": errors,
        "sparks": {one.record.key: bar_chart(one.hours, *SPARK) for one in errors},
        "jobs": [job_view(j) for j in adapter.page_jobs(JobFilter(handlers=(name,)), FEW).jobs],
        "settings": None if job_class is None else _settings_of(job_class),
        "summary": None if job_class is None else (job_class.__doc__ or "").strip(),
    }


def _settings_of(job_class: Any) -> dict[str, str]:
    """Return what the code says of a class, with the values that hold for it."""
    values = {name: getattr(job_class, name, None) for name in sorted(JOB_OPTIONS)}
    return {name: _setting_text(value) for name, value in values.items() if value is not None}


def _setting_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list | frozenset | set):
        return ", ".join(map(str, value)) or "none"
    return str(value)


PAGES = (
    DashboardPage("/classes", "Classes", "classes.html", classes_page),
    DashboardPage("/class", "Classes", "class.html", class_page),
)
