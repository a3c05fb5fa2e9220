"""Troubles: what is wrong with a queue system now, each in a sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from jobqueue.durations import duration
from jobqueue.records import ErrorState, PausedQueue, QueueDepth, Stat
from jobqueue.views.database import DatabaseView
from jobqueue.views.errors import DAY, ErrorGroupView
from jobqueue.views.outlooks import Course, Outlook, outlook_text
from jobqueue.views.pauses import pause_text
from jobqueue.views.queues import unattended_queues
from jobqueue.views.schedules import ScheduleView
from jobqueue.views.stats import usual_times
from jobqueue.views.workers import WorkerView

LATE = timedelta(minutes=5)
"""A queue whose oldest due job has waited for longer is named."""
MISSED = timedelta(minutes=2)
"""A tick that is due for longer was missed. Workers look every few seconds."""
LONG_RUN = timedelta(minutes=5)
MANY_TIMES = 10
"""A job is named that runs for this many times as long as 95 % of its class, and for `LONG_RUN`."""
MOST_NAMED = 5
"""How many jobs, groups of errors and so on are named of each kind."""


class TroubleKind(StrEnum):
    """A kind of trouble, the worst first."""

    NO_WORKER = "no_worker"
    LOST_WORKER = "lost_worker"
    UNATTENDED_QUEUE = "unattended_queue"
    PAUSED_QUEUE = "paused_queue"
    STUCK_JOB = "stuck_job"
    MISSED_SCHEDULE = "missed_schedule"
    DATABASE = "database"
    NEW_ERROR = "new_error"
    LATE_QUEUE = "late_queue"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong.

    Args:
        kind: what kind of thing.
        what: a sentence that describes it.
        target: the name of the queue, the id of the worker or the job, the key of the errors.
        since: since when, if that is known.
        app: the application of a schedule.
        worker_id: the worker that performs a stuck job.
        command: the command that mends it, where no page can; several words, if it is a choice.
    """

    kind: TroubleKind
    what: str
    target: str
    since: datetime | None = None
    app: str | None = None
    worker_id: str | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Signs:
    """The signs in which troubles are found.

    Args:
        now: the time by the adapter's clock.
        depths: of all queues.
        pauses: the queues that are paused, by name.
        outlooks: of the queues, by name.
        workers: all workers.
        errors: groups of errors that are open.
        schedules: all recurring jobs.
        stats: those of the classes that run, for how long their jobs usually take.
        database: what was found in the database; None if it could not be examined.
    """

    now: datetime
    depths: Sequence[QueueDepth]
    pauses: Mapping[str, PausedQueue]
    outlooks: Mapping[str, Outlook]
    workers: Sequence[WorkerView]
    errors: Sequence[ErrorGroupView]
    schedules: Sequence[ScheduleView]
    stats: Collection[Stat]
    database: DatabaseView | None = None


def troubles_in(signs: Signs) -> list[Trouble]:
    """Return what is wrong, the worst first."""
    return [
        *_without_workers(signs),
        *_lost_workers(signs),
        *_paused(signs),
        *_stuck(signs),
        *_missed(signs),
        *_ailments(signs),
        *_new_errors(signs),
        *_late(signs),
    ]


def _without_workers(signs: Signs) -> Iterator[Trouble]:
    living = [worker.record for worker in signs.workers if not worker.lost]
    alone = unattended_queues(signs.depths, living, ())
    if alone and not living:
        due = sum(queue.due for queue in alone)
        oldest = max(depth.oldest_age for depth in signs.depths if depth.due)
        what = f"No worker is alive, and {_jobs(due)} due."
        since = signs.now - oldest
        yield Trouble(TroubleKind.NO_WORKER, what, "", since, command="jobqueue work")
        return
    ages = {depth.queue: depth.oldest_age for depth in signs.depths}
    for queue in alone:
        what = f"No living worker takes from the queue {queue.name}, where {_jobs(queue.due)} due."
        since, command = signs.now - ages[queue.name], f"jobqueue work -n {queue.name}:1"
        yield Trouble(TroubleKind.UNATTENDED_QUEUE, what, queue.name, since, command=command)


def _lost_workers(signs: Signs) -> Iterator[Trouble]:
    for worker in signs.workers:
        if worker.lost:
            name, silent = worker.record.name, duration(worker.silent.total_seconds())
            what = f"The worker {name} is lost: it has been silent for {silent}."
            since = worker.record.heartbeat_at
            target = worker.record.id
            yield Trouble(TroubleKind.LOST_WORKER, what, target, since, command="jobqueue work")


