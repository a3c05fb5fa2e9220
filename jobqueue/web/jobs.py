"""Single jobs over HTTP: enqueue, show and change one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_jsonable_python

from jobqueue.app import import_app
from jobqueue.bulk import delete_some
from jobqueue.defaults import default_configuration
from jobqueue.enqueue import store, store_once
from jobqueue.errors import StateConflict
from jobqueue.exact_json import as_texts
from jobqueue.job import Job, registry
from jobqueue.log.phrases import title_of
from jobqueue.records import (
    WAITING_STATES,
    ActionKind,
    JobFilter,
    JobRecord,
    JobState,
    NewJob,
    UsedKey,
)
from jobqueue.redaction import MASK, clean_error
from jobqueue.stored import StoredJob, not_found
from jobqueue.views.jobs import attempt_values, classes_meant, job_view
from jobqueue.views.lateness import why_job_is_late
from jobqueue.web.access import Scope
from jobqueue.web.models import NewJobBody
from jobqueue.web.operations import Answer, ApiCall
from jobqueue.web.problems import Problem

LONGEST_KEY = 255
PROGRESS = {"progress", "message"}


def job_json(record: JobRecord) -> dict[str, Any]:
    """Return a job as the API answers it."""
    values = {"id": record.id, "name": record.handler, **job_view(record).values()}
    return {name: _plain(value) for name, value in values.items()}


def job_answer(call: ApiCall, record: JobRecord) -> dict[str, Any]:
    """Return a job as the API answers it to somebody who changed it, and may not read jobs."""
    if Scope.READ in call.access.scopes:
        return job_json(record)
    return {"id": record.id, "state": record.state}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


# --- enqueueing ----------------------------------------------------------------------------------


def enqueue(call: ApiCall) -> Answer:
    """Enqueue a job; only once for the same idempotency key."""
    body: NewJobBody = call.body
    job_class = open_class(body.name)
    job = job_class.set(
        wait=body.wait,
        wait_until=body.run_at,
        queue=body.queue,
        priority=body.priority,
        meta=body.meta,
    )
    new_job = job.new_job(body.args)
    key = call.request.headers.get("idempotency-key")
    if key is not None:
        return _enqueue_once(call, job, new_job, key)
    [record] = store([new_job], call.adapter, observers=call.queue.observers, logger=job.logger)
    return _created(call, new_job, record)


def _enqueue_once(call: ApiCall, job: Job, new_job: NewJob, key: str) -> Answer:
    if not 0 < len(key) <= LONGEST_KEY:
        raise Problem(422, f"Idempotency-Key has to have 1 to {LONGEST_KEY} characters")
    body: NewJobBody = call.body
    # Without a meta, it is what former releases have stored.
    written = {**body.model_dump(exclude={"meta"}), "args": as_texts(body.args)}
    if body.meta is not None:
        written["meta"] = as_texts(body.meta)
    fingerprint = _digest(to_jsonable_python(written))
    used = UsedKey(_digest([call.access.who, key]), fingerprint)
    once = store_once(
        used, new_job, call.adapter, observers=call.queue.observers, logger=job.logger
    )
    if once.is_new and once.job is not None:
        return _created(call, new_job, once.job)
    if once.fingerprint != fingerprint:
        raise Problem(422, "this Idempotency-Key was used with another body; use another key")
    now = once.job if Scope.READ in call.access.scopes else None
    record = now or _as_enqueued(new_job, once.job_id, once.made_at)
    headers = {"Location": call.url(f"/api/job/{once.job_id}"), "Idempotent-Replayed": "true"}
    return Answer(job_json(record), 200, headers)


def _created(call: ApiCall, new_job: NewJob, record: StoredJob) -> Answer:
    if record.is_duplicate:
        return _not_created(call, new_job, record)
    call.note("enqueued", title_of(record), record.id)
    return Answer(job_json(record), 201, {"Location": call.url(f"/api/job/{record.id}")})


def _not_created(call: ApiCall, new_job: NewJob, record: StoredJob) -> Answer:
    """Answer with the job that was there, as far as its sender may know it."""
    if Scope.READ not in call.access.scopes:
        record = _as_enqueued(new_job, record.id, record.created_at)
    return Answer(job_json(record), 200, {"Location": call.url(f"/api/job/{record.id}")})


def _as_enqueued(new_job: NewJob, job_id: int, made_at: datetime) -> StoredJob:
    """Return the job as it was enqueued: its row is gone, or its sender may not read jobs."""
    run_at = new_job.due_at(made_at).astimezone(UTC)
    return StoredJob.of_new(new_job, job_id, run_at, made_at)


def open_class(name: str) -> type[Job]:
    """Return the job class with `api = True` that a name means.

    Raises:
        Problem: there is none, or there are several. Classes that are not open are not named.
    """
    if not classes_meant(name):
        import_app(default_configuration.settings.app)
    meant = classes_meant(name, open_only=True)
    if len(meant) == 1:
        return meant[0]
    if meant:
        names = ", ".join(job_class.name for job_class in meant)
        raise Problem(422, f"{name!r} can be any of {names}; use the full name")
    raise Problem(
        422,
        f"no job named {name!r} is open to the API; its class needs `api = True`, in a module of "
        "`app`",
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


# --- one that exists ----------------------------------------------------------------------------


def show(call: ApiCall) -> Answer:
    """Answer a job as it is now."""
    return Answer(job_json(found(call)))


def attempts(call: ApiCall) -> Answer:
    """Answer the attempts at a job that did not succeed, the first one first."""
    noted = map(attempt_values, call.adapter.attempts(found(call).id))
    plain = [{name: _plain(value) for name, value in values.items()} for values in noted]
    return Answer({"attempts": plain})


def why(call: ApiCall) -> Answer:
    """Answer why a job is late."""
    return Answer(why_job_is_late(call.adapter, found(call)).facts())


def found(call: ApiCall) -> StoredJob:
    """Return the job whose id is in the path.

    Raises:
        JobNotFound: there is none.
    """
    job_id: int = call.path["id"]
    record = call.adapter.get(job_id)
    if record is None:
        raise not_found(job_id)
    record.ends = call.queue.ends
    return record


def change(call: ApiCall) -> Answer:
    """Merge the body into the arguments of a job that has not started."""
    record = found(call)
    refuse_unchangeable(record, call.body)

    def merged(seen: StoredJob) -> str:
        return registry.encode_args({**seen.args, **call.body}, seen.handler)

    if not call.adapter.change_args(record.id, merged):
        raise started(record, "changed")
    call.act(ActionKind.EDIT, {"ids": [record.id], "args": sorted(call.body)})
    return _changed(call, "changed the arguments of", record)


def refuse_unchangeable(record: StoredJob, given: Mapping[str, Any]) -> None:
    """Refuse to change arguments that cannot be checked, or are not open to the API."""
    job_class = class_of(record)
    if job_class is None:
        raise Problem(
            422, f"{record.handler} is not known here, so its arguments cannot be checked"
        )
    if not job_class.api:
        raise Problem(
            422,
            f"{record.handler} is not open to the API, so its arguments cannot be changed here; "
            "its class needs `api = True`",
        )
    _refuse_masks(job_class.redact, given)


def class_of(record: JobRecord) -> type[Job] | None:
    """Return the class of a job, if the application of this process has it."""
    if registry.find(record.handler) is None:
        import_app(default_configuration.settings.app)
    return registry.find(record.handler)


def _refuse_masks(redacted: Collection[str], given: Mapping[str, Any]) -> None:
    """Refuse the `***` of an answer that is sent back: it would replace a secret."""
    for name in redacted:
        if given.get(name) == MASK:
            raise Problem(422, f"{name} is redacted, and {MASK} is not its value; leave it out")


def delete(call: ApiCall) -> Answer:
    """Remove a job that has not started."""
    record = found(call)
    where = JobFilter(ids=(record.id,), states=WAITING_STATES)
    if not delete_some(call.adapter, where, delete_reason(call), call.queue.ends):
        raise started(record, "deleted")
    call.act(ActionKind.DELETE, {"ids": [record.id]})
    call.note("deleted", title_of(record), record.id)
    return Answer(job_answer(call, record))


def started(record: StoredJob, done: str) -> Exception:
    """Return the error that a job cannot be changed or deleted any more."""
    state = record.refresh().state
    how = "it has started" if state is JobState.RUNNING else "it is done"
    return StateConflict(
        f"job {record.id} is {state}: {how}, and can no longer be {done} (bulk deletion removes "
        "jobs that are done)"
    )


def set_progress(call: ApiCall) -> Answer:
    """Set the progress of a job that is not done."""
    record, value, message = found(call), call.body, None
    _refuse_guesses(record)
    if isinstance(value, dict) and "progress" in value and set(value) <= PROGRESS:
        value, message = value["progress"], value.get("message")
    if message is not None and not isinstance(message, str):
        raise Problem(422, "message has to be a text")
    record.set_progress(value, message)
    return _changed(call, "set the progress of", record)


def _refuse_guesses(record: StoredJob) -> None:
    """Refuse a progress that would be masked: it would show which guess of a secret is right."""
    job_class = class_of(record)
    if job_class is None:
        raise Problem(
            422, f"{record.handler} is not known here, so only the job itself sets its progress"
        )
    if job_class.redact:
        raise Problem(
            422, f"{record.handler} redacts arguments, so only the job itself sets its progress"
        )


def retry(call: ApiCall) -> Answer:
    """Make a job due now, with other arguments if they are given."""
    record, args = found(call), call.body.args
    if args is not None:
        refuse_unchangeable(record, args)
    record.retry(args=args)
    changed = {} if args is None else {"args": sorted(args)}
    call.act(ActionKind.RETRY, {"ids": [record.id], **changed}, reason=call.body.reason)
    return _changed(call, "retried", record)


def cancel(call: ApiCall) -> Answer:
    """End a job that has not started, or ask a running one to end."""
    record = found(call)
    record.cancel(cancel_reason(call))
    call.act(ActionKind.CANCEL, {"ids": [record.id]}, reason=call.body.reason)
    return _changed(call, "cancelled", record)


def delete_reason(call: ApiCall) -> str:
    """Return the reason that the log and the hooks get for a deleted job."""
    return clean_error(f"deleted by {call.access.who}")


def cancel_reason(call: ApiCall) -> str:
    """Return the `last_error` of a cancelled job."""
    return clean_error(call.body.reason or f"cancelled by {call.access.who}")


def _changed(call: ApiCall, action: str, record: StoredJob) -> Answer:
    call.note(action, title_of(record), record.id)
    return Answer(job_answer(call, call.adapter.get(record.id) or record))
