"""The classes of jobs, and the page of each."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from jobqueue.job import JOB_OPTIONS, registry
from jobqueue.records import SHOWN_HOURS, ErrorFilter, ErrorState, JobFilter
from jobqueue.views.errors import as_it_was, error_group_view, errors_since_releases
from jobqueue.views.jobs import job_view
from jobqueue.views.stats import by_class, stats_by_day, stats_by_hour, sum_of
from jobqueue.web.dashboard.asked import asked_of
from jobqueue.web.dashboard.charts import bar_chart, by_minute, duration_chart
from jobqueue.web.dashboard.moments import moment_of
from jobqueue.web.dashboard.rows import DashboardPage, LinkFor, Shown
from jobqueue.web.dashboard.windows import HOUR, WINDOWS
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem

FEW = 10
LONGEST_AGO_OF_MINUTES = timedelta(hours=6)
"""How long ago minutes are shown one by one: there are many of them."""
LONGEST_NAME = 255
OBJECTS = {"adapter", "logger"}
"""The options of a class that say nothing as a text."""
SPARK = (120.0, 24.0)
WIDE = (600.0, 80.0)


def classes_page(call: ApiCall) -> Shown:
    """Return the attempts of all classes in a window."""
    window = asked_of(call, "window") if asked_of(call, "window") in WINDOWS else "24 hours"
    moment = moment_of(call)
    sums = by_class(call.adapter.class_stats(WINDOWS[window] + moment.ago, moment.ago))
    ordered = sorted(sums.values(), key=lambda stat: (-stat.attempts, stat.handler))
    return {
        "now": moment.at,
        "moment": moment,
        "window": window,
        "windows": tuple(WINDOWS),
        "classes": ordered,
    }


def class_page(call: ApiCall) -> Shown:
    """Return whether a class got slower, its recent runs, and its settings."""
    name, adapter = asked_of(call, "name"), call.adapter
    if not 0 < len(name) <= LONGEST_NAME or "\0" in name:
        raise Problem(404, "the name of a class is missing; Classes lists them")
    now, moment = adapter.now(), moment_of(call)
    recent = adapter.stats(HOUR + moment.ago) if moment.ago < LONGEST_AGO_OF_MINUTES else ()
    of_class = [one for one in recent if one.stat.handler == name and one.minute <= moment.at]
    minutes: Counter[Any] = Counter()
    for one in of_class:
        minutes[one.minute] += one.stat.attempts
    job_class = registry.find(name)
    runs = stats_by_hour(adapter, name, now, handlers=(name,), before=moment.ago)
    days = stats_by_day(adapter, name, now, handlers=(name,), before=moment.ago)
    open_ones = ErrorFilter(states=(ErrorState.OPEN,), handlers=(name,))
    hours = SHOWN_HOURS + -(-moment.ago // HOUR)
    groups = adapter.error_groups(open_ones, FEW, hours).groups
    known = [as_it_was(one, moment.at) for one in groups if one.first_seen_at <= moment.at]
    errors = [error_group_view(one, moment.at) for one in known]
    return {
        "now": now,
        "moment": moment,
        "name": name,
        "windows": {
            text: sum_of(adapter.class_stats(age + moment.ago, moment.ago, (name,)), name)
            for text, age in WINDOWS.items()
        },
        "chart": bar_chart(by_minute(minutes, moment.at, 60), *WIDE),
        "runs": runs,
        "days": days,
        "by_day": duration_chart({day: s.run_quantile(0.95) for day, s in days.items()}, *WIDE),
        "since_releases": errors_since_releases(errors),
        "hours": duration_chart({hour: s.run_quantile(0.95) for hour, s in runs.items()}, *WIDE),
        "errors": errors,
        "sparks": {one.record.key: bar_chart(one.hours, *SPARK) for one in errors},
        "jobs": [job_view(j) for j in adapter.page_jobs(JobFilter(handlers=(name,)), FEW).jobs],
        "settings": None if job_class is None else _settings_of(job_class),
        "summary": None if job_class is None else (job_class.__doc__ or "").strip(),
    }


def _settings_of(job_class: Any) -> dict[str, str]:
    """Return what the code says of a class, with the values that hold for it."""
    shown = sorted(set(JOB_OPTIONS) - OBJECTS)
    values = {name: getattr(job_class, name, None) for name in shown}
    return {name: _setting_text(value) for name, value in values.items() if value is not None}


def _setting_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list | frozenset | set):
        return ", ".join(map(str, value)) or "none"
    return str(value)


PAGES = (
    DashboardPage("/classes", "Classes", "classes.html", classes_page, tomorrow=LinkFor.MOMENT),
    DashboardPage("/class", "Classes", "class.html", class_page, tomorrow=LinkFor.MOMENT),
)
