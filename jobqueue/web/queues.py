"""Queues over HTTP: how much there is to do in each, and pausing them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobqueue.config import QUEUE_NAME_RULE, is_queue_name
from jobqueue.records import UNTIL_RESUMED, ActionKind, PausedQueue, QueueDepth, SampledDepth
from jobqueue.views.lateness import why_queue_is_late
from jobqueue.views.outlooks import Outlook, all_outlooks, outlook_json
from jobqueue.views.pauses import all_pauses, new_pause, paused_target
from jobqueue.web.operations import Answer, ApiCall
from jobqueue.web.problems import Problem

MOST_COUNTED = 10_000
MOST_SAMPLES = 1_440


def list_queues(call: ApiCall) -> Answer:
    """Answer how much there is to do in each queue."""
    depths = call.adapter.queue_depths(MOST_COUNTED)
    outlooks, pauses = all_outlooks(call.adapter, depths), all_pauses(call.adapter)
    shown = [_as_json(d, pauses.get(d.queue), outlooks[d.queue]) for d in depths]
    return Answer({"queues": shown})


def show_history(call: ApiCall) -> Answer:
    """Answer how much there was to do in a queue at each minute, and how it goes on."""
    name, minutes = _queue_name(call), call.query.minutes
    step = -(-minutes // MOST_SAMPLES)
    ago = timedelta(minutes=call.query.minutes_ago)
    samples = call.adapter.samples(timedelta(minutes=minutes), name, step, ago)
    depths = call.adapter.queue_depths(MOST_COUNTED)
    depth = next((one for one in depths if one.queue == name), _empty(name))
    return Answer(
        {
            "name": name,
            "minutes": minutes,
            "step_minutes": step,
            **outlook_json(all_outlooks(call.adapter, [depth])[name]),
            "samples": [_sample_json(sample.minute, sample.depth_of(name)) for sample in samples],
        }
    )


def why(call: ApiCall) -> Answer:
    """Answer why the jobs of a queue are late."""
    return Answer(why_queue_is_late(call.adapter, _queue_name(call)).facts())


def pause(call: ApiCall) -> Answer:
    """Pause a queue, so that no jobs are claimed from it."""
    name = _queue_name(call)
    try:
        wanted = new_pause(call.body.until, call.body.reason, call.access.who, call.adapter.now())
    except ValueError as error:
        raise Problem(422, str(error)) from None
    changed = bool(call.adapter.pause_queues([name], wanted))
    call.note("paused", f"queue {name}")
    call.act(ActionKind.PAUSE_QUEUE, paused_target(name, wanted), reason=wanted.reason)
    return Answer({"name": name, "paused": True, "changed": changed})


def resume(call: ApiCall) -> Answer:
    """Resume a queue, so that jobs are claimed from it again."""
    name = _queue_name(call)
    changed = bool(call.adapter.resume_queues([name]))
    call.note("resumed", f"queue {name}")
    call.act(ActionKind.RESUME_QUEUE, {"queue": name}, reason=call.body.reason)
    return Answer({"name": name, "paused": False, "changed": changed})


def _queue_name(call: ApiCall) -> str:
    name: str = call.path["name"]
    if not is_queue_name(name):
        raise Problem(422, f"{name!r} is no name for a queue; expected {QUEUE_NAME_RULE}")
    return name


def _empty(name: str) -> QueueDepth:
    return QueueDepth(name, 0, 0, 0, timedelta(0), paused=False)


def _sample_json(minute: datetime, depth: SampledDepth) -> dict[str, Any]:
    return {
        "minute": minute.isoformat(),
        "due": depth.due,
        "later": depth.later,
        "running": depth.running,
        "more": depth.more,
        "oldest_age_seconds": depth.oldest_age.total_seconds(),
    }


def _as_json(queue: QueueDepth, paused: PausedQueue | None, outlook: Outlook) -> dict[str, Any]:
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
        **outlook_json(outlook),
    }
