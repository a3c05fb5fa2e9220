"""The page of the database: what hurts it, and what mends that. It only reads."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.views.database import examined
from jobqueue.web.dashboard.rows import DashboardPage, Shown
from jobqueue.web.operations import ApiCall


def database_page(call: ApiCall) -> Shown:
    """Return what `jobqueue doctor` finds in the database."""
    view = examined(call.adapter)
    facts = view.health.facts
    oldest = facts.get("oldest_snapshot")
    age = None if oldest is None else timedelta(seconds=oldest["seconds"])
    return {"now": view.now, "database": view, "facts": facts, "age": age}


PAGES = (DashboardPage("/database", "Database", "database.html", database_page),)
