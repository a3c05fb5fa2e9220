"""The models of requests and answers, which check requests and describe the API."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel

from jobqueue.canary import LONGEST_SPREAD, MOST_FIRST, USUAL_NUMBER
from jobqueue.config import QUEUE_NAME
from jobqueue.records import (
    LARGEST_ID,
    LONGEST_PAUSE_TEXT,
    ActionKind,
    ActionState,
    AttemptOutcome,
    ErrorState,
    FlowKind,
    JobState,
)
from jobqueue.views.outlooks import Course
from jobqueue.views.reasons import ReasonKind

MOST_VALUES = 50
MOST_IDS = 1_000
MOST_MINUTES = 90 * 24 * 60

QueueName = Annotated[str, Field(pattern=f"^{QUEUE_NAME.pattern}$", examples=["email"])]
JobName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
JobId = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Seconds = Annotated[float, Field(ge=0)]

JOB_EXAMPLE: dict[str, Any] = {
    "id": 42,
    "name": "jobs.SendWelcomeEmail",
    "handler": "jobs.SendWelcomeEmail",
    "args": {"user_id": 42},
    "queue": "default",
    "priority": 50,
    "state": "running",
    "attempts": 1,
    "max_attempts": 24,
    "run_at": "2026-01-31T12:00:00+00:00",
    "created_at": "2026-01-31T12:00:00+00:00",
    "updated_at": "2026-01-31T12:00:01+00:00",
    "locked_at": "2026-01-31T12:00:01+00:00",
    "locked_by": "web-1:4711:8f3a61c2",
    "crashes": 0,
    "last_error": None,
    "failed_at": None,
    "finished_at": None,
    "progress": {"fraction": 0.4, "message": "rendering"},
    "result": None,
    "cancel_requested_at": None,
    "started_at": None,
    "run_seconds": None,
    "performed_by": None,
    "error_key": None,
    "meta": {"tenant": 42},
    "line": "jobs.SendWelcomeEmail/user_id=42",
    "terms": {"gates": [{"limit": "jobs.SendWelcomeEmail/user_id", "number": 1, "key": "42"}]},
    "expires_at": None,
    "unique_key": None,
    "waiting_key": None,
    "flow_id": None,
    "flow_place": None,
}
ATTEMPT_EXAMPLE: dict[str, Any] = {
    "number": 1,
    "worker_id": "web-1:4711:8f3a61c2",
    "started_at": "2026-01-31T12:00:01+00:00",
    "ended_at": "2026-01-31T12:00:03+00:00",
    "outcome": "failed",
    "error": "ConnectionError: no route to host",
    "error_key": "5f0c7b1a9e33",
}


ERROR_EXAMPLE: dict[str, Any] = {
    "key": "9ba3c588714f",
    "name": "jobs.SendWelcomeEmail",
    "kind": "ConnectionRefusedError",
    "place": "shop/mail.py:send",
    "message": "no route to <ip>",
    "state": "open",
    "number_of_day": 12,
    "hours": [{"hour": "2026-01-31T12:00:00+00:00", "number": 12}],
    "first_seen_at": "2026-01-31T12:00:00+00:00",
    "last_seen_at": "2026-01-31T12:40:00+00:00",
    "first_release": "1.5.0",
    "last_release": "1.5.0",
    "last_job_id": 42,
    "changed_at": None,
    "changed_by": None,
    "reopened_at": None,
}


class Asked(BaseModel):
    """The base of the models of requests."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Answered(BaseModel):
    """The base of the models of answers."""

    model_config = ConfigDict(extra="forbid")


# --- asked ---------------------------------------------------------------------------------------


class NewJobBody(Asked):
    """A job to enqueue. It is due now, unless `wait` or `run_at` says when."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "SendWelcomeEmail", "args": {"user_id": 42}, "wait": 60}]
        }
    )

    name: JobName = Field(
        description="The name of a job class with `api = True`, or the end of it if only one ends "
        "so.",
    )
    args: dict[str, Any] = Field(
        default_factory=dict, description="Its arguments, by the names of the parameters."
    )
    queue: QueueName | None = Field(None, description="Instead of the class's own.")
    priority: int | None = Field(
        None, ge=-(2**31), lt=2**31, description="Lower runs first; instead of the class's own."
    )
    wait: Seconds | None = Field(None, description="How long until it is due, in seconds.")
    run_at: AwareDatetime | None = Field(None, description="When it is due.")
    meta: dict[str, Any] | None = Field(
        None, description="What travels with it beside its arguments; 8,192 bytes of JSON at most."
    )


class CancelBody(Asked):
    """The reason to cancel a job."""

    reason: str | None = Field(None, max_length=10_000, description="Becomes its `last_error`.")


class PauseBody(Asked):
    """The reason and the end of a pause."""

    reason: str | None = Field(None, max_length=LONGEST_PAUSE_TEXT, description="Why it is paused.")
    until: str | None = Field(
        None,
        max_length=100,
        description="When it is resumed: a time in ISO 8601 with its zone, or how long from now: "
        "90s, 15m, 2h, 3d. Without it: when somebody resumes it.",
        examples=["2h", "2026-12-01T08:00:00Z"],
    )


class JobFilterBody(Asked):
    """A filter of jobs: everything that is given has to match, and something has to be given.

    An empty list is refused, since it could mean all jobs, or none.
    """

    q: str | None = Field(
        None,
        min_length=1,
        max_length=2000,
        description="Words that a job has to match, as in `GET /api/jobs`.",
    )
    ids: list[JobId] | None = Field(None, min_length=1, max_length=MOST_IDS)
    state: list[JobState] | None = Field(None, min_length=1, max_length=MOST_VALUES)
    queue: list[QueueName] | None = Field(None, min_length=1, max_length=MOST_VALUES)
    name: list[JobName] | None = Field(
        None,
        min_length=1,
        max_length=MOST_VALUES,
        description="Full or short names of job classes.",
    )


class RetryBody(Asked):
    """How to retry a job."""

    args: dict[str, Any] | None = Field(
        None,
        description="Arguments that it gets instead of those of the same names. Only for classes "
        "with `api = True`.",
    )
    reason: str | None = Field(None, max_length=10_000, description="Why; others are shown it.")


class GroupBody(Asked):
    """How to change the jobs of a group of errors."""

    dry_run: bool = Field(False, description="Only count them.")
    before: JobId | None = Field(None, description="The `next` of the answer before: go on there.")
    reason: str | None = Field(None, max_length=10_000, description="Why; others are shown it.")
    background: bool = Field(
        False,
        description="Leave it to the workers, however many jobs there are. It is answered 202, and "
        "`/api/actions/{action}` shows how far they are.",
    )


class CanaryBody(Asked):
    """A canary: some jobs first, and the rest if the error does not come back in them."""

    number: int = Field(
        USUAL_NUMBER, ge=1, le=MOST_FIRST, description="How many are retried first."
    )
    spread_seconds: float = Field(
        600,
        ge=0,
        le=LONGEST_SPREAD.total_seconds(),
        description="Over how many seconds the rest is spread.",
    )


class GroupRetryBody(GroupBody):
    """How to retry the jobs of a group of errors."""

    canary: CanaryBody | None = Field(
        None,
        description="Retry some first, and wait until they have ended. The rest follows, spread "
        "over time. It stops when the same error comes back. It is left to the workers.",
    )


class BulkBody(GroupBody):
    """The jobs to change."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"filter": {"state": ["failed"], "queue": ["email"]}, "dry_run": True}]
        }
    )

    filter: JobFilterBody


class BulkCancelBody(BulkBody):
    """The jobs to cancel, and the reason."""

    reason: str | None = Field(None, max_length=10_000, description="Becomes their `last_error`.")


class GroupCancelBody(GroupBody):
    """How to cancel the jobs of a group of errors, and the reason."""

    reason: str | None = Field(None, max_length=10_000, description="Becomes their `last_error`.")


class ScheduleQuery(Asked):
    """The application of a schedule."""

    app: str | None = Field(
        None, max_length=1000, description="Where several applications have one of that name."
    )


class ReasonBody(Asked):
    """The reason of a change."""

    reason: str | None = Field(None, max_length=10_000, description="Why; others are shown it.")


class LimitBody(Asked):
    """The number that a limit gets."""

    number: int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        strict=False,  # a form has it as text
        description="Null for what the classes declare; 0 lets none start.",
    )
    reason: str | None = Field(None, max_length=10_000, description="Why; others are shown it.")


