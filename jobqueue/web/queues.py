"""Queues over HTTP: how much there is to do in each, and pausing them."""

from __future__ import annotations

from typing import Any

from jobqueue.config import QUEUE_NAME_RULE, is_queue_name
from jobqueue.records import UNTIL_RESUMED, PausedQueue, QueueDepth
from jobqueue.views.pauses import all_pauses, new_pause
from jobqueue.web.operations import Answer, ApiCall
from jobqueue.web.problems import Problem

MOST_COUNTED = 10_000


def list_queues(call: ApiCall) -> Answer:
    """Answer how much there is to do in each queue."""
    depths, pauses = call.adapter.queue_depths(MOST_COUNTED), all_pauses(call.adapter)
    return Answer({"queues": [_as_json(depth, pauses.get(depth.queue)) for depth in depths]})


def pause(call: ApiCall) -> Answer:
    """Pause a queue, so that no jobs are claimed from it."""
    name = _queue_name(call)
    try:
        wanted = new_pause(call.body.until, call.body.reason, call.access.who, call.adapter.now())
    except ValueError as error:
        raise Problem(422, str(error)) from None
    changed = bool(call.adapter.pause_queues([name], wanted))
    call.note("paused", f"queue {name}")
    return Answer({"name": name, "paused": True, "changed": changed})


def resume(call: ApiCall) -> Answer:
    """Resume a queue, so that jobs are claimed from it again."""
    name = _queue_name(call)
    changed = bool(call.adapter.resume_queues([name]))
    call.note("resumed", f"queue {name}")
    return Answer({"name": name, "paused": False, "changed": changed})


def _queue_name(call: ApiCall) -> str:
    name: str = call.path["name"]
    if not is_queue_name(name):
        raise Problem(422, f"{name!r} is no name for a queue; expected {QUEUE_NAME_RULE}")
    return name


def _as_json(queue: QueueDepth, paused: PausedQueue | None) -> dict[str, Any]:
    pause = UNTIL_RESUMED if paused is None else paused.pause
    return {
        "name": queue.queue,
        "due": queue.due,
        "later": queue.later,
        "running": queue.running,
        "more": queue.more,
        "oldest_age_seconds": queue.oldest_age.total_seconds(),
        "paused": queue.paused,
        "paused_at": paused and paused.paused_at.isoformat(),
        "paused_until": pause.until and pause.until.isoformat(),
        "paused_by": pause.by,
        "reason": pause.reason,
    }
