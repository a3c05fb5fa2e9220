"""The actions of people over HTTP: lists, single ones, and stopping and resuming bulk ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobqueue.bulk import found_action
from jobqueue.errors import StateConflict
from jobqueue.records import LARGEST_ID, ActionFilter, ActionRecord
from jobqueue.views.actions import action_view
from jobqueue.web.models import ActionsQuery
from jobqueue.web.operations import Answer, ApiCall, plain


def list_actions(call: ApiCall) -> Answer:
    """Answer a page of actions, the newest first."""
    query: ActionsQuery = call.query
    where = ActionFilter(
        kinds=None if query.kind is None else tuple(query.kind),
        states=None if query.state is None else tuple(query.state),
        by=query.by,
        before_id=query.before,
    )
    found = call.adapter.actions(where, query.limit + 1)
    shown, now = found[: query.limit], call.adapter.now()
    following = shown[-1].id if len(found) > len(shown) else None
    return Answer({"actions": [action_json(record, now) for record in shown], "next": following})


def show_action(call: ApiCall) -> Answer:
    """Answer an action as it is now."""
    return Answer(_json_of(call))


def stop(call: ApiCall) -> Answer:
    """Stop a bulk action when the batch under way is done."""
    action = _found(call)
    if not call.adapter.stop_action(action.id):
        raise StateConflict(f"action {action.id} is {action.state}, and does not run")
    call.note("stopped", f"action {action.id}")
    return Answer(_json_of(call))


def resume(call: ApiCall) -> Answer:
    """Let the workers go on with a bulk action that was stopped."""
    action = _found(call)
    if not call.adapter.resume_action(action.id):
        raise StateConflict(f"action {action.id} is {action.state}, and was not stopped")
    call.note("resumed", f"action {action.id}")
    return Answer(_json_of(call), 202)


def _found(call: ApiCall) -> ActionRecord:
    return found_action(call.adapter, min(call.path["id"], LARGEST_ID))


def _json_of(call: ApiCall) -> dict[str, Any]:
    return action_json(_found(call), call.adapter.now())


def action_json(record: ActionRecord, now: datetime) -> dict[str, Any]:
    """Return an action as the API answers it."""
    facts: dict[str, Any] = plain(action_view(record, now).facts())
    return facts