class FlowsQuery(Asked):
    """The flows to list."""

    going_on: bool = Field(False, description="Only those that have not succeeded yet.")
    limit: int = Field(50, ge=1, le=200, description="How many at most.")
    before: int | None = Field(
        None, ge=1, le=LARGEST_ID, description="The `next` of the page before."
    )


class ActionsQuery(Asked):
    """The actions to list."""

    kind: list[ActionKind] | None = Field(
        None, max_length=MOST_VALUES, description="Several with commas, or given repeatedly."
    )
    state: list[ActionState] | None = Field(
        None, max_length=MOST_VALUES, description="Several with commas, or given repeatedly."
    )
    by: str | None = Field(None, max_length=1000, description="Only those of somebody.")
    limit: int = Field(50, ge=1, le=200, description="How many at most.")
    before: int | None = Field(
        None, ge=1, le=LARGEST_ID, description="The `next` of the page before."
    )


class ErrorsQuery(Asked):
    """The groups of errors to list."""

    state: list[ErrorState] | None = Field(
        None, max_length=MOST_VALUES, description="Several with commas, or given repeatedly."
    )
    name: list[JobName] | None = Field(
        None,
        max_length=MOST_VALUES,
        description="Full or short names of job classes; several with commas, or given repeatedly.",
    )
    hours: int | None = Field(
        None, ge=1, le=24 * 365, description="Only groups that were seen in so many hours."
    )
    limit: int = Field(50, ge=1, le=200, description="How many at most.")
    before: str | None = Field(
        None,
        max_length=200,
        pattern=r"^-?[0-9]{1,18}\.[A-Za-z0-9_.:\-]{1,100}$",
        description="The `next` of the page before.",
    )


class JobsQuery(Asked):
    """The jobs to list."""

    q: str | None = Field(
        None,
        max_length=2000,
        description="Words that a job has to match, as `jobqueue list` takes them: "
        "`state:failed args.user_id:42 since:2h`.",
    )
    state: list[JobState] | None = Field(
        None, max_length=MOST_VALUES, description="Several with commas, or given repeatedly."
    )
    queue: list[QueueName] | None = Field(
        None, max_length=MOST_VALUES, description="Several with commas, or given repeatedly."
    )
    name: list[JobName] | None = Field(
        None,
        max_length=MOST_VALUES,
        description="Full or short names of job classes; several with commas, or given repeatedly.",
    )
    limit: int = Field(50, ge=1, le=200, description="How many at most.")
    before: JobId | None = Field(None, description="The `next` of the page before.")


class WorkersQuery(Asked):
    """The workers to list."""

    ended: Literal["true", "false"] = Field(
        "false", description="Whether to list the workers that have ended, too."
    )


class StatsQuery(Asked):
    """The time to look back on."""

    minutes: int = Field(
        60, ge=1, le=MOST_MINUTES, description="How many minutes to look back, up to 90 days."
    )
    minutes_ago: int = Field(
        0,
        ge=0,
        le=MOST_MINUTES,
        description="How many minutes ago to begin with that, as 1440 for the same of yesterday.",
    )


class HistoryQuery(Asked):
    """The time to look back on."""

    minutes: int = Field(
        60, ge=1, le=7 * 24 * 60, description="How many minutes to look back, up to a week."
    )
    minutes_ago: int = Field(
        0,
        ge=0,
        le=7 * 24 * 60,
        description="How many minutes ago to begin with that, as 1440 for the same of yesterday.",
    )


# --- answered ------------------------------------------------------------------------------------


class JobStateAnswer(Answered):
    """A job as it is answered to who may change but not read it."""

    id: int
    state: JobState