def _paused(signs: Signs) -> Iterator[Trouble]:
    for depth in signs.depths:
        paused = signs.pauses.get(depth.queue)
        if paused is not None and depth.due:
            what = f"The queue {depth.queue} is {pause_text(paused.pause)}. {_jobs(depth.due)} due."
            yield Trouble(TroubleKind.PAUSED_QUEUE, what, depth.queue, paused.paused_at)


def is_stuck(took: timedelta, usual: timedelta | None) -> bool:
    """Return whether a job is possibly stuck.

    Args:
        took: how long it has run.
        usual: how long 95 % of its class take at most, if that is known.
    """
    return usual is not None and took > max(LONG_RUN, MANY_TIMES * usual)


def _stuck(signs: Signs) -> Iterator[Trouble]:
    usual = usual_times(signs.stats)
    running = [job for worker in signs.workers for job in worker.jobs if job.locked_at is not None]
    running.sort(key=lambda job: job.locked_at or signs.now)
    for job in running[:MOST_NAMED]:
        took = signs.now - (job.locked_at or signs.now)
        p95 = usual.get(job.handler)
        if p95 is not None and is_stuck(took, p95):
            what = (
                f"{job.handler} #{job.id} has run for {duration(took.total_seconds())}; 95 % of "
                f"its class take at most {_short(p95)}."
            )
            yield Trouble(
                TroubleKind.STUCK_JOB,
                what,
                str(job.id),
                job.locked_at,
                worker_id=job.locked_by,
            )


def _missed(signs: Signs) -> Iterator[Trouble]:
    kind = TroubleKind.MISSED_SCHEDULE
    for schedule in signs.schedules:
        missed, record = schedule.missed_tick, schedule.record
        if schedule.state == "active" and missed is not None and missed < signs.now - MISSED:
            late = duration((signs.now - missed).total_seconds())
            what = f"The schedule {record.name} did not run: it was due {late} ago."
            yield Trouble(kind, what, record.name, missed, app=record.app)
        elif schedule.state == "inactive":
            what = f"The schedule {record.name} is in no living worker's code."
            yield Trouble(kind, what, record.name, record.declared_at, app=record.app)


def _ailments(signs: Signs) -> Iterator[Trouble]:
    if signs.database is None:
        return
    for ailment in signs.database.slowing[:MOST_NAMED]:
        what = f"The database is ill: {ailment.what}."
        since, command = ailment.since, ailment.remedy
        yield Trouble(TroubleKind.DATABASE, what, ailment.kind, since, command=command)


def _new_errors(signs: Signs) -> Iterator[Trouble]:
    found = [view for view in signs.errors if view.number_of_day and _is_new(view, signs.now)]
    found.sort(key=lambda view: -view.number_of_day)
    for view in found[:MOST_NAMED]:
        record = view.record
        since = record.reopened_at or record.first_seen_at
        release = f" with release {record.first_release}" if record.first_release else ""
        how = "again, after it was resolved" if record.has_come_back else f"new{release}"
        times = "once" if view.number_of_day == 1 else f"{view.number_of_day:,} times"
        what = f"{record.group.handler} fails with {record.group.kind} ({how}): {times} in 24 h."
        yield Trouble(TroubleKind.NEW_ERROR, what, record.key, since)


def _is_new(view: ErrorGroupView, now: datetime) -> bool:
    record = view.record
    is_open = record.state is ErrorState.OPEN
    return is_open and (record.has_come_back or record.first_seen_at > now - DAY)


def _late(signs: Signs) -> Iterator[Trouble]:
    living = [worker.record for worker in signs.workers if not worker.lost]
    alone = {queue.name for queue in unattended_queues(signs.depths, living, ())}
    for depth in signs.depths:
        if depth.oldest_age <= LATE or depth.paused or depth.queue in alone:
            continue
        outlook = signs.outlooks[depth.queue]
        age = duration(depth.oldest_age.total_seconds())
        what = f"The queue {depth.queue} is late: its oldest due job has waited for {age}."
        if outlook.course in {Course.EMPTYING, Course.GROWING}:
            what += f" It will be empty: {outlook_text(outlook, signs.now)}."
        yield Trouble(TroubleKind.LATE_QUEUE, what, depth.queue, signs.now - depth.oldest_age)


def _jobs(number: int) -> str:
    return "1 job is" if number == 1 else f"{number:,} jobs are"


def _short(took: timedelta) -> str:
    seconds = took.total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else duration(seconds)
