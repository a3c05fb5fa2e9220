"""The batches, chains and flows, and the page of each."""

from __future__ import annotations

from jobqueue.records import LARGEST_ID, JobFilter, JobRecord, JobState
from jobqueue.redaction import summary_of
from jobqueue.views.flows import FlowView, found_flow
from jobqueue.views.jobs import job_view
from jobqueue.web import flows as api_flows
from jobqueue.web import models
from jobqueue.web.dashboard.asked import asked_of
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, LinkFor, Shown
from jobqueue.web.operations import ApiCall

MOST_FLOWS = 50
MOST_JOBS = 50


def flows_page(call: ApiCall) -> Shown:
    """Return the newest flows: those that are going on, or all of them."""
    every = asked_of(call, "all") == "yes"
    before = asked_of(call, "before")
    found = call.adapter.flows(
        MOST_FLOWS + 1,
        before_id=min(int(before[:20]), LARGEST_ID) if before.isdecimal() else None,
        going_on=not every,
    )
    return {
        "now": call.adapter.now(),
        "every": every,
        "flows": [FlowView(record) for record in found[:MOST_FLOWS]],
        "next": found[MOST_FLOWS - 1].id if len(found) > MOST_FLOWS else None,
    }


def flow_page(call: ApiCall) -> Shown:
    """Return how far a flow is, and its first jobs with what each waits for."""
    flow = found_flow(call.adapter, min(call.path["id"], LARGEST_ID))
    page = call.adapter.page_jobs(JobFilter(flows=(flow.record.id,)), MOST_JOBS)
    jobs = sorted(page.jobs, key=lambda job: (job.flow_place or 0, job.id))
    members = [job for job in jobs if (job.flow_place or 0) >= 0]
    return {
        "now": call.adapter.now(),
        "flow": flow,
        "jobs": [
            (job_view(job), call.adapter.steps_before(job.id), _end_of(job)) for job in members
        ],
        "following": [job_view(job) for job in jobs if (job.flow_place or 0) < 0],
        "more": page.next_before_id is not None,
    }


def _end_of(job: JobRecord) -> str:
    """Why a job has failed or was cancelled, in a line; empty for others."""
    has_ended_badly = job.state in {JobState.FAILED, JobState.CANCELLED}
    return summary_of(job.last_error) if has_ended_badly and job.last_error else ""


PAGES = (
    DashboardPage("/flows", "Flows", "flows.html", flows_page),
    DashboardPage("/flows/{id:job_id}", "Flows", "flow.html", flow_page, tomorrow=LinkFor.ITSELF),
)
FORM_ACTIONS = (
    FormAction(
        "/flows/{id:job_id}/cancel",
        api_flows.cancel,
        "What had not ended of flow {id} is cancelled.",
        "/flows/{id}",
        models.ReasonBody,
    ),
    FormAction(
        "/flows/{id:job_id}/retry",
        api_flows.retry,
        "What had not succeeded of flow {id} is retried, in its order.",
        "/flows/{id}",
        models.ReasonBody,
    ),
)
