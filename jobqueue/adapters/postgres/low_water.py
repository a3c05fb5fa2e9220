"""The low-water mark: where a worker goes on claiming, and when it looks for jobs before that.

A *lane* is a priority, or a priority within a queue, in which jobs are due. For each lane a worker
remembers a mark: everything before it has been claimed. Before the mark, the index still has
entries of jobs that are done, and a claim that starts at the mark does not walk over them. A *look*
finds the lanes, and the first job in each, and does walk over them. A look takes place when the
known lanes are empty, and now and then for jobs that were committed late or are ready again, but
for no more than a twentieth of the time, unless a single one takes longer than a quarter of a
second.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jobqueue.adapters.sql.tables import DAWN
from jobqueue.forks import renewed_in_children
from jobqueue.records import NO_DELAY, ClaimedJob, Wakeup

LOOK_AGAIN_SECONDS = 0.5
SHARE_OF_TIME = 1 / 20
# Cheap looks may follow each other closely. Their cost is balanced within this time.
CREDIT_SECONDS = 1.0
# What only a look finds waits no longer than that for the next one, however long a look takes.
LONGEST_PAUSE_SECONDS = 5.0

LONG_AGO = "-infinity"
MOST_CLAIMANTS = 64
# Anybody who may connect can say that there are jobs in any lane.
MOST_LANES = 5000
FEW_LANES = 100

Key = tuple[str | None, int]
Mark = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane and its mark: where to go on claiming.

    Args:
        queue: None for any.
        priority: theirs.
        run_at: of the first that may be there.
        id: of the first that may be there.
    """

    queue: str | None
    priority: int
    run_at: datetime
    id: int


@dataclass(frozen=True, slots=True)
class FoundLanes:
    """The result of a look.

    Args:
        lanes: those that have due jobs.
        scan_time: how long the server has searched, by its own clock. Waiting for a lock is not
            part of it: that costs nobody anything.
        number: how many lanes were looked at.
        beyond: a job behind which there are more, where only so many were looked at.
    """

    lanes: Sequence[Lane]
    scan_time: timedelta = NO_DELAY
    number: int = 0
    beyond: Lane | None = None


@dataclass(slots=True)
class LowWater:
    """The marks of one worker: in each lane, the position up to which everything has been claimed.

    Args:
        queues: the queues that are claimed from; None for all.
        monotonic: seconds that only go up; for tests.
        look_again_seconds: how long after a look another one is wanted, whatever was found.
        beyond: where the next look goes on, if there are so many lanes that the last look has not
            been through all of them, and found no job.
    """

    queues: tuple[str, ...] | None
    monotonic: Callable[[], float] = time.monotonic
    look_again_seconds: float = LOOK_AGAIN_SECONDS
    _marks: dict[Key, Mark] = field(default_factory=dict)
    _looked_at: float = float("-inf")
    _may_look_at: float = float("-inf")
    _is_by_queue: bool = False
    _runs_dry: bool = True
    _is_put_off: bool = False
    beyond: Lane | None = None

    def has_to_look(self) -> bool:
        """Whether it is time for a look. Looks take no more than their share of the time."""
        now = self.monotonic()
        wanted = self._runs_dry or now - self._looked_at >= self.look_again_seconds
        self._is_put_off = wanted and now < self._may_look_at
        return wanted and not self._is_put_off

    def put_off_for(self) -> timedelta | None:
        """The time until a look that was put off may take place; None if none was."""
        if not self._is_put_off and self.beyond is None:
            return None
        return timedelta(seconds=max(self._may_look_at - self.monotonic(), 0.0))

    def look(self, find: Callable[[], FoundLanes]) -> None:
        """Find the lanes anew."""
        begun = self.monotonic()
        found = find()
        self._looked_at = self.monotonic()
        self._pay_for(found.scan_time, self._looked_at - begun)
        lanes = found.lanes
        self._marks = {(lane.queue, lane.priority): (lane.run_at, lane.id) for lane in lanes}
        self._is_by_queue = self.queues is not None or any(lane.queue is not None for lane in lanes)
        self._runs_dry = not lanes
        if not lanes:
            self.beyond = found.beyond

    def _pay_for(self, scan_time: timedelta, elapsed_seconds: float) -> None:
        """Put off the next look in proportion to what this one took. Clocks may have been set."""
        cost = min(max(scan_time.total_seconds(), 0.0), elapsed_seconds)
        paid_until = max(self._may_look_at, self._looked_at - CREDIT_SECONDS)
        self._may_look_at = paid_until + min(cost / SHARE_OF_TIME, LONGEST_PAUSE_SECONDS)

    def note(self, wakeup: Wakeup) -> None:
        """Set the marks back to the position in a wake-up; without one, have a look made."""
        queues = self._queues_of(wakeup)
        self._runs_dry = wakeup.lowest is None or not queues
        if wakeup.lowest is None:
            return
        if len(self._marks) + len(queues) > MOST_LANES:
            self._runs_dry = True
            return
        priority, run_at, job_id = wakeup.lowest
        for queue in queues:
            place = self._marks.get((queue, priority), (run_at, job_id))
            self._marks[queue, priority] = min(place, (run_at, job_id))

    def given_back(self, jobs: Iterable[ClaimedJob]) -> None:
        """Set the marks back to jobs that are ready again at their old positions."""
        for job in jobs:
            queue = job.queue if self._is_by_queue else None
            place = self._marks.get((queue, job.priority), (job.run_at, job.id))
            self._marks[queue, job.priority] = min(place, (job.run_at, job.id))

    def lanes(self) -> list[Lane]:
        """The lanes to claim from, each with its mark, the most urgent first."""
        lanes = [Lane(*key, *position) for key, position in self._marks.items()]
        return sorted(lanes, key=lambda lane: (lane.priority, lane.run_at, lane.id))

    def claimed(self, jobs: Sequence[ClaimedJob], limit: int) -> None:
        """Set the marks behind jobs that were claimed, which are in the order of the claim."""
        for job in jobs:
            queue = job.queue if self._is_by_queue else None
            self._marks[queue, job.priority] = (job.run_at, job.id)
        self._runs_dry = len(jobs) < limit

    def go_on(self, lanes: Sequence[Lane]) -> None:
        """Take the marks of these lanes, and forget those of all others."""
        self._marks = {(lane.queue, lane.priority): (lane.run_at, lane.id) for lane in lanes}

    def _queues_of(self, wakeup: Wakeup) -> Collection[str | None]:
        if not self._is_by_queue:
            return [None]
        told = wakeup.queues or frozenset()
        return told if self.queues is None else told.intersection(self.queues)


