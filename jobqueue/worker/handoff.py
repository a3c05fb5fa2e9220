"""The handoff of jobs and outcomes between the threads of a worker.

The pump puts claimed jobs into it. Performers take them one by one, each into a slot, and leave
outcomes, which the pump takes all at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta

from jobqueue.clock import SYSTEM_TIMER, Timer
from jobqueue.records import ClaimedJob, Outcome, Released, record

WAKE_SECONDS = 0.25
NEVER_ENOUGH = -1
LITTLE_BYTES = 1024 * 1024


@record
class Taken:
    """A job that is being performed.

    Args:
        job: as it was claimed.
        slot: its place among those performed at the same time, from 0.
        since: when it was taken, by the handoff's timer.
    """

    job: ClaimedJob
    slot: int
    since: float


@record
class Spent:
    """A number of finished jobs, and the seconds for which they occupied slots."""

    jobs: int
    seconds: float


NOTHING_SPENT = Spent(0, 0.0)


@record
class Arrived:
    """A batch of jobs: when it came, the jobs put in until then, the size of its arguments."""

    at: float
    by_then: int
    args_bytes: int


def size_of(jobs: Collection[ClaimedJob]) -> int:
    """The size of arguments and meta, in bytes of UTF-8; in characters, where it is little."""
    characters = sum(len(job.args) for job in jobs)
    metas = [job.meta for job in jobs if job.meta is not None]
    if metas:
        characters += sum(map(len, metas))
    if characters < LITTLE_BYTES:
        return characters
    return sum(_bytes_in(job.args) for job in jobs) + sum(map(_bytes_in, metas))


def _bytes_in(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


class Handoff:
    """The exchange of a worker's threads: claimed jobs go one way, outcomes come back.

    A job that has crashed before is performed alone: it is not taken before all others are
    finished and settled, and no other is taken before it is. So the next crash shows whose fault
    it is, and no finished job is performed again because of it.

    Args:
        slots: how many jobs can be performed at a time.
        timer: what time is measured with, and waited with; for tests.
    """

    def __init__(self, slots: int = 1, timer: Timer = SYSTEM_TIMER) -> None:
        # Reentrant, since a signal handler may call `close` on the thread that holds the lock.
        self._lock = threading.RLock()
        self._job_may_start = threading.Condition(self._lock)
        self._pump_may_go_on = threading.Condition(self._lock)
        self._waiting: deque[ClaimedJob] = deque()
        self._outcomes: list[Outcome] = []
        self._being_settled = 0
        self._performing: dict[int, Taken] = {}
        self._free = list(reversed(range(slots)))
        self._loners = 0
        self._enough = NEVER_ENOUGH
        self._closed = False
        self._woken = False
        self._arrived: deque[Arrived] = deque()
        self._brought = 0
        self._never_performed = 0
        self._spent_seconds = 0.0
        self._spent = NOTHING_SPENT
        self._now, self._wait = timer.now, timer.wait
        self.slots = slots

    # --- for performers ---------------------------------------------------------------------------

    def take(self) -> Taken | None:
        """The next job, waiting for one and for a slot; None when there will be no more."""
        with self._lock:
            while not self._closed and not self._can_take():
                # Not for ever: a signal may have gone to another thread. Its handler runs when the
                # main thread, which this one may be, wakes up next.
                self._wait(self._job_may_start, WAKE_SECONDS)
            return None if self._closed else self._take()

    def finish_and_take(self, taken: Taken, outcome: Outcome) -> Taken | None:
        """Leave an outcome like `finish`, and return the next job, if one can start at once."""
        with self._lock:
            if self._can_follow(taken):
                return self._follow(taken, outcome)
            self.finish(taken, outcome)
            return self._take() if not self._closed and self._can_take() else None

    def _can_follow(self, taken: Taken) -> bool:
        """Whether the next job can simply take the slot of one that ends.

        Not when a job has to be performed alone, or jobs were abandoned, or the handoff is closed.
        """
        waiting = self._waiting
        return (
            bool(waiting)
            and not waiting[0].crashes
            and not self._loners
            and not self._closed
            and self._performing.get(taken.slot) is taken
        )

    def _follow(self, taken: Taken, outcome: Outcome) -> Taken:
        slot, waiting = taken.slot, self._waiting
        self._outcomes.append(outcome)
        now = self._now()
        self._spent_seconds += now - taken.since
        following = Taken(waiting.popleft(), slot, now)
        # Removed first, so that those performed the longest come first.
        del self._performing[slot]
        self._performing[slot] = following
        if len(waiting) <= self._enough:
            self._enough = NEVER_ENOUGH
            self._pump_may_go_on.notify()
        return following

    def _take(self) -> Taken:
        taken = Taken(self._waiting.popleft(), self._free.pop(), self._now())
        self._performing[taken.slot] = taken
        self._loners += taken.job.crashes > 0
        return taken

    def finish(self, taken: Taken, outcome: Outcome) -> None:
        """Leave the outcome of a job that was taken. It is ignored if the job was abandoned."""
        with self._lock:
            if self._performing.get(taken.slot) is not taken:
                return
            del self._performing[taken.slot]
            self._loners -= taken.job.crashes > 0
            self._free.append(taken.slot)
            self._outcomes.append(outcome)
            self._spent_seconds += self._now() - taken.since
            if self.slots > 1:
                self._job_may_start.notify()
            if len(self._waiting) <= self._enough:
                self._enough = NEVER_ENOUGH
                self._pump_may_go_on.notify()

    def wait_until_finished(self, timeout_seconds: float) -> bool:
        """Wait for a change while jobs are being performed; return whether none is any more."""
        with self._lock:
            if self._performing:
                self._wait(self._job_may_start, timeout_seconds)
            return not self._performing

    def abandon(self) -> None:
        """Give back all jobs that are being performed. Their own outcomes are ignored then."""
        with self._lock:
            now = self._now()
            for taken in list(self._performing.values()):
                run_time = timedelta(seconds=now - taken.since)
                self.finish(taken, Released(taken.job, run_time))

    def _can_take(self) -> bool:
        if not self._waiting or not self._free or self._loners:
            return False
        if self._waiting[0].crashes:
            return not (self._performing or self._outcomes or self._being_settled)
        return True

    # --- for the pump ----------------------------------------------------------------------------

    def put(self, jobs: Sequence[ClaimedJob], args_bytes: int = 0) -> None:
        """Put claimed jobs in, in the order in which they are to be performed.

        `args_bytes` is what `size_of` says of them, for `waiting_bytes`.
        """
        with self._lock:
            self._waiting.extend(jobs)
            self._brought += len(jobs)
            self._arrived.append(Arrived(self._now(), self._brought, args_bytes))
            self._job_may_start.notify()

    def take_outcomes(self) -> list[Outcome]:
        """All outcomes that have piled up."""
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
            self._spent = Spent(
                self._spent.jobs + len(outcomes) - self._never_performed,
                self._spent.seconds + self._spent_seconds,
            )
            self._never_performed, self._spent_seconds = 0, 0.0
            self._being_settled += len(outcomes)
            return outcomes

    def note_settled(self, outcomes: int) -> None:
        """Note that so many of the outcomes that were taken are settled and reported."""
        with self._lock:
            self._being_settled -= outcomes
            if not self._being_settled and self._can_take():
                self._job_may_start.notify()

    def take_spent(self) -> Spent:
        """The time spent on jobs whose outcomes `take_outcomes` has taken since the last call."""
        with self._lock:
            spent, self._spent = self._spent, NOTHING_SPENT
            return spent

    def add_outcome(self, outcome: Outcome) -> None:
        """Leave the outcome of a job that was never performed."""
        with self._lock:
            self._outcomes.append(outcome)
            self._never_performed += 1

    def take_back(self, but: int = 0) -> list[ClaimedJob]:
        """Remove and return the jobs that have not been taken, except the next `but` of them."""
        with self._lock:
            jobs = list(self._waiting)
            self._waiting = deque(jobs[:but])
            self._brought -= len(jobs[but:])
            left = self._brought
            self._arrived = deque(replace(a, by_then=min(a.by_then, left)) for a in self._arrived)
            return jobs[but:]

    def wait_while_busy(self, enough: int, timeout_seconds: float) -> None:
        """Wait until no more than `enough` jobs are waiting, or the time is up.

        Return at once when so many outcomes have piled up that a turn is worth it.
        """
        with self._lock:
            is_worth_it = len(self._outcomes) * 2 >= enough
            if len(self._waiting) > enough and not is_worth_it and not self._closed:
                self._wait_as_pump(enough, timeout_seconds)

    def wait_for_outcome(self, timeout_seconds: float) -> None:
        """Wait for an outcome, a `wake` or a `close`, until the time is up."""
        with self._lock:
            if not self._outcomes and not self._closed and not self._woken:
                self._wait_as_pump(len(self._waiting), timeout_seconds)
            self._woken = False

    def wait_until_performed(self) -> None:
        """Wait until there is an outcome, or nothing is being performed."""
        with self._lock:
            while self._performing and not self._outcomes:
                self._wait_as_pump(len(self._waiting), None)

    def _wait_as_pump(self, enough: int, timeout_seconds: float | None) -> None:
        """Wait for a `finish` that leaves no more than `enough` jobs waiting."""
        self._enough = enough
        self._wait(self._pump_may_go_on, timeout_seconds)
        self._enough = NEVER_ENOUGH

    def wake(self) -> None:
        """Wake the pump: there may be jobs to claim. From any thread."""
        with self._lock:
            self._woken = True
            self._pump_may_go_on.notify()

    def is_empty(self) -> bool:
        """Whether no job is in here: waiting, being performed or to be settled."""
        with self._lock:
            return not (self._waiting or self._performing or self._outcomes)

    def close(self) -> None:
        """Close the handoff, so that no more jobs are taken. Those being performed go on."""
        with self._lock:
            self._closed = True
            self._job_may_start.notify_all()
            self._pump_may_go_on.notify_all()

    @property
    def held(self) -> int:
        """How many jobs are waiting or being performed."""
        with self._lock:
            return len(self._waiting) + len(self._performing)

    @property
    def free_slots(self) -> int:
        """How many slots have no job in them and none waiting for them."""
        with self._lock:
            return 0 if self.has_loner else max(0, len(self._free) - len(self._waiting))

    @property
    def has_loner(self) -> bool:
        """Whether a job is in here that has to be performed alone."""
        with self._lock:
            return bool(self._loners) or any(job.crashes for job in self._waiting)

    @property
    def kept_free_for(self) -> ClaimedJob | None:
        """The next job, if slots are kept free because it has to be performed alone; else None."""
        with self._lock:
            is_alone = self._waiting and self._free and self._waiting[0].crashes
            return self._waiting[0] if is_alone else None

    def performing_longer_than(self, seconds: float) -> int:
        """The number of jobs that have been performed for longer than `seconds`."""
        with self._lock:
            before = self._now() - seconds
            return sum(taken.since < before for taken in self._performing.values())

    @property
    def waiting(self) -> int:
        """How many jobs have not been taken."""
        with self._lock:
            return len(self._waiting)

    @property
    def waiting_since(self) -> float | None:
        """When the first job that has not been taken came; None if there is none."""
        with self._lock:
            self._forget_what_was_taken()
            return self._arrived[0].at if self._waiting else None

    @property
    def waiting_bytes(self) -> int:
        """The size of the arguments of jobs that have not been taken; where it is little, roughly.

        Nobody counts when a job is taken: a batch counts as long as any of it waits.
        """
        with self._lock:
            self._forget_what_was_taken()
            at_most = sum(batch.args_bytes for batch in self._arrived)
            return at_most if at_most < LITTLE_BYTES else size_of(self._waiting)

    def _forget_what_was_taken(self) -> None:
        taken = self._brought - len(self._waiting)
        while self._arrived and self._arrived[0].by_then <= taken:
            self._arrived.popleft()

    @property
    def stuck_since(self) -> float | None:
        """The time since which all slots that jobs wait for are taken; None if no job has to wait.

        It is in seconds of the handoff's timer.
        """
        with self._lock:
            if not self._waiting or self._can_take():
                return None
            # The one that was taken last; none where only outcomes have to be settled.
            last = next(reversed(self._performing.values()), None)
            return None if last is None else last.since

    def held_claims(self) -> set[tuple[int, int]]:
        """The (id, token) of every job in here, in whichever stage."""
        with self._lock:
            jobs = [*self._waiting, *(outcome.job for outcome in self._outcomes)]
            jobs += [taken.job for taken in self._performing.values()]
            return {(job.id, job.token) for job in jobs}

    # --- for both --------------------------------------------------------------------------------

    def performing(self) -> list[ClaimedJob]:
        """The jobs that are being performed, the longest first."""
        with self._lock:
            return [taken.job for taken in self._performing.values()]

    def taken(self) -> list[Taken]:
        """The jobs that are being performed, with their slots."""
        with self._lock:
            return list(self._performing.values())

    def is_performing(self, taken: Taken) -> bool:
        """Whether a job that was taken is still being performed."""
        with self._lock:
            return self._performing.get(taken.slot) is taken

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed
