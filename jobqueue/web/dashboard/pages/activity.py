"""The actions of people: the list, and the page of each."""

from __future__ import annotations

from jobqueue.bulk import found_action
from jobqueue.records import BULK_KINDS, LARGEST_ID, ActionFilter, ActionKind, ActionState
from jobqueue.views.actions import ActionView, action_view, progress_of
from jobqueue.views.workers import living_among
from jobqueue.web import actions as api_actions
from jobqueue.web.dashboard.asked import asked_of, before_of
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, LinkFor, Shown
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem

LONGEST_NAME = 1000
ROWS = 50


def activity_page(call: ApiCall) -> Shown:
    """Return a page of actions, the newest first."""
    kind, who, before = asked_of(call, "kind"), asked_of(call, "by"), before_of(call)
    if kind and kind not in set(ActionKind):
        raise Problem(422, f"there is no kind of action {kind[:100]!r}; choose one of the list")
    if len(who) > LONGEST_NAME or not who.isprintable():
        raise Problem(422, "nobody can have this name; write who did it as the list shows them")
    where = ActionFilter(
        kinds=(ActionKind(kind),) if kind else None, by=who or None, before_id=before
    )
    found, now = call.adapter.actions(where, ROWS + 1), call.adapter.now()
    shown = found[:ROWS]
    return {
        "now": now,
        "kind": kind,
        "by": who,
        "before": before,
        "kinds": [one.value for one in ActionKind],
        "actions": [action_view(record, now) for record in shown],
        "next": shown[-1].id if len(found) > len(shown) else None,
    }


def action_page(call: ApiCall) -> Shown:
    """Return an action, how far it is, and whether somebody can carry it out."""
    record = found_action(call.adapter, min(call.path["id"], LARGEST_ID))
    now = call.adapter.now()
    view, progress = action_view(record, now), progress_of(call.adapter, record)
    is_running = record.state is ActionState.RUNNING
    lacks_worker = is_running and not living_among(call.adapter, call.adapter.workers(), now)
    return {
        "now": now,
        "action": view,
        "progress": progress,
        "lacks_worker": lacks_worker,
        "is_bulk": is_bulk(view),
        "can": {"stop": is_running, "resume": record.state is ActionState.STOPPED},
    }


def is_bulk(view: ActionView) -> bool:
    """Return whether an action changes any number of jobs, one batch after the other."""
    return view.record.kind in set(BULK_KINDS) and view.query is not None


PAGES = (
    DashboardPage("/activity", "Activity", "activity.html", activity_page),
    DashboardPage(
        "/activity/{id:job_id}", "Activity", "action.html", action_page, tomorrow=LinkFor.ITSELF
    ),
)
FORM_ACTIONS = (
    FormAction(
        "/activity/{id:job_id}/stop",
        api_actions.stop,
        "Action {id} is stopped. What it has changed stays changed.",
        "/activity/{id}",
    ),
    FormAction(
        "/activity/{id:job_id}/resume",
        api_actions.resume,
        "Action {id} goes on.",
        "/activity/{id}",
    ),
)
