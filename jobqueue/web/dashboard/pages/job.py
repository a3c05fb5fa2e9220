"""The page of a job, and what can be done with it."""

from __future__ import annotations

from jobqueue.bulk import delete_some
from jobqueue.errors import StateConflict
from jobqueue.job import registry
from jobqueue.log.phrases import title_of
from jobqueue.records import (
    RETRIABLE_STATES,
    UNSTARTED_STATES,
    ActionKind,
    JobFilter,
    JobState,
)
from jobqueue.stored import StoredJob
from jobqueue.views.gone_jobs import gone_job_view
from jobqueue.views.jobs import hides_unknown, job_view
from jobqueue.views.lateness import why_job_is_late
from jobqueue.views.timelines import timeline_of
from jobqueue.views.tracebacks import error_text_of
from jobqueue.web import jobs as api_jobs
from jobqueue.web import models
from jobqueue.web.dashboard.pages.edit import EDITABLE
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, LinkFor, Shown, ShownInstead
from jobqueue.web.operations import ApiCall


def job_page(call: ApiCall) -> Shown:
    """Return everything about a job."""
    record = api_jobs.found(call)
    now = call.adapter.now()
    last_error = None if record.last_error is None else error_text_of(record.last_error)
    return {
        "now": now,
        "job": job_view(record),
        "hides_unknown": hides_unknown(record),
        "timeline": timeline_of(record, call.adapter.attempts(record.id), now),
        "last_error": last_error,
        "why": why_job_is_late(call.adapter, record) if record.state in UNSTARTED_STATES else None,
        "can_retry": record.state in RETRIABLE_STATES,
        "can": {
            "retry": record.state in RETRIABLE_STATES,
            "cancel": record.state in {*UNSTARTED_STATES, JobState.RUNNING},
            "edit": record.state in EDITABLE and _is_open(record),
            "delete": record.state is not JobState.RUNNING,
        },
    }


def _is_open(record: StoredJob) -> bool:
    """Return whether the arguments of a job may be changed here: its class says so."""
    job_class = registry.find(record.handler)
    return job_class is not None and job_class.api and bool(job_class.parameters().names)


def delete_job(call: ApiCall) -> None:
    """Remove a job that does not run.

    Raises:
        StateConflict: it runs.
    """
    record = api_jobs.found(call)
    states = tuple(state for state in JobState if state is not JobState.RUNNING)
    where = JobFilter(ids=(record.id,), states=states)
    if not delete_some(call.adapter, where, api_jobs.delete_reason(call), call.queue.ends):
        raise StateConflict(
            f"job {record.id} is {record.refresh().state}, and was not deleted; cancel it first"
        )
    call.act(ActionKind.DELETE, {"ids": [record.id]}, reason=call.body.reason)
    call.note("deleted", title_of(record), record.id)


def gone_job_page(call: ApiCall) -> ShownInstead:
    """Return what is known of a job that is not there."""
    shown = {"now": call.adapter.now(), "gone": gone_job_view(call.adapter, call.path["id"])}
    return ShownInstead("gone_job.html", "Jobs", shown, 404)


PAGES = (
    DashboardPage(
        "/jobs/{id:job_id}",
        "Jobs",
        "job.html",
        job_page,
        missing=gone_job_page,
        tomorrow=LinkFor.ITSELF,
    ),
)
FORM_ACTIONS = (
    FormAction(
        "/jobs/{id:job_id}/retry",
        api_jobs.retry,
        "Job {id} is due now.",
        "/jobs/{id}",
        models.RetryBody,
    ),
    FormAction(
        "/jobs/{id:job_id}/cancel",
        api_jobs.cancel,
        "Job {id} is cancelled, or asked to end if it runs.",
        "/jobs/{id}",
        models.CancelBody,
    ),
    FormAction(
        "/jobs/{id:job_id}/delete",
        delete_job,
        "Job {id} is deleted.",
        "/jobs",
        models.ReasonBody,
    ),
)
