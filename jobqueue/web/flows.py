"""Batches, chains and flows over HTTP: how far they are, cancelling and retrying them."""

from __future__ import annotations

from typing import Any

from jobqueue.records import LARGEST_ID, ActionKind
from jobqueue.views.flows import FlowView, found_flow
from jobqueue.web.operations import Answer, ApiCall, plain

CANCELLED = "its flow was cancelled over HTTP"


def list_flows(call: ApiCall) -> Answer:
    """Answer a page of flows, the newest first."""
    query = call.query
    found = call.adapter.flows(query.limit + 1, before_id=query.before, going_on=query.going_on)
    shown = found[: query.limit]
    following = shown[-1].id if len(found) > len(shown) else None
    flows = [plain(FlowView(record).facts()) for record in shown]
    return Answer({"flows": flows, "next": following})


def show(call: ApiCall) -> Answer:
    """Answer a flow as it is now."""
    return Answer(_json_of(call))


def cancel(call: ApiCall) -> Answer:
    """Cancel the jobs of a flow that have not ended."""
    flow_id = _found(call).record.id
    number = call.adapter.cancel_flow(flow_id, call.body.reason or CANCELLED)
    return _changed(call, ActionKind.CANCEL_FLOW, "cancelled", number)


def retry(call: ApiCall) -> Answer:
    """Retry the jobs of a flow that have failed or were cancelled."""
    number = call.adapter.retry_flow(_found(call).record.id)
    return _changed(call, ActionKind.RETRY_FLOW, "retried", number)


def _changed(call: ApiCall, kind: ActionKind, what: str, number: int) -> Answer:
    view = _found(call)
    call.note(what, f"flow {view.record.id}")
    target = {"flow": view.record.id, "jobs": number}
    call.act(kind, target, reason=call.body.reason, number=number)
    return Answer({**_json_of(call), "changed": number})


def _found(call: ApiCall) -> FlowView:
    return found_flow(call.adapter, min(call.path["id"], LARGEST_ID))


def _json_of(call: ApiCall) -> dict[str, Any]:
    facts: dict[str, Any] = plain(_found(call).facts())
    return facts