class LowWaterMarks:
    """The low-water marks of the workers that claim through one adapter.

    A process has few workers at a time. Of those that ended, the least recent are forgotten.

    Args:
        most: how many workers are remembered.
        new: makes the marks of a worker that has claimed nothing yet from certain queues.
    """

    def __init__(
        self,
        most: int = MOST_CLAIMANTS,
        new: Callable[[tuple[str, ...] | None], LowWater] = LowWater,
    ) -> None:
        self._most = most
        self._new = new
        self._renew_lock()
        renewed_in_children(self, LowWaterMarks._renew_lock)
        self._of: OrderedDict[tuple[str, tuple[str, ...] | None], LowWater] = OrderedDict()

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def of(self, worker_id: str, queues: tuple[str, ...] | None) -> LowWater:
        """The marks of a worker, in the queues that it claims from."""
        key = (worker_id, queues)
        with self._lock:
            low_water = self._of.get(key)
            if low_water is None:
                low_water = self._of[key] = self._new(queues)
                self._forget_too_many()
            self._of.move_to_end(key)
            return low_water

    def _forget_too_many(self) -> None:
        while len(self._of) > self._most:
            self._of.popitem(last=False)

    def clear(self) -> None:
        """Forget all workers."""
        with self._lock:
            self._of.clear()


def shares_of(lanes: Sequence[Lane], limit: int) -> list[int]:
    """The number of candidates to take from each lane: for each priority more than needed."""
    beside = Counter(lane.priority for lane in lanes)
    return [
        limit * 2 // beside[lane.priority] + (10 if beside[lane.priority] <= FEW_LANES else 1)
        for lane in lanes
    ]


def found_in(rows: Sequence[Sequence[Any]]) -> FoundLanes:
    """The lanes that a look found. Its first row has the time of its start, its last of its end."""
    begun, *found, ended = rows
    lanes = [lane_of(*row) for *row, may_run in found if may_run]
    return FoundLanes(lanes, ended[2] - begun[2], len(found))


def found_along(rows: Sequence[Sequence[Any]]) -> FoundLanes:
    """The lanes that a look along the ready jobs found, and where it was cut, if it was."""
    found = found_in(rows)
    beyond = [lane_of(*row) for *row, may_run in rows if may_run is False]
    return replace(found, beyond=beyond[0] if beyond else None)


def lane_of(queue: str | None, priority: int, run_at: datetime, job_id: int) -> Lane:
    return Lane(queue, priority, run_at.astimezone(UTC), job_id)


def moments_of(lanes: Sequence[Lane]) -> Sequence[datetime | str]:
    """The mark of each lane, for the database. A time that is read as `DAWN` may be before it."""
    if all(lane.run_at > DAWN for lane in lanes):
        return [lane.run_at for lane in lanes]
    return [LONG_AGO if lane.run_at <= DAWN else lane.run_at.isoformat() for lane in lanes]