class JobAnswer(Answered):
    """A job as it is now. Times are in UTC."""

    model_config = ConfigDict(json_schema_extra={"examples": [JOB_EXAMPLE]})

    id: int
    name: str = Field(description="The name of its class.")
    handler: str = Field(description="The same, as the table and `jobqueue list --json` have it.")
    args: dict[str, Any] = Field(description="What its class redacts is shown as `***`.")
    queue: str
    priority: int
    state: JobState
    attempts: int = Field(description="How many attempts have begun.")
    max_attempts: int
    run_at: datetime = Field(description="When it is due, or was.")
    created_at: datetime
    updated_at: datetime
    locked_at: datetime | None = Field(description="When the attempt began that runs.")
    locked_by: str | None = Field(description="The worker that runs it.")
    crashes: int = Field(description="How often the process died that ran it.")
    last_error: str | None
    failed_at: datetime | None
    finished_at: datetime | None = Field(
        description="Set when it is done: succeeded, failed or cancelled."
    )
    progress: Any = Field(description="The progress that it reported last, any JSON value.")
    result: Any = Field(description="The value that it returned, if its class keeps results.")
    cancel_requested_at: datetime | None
    started_at: datetime | None = Field(description="When the last attempt that ended began.")
    run_seconds: float | None = Field(
        description="How long it took; null if its process ended with it."
    )
    performed_by: str | None = Field(description="The worker that performed it.")
    error_key: str | None = Field(description="The key of the group of its error.")
    meta: Any = Field(description="What travels with it beside its arguments, a JSON object.")
    line: str | None = Field(description="The line that it waits in, behind a limit or an order.")
    terms: dict[str, Any] | None = Field(
        description="What has to hold before it starts: limits (`gates`), `ordered`, `takes_turns`."
    )
    expires_at: datetime | None = Field(description="When it may not start any more.")
    unique_key: str | None = Field(description="Calls with this key mean it until it has ended.")
    waiting_key: str | None = Field(description="Calls with this key mean it until it starts.")
    flow_id: int | None = Field(description="The batch, chain or flow that it belongs to.")
    flow_place: int | None = Field(description="Its place there; below 0 for what follows it.")


class AttemptAnswer(Answered):
    """An attempt that did not succeed."""

    number: int = Field(description="The number of the attempt, from 1.")
    worker_id: str | None
    started_at: datetime | None
    ended_at: datetime
    outcome: AttemptOutcome
    error: str | None
    error_key: str | None


class AttemptsAnswer(Answered):
    """The attempts at a job that did not succeed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"attempts": [ATTEMPT_EXAMPLE]}]})

    attempts: list[AttemptAnswer] = Field(
        description="The first one, and the newest; gone with the job, and after a week."
    )


class ChangedJobAnswer(RootModel[JobAnswer | JobStateAnswer]):
    """A job that was changed; without the scope `read` only its id and its state."""


class PageAnswer(Answered):
    """Some jobs, the newest first."""

    jobs: list[JobAnswer]
    next: int | None = Field(
        description="The `before` of the next page; null on the last. A page can be short, even "
        "empty, with more to follow: only so many rows are looked at for each."
    )


class BulkAnswer(Answered):
    """The number of jobs that were changed, or would be."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"dry_run": True, "count": 10_000, "more": True, "next": None, "action": None}
            ]
        }
    )

    dry_run: bool
    count: int
    more: bool = Field(description="Whether there are, or may be, more than that.")
    next: int | None = Field(
        description="Where to go on, as `before`, since one request changes 10,000 jobs at most."
    )
    action: int | None = Field(description="The id of the action; null if they were only counted.")


class ErrorHourAnswer(Answered):
    """The number of errors of a group in an hour."""

    hour: datetime
    number: int


class ErrorDayAnswer(Answered):
    """The number of errors of a group on a day, in UTC."""

    day: date
    number: int


class ErrorGroupAnswer(Answered):
    """A group of errors that are alike."""

    model_config = ConfigDict(json_schema_extra={"examples": [ERROR_EXAMPLE]})

    key: str
    name: str = Field(description="The name of the job class.")
    kind: str = Field(description="The type of the exception.")
    place: str | None = Field(
        description="The innermost frame of the application's own code, as `file.py:function`."
    )
    message: str = Field(description="With numbers, ids, quoted text and addresses replaced.")
    state: ErrorState
    number_of_day: int = Field(description="How many there were in the last 24 hours.")
    hours: list[ErrorHourAnswer] = Field(description="The last 24 hours, the oldest first.")
    first_seen_at: datetime
    last_seen_at: datetime
    first_release: str | None = Field(
        description="The release of the application that it was first seen with."
    )
    last_release: str | None
    last_job_id: int | None
    changed_at: datetime | None = Field(description="When somebody changed the state.")
    changed_by: str | None
    reopened_at: datetime | None = Field(
        description="When it came back after it was resolved; null if it did not."
    )


