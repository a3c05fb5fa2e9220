"""Lateness: why a queue or a waiting job is late, as far as bounded reads can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from jobqueue.adapters.base import Adapter
from jobqueue.durations import duration, from_now
from jobqueue.errors import DatabaseError
from jobqueue.perform.foreign_jobs import UNKNOWN_JOB
from jobqueue.records import (
    WAITING_STATES,
    Ailment,
    Count,
    JobFilter,
    JobRecord,
    JobState,
    LaneDepth,
    QueueDepth,
)
from jobqueue.spelling import did_you_mean
from jobqueue.views.database import examined
from jobqueue.views.errors import DAY
from jobqueue.views.gate_reasons import gate_reasons, queue_gate_reasons, step_reasons
from jobqueue.views.outlooks import all_outlooks
from jobqueue.views.pauses import all_pauses
from jobqueue.views.reasons import (
    PAGES,
    Circumstances,
    Reason,
    holding_first,
    reasons_in,
    takes,
)
from jobqueue.views.stats import usual_times
from jobqueue.views.workers import WorkerView, all_workers

MOST_COUNTED = 10_000
MOST_LEFT = 5
NO_REASON = "No reason was found: a worker should take it within seconds."


@dataclass(frozen=True, slots=True)
class Lateness:
    """Why a queue or a job is late.

    Args:
        queue: the name of the queue.
        job_id: the id of the job; None if it is about the queue.
        state: a sentence that says for how long it has waited, or what it does instead.
        reasons: all possible reasons, those that hold first; empty for a job that does not wait.
        is_known: whether there is any trace of the queue.
        is_waiting: whether a job is due and waits for a worker.
    """

    queue: str
    job_id: int | None
    state: str
    reasons: tuple[Reason, ...]
    is_known: bool = True
    is_waiting: bool = False

    @property
    def holding(self) -> list[Reason]:
        """The reasons that hold."""
        return [reason for reason in self.reasons if reason.holds]

    @property
    def verdict(self) -> str:
        """The first reason that holds, in a sentence; empty if it does not wait for a worker."""
        holding = self.holding
        if holding:
            more = f" ({len(holding) - 1} more below)" if len(holding) > 1 else ""
            return f"{holding[0].evidence}{more}"
        return NO_REASON if self.is_waiting else ""

    @property
    def summary(self) -> str:
        """All of it in short."""
        return f"{self.state} {self.verdict}".rstrip()

    def facts(self) -> dict[str, Any]:
        """Return all of it by name, as the JSON of the command and of the API has it."""
        return {
            "queue": self.queue,
            "job": self.job_id,
            "summary": self.summary,
            "reasons": [_reason_json(reason) for reason in self.reasons],
        }


def why_queue_is_late(adapter: Adapter, name: str) -> Lateness:
    """Return why the jobs of a queue are late."""
    found = lateness_of_queue(circumstances_of(adapter, name))
    gates = list(queue_gate_reasons(adapter, name))
    return replace(found, reasons=holding_first([*gates, *found.reasons])) if gates else found


def lateness_of_queue(found: Circumstances) -> Lateness:
    """Return why the jobs of a queue are late, by its circumstances."""
    name, depth = found.queue, found.depth
    if name not in found.queues and all(name not in (w.record.queues or ()) for w in found.workers):
        return Lateness(name, None, _no_such_queue(name, found.queues), (), is_known=False)
    reasons, is_waiting = reasons_in(found), bool(depth.due)
    return Lateness(name, None, _state_of_queue(depth), reasons, is_waiting=is_waiting)


def why_job_is_late(adapter: Adapter, job: JobRecord) -> Lateness:
    """Return why a job is late, if it waits."""
    now = adapter.now()
    if job.state is JobState.BLOCKED:
        reasons = tuple(step_reasons(adapter, job))
        state = f"Job {job.id} waits for other jobs."
        return Lateness(job.queue, job.id, state, reasons, is_waiting=True)
    if job.state not in WAITING_STATES:
        return Lateness(job.queue, job.id, _not_waiting(job, now), ())
    reasons = holding_first(
        [
            *gate_reasons(adapter, job, now),
            *reasons_in(circumstances_of(adapter, job.queue, job)),
        ]
    )
    is_waiting = job.run_at <= now
    return Lateness(job.queue, job.id, _state_of_job(job, now), reasons, is_waiting=is_waiting)


# --- what is read --------------------------------------------------------------------------------


def circumstances_of(adapter: Adapter, name: str, job: JobRecord | None = None) -> Circumstances:
    """Return the circumstances of a queue, or of a job that waits in it."""
    depths = adapter.queue_depths(MOST_COUNTED)
    empty = QueueDepth(name, 0, 0, 0, timedelta(0), paused=False)
    depth = next((one for one in depths if one.queue == name), empty)
    workers = all_workers(adapter)
    running = tuple({job.handler for worker in workers for job in worker.jobs})
    ailments, unexamined = _ailments(adapter)
    return Circumstances(
        adapter.now(),
        depth,
        all_pauses(adapter).get(name),
        workers,
        usual_times(adapter.class_stats(DAY, handlers=running)) if running else {},
        _lanes(adapter, name, workers),
        all_outlooks(adapter, [depth])[name],
        _left(adapter, name, job),
        ailments,
        unexamined,
        tuple(one.queue for one in depths),
        job,
        Count(0) if job is None else adapter.due_before(job, MOST_COUNTED),
    )


def _lanes(adapter: Adapter, name: str, workers: Sequence[WorkerView]) -> list[LaneDepth]:
    """The lanes of the queue, and of the others that workers take which take from it."""
    own = adapter.lane_depths(MOST_COUNTED, name)
    serving = [worker.record for worker in workers if takes(worker, name)]
    if not serving or any(worker.queues == (name,) for worker in serving):
        return own
    paused = adapter.paused_queues()
    others = adapter.lane_depths(MOST_COUNTED)
    return own + [one for one in others if one.queue != name and one.queue not in paused]


def _left(adapter: Adapter, name: str, job: JobRecord | None) -> list[JobRecord]:
    """A few of the jobs that workers left to others, as they do not know the class."""
    if job is not None:
        return [job] if (job.last_error or "").startswith(UNKNOWN_JOB) else []
    where = JobFilter(states=(JobState.READY,), queues=(name,), error=UNKNOWN_JOB)
    found = adapter.page_jobs(where, MOST_LEFT).jobs
    return [one for one in found if (one.last_error or "").startswith(UNKNOWN_JOB)]


def _ailments(adapter: Adapter) -> tuple[Sequence[Ailment], str]:
    try:
        view = examined(adapter)
        return view.slowing, view.unexamined
    except DatabaseError as error:
        return (), str(error)


# --- in short ------------------------------------------------------------------------------------


def _state_of_queue(depth: QueueDepth) -> str:
    if not depth.due and not depth.later:
        return f"No job waits in the queue {depth.queue}."
    if not depth.due:
        return f"No job is due in the queue {depth.queue}; {depth.later:,} are for later."
    age = duration(depth.oldest_age.total_seconds())
    return f"The oldest due job of the queue {depth.queue} has waited for {age}."


def _state_of_job(job: JobRecord, now: datetime) -> str:
    if job.run_at > now:
        return f"Job {job.id} is due {from_now(job.run_at, now)}."
    age = duration((now - job.run_at).total_seconds())
    return f"Job {job.id} has waited for {age}."


def _not_waiting(job: JobRecord, now: datetime) -> str:
    if job.state is JobState.RUNNING:
        since = "" if job.locked_at is None else f", since {from_now(job.locked_at, now)}"
        return f"Job {job.id} does not wait: it is running{since}."
    ended = job.finished_at or job.failed_at
    when = "" if ended is None else f" {from_now(ended, now)}"
    return f"Job {job.id} does not wait: it ended{when}, {job.state.value}."


def _no_such_queue(name: str, known: Sequence[str]) -> str:
    listed = ", ".join(known[:10]) or "none"
    return (
        f"there is no trace of a queue {name!r}: no unfinished job is in it, it is not paused, and "
        f"no worker names it. Queues with unfinished jobs: {listed}{did_you_mean(name, known)}"
    )


# --- as JSON -------------------------------------------------------------------------------------


def _reason_json(reason: Reason) -> dict[str, Any]:
    return {
        "kind": reason.kind.value,
        "holds": reason.holds,
        "evidence": reason.evidence,
        "looked_at": reason.looked_at,
        "facts": _plain(reason.facts),
        "mending": reason.mending,
        "command": reason.command,
        "page": None if reason.page is None else _page_path(*reason.page),
    }


def _page_path(kind: str, name: str) -> str:
    return PAGES[kind].format(name) if kind in PAGES else f"/{kind}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value
