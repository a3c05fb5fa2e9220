"""The limits that jobs wait for, and setting them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from jobqueue.views.limits import all_limits, limit_view
from jobqueue.web import limits as api_limits
from jobqueue.web import models
from jobqueue.web.dashboard.asked import asked_of
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, Shown
from jobqueue.web.operations import ApiCall

MOST_KEYS = 100


def limits_page(call: ApiCall) -> Shown:
    """Return the limits, those that most jobs wait for first."""
    views = all_limits(call.adapter)
    views.sort(key=lambda view: (-view.waiting.number, view.record.name))
    return {"now": call.adapter.now(), "limits": views}


def limit_page(call: ApiCall) -> Shown:
    """Return a limit, and the keys that jobs wait for, the fullest first."""
    view = limit_view(call.adapter, api_limits.found(call, asked_of(call, "name")))
    gates = sorted(view.gates, key=lambda gate: (-gate.waiting.number, -gate.held, gate.key or ""))
    return {
        "now": call.adapter.now(),
        "limit": view,
        "gates": gates[:MOST_KEYS],
        "left_out": max(len(gates) - MOST_KEYS, 0),
    }


def set_limit(call: ApiCall) -> Mapping[str, str]:
    """Set the limit that the query string names: a path cannot have every name."""
    name = asked_of(call, "name")
    api_limits.change(replace(call, path={"limit": name}))
    return {"name": name}


PAGES = (
    DashboardPage("/limits", "Limits", "limits.html", limits_page),
    DashboardPage("/limit", "Limits", "limit.html", limit_page),
)
FORM_ACTIONS = (
    FormAction(
        "/limit/set",
        set_limit,
        "The limit is set, for all workers.",
        "/limit",
        models.LimitBody,
    ),
)
