"""The table of all operations of the API."""

from __future__ import annotations

from typing import Any

from jobqueue.web import (
    actions,
    bulk,
    error_groups,
    events,
    health,
    jobs,
    models,
    pages,
    queues,
    schedules,
    stats,
    workers,
)
from jobqueue.web.access import Scope
from jobqueue.web.operations import Operation

KEY = {
    "Idempotency-Key": "A repeat with the same key and body within 24 hours makes no second job, "
    "and is answered 200 with the first; with another body, 422."
}
ALIASED = (
    ("/api/job/{id:job_id}", ""),
    ("/api/job/{id:job_id}/progress", "/progress"),
    ("/api/job/{id:job_id}/retry", "/retry"),
    ("/api/job/{id:job_id}/cancel", "/cancel"),
    ("/api/job/{id:job_id}/events", "/events"),
)
ACTION = "/api/actions/{id:job_id}"
JOB, PROGRESS, RETRY, CANCEL, EVENTS = (path for path, _ in ALIASED)


def _of_job(method: str, path: str, summary: str, handle: Any, **more: Any) -> Operation:
    """Return an operation on a single job, which has two paths."""
    return Operation(
        method,
        path,
        summary,
        handle,
        more.pop("scope", Scope.OPERATE),
        more.pop("answers", {200: models.ChangedJobAnswer}),
        problems=more.pop("problems", (404, 409)),
        aliases=(path.replace("/api/job/", "/api/jobs/", 1),),
        **more,
    )


def _of_group(path: str, summary: str, handle: Any, **more: Any) -> Operation:
    """Return an operation that changes a group of errors, or all of its jobs."""
    return Operation(
        "POST",
        f"/api/errors/{{key}}/{path}",
        summary,
        handle,
        Scope.OPERATE,
        more.pop("answers", {200: models.ErrorStateAnswer}),
        problems=(404,),
        **more,
    )