class ErrorsAnswer(Answered):
    """Some groups of errors, those that were seen last first."""

    errors: list[ErrorGroupAnswer]
    next: str | None = Field(description="The `before` of the next page; null on the last.")


class WholeErrorGroupAnswer(ErrorGroupAnswer):
    """Everything about a group of errors."""

    model_config = ConfigDict(json_schema_extra={"examples": []})

    days: list[ErrorDayAnswer] = Field(description="The last 30 days, the oldest first.")
    sample: str = Field(description="The text of the last error, with its traceback.")
    jobs: list[JobAnswer] = Field(description="The last jobs whose last error is of the group.")


class ErrorStateAnswer(Answered):
    """A group of errors whose state was set."""

    key: str
    state: ErrorState
    changed: bool = Field(description="Whether it was another state before.")


class ActionAnswer(Answered):
    """Something that somebody did, by a command or over HTTP."""

    id: int
    done_at: datetime = Field(description="When it was begun.")
    done_by: str
    kind: str = Field(description=f"One of {', '.join(ActionKind)}.")
    target: dict[str, Any] = Field(
        description="To what it was done. That of a bulk action has the `query` of its jobs."
    )
    reason: str | None
    number: int = Field(description="How many jobs, queues and so on were changed so far.")
    state: ActionState
    course: str = Field(
        description="The state in words; of one that runs: `running`, `waits for a worker`, or "
        "`nobody runs it` (a worker goes on with it, if there is one)."
    )
    before: int | None = Field(description="A bulk action goes on with the jobs of smaller ids.")
    run_by: str | None = Field(description="Who runs a bulk action, or ran it last.")
    run_until: datetime | None = Field(
        description="Until when it belongs to them; they put it off with each batch."
    )
    ended_at: datetime | None


class ActionsAnswer(Answered):
    """A page of actions, the newest first."""

    actions: list[ActionAnswer]
    next: int | None = Field(description="`before` of the next page; null on the last one.")


class GateAnswer(Answered):
    """A limit for one value of its key."""

    key: str | None = Field(description="Null for a limit without a key.")
    held: int = Field(description="How many jobs count against it now.")
    waiting: int
    waiting_more: bool = Field(description="Whether more wait, since counting stopped there.")


class LimitAnswer(Answered):
    """A limit of jobs."""

    name: str
    number: int = Field(description="How many may run at once, or start within the period.")
    per_seconds: float | None = Field(description="The period of a rate; null for a limit.")
    declared: int = Field(description="The number that a class has declared last.")
    declared_at: datetime
    set_at: datetime | None
    set_by: str | None = Field(description="Who has set another number.")
    reason: str | None
    waiting: int = Field(description="How many jobs wait that have to pass it.")
    waiting_more: bool = Field(description="Whether more wait, since counting stopped there.")
    keys: list[GateAnswer]


class LimitsAnswer(Answered):
    """The limits that workers have declared."""

    limits: list[LimitAnswer]


class FlowAnswer(Answered):
    """A batch, a chain or a flow."""

    id: int
    kind: str = Field(description=f"One of {', '.join(FlowKind)}.")
    name: str | None
    state: str = Field(description="being filled, going on, failed, cancelled or succeeded.")
    created_at: datetime
    closed_at: datetime | None = Field(description="When it was filled.")
    finished_at: datetime | None = Field(description="When all of its jobs had ended first.")
    succeeded_at: datetime | None
    cancelled_at: datetime | None
    jobs: dict[str, int] = Field(description="How many of its jobs are in which state.")
    more: bool = Field(description="Whether there are more, since counting stopped there.")


class ChangedFlowAnswer(FlowAnswer):
    """A flow of which jobs were changed."""

    changed: int = Field(description="How many.")


class FlowsAnswer(Answered):
    """A page of flows, the newest first."""

    flows: list[FlowAnswer]
    next: int | None = Field(description="`before` of the next page; null on the last one.")


