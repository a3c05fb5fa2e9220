"""Limits over HTTP: their numbers, who waits for them, and setting them."""

from __future__ import annotations

from typing import Any

from jobqueue.errors import ConfigurationError
from jobqueue.records import ActionKind, LimitRecord, NewLimit
from jobqueue.views.limits import all_limits, found_limit, limit_view
from jobqueue.web.operations import Answer, ApiCall, plain
from jobqueue.web.problems import Problem


def list_limits(call: ApiCall) -> Answer:
    """Answer the limits that workers have declared, and who waits for them."""
    return Answer({"limits": [plain(view.facts()) for view in all_limits(call.adapter)]})


def show(call: ApiCall) -> Answer:
    """Answer one limit."""
    return Answer(_json_of(call))


def change(call: ApiCall) -> Answer:
    """Set the number of a limit, or put back the one that its class declares."""
    record = found(call, call.path["limit"])
    number: int | None = call.body.number
    call.adapter.set_limit(NewLimit(record.name, number, call.actor, call.body.reason))
    after = found(call, record.name)
    call.note("set", f"limit {record.name} to {after.number}")
    target = {"limit": record.name, "number": after.number, "before": record.number}
    call.act(ActionKind.SET_LIMIT, target, reason=call.body.reason)
    return Answer(_json_of(call))


def found(call: ApiCall, name: str) -> LimitRecord:
    """Return the limit of a name.

    Raises:
        Problem: 404, there is none.
    """
    try:
        return found_limit(call.adapter, name)
    except ConfigurationError as error:
        raise Problem(404, str(error)) from None


def _json_of(call: ApiCall) -> Any:
    return plain(limit_view(call.adapter, found(call, call.path["limit"])).facts())
