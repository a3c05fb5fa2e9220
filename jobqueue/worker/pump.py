"""The one thread of a worker that talks to the database about jobs.

Each turn settles every outcome that has piled up and claims as many jobs as there is room for;
the next begins when it returns. Under load the batches grow by themselves; when there is little
to do, a job costs one short turn. There is nothing to tune.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Event, RLock
from typing import Any

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.adapters.settlement import may_be_cancelled, was_called_off
from jobqueue.clock import SYSTEM_TIMER, Timer, reconnect_pauses
from jobqueue.errors import DatabaseUnavailable, TransactionOpen
from jobqueue.perform.executor import delay_before_return
from jobqueue.records import (
    LOOK_ANYWHERE,
    Cancelled,
    Claim,
    ClaimedJob,
    Committed,
    Discarded,
    Failed,
    JobFilter,
    JobRecord,
    JobState,
    Outcome,
    Released,
    Succeeded,
    Turn,
    Wakeup,
)
from jobqueue.unknown_handlers import UnknownHandlers
from jobqueue.worker.handoff import Handoff
from jobqueue.worker.prefetch import AHEAD_SECONDS, Prefetch
from jobqueue.worker.reporter import Reporter

# How long a job is held unstarted, and how long one takes that others do not wait for.
SLOW_JOB_SECONDS = 0.5
LONGEST_DRAIN_SECONDS = 5.0
LAST_SETTLE_SECONDS = 10.0
GATHER_SECONDS = 0.02
LONGEST_WITHOUT_FREE_SLOT_SECONDS = 1.0
MANY = 100
AT_ONCE, NEVER = float("-inf"), float("inf")


@dataclass(frozen=True, slots=True)
class Passed:
    """What a turn settled and claimed."""

    outcomes: Sequence[Outcome]
    turn: Turn


NOTHING_TO_PASS_ON = Passed((), Turn((), ()))


@dataclass(slots=True)
class Pump:
    """Carries jobs from the database to a `Handoff`, and outcomes back.

    Args:
        adapter: where the jobs are.
        handoff: where they are taken to be performed.
        worker_id: who claims.
        queues: from which queues; None for all.
        poll_interval: how long to wait when nothing was due.
        until_idle: stop when nothing is due any more.
        max_jobs: stop when so many have been performed; None for no limit.
        lease: how often to look for jobs that were claimed in this worker's name and never reached
            it: a claim was stored, its answer lost.
        logger: for what concerns the worker.
        reporter: logs and counts what was settled.
        on_stopping: is called when no more jobs are to be taken.
        limited: a claimed job with the limits of this worker; None when it has none of its own.
        timer: what time is measured with, the handoff's; for tests.
        unknown_handlers: the handlers to pass over.
    """

    adapter: Adapter
    handoff: Handoff
    worker_id: str
    queues: tuple[str, ...] | None
    poll_interval: timedelta
    until_idle: bool
    max_jobs: int | None
    lease: timedelta
    logger: logging.Logger
    reporter: Reporter
    on_stopping: Callable[[], None] = lambda: None
    limited: Callable[[ClaimedJob], ClaimedJob] | None = None
    timer: Timer = SYSTEM_TIMER
    unknown_handlers: UnknownHandlers | None = None
    _resting: bool = False
    _prefetch: Prefetch = field(default_factory=Prefetch)
    _last: Passed = NOTHING_TO_PASS_ON
    _hold: int = 0
    # Reentrant, since a signal handler may call `rest` on a thread that holds it.
    _lock: Any = field(default_factory=RLock)
    _heard: Wakeup | None = None
    _look_at: float = AT_ONCE
    _slot_was_free_at: float = field(init=False)
    _hurry: Event = field(default_factory=Event)
    _strays_released_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._slot_was_free_at = self._strays_released_at = self.timer.now()

    def run(self) -> None:
        """Turn until the handoff is closed; then give back what was not started, settle the rest.

        Raises:
            DatabaseError: of a kind that waiting does not mend.
        """
        try:
            while not self.handoff.closed:
                self._turn_once()
        finally:
            self.handoff.close()
            self.on_stopping()
            self._pass_on()
        self._return_unstarted()
        while not self.handoff.is_empty():
            outcomes = self.handoff.take_outcomes()
            if outcomes:
                self.reporter.tell(outcomes, self._insist(outcomes, None))
            else:
                self.handoff.wait_until_performed()

    def stop_insisting(self) -> None:
        """Do not wait for a database that does not answer."""
        self._hurry.set()

    def wake(self, wakeup: Wakeup = LOOK_ANYWHERE) -> None:
        """Look for jobs now, if nothing is being done. May be called from any thread."""
        with self._lock:
            self._heard = wakeup if self._heard is None else self._heard.merged(wakeup)
        self.handoff.wake()

    @property
    def is_resting(self) -> bool:
        """Whether it was told to claim nothing for now."""
        return self._resting

    def rest(self, resting: bool) -> None:
        """Claim nothing, and hold nothing that is not started, until told otherwise.

        May be called from a signal handler, and from any thread.
        """
        self._resting = resting
        self.wake()

    def _turn_once(self) -> None:
        self._return_what_has_to_go_back()
        self._release_strays_once_a_lease()
        self.handoff.wait_while_busy(self._hold // 2, GATHER_SECONDS)
        outcomes = self.handoff.take_outcomes()
        claim = self._next_claim() if outcomes or self._is_time_to_look() else None
        if not outcomes and claim is None:
            self._pass_on()
            self._wait_for_the_next_thing()
            return
        turn = self._insist(outcomes, claim)
        self._pass_on()
        self._last = Passed(outcomes, turn)
        self._prefetch.note_spent(self.handoff.take_spent())
        self._prefetch.note_claimed(turn.claimed)
        if not self._can_wait_for_the_next(self._last):
            self._pass_on()
        if self.max_jobs is not None and self.reporter.tally.performed >= self.max_jobs:
            self.handoff.close()
        elif outcomes or turn.claimed:
            self._look_at = AT_ONCE
        else:
            self._note_that_nothing_is_due(turn.look_again_in)

    # --- waiting ---------------------------------------------------------------------------------

    def _wait_for_the_next_thing(self) -> None:
        """Until there is an outcome or somebody calls, or something is due by itself."""
        seconds = max(self._next_thing_due() - self.timer.now(), 0.0)
        self.handoff.wait_for_outcome(seconds)

    def _next_thing_due(self) -> float:
        """When something has to be done next that nobody will call for, as things are.

        What else there is begins with an outcome: a slot that becomes free, also for a job with a
        single attempt; room for others; the end of the jobs that one waits for which is to be
        performed alone.
        """
        return min(self._look_at, self._strays_due_at(), self._return_due_at())

    def _is_time_to_look(self) -> bool:
        return self._heard is not None or self.timer.now() >= self._look_at

    def _note_that_nothing_is_due(self, look_again_in: timedelta | None) -> None:
        if self.until_idle and self.handoff.is_empty() and not self._something_is_due():
            self.handoff.close()
            return
        pause = self.poll_interval * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load
        if look_again_in is not None:
            pause = min(pause, look_again_in)
        self._look_at = self.timer.now() + pause.total_seconds()

    # --- passing on ------------------------------------------------------------------------------

    def _can_wait_for_the_next(self, last: Passed) -> bool:
        """Whether what a turn brought is passed on when the next one is on its way.

        The interpreter does one thing at a time: so the database does not wait for a thousand jobs
        to be performed and told of, and these are while it works. Nobody else's hooks and log
        handlers are called then, since they may wait for the very rows that the turn has locked.
        And a job that has crashed is seen by the next claim, which has to leave it alone.
        """
        claimed = last.turn.claimed
        if len(claimed) < MANY or self.max_jobs is not None:
            return False
        handlers = {job.handler for job in claimed} | {o.job.handler for o in last.outcomes}
        has_loner = any(job.crashes for job in claimed)
        return not has_loner and not self.reporter.calls_others(handlers)

    def _pass_on(self) -> None:
        """Tell what the last turn settled and hand over what it claimed, if that is still to do."""
        last, self._last = self._last, NOTHING_TO_PASS_ON
        # Told before the next job begins, which may kill the process and the news with it.
        self.reporter.tell(last.outcomes, last.turn)
        self.reporter.tell_claimed(last.turn.claimed)
        claimed = last.turn.claimed
        if claimed:
            self.handoff.put([self.limited(job) for job in claimed] if self.limited else claimed)

    # --- claiming --------------------------------------------------------------------------------

    def _next_claim(self) -> Claim | None:
        coming = len(self._last.turn.claimed)
        free_slots = max(0, self.handoff.free_slots - coming)
        room = self._room() - coming
        if room <= 0 or self._wants_a_free_slot(free_slots) or self.handoff.closed:
            # There is room again with an outcome, and is none before.
            self._look_at = NEVER
            return None
        return Claim(
            worker_id=self.worker_id,
            token=_new_token(),
            limit=room,
            free_slots=free_slots,
            queues=self.queues,
            heard=self._take_heard(),
            passing_over=self.unknown_handlers.to_pass_over()
            if self.unknown_handlers is not None
            else (),
        )

    def _wants_a_free_slot(self, free_slots: int) -> bool:
        """Whether what is held is to run out first, since no slot has been free for long.

        A job with a single attempt is claimed for a free slot only; one that a stream of others
        always has something waiting for would keep it out for ever.
        """
        now = self.timer.now()
        if not free_slots:
            return now - self._slot_was_free_at > LONGEST_WITHOUT_FREE_SLOT_SECONDS
        if now - self._slot_was_free_at > LONGEST_WITHOUT_FREE_SLOT_SECONDS:
            self.wake(LOOK_ANYWHERE)
        self._slot_was_free_at = now
        return False

    def _take_heard(self) -> Wakeup | None:
        with self._lock:
            heard, self._heard = self._heard, None
            return heard

    def _room(self) -> int:
        """How many jobs to claim. Nothing is held ahead for the slots of slow jobs."""
        if self._resting or self.handoff.has_loner:
            return 0
        slow = self.handoff.performing_longer_than(AHEAD_SECONDS)
        self._hold = self._prefetch.jobs_to_hold(self.handoff.slots - slow)
        return slow + self._hold - self.handoff.held

    def _something_is_due(self) -> bool:
        """Whether a claim came back empty only since others were locking what it looked at."""
        paused = self.adapter.paused_queues()
        wanted = None if self.queues is None else tuple(q for q in self.queues if q not in paused)
        due = JobFilter(states=(JobState.READY,), queues=wanted, due=True)
        return any(job.queue not in paused for job in self.adapter.list_jobs(due, 100))

    # --- giving back -----------------------------------------------------------------------------

    def _return_what_has_to_go_back(self) -> None:
        """Others can have it at once, except a job to be performed alone.

        For that one the running jobs are given some time to end, in which nothing else starts. If
        it takes longer, it is put off so that the free slots are of use meanwhile.
        """
        if self.timer.now() < self._return_due_at():
            return
        self._pass_on()
        if self._resting or not self.handoff.first_is_alone:
            self._return_unstarted()
        elif self.handoff.waiting > 1:
            self._return_unstarted(but=1)
        else:
            for loner in self.handoff.take_back():
                self.handoff.add_outcome(Released(loner, delay=delay_before_return(loner)))

    def _return_due_at(self) -> float:
        """When some of what waits to be performed is to go back, if nothing happens until then.

        It is when the jobs in front of it have all turned out to be slow; and when it has waited
        for as long by itself, with one job after the other that is not quite as slow, or with more
        of them than was to be expected.
        """
        handoff = self.handoff
        since, stuck_since = handoff.waiting_since, handoff.stuck_since
        if since is None:
            return NEVER
        if self._resting:
            return AT_ONCE
        if handoff.first_is_alone and handoff.waiting == 1:
            return NEVER if stuck_since is None else stuck_since + LONGEST_DRAIN_SECONDS
        return min(since, since if stuck_since is None else stuck_since) + SLOW_JOB_SECONDS

    def _return_unstarted(self, but: int = 0) -> None:
        for job in self.handoff.take_back(but):
            self.handoff.add_outcome(Released(job))

    def _strays_due_at(self) -> float:
        return self._strays_released_at + self.lease.total_seconds()

    def _release_strays_once_a_lease(self) -> None:
        """Between turns, when no claim is under way whose jobs would look like strays."""
        if self.timer.now() < self._strays_due_at():
            return
        # The next turn says it when the database is away, and looks for strays when it is back.
        self._pass_on()
        with suppress(DatabaseUnavailable):
            self._release_strays()

    def _release_strays(self) -> None:
        self._strays_released_at = self.timer.now()
        freed = self.adapter.release_strays(self.worker_id, self.handoff.held_claims())
        if freed:
            number = len(freed.released) + len(freed.ended)
            log.strays_released(self.logger, self.worker_id, number)
            self.reporter.tell_freed(freed)

    # --- when the database goes away -------------------------------------------------------------

    def _insist(self, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
        """One turn, however long the database takes to come back."""
        try:
            return self._turn(outcomes, claim)
        except DatabaseUnavailable as error:
            self._pass_on()
            log.database_lost(self.logger, self.worker_id, error)
            lost_at, last_error = self.timer.now(), error
        for pause in reconnect_pauses():
            if self._hurry.wait(pause) or self._has_to_end(lost_at):
                raise last_error
            try:
                turn = self._resume(outcomes, claim)
            except DatabaseUnavailable as error:
                last_error = error
                continue
            log.database_back(self.logger, self.worker_id, self.timer.now() - lost_at)
            return turn
        raise AssertionError("the pauses never end")

    def _turn(self, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
        """One turn, but for what jobs have settled in their own transactions."""
        unsettled = [outcome for outcome in outcomes if type(outcome) is not Committed]
        if not unsettled and claim is None:
            return Turn((), ())
        while True:
            meanwhile = None if self._last is NOTHING_TO_PASS_ON else self._pass_on
            try:
                return self.adapter.turn(unsettled, claim, meanwhile)
            except TransactionOpen:
                if self._hurry.is_set():
                    raise

    def _has_to_end(self, lost_at: float) -> bool:
        return self.handoff.closed and self.timer.now() - lost_at > LAST_SETTLE_SECONDS

    def _resume(self, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
        """The turn once more, minding that the lost answer may have been to one that was made."""
        settled = self._turn(outcomes, None)
        rejected, cancelled = list[Outcome](), list(settled.cancelled)
        for outcome in settled.rejected:
            record = self.adapter.get(outcome.job.id)
            if not _was_settled(outcome, record):
                rejected.append(outcome)
            elif record is not None and _is_called_off(outcome, record):
                cancelled.append(Cancelled(outcome.job, reason=record.last_error or ""))
        self._release_strays()
        if claim is not None:
            # A token stands for one claim: jobs of the lost answer may still carry the first one.
            claim = replace(claim, token=_new_token())
        turn = self._turn((), claim)
        return replace(turn, rejected=tuple(rejected), cancelled=tuple(cancelled))


def _new_token() -> int:
    return secrets.randbits(63)


def _was_settled(outcome: Outcome, record: JobRecord | None) -> bool:
    """Whether a rejected outcome had been stored all along, by a turn whose answer was lost."""
    if record is None:
        return isinstance(outcome, Succeeded | Failed | Discarded) and not outcome.keep
    if record.locked_by is not None:
        return False
    return record.state is _state_after(outcome) or _is_called_off(outcome, record)


def _is_called_off(outcome: Outcome, record: JobRecord) -> bool:
    return may_be_cancelled(outcome) and was_called_off(record)


def _state_after(outcome: Outcome) -> JobState:
    match outcome:
        case Succeeded():
            return JobState.SUCCEEDED
        case Failed():
            return JobState.FAILED
        case Discarded():
            return JobState.CANCELLED
        case _:
            return JobState.READY
