"""Reasons why jobs are late: the checks for them, in a fixed order, each with its evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from jobqueue.durations import duration, from_now
from jobqueue.records import (
    Ailment,
    Count,
    JobRecord,
    LaneDepth,
    PausedQueue,
    QueueDepth,
    WorkerState,
)
from jobqueue.views.outlooks import Course, Outlook, outlook_text
from jobqueue.views.pauses import pause_text
from jobqueue.views.workers import WorkerView

MOST_NAMED = 3
NONE = Count(0)
NO_TAKERS = {WorkerState.RESTING: "rests", WorkerState.STOPPING: "is stopping"}
PAGES = {"queue": "/queues/{}", "job": "/jobs/{}", "worker": "/workers/{}", "flow": "/flows/{}"}


class ReasonKind(StrEnum):
    """A kind of reason, in the order in which they are looked at."""

    PAUSED = "paused"
    NO_WORKER = "no_worker"
    SLOTS_BUSY = "slots_busy"
    MORE_URGENT = "more_urgent"
    GROWING = "growing"
    NOT_DUE = "not_due"
    UNKNOWN_CLASS = "unknown_class"
    DATABASE = "database"
    LIMIT = "limit"
    ORDER = "order"
    STEPS = "steps"


@dataclass(frozen=True, slots=True)
class Reason:
    """A possible reason, and whether it is one.

    Args:
        kind: what kind of reason.
        holds: whether it is so.
        evidence: a sentence that says what was found.
        looked_at: what was looked at, in a few words.
        facts: the findings by name.
        mending: what to do about it; empty if it does not hold, or nothing is to be done.
        command: the command that does it, if one does.
        page: the page that it is done on: what it is of, and its name or id.
    """

    kind: ReasonKind
    holds: bool
    evidence: str
    looked_at: str
    facts: Mapping[str, Any]
    mending: str = ""
    command: str | None = None
    page: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The circumstances of a queue, or of a job that waits in it.

    Args:
        now: the time by the adapter's clock.
        depth: how much there is to do in the queue.
        pause: its pause, if it is paused.
        workers: all workers.
        usual: the p95 of the classes that run, by their names.
        lanes: of the queue, and of those that its workers take as well.
        outlook: how the queue goes on.
        left: jobs that workers left, as they do not know the class; a few.
        ailments: what hurts the database.
        unexamined: why the database could not be examined; empty if it was.
        queues: the names of all queues that have unfinished jobs or are paused.
        job: the job that it is about; None if it is about the queue.
        before: of a job, how many of its own priority are due before it.
    """

    now: datetime
    depth: QueueDepth
    pause: PausedQueue | None
    workers: Sequence[WorkerView]
    usual: Mapping[str, timedelta]
    lanes: Sequence[LaneDepth]
    outlook: Outlook
    left: Sequence[JobRecord]
    ailments: Sequence[Ailment]
    unexamined: str
    queues: Sequence[str]
    job: JobRecord | None = None
    before: Count = NONE

    @property
    def queue(self) -> str:
        """The name of the queue."""
        return self.depth.queue

    @property
    def takers(self) -> list[WorkerView]:
        """The living workers that take jobs from the queue now."""
        return [
            worker
            for worker in self.workers
            if not worker.lost and worker.state not in NO_TAKERS and takes(worker, self.queue)
        ]


def takes(worker: WorkerView, queue: str) -> bool:
    """Return whether a worker is for a queue."""
    return worker.record.queues is None or queue in worker.record.queues


def reasons_in(found: Circumstances) -> tuple[Reason, ...]:
    """Return all reasons: those that hold first, both in the order of `ReasonKind`."""
    looks: tuple[Callable[[Circumstances], Reason], ...] = (
        _pause,
        _workers,
        _slots,
        _urgency,
        _growth,
        _time,
        _class,
        _database,
    )
    return holding_first([look(found) for look in looks])


