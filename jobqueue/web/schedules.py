"""Recurring jobs over HTTP: what they are, and pausing, resuming and running one."""

from __future__ import annotations

from typing import Any

from jobqueue.enqueue import store
from jobqueue.log.phrases import title_of
from jobqueue.maintenance.ticker import job_of
from jobqueue.records import ActionKind, ScheduleRecord
from jobqueue.views.schedules import all_schedules, found_schedule, schedule_view
from jobqueue.web.jobs import job_answer
from jobqueue.web.operations import Answer, ApiCall, plain


def list_schedules(call: ApiCall) -> Answer:
    """Answer the recurring jobs of all applications."""
    views = all_schedules(call.adapter)
    return Answer({"schedules": [plain(schedule.facts()) for schedule in views]})


def show_schedule(call: ApiCall) -> Answer:
    """Answer a recurring job."""
    return Answer(plain(schedule_view(call.adapter, _found(call)).facts()))


def pause(call: ApiCall) -> Answer:
    """Stop enqueueing a recurring job until it is resumed."""
    record = _found(call)
    changed = call.adapter.pause_schedule(record.app, record.name)
    if changed:
        call.note("paused", f"schedule {record.name}")
        call.act(ActionKind.PAUSE_SCHEDULE, _target(record), reason=call.body.reason)
    return _answer(record, paused=True, changed=changed)


def resume(call: ApiCall) -> Answer:
    """Enqueue a recurring job again from now on. Ticks that it missed meanwhile are left out."""
    record = _found(call)
    changed = call.adapter.resume_schedule(record.app, record.name)
    if changed:
        call.note("resumed", f"schedule {record.name}")
        call.act(ActionKind.RESUME_SCHEDULE, _target(record), reason=call.body.reason)
    return _answer(record, paused=False, changed=changed)


def run(call: ApiCall) -> Answer:
    """Enqueue a recurring job now, beside its schedule."""
    record = _found(call)
    [job] = store(
        [job_of(record)],
        call.adapter,
        observers=call.queue.observers,
        logger=call.queue.logger,
    )
    call.note("enqueued", title_of(job), job.id)
    target = {**_target(record), "job": job.id}
    call.act(ActionKind.RUN_SCHEDULE, target, reason=call.body.reason)
    return Answer(job_answer(call, job), 201, {"Location": call.url(f"/api/job/{job.id}")})


def _found(call: ApiCall) -> ScheduleRecord:
    return found_schedule(call.adapter.schedules(), call.path["schedule"], call.query.app)


def _target(record: ScheduleRecord) -> dict[str, Any]:
    return {"schedule": record.name, "app": record.app}


def _answer(record: ScheduleRecord, *, paused: bool, changed: bool) -> Answer:
    return Answer({"app": record.app, "name": record.name, "paused": paused, "changed": changed})
