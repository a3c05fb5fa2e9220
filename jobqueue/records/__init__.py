"""The data that passes between the layers, a module a subject.

Treat all of it as frozen. Type checkers do, and `record` says why some of it is not at run time.
"""

from __future__ import annotations

from jobqueue.records.base import NO_DELAY, record
from jobqueue.records.claims import (
    Cancelled,
    Claim,
    ClaimedJob,
    Committed,
    Discarded,
    Failed,
    Outcome,
    Released,
    Retried,
    Succeeded,
    Turn,
)
from jobqueue.records.errors import ErrorGroup
from jobqueue.records.health import Ailment, Health, SchemaStatus
from jobqueue.records.jobs import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    FINISHED_STATES,
    KEY_LIFETIME,
    LARGEST_ID,
    UNFINISHED_STATES,
    EnqueuedOnce,
    JobFilter,
    JobRecord,
    JobState,
    NewJob,
    UsedKey,
)
from jobqueue.records.pages import LARGEST_PAGE_CHARACTERS, Count, Page, QueueDepth
from jobqueue.records.queues import LONGEST_PAUSE_TEXT, UNTIL_RESUMED, Pause, PausedQueue
from jobqueue.records.schedules import NewSchedule, ScheduleRecord, TickSpan
from jobqueue.records.stacks import STACKS_LIFETIME, Stack, WorkerStacks
from jobqueue.records.stats import STATS_LIFETIME, Stat, StatOfMinute, duration_of, sum_of
from jobqueue.records.tokens import TokenRecord
from jobqueue.records.wakeups import (
    ECHO_SECONDS,
    LOOK_ANYWHERE,
    MOST_QUEUES_SENT,
    Wakeup,
    facts_of,
)
from jobqueue.records.workers import (
    LONGEST_REASON,
    MOST_CRASHES,
    CrashedJob,
    NewWorker,
    Rescue,
    WorkerEnd,
    WorkerNote,
    WorkerRecord,
    WorkerState,
)

__all__ = [
    "DEFAULT_PRIORITY",
    "DEFAULT_QUEUE",
    "ECHO_SECONDS",
    "FINISHED_STATES",
    "KEY_LIFETIME",
    "LARGEST_ID",
    "LARGEST_PAGE_CHARACTERS",
    "LONGEST_PAUSE_TEXT",
    "LONGEST_REASON",
    "LOOK_ANYWHERE",
    "MOST_CRASHES",
    "MOST_QUEUES_SENT",
    "NO_DELAY",
    "STACKS_LIFETIME",
    "STATS_LIFETIME",
    "UNFINISHED_STATES",
    "UNTIL_RESUMED",
    "Ailment",
    "Cancelled",
    "Claim",
    "ClaimedJob",
    "Committed",
    "Count",
    "CrashedJob",
    "Discarded",
    "EnqueuedOnce",
    "ErrorGroup",
    "Failed",
    "Health",
    "JobFilter",
    "JobRecord",
    "JobState",
    "NewJob",
    "NewSchedule",
    "NewWorker",
    "Outcome",
    "Page",
    "Pause",
    "PausedQueue",
    "QueueDepth",
    "Released",
    "Rescue",
    "Retried",
    "ScheduleRecord",
    "SchemaStatus",
    "Stack",
    "Stat",
    "StatOfMinute",
    "Succeeded",
    "TickSpan",
    "TokenRecord",
    "Turn",
    "UsedKey",
    "Wakeup",
    "WorkerEnd",
    "WorkerNote",
    "WorkerRecord",
    "WorkerStacks",
    "WorkerState",
    "duration_of",
    "facts_of",
    "record",
    "sum_of",
]