def holding_first(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    """Return reasons in their order, those that hold first."""
    return tuple(sorted(reasons, key=lambda reason: not reason.holds))


# --- whether anybody takes from it ---------------------------------------------------------------


def _pause(found: Circumstances) -> Reason:
    name, paused, looked_at = found.queue, found.pause, "the pauses of queues"
    if paused is None:
        return _no(ReasonKind.PAUSED, f"The queue {name} is not paused.", looked_at)
    since = from_now(paused.paused_at, found.now)
    return Reason(
        ReasonKind.PAUSED,
        True,
        f"The queue {name} is {pause_text(paused.pause)} (since {since}).",
        looked_at,
        {
            "paused_at": paused.paused_at,
            "until": paused.pause.until,
            "by": paused.pause.by,
            "reason": paused.pause.reason,
        },
        "Resume it.",
        f"jobqueue resume {name}",
        ("queue", name),
    )


def _workers(found: Circumstances) -> Reason:
    name, takers = found.queue, found.takers
    meant = [worker for worker in found.workers if takes(worker, name)]
    lost = sum(worker.lost for worker in meant)
    looked_at = _number(len(found.workers), "registered worker")
    facts = {"taking": len(takers), "lost": lost, "registered": len(found.workers)}
    if takers:
        what = f"{_number(len(takers), 'living worker')} {_verb(len(takers))} from {name}."
        return _no(ReasonKind.NO_WORKER, what, looked_at, facts)
    idle = [w for w in meant if not w.lost]
    but = [f"{w.record.name} {NO_TAKERS[w.state]}" for w in idle if w.state in NO_TAKERS]
    but += [f"{lost} of it {'is' if lost == 1 else 'are'} lost"] if lost else []
    also = f": {', '.join(but[:MOST_NAMED])}" if but else ""
    return Reason(
        ReasonKind.NO_WORKER,
        True,
        f"No living worker takes from the queue {name} now{also}.",
        looked_at,
        facts,
        "Start a worker that takes from it.",
        f"jobqueue work -n {name}:1",
        ("workers", ""),
    )


def _verb(number: int) -> str:
    return "takes" if number == 1 else "take"


# --- whether others are served first -------------------------------------------------------------


def _slots(found: Circumstances) -> Reason:
    takers = found.takers
    slots = sum(worker.record.concurrency for worker in takers)
    running = [job for worker in takers for job in worker.jobs]
    looked_at = f"{_number(slots, 'slot')} of {_number(len(takers), 'worker')}"
    facts: dict[str, Any] = {"slots": slots, "busy": len(running)}
    if not takers or len(running) < slots:
        what = "There is no slot, as no worker takes from it."
        if takers:
            free = slots - len(running)
            what = f"{free} of {_number(slots, 'slot')} {_is(free)} free."
        return _no(ReasonKind.SLOTS_BUSY, what, looked_at, facts)
    classes = Counter(job.handler for job in running).most_common(MOST_NAMED)
    facts["classes"] = dict(classes)
    named = ", ".join(f"{number} of {handler}" for handler, number in classes)
    what = f"All {slots} slots are busy" if slots > 1 else "The only slot is busy"
    what += f": {named}."
    longest = min(running, key=lambda job: job.locked_at or found.now)
    took = found.now - (longest.locked_at or found.now)
    usual = found.usual.get(longest.handler)
    facts |= {"longest_job": longest.id, "longest_seconds": took.total_seconds()}
    what += f" {longest.handler} #{longest.id} has run longest, for {_took(took)}"
    if usual is not None:
        facts["usual_p95_seconds"] = usual.total_seconds()
        what += f"; 95 % of its class take at most {_took(usual)}"
    return Reason(
        ReasonKind.SLOTS_BUSY,
        True,
        f"{what}.",
        looked_at,
        facts,
        "Start more workers, or look at what the longest one does.",
        f"jobqueue work -n {found.queue}:1",
        ("job", str(longest.id)),
    )


def _urgency(found: Circumstances) -> Reason:
    own = [lane for lane in found.lanes if lane.queue == found.queue]
    looked_at = (
        f"due jobs of {_number(len(found.lanes), 'priority', 'priorities')}, counted to a limit"
    )
    if found.job is None:
        waiting = [lane for lane in own if lane.due]
        if not waiting:
            return _no(ReasonKind.MORE_URGENT, "No job is due here.", looked_at)
        priority, before = min(waiting, key=lambda lane: lane.first_run_at).priority, Count(0)
        whose = f"its oldest due job, of priority {priority}"
    else:
        priority, before = found.job.priority, found.before
        whose = f"it, with priority {priority}"
    here = _sum([lane for lane in own if lane.priority < priority], before)
    there = _elsewhere(found, priority)
    elsewhere = _sum([lane for lanes in there.values() for lane in lanes])
    facts = {
        "priority": priority,
        "in_this_queue": here.number,
        "in_other_queues": elsewhere.number,
        "more": here.more or elsewhere.more,
        "other_queues": sorted(there),
    }
    if not here.number and not elsewhere.number:
        return _no(ReasonKind.MORE_URGENT, f"No due job comes before {whose}.", looked_at, facts)
    parts = [f"{_count(here)} in this queue"] if here.number else []
    if elsewhere.number:
        names = ", ".join(sorted(there)[:MOST_NAMED])
        parts.append(f"{_count(elsewhere)} in {names}, which its workers take as well")
    return Reason(
        ReasonKind.MORE_URGENT,
        True,
        f"Due jobs that come before {whose}: {' and '.join(parts)}.",
        looked_at,
        facts,
        "Wait for them, or start a worker for this queue alone.",
        f"jobqueue work -n {found.queue}:1",
        ("queue", found.queue),
    )


def _elsewhere(found: Circumstances, priority: int) -> dict[str, list[LaneDepth]]:
    """The due lanes of smaller priority of other queues that all of its workers take as well."""
    lanes: dict[str, list[LaneDepth]] = {}
    for lane in found.lanes:
        is_other = lane.queue != found.queue and lane.due and lane.priority < priority
        if is_other and found.takers and all(takes(w, lane.queue) for w in found.takers):
            lanes.setdefault(lane.queue, []).append(lane)
    return lanes


def _sum(lanes: Sequence[LaneDepth], before: Count = NONE) -> Count:
    number = sum(lane.due for lane in lanes) + before.number
    return Count(number, before.more or any(lane.more for lane in lanes))


def _growth(found: Circumstances) -> Reason:
    outlook, looked_at = found.outlook, "its depths of the last 15 minutes"
    facts = {
        "in_per_minute": outlook.in_per_minute,
        "out_per_minute": outlook.out_per_minute,
        "growth_per_minute": outlook.growth_per_minute,
    }
    if outlook.course is not Course.GROWING:
        text = outlook_text(outlook, found.now)
        return _no(ReasonKind.GROWING, f"It is not growing; empty: {text}.", looked_at, facts)
    coming = "" if outlook.in_per_minute is None else f"{outlook.in_per_minute:,.1f} come and "
    return Reason(
        ReasonKind.GROWING,
        True,
        f"More jobs come than end: {coming}{outlook.out_per_minute:,.1f} end a minute. It will be "
        f"empty: {outlook_text(outlook, found.now)}.",
        looked_at,
        facts,
        "Start more workers, or enqueue less.",
        f"jobqueue work -n {found.queue}:1",
        ("queue", found.queue),
    )


# --- whether it is the job's own turn ------------------------------------------------------------


def _time(found: Circumstances) -> Reason:
    if found.job is not None:
        return _time_of(found.job, found.now)
    own = [lane for lane in found.lanes if lane.queue == found.queue]
    looked_at = f"the first job of {_number(len(own), 'priority', 'priorities')}"
    later = {"due": found.depth.due, "later": found.depth.later}
    if found.depth.due or not own:
        what = "Its jobs are due." if found.depth.due else "No job waits in it."
        return _no(ReasonKind.NOT_DUE, what, looked_at, later)
    first = min(lane.first_run_at for lane in own)
    return Reason(
        ReasonKind.NOT_DUE,
        True,
        f"No job is due: the next of {_number(found.depth.later, 'job')} is due "
        f"{from_now(first, found.now)}.",
        looked_at,
        {**later, "next_at": first},
    )


def _time_of(job: JobRecord, now: datetime) -> Reason:
    facts, looked_at = {"run_at": job.run_at}, "when it is due"
    when = from_now(job.run_at, now)
    if job.run_at <= now:
        return _no(ReasonKind.NOT_DUE, f"It has been due since {when}.", looked_at, facts)
    what = f"Its time has not come: it is due {when}"
    if job.attempts:
        what += f", for attempt {job.attempts + 1} of {job.max_attempts}"
    return Reason(
        ReasonKind.NOT_DUE,
        True,
        f"{what}.",
        looked_at,
        facts,
        "Run it now.",
        f"jobqueue retry {job.id}",
        ("job", str(job.id)),
    )


def _class(found: Circumstances) -> Reason:
    looked_at = "its last error" if found.job is not None else "errors of its newest jobs"
    if not found.left:
        what = "No worker said that it does not know the class."
        return _no(ReasonKind.UNKNOWN_CLASS, what, looked_at)
    names = sorted({job.handler for job in found.left})
    first = found.left[0]
    return Reason(
        ReasonKind.UNKNOWN_CLASS,
        True,
        f"Workers left {', '.join(f'{j.handler} #{j.id}' for j in found.left[:MOST_NAMED])} for "
        "others, as they do not know the class; the job is tried again "
        f"{from_now(first.run_at, found.now) if first.run_at > found.now else 'at once'}.",
        looked_at,
        {"classes": names, "jobs": [job.id for job in found.left]},
        "Start a worker whose `app` has the class, or cancel the job.",
        f"jobqueue work --app MODULE -n {found.queue}:1",
        ("job", str(first.id)),
    )


def _database(found: Circumstances) -> Reason:
    looked_at = "what the command doctor examines in the database"
    if found.unexamined:
        what = f"The database could not be examined: {found.unexamined}"
        return _no(ReasonKind.DATABASE, what, looked_at)
    if not found.ailments:
        return _no(ReasonKind.DATABASE, "Nothing was found that slows it down.", looked_at)
    worst = found.ailments[0]
    others = len(found.ailments) - 1
    more = f" (and {others} more)" if others else ""
    return Reason(
        ReasonKind.DATABASE,
        True,
        f"The database is ill: {worst.what}{more}.",
        looked_at,
        {"ailments": [ailment.kind for ailment in found.ailments]},
        "Mend that.",
        worst.remedy,
        ("database", ""),
    )


# --- words ---------------------------------------------------------------------------------------


def _no(
    kind: ReasonKind, evidence: str, looked_at: str, facts: Mapping[str, Any] | None = None
) -> Reason:
    return Reason(kind, False, evidence, looked_at, facts or {})


def _number(number: int, what: str, several: str = "") -> str:
    return f"{number:,} {what if number == 1 else several or what + 's'}"


def _count(count: Count) -> str:
    return f"{count.number:,}{'+' if count.more else ''}"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _took(took: timedelta) -> str:
    seconds = took.total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else duration(seconds)