OPERATIONS = (
    Operation(
        "POST",
        "/api/job",
        "Enqueue a job",
        jobs.enqueue,
        Scope.ENQUEUE,
        {201: models.JobAnswer, 200: models.JobAnswer},
        body=models.NewJobBody,
        headers=KEY,
        description="Only classes with `api = True` can be enqueued from outside.",
        aliases=("/api/jobs",),
    ),
    _of_job(
        "GET",
        JOB,
        "See a job",
        jobs.show,
        scope=Scope.READ,
        problems=(404,),
        answers={200: models.JobAnswer},
    ),
    _of_job(
        "GET",
        f"{JOB}/attempts",
        "See the attempts at a job that did not succeed",
        jobs.attempts,
        scope=Scope.READ,
        problems=(404,),
        answers={200: models.AttemptsAnswer},
    ),
    _of_job(
        "PATCH",
        JOB,
        "Change the arguments of a job",
        jobs.change,
        body=dict[str, Any],
        description="The body is merged, shallowly, into the arguments. Only those of classes with "
        "`api = True` can be changed from outside. 409 once it has started.",
    ),
    _of_job(
        "DELETE",
        JOB,
        "Delete a job",
        jobs.delete,
        description="The answer is the job as it was. 409 once it has started.",
    ),
    _of_job(
        "PUT",
        PROGRESS,
        "Set the progress of a job",
        jobs.set_progress,
        body=Any,
        description='The body is the progress, any JSON value: `"started"`, `0.4`; or '
        '`{"progress": 0.4, "message": "rendering"}`. 409 once it is done; 422 '
        "for a class that redacts arguments.",
    ),
    _of_job(
        "POST",
        RETRY,
        "Retry a job",
        jobs.retry,
        description="A waiting, failed or cancelled job is due now; 409 for others.",
    ),
    _of_job(
        "POST",
        CANCEL,
        "Cancel a job",
        jobs.cancel,
        body=models.CancelBody,
        needs_body=False,
        description="A running job is asked to end. 409 once it is done.",
    ),
    _of_job(
        "GET",
        EVENTS,
        "Follow a job",
        events.events,
        scope=Scope.READ,
        problems=(404, 429),
        answers={200: None},
        media_type="text/event-stream",
        description="Server-sent events: `progress` whenever the job has changed, and at the end "
        "`finished`, or `gone` when its row is removed; `data` is the job.",
    ),
    Operation(
        "GET",
        "/api/jobs",
        "List jobs",
        pages.list_jobs,
        Scope.READ,
        {200: models.PageAnswer},
        query=models.JobsQuery,
    ),
    Operation(
        "POST",
        "/api/jobs/retry",
        "Retry jobs",
        bulk.retry_all,
        Scope.OPERATE,
        {200: models.BulkAnswer, 202: models.BulkAnswer},
        body=models.BulkBody,
        description="Without a state: those that failed.",
    ),
    Operation(
        "POST",
        "/api/jobs/cancel",
        "Cancel jobs",
        bulk.cancel_all,
        Scope.OPERATE,
        {200: models.BulkAnswer, 202: models.BulkAnswer},
        body=models.BulkCancelBody,
        description="Without a state: those that wait or run.",
    ),
    Operation(
        "POST",
        "/api/jobs/delete",
        "Delete jobs",
        bulk.delete_all,
        Scope.OPERATE,
        {200: models.BulkAnswer, 202: models.BulkAnswer},
        body=models.BulkBody,
        description="Without a state: those that do not run.",
    ),
    Operation(
        "GET",
        "/api/actions",
        "List what people did",
        actions.list_actions,
        Scope.READ,
        {200: models.ActionsAnswer},
        query=models.ActionsQuery,
        description="By commands and over HTTP. Kept for 90 days, or as `keep_actions` says.",
    ),
    Operation(
        "GET",
        ACTION,
        "See what somebody did",
        actions.show_action,
        Scope.READ,
        {200: models.ActionAnswer},
        problems=(404,),
    ),
    Operation(
        "POST",
        f"{ACTION}/stop",
        "Stop a bulk action",
        actions.stop,
        Scope.OPERATE,
        {200: models.ActionAnswer},
        problems=(404, 409),
        description="The batch under way is done first. What was changed stays changed.",
    ),
    Operation(
        "POST",
        f"{ACTION}/resume",
        "Resume a bulk action",
        actions.resume,
        Scope.OPERATE,
        {202: models.ActionAnswer},
        problems=(404, 409),
        description="The workers go on where it was stopped.",
    ),
    Operation(
        "GET",
        "/api/errors",
        "List errors in groups",
        error_groups.list_errors,
        Scope.READ,
        {200: models.ErrorsAnswer},
        query=models.ErrorsQuery,
        description="Those that were seen last come first. Workers store what they have seen about "
        "once a minute.",
    ),
    Operation(
        "GET",
        "/api/errors/{key}",
        "See a group of errors",
        error_groups.show_error,
        Scope.READ,
        {200: models.WholeErrorGroupAnswer},
        problems=(404,),
    ),
    _of_group(
        "mute",
        "Mute a group of errors",
        error_groups.mute,
        description="It is muted until it is reopened; its errors are counted as before.",
    ),
    _of_group(
        "resolve",
        "Resolve a group of errors",
        error_groups.resolve,
        description="When it comes back, it is open again, and `reopened_at` says when.",
    ),
    _of_group("reopen", "Reopen a group of errors", error_groups.reopen),
    _of_group(
        "retry",
        "Retry the jobs of a group of errors",
        error_groups.retry,
        answers={200: models.BulkAnswer, 202: models.BulkAnswer},
        body=models.GroupBody,
        needs_body=False,
        description="Those that failed, and those that wait for another attempt.",
    ),
    _of_group(
        "cancel",
        "Cancel the jobs of a group of errors",
        error_groups.cancel,
        answers={200: models.BulkAnswer, 202: models.BulkAnswer},
        body=models.GroupCancelBody,
        needs_body=False,
        description="Those that wait for another attempt, or run.",
    ),
    Operation(
        "GET",
        "/api/queues",
        "List queues",
        queues.list_queues,
        Scope.READ,
        {200: models.QueuesAnswer},
    ),
    Operation(
        "GET",
        "/api/queues/{name}/history",
        "See the depths of a queue over time",
        queues.show_history,
        Scope.READ,
        {200: models.HistoryAnswer},
        query=models.HistoryQuery,
        description="Depths are counted once a minute and kept for a week. Of more than a day, "
        "every other minute or fewer are answered.",
    ),
    Operation(
        "POST",
        "/api/queues/{name}/pause",
        "Pause a queue",
        queues.pause,
        Scope.OPERATE,
        {200: models.PausedAnswer},
        body=models.PauseBody,
        needs_body=False,
        description="Of several pauses of a queue the newest holds. Workers resume it a few "
        "seconds after the time `until`.",
    ),
    Operation(
        "POST",
        "/api/queues/{name}/resume",
        "Resume a queue",
        queues.resume,
        Scope.OPERATE,
        {200: models.PausedAnswer},
    ),
    Operation(
        "GET",
        "/api/workers",
        "List workers",
        workers.list_workers,
        Scope.READ,
        {200: models.WorkersAnswer},
        query=models.WorkersQuery,
    ),
    Operation(
        "POST",
        "/api/workers/{id}/stacks",
        "Ask a worker where it is in its code",
        workers.ask_for_stacks,
        Scope.OPERATE,
        {202: models.StacksAnswer},
        problems=(404,),
        description="It answers within a few seconds, also when its job hangs; GET has the answer.",
    ),
    Operation(
        "GET",
        "/api/workers/{id}/stacks",
        "See where a worker is in its code",
        workers.show_stacks,
        Scope.READ,
        {200: models.StacksAnswer},
        problems=(404,),
        description="The answer to the last question, which is kept for ten minutes.",
    ),
    Operation(
        "GET",
        "/api/schedules",
        "List recurring jobs",
        schedules.list_schedules,
        Scope.READ,
        {200: models.SchedulesAnswer},
    ),
    Operation(
        "GET",
        "/api/stats",
        "See counts, rates and durations",
        stats.show_stats,
        Scope.READ,
        {200: models.StatsAnswer},
        query=models.StatsQuery,
    ),
    Operation(
        "GET",
        "/healthz",
        "See whether this process answers",
        health.healthz,
        None,
        {200: models.HealthAnswer},
    ),
    Operation(
        "GET",
        "/readyz",
        "See whether the database answers",
        health.readyz,
        None,
        {200: models.HealthAnswer},
    ),
    Operation("GET", "/", "See where to go on", health.home, Scope.READ, {200: models.HomeAnswer}),
)
