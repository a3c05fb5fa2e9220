"""The recurring jobs, the page of each, and pausing, resuming and running one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from jobqueue.views.schedules import all_schedules, found_schedule, pause_of, schedule_view
from jobqueue.web import models
from jobqueue.web import schedules as api_schedules
from jobqueue.web.dashboard.asked import asked_of
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, Shown
from jobqueue.web.operations import ApiCall


def schedules_page(call: ApiCall) -> Shown:
    """Return the recurring jobs of all applications."""
    return {"now": call.adapter.now(), "schedules": all_schedules(call.adapter)}


def schedule_page(call: ApiCall) -> Shown:
    """Return a recurring job, with its next ticks and what became of its last ones."""
    record = found_schedule(
        call.adapter.schedules(), asked_of(call, "name"), asked_of(call, "app") or None
    )
    return {
        "now": call.adapter.now(),
        "schedule": schedule_view(call.adapter, record),
        "paused_by": pause_of(call.adapter, record),
    }


def named_by_query(operation: Callable[[ApiCall], Any]) -> Callable[[ApiCall], Mapping[str, str]]:
    """Return an operation of the API on the schedule that the query string names.

    The name of a schedule may have any characters, and a path has not.
    """

    def named(call: ApiCall) -> dict[str, str]:
        asked = {"name": asked_of(call, "name"), "app": asked_of(call, "app")}
        query = models.ScheduleQuery(app=asked["app"] or None)
        operation(replace(call, path={"schedule": asked["name"]}, query=query))
        return asked

    return named


PAGES = (
    DashboardPage("/schedules", "Schedules", "schedules.html", schedules_page),
    DashboardPage("/schedule", "Schedules", "schedule.html", schedule_page),
)
FORM_ACTIONS = (
    FormAction(
        "/schedule/pause",
        named_by_query(api_schedules.pause),
        "The schedule is paused: nothing is enqueued until it is resumed.",
        "/schedule",
        models.ReasonBody,
    ),
    FormAction(
        "/schedule/resume",
        named_by_query(api_schedules.resume),
        "The schedule is resumed. Ticks that it missed meanwhile are left out.",
        "/schedule",
        models.ReasonBody,
    ),
    FormAction(
        "/schedule/run",
        named_by_query(api_schedules.run),
        "A job of the schedule is enqueued, and due now.",
        "/schedule",
        models.ReasonBody,
    ),
)