class OutlookAnswer(Answered):
    """How fast jobs came into a queue and ended in the last quarter of an hour."""

    course: Course = Field(description="The way that the queue is going.")
    in_per_minute: float | None = Field(description="Null as long as it is not known.")
    out_per_minute: float
    growth_per_minute: float | None = Field(
        description="By how many its due jobs become more; null as long as it is not known."
    )
    empty_at: datetime | None = Field(
        description="When no job will be due if it goes on so; null unless it is emptying."
    )


class QueueAnswer(OutlookAnswer):
    """A queue. Counts stop at 10,000, or before."""

    name: str
    due: int = Field(description="Jobs whose time has come.")
    later: int = Field(description="Jobs whose time has not come.")
    running: int
    more: bool = Field(description="Whether there may be more than was counted.")
    oldest_age_seconds: float = Field(description="How long the oldest due job has been due.")
    paused: bool
    paused_at: datetime | None = Field(description="Since when it is paused.")
    paused_until: datetime | None = Field(
        description="When it is resumed; null for when somebody does so."
    )
    paused_by: str | None = Field(description="Who has paused it.")
    reason: str | None = Field(description="Why it is paused.")


class SampleAnswer(Answered):
    """The depth of a queue at a minute. Counts stop at 200,000, or before."""

    minute: datetime
    due: int
    later: int
    running: int
    more: bool = Field(description="Whether there may be more than was counted.")
    oldest_age_seconds: float


class HistoryAnswer(OutlookAnswer):
    """The depths of a queue over time, and its outlook."""

    name: str
    minutes: int = Field(description="How many minutes it is about.")
    step_minutes: int = Field(description="Of how many minutes there is one: 1,440 at most.")
    samples: list[SampleAnswer] = Field(description="Minutes without a sample are left out.")


class QueuesAnswer(Answered):
    """The queues that have unfinished jobs or are paused."""

    queues: list[QueueAnswer]


class ReasonAnswer(Answered):
    """A possible reason why jobs are late."""

    kind: ReasonKind
    holds: bool = Field(description="Whether it is so.")
    evidence: str = Field(description="What was found, in a sentence.")
    looked_at: str = Field(description="What was looked at.")
    facts: dict[str, Any] = Field(description="What was found, by name.")
    mending: str = Field(description="What to do about it; empty if there is nothing to do.")
    command: str | None = Field(description="The command that does it, if one does.")
    page: str | None = Field(description="The path of the page on which it is done.")


class LatenessAnswer(Answered):
    """Why a queue or a job is late."""

    queue: str
    job: int | None = Field(description="The id of the job; null if it is about the queue.")
    summary: str = Field(description="In short, in a sentence.")
    reasons: list[ReasonAnswer] = Field(
        description="Those that hold first. None for a job that does not wait."
    )


class PausedAnswer(Answered):
    """A queue that was paused or resumed."""

    name: str
    paused: bool
    changed: bool = Field(description="Whether it was not so before.")


class RunningAnswer(Answered):
    """A job that a worker performs."""

    id: int
    name: str
    locked_at: datetime | None


class WorkerAnswer(Answered):
    """A worker process."""

    id: str
    name: str
    host: str
    pid: int
    queues: list[str] | None = Field(
        description="The queues that it takes jobs from; null for all."
    )
    concurrency: int
    started_at: datetime
    heartbeat_at: datetime
    lost: bool = Field(
        description="Whether its process is gone, or it has been silent for longer than its lease."
    )
    release: str | None = Field(description="The release of the application that it runs.")
    state: Literal["running", "resting", "stopping"] | None = Field(
        description="Whether it takes jobs; a minute old at most, null where it is not known."
    )
    memory_bytes: int | None = Field(
        description="The memory of its process; a minute old at most, null where it is not known."
    )
    jobs: list[RunningAnswer]


class EndedWorkerAnswer(Answered):
    """A worker that has ended."""

    id: str
    name: str
    host: str
    pid: int
    release: str | None
    started_at: datetime
    ended_at: datetime
    reason: str = Field(description="Why it has ended.")


class WorkersAnswer(Answered):
    """The workers of all machines."""

    workers: list[WorkerAnswer]
    ended: list[EndedWorkerAnswer] | None = Field(
        description="Those that have ended, the latest first; null if they were not asked for."
    )


class StackJobAnswer(Answered):
    """A job that a thread or a task performs."""

    id: int
    name: str | None


class StackAnswer(Answered):
    """The stack of a thread, or of a task of an event loop."""

    name: str
    job: StackJobAnswer | None
    frames: list[str] = Field(
        description="Places in the code, the innermost last; no values of variables."
    )


class StacksAnswer(Answered):
    """A question for the stacks of a worker, and its answer."""

    worker_id: str
    asked_at: datetime
    asked_by: str | None
    answered_at: datetime | None = Field(description="Null until the worker has answered.")
    stacks: list[StackAnswer]


class TickJobAnswer(Answered):
    """The job of a tick."""

    tick: datetime
    id: int
    state: JobState | Literal["gone"] = Field(
        description="`gone`: it succeeded and was not kept, or somebody removed it."
    )
    started_at: datetime | None
    finished_at: datetime | None
    run_seconds: float | None
    error: str | None = Field(description="The line of its `last_error` that says what happened.")


class SchedulePausedAnswer(Answered):
    """A recurring job that was paused or resumed."""

    app: str
    name: str
    paused: bool
    changed: bool = Field(description="Whether that was different before.")


class ScheduleAnswer(Answered):
    """A recurring job."""

    app: str
    name: str
    job: str
    args: dict[str, Any]
    schedule: str
    tz: str
    catch_up: bool | str
    queue: str
    priority: int
    state: Literal["active", "paused", "inactive"]
    paused: bool
    next_tick: datetime | None
    last_tick: datetime | None
    next_ticks: list[datetime] = Field(description="The next five, while it is active.")
    last_jobs: list[TickJobAnswer] = Field(
        description="The jobs of its last five ticks, the latest one first."
    )


class SchedulesAnswer(Answered):
    """The recurring jobs of all applications."""

    schedules: list[ScheduleAnswer]


class CountAnswer(Answered):
    """A number of jobs."""

    count: int
    more: bool = Field(description="Whether there are more: counting stops at 10,000.")


class QuantileAnswer(Answered):
    """A duration that a share of durations does not exceed, read off the buckets."""

    seconds: float
    more: bool = Field(description="Whether it is longer than that, which is as far as is known.")


class DistributionAnswer(Answered):
    """How long something took."""

    p50: QuantileAnswer | None = Field(description="Half of them took no longer.")
    p95: QuantileAnswer | None
    p99: QuantileAnswer | None
    counts: list[int] = Field(
        description="How many there are in each bucket, which is as long as `bucket_seconds` says; "
        "the last one has all that are longer."
    )


class ClassStatsAnswer(Answered):
    """The attempts at the jobs of a class in a queue, by their outcomes."""

    name: str
    queue: str
    succeeded: int
    retried: int = Field(description="Failed attempts that others follow.")
    failed: int
    cancelled: int
    attempts_per_minute: float
    mean_seconds: float = Field(description="How long an attempt took.")
    longest_seconds: float
    mean_wait_seconds: float = Field(description="How long a due job waited for a worker.")
    run: DistributionAnswer = Field(description="How long attempts took.")
    wait: DistributionAnswer = Field(description="How long due jobs waited for a worker.")


class MinuteAnswer(Answered):
    """All attempts that ended in a minute, by their outcomes."""

    minute: datetime
    succeeded: int
    retried: int
    failed: int
    cancelled: int


class StatsAnswer(Answered):
    """The numbers of jobs, and the outcomes of attempts. Workers report once a minute."""

    states: dict[str, CountAnswer]
    minutes: int = Field(description="How many minutes the rest is about.")
    bucket_seconds: list[float] = Field(description="The longest duration of each bucket.")
    classes: list[ClassStatsAnswer]
    series: list[MinuteAnswer] = Field(description="Of the last three hours at most.")


class HealthAnswer(Answered):
    """The answer that all is well."""

    status: Literal["ok"]


class HomeAnswer(Answered):
    """The paths of other things."""

    document: str
    jobs: str


class ProblemAnswer(BaseModel):
    """A problem (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Conflict",
                    "status": 409,
                    "detail": "job 42 is running; it can no longer be changed",
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    errors: list[str] = Field([], description="What is wrong with what was sent.")
