"""The one thread of a worker that settles outcomes and claims jobs.

Each turn settles all outcomes that have piled up, and claims as many jobs as there is room for. The
next turn begins when it returns. So batches grow by themselves under load, and when there is little
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
from itertools import filterfalse, takewhile
from threading import Event, RLock
from typing import Any, Protocol

from jobqueue import log
from jobqueue.adapters.roles.control import ControlRole
from jobqueue.adapters.roles.leases import LeasesRole
from jobqueue.adapters.roles.path import PathRole
from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.clock import SYSTEM_TIMER, Timer, reconnect_pauses
from jobqueue.errors import DatabaseError, DatabaseRefused, DatabaseUnavailable, TransactionOpen
from jobqueue.perform.foreign_jobs import delay_before_return
from jobqueue.records import (
    LOOK_ANYWHERE,
    Claim,
    ClaimedJob,
    Committed,
    JobFilter,
    JobState,
    Outcome,
    Released,
    Turn,
    Wakeup,
)
from jobqueue.unknown_handlers import UnknownHandlers
from jobqueue.worker.drains import Drains
from jobqueue.worker.handoff import Handoff, size_of
from jobqueue.worker.locked_outcomes import LockedOutcomes
from jobqueue.worker.lost_answer import without_settled_before
from jobqueue.worker.own_process import OwnProcess, suspects_among
from jobqueue.worker.prefetch import AHEAD_SECONDS, Prefetch
from jobqueue.worker.reporter import Reporter

# How long a job is held unstarted at most. Others do not wait for a job that takes longer.
SLOW_JOB_SECONDS = 0.5
LAST_SETTLE_SECONDS = 10.0
GATHER_SECONDS = 0.02
LONGEST_WITHOUT_FREE_SLOT_SECONDS = 1.0
MANY = 100
AT_ONCE, NEVER = float("-inf"), float("inf")
REFUSED_PAUSE = timedelta(seconds=1)
RARELY = timedelta(minutes=5)
"""How often a worker polls while somebody wakes it who polls for it."""


@dataclass(frozen=True, slots=True)
class DoneTurn:
    """A turn, the outcomes that it settled, and the size of the arguments that it brought."""

    outcomes: Sequence[Outcome]
    turn: Turn
    args_bytes: int = 0


NOTHING_TO_PASS_ON = DoneTurn((), Turn((), ()))


class PumpRoles(PathRole, LeasesRole, ControlRole, ReadsRole, Protocol):
    """The roles of an adapter that a pump needs."""


@dataclass(slots=True)
class Pump:
    """A pump, which carries jobs from the database to a `Handoff`, and outcomes back.

    Args:
        adapter: where the jobs are.
        handoff: from where they are taken to be performed.
        worker_id: the worker that claims.
        queues: from which queues; None for all.
        poll_interval: how long to wait when no job was due.
        until_idle: stop when nothing is due any more.
        max_jobs: stop when so many have been performed; None for no limit.
        lease: how often to release strays: jobs that were claimed for this worker and never
            reached it, since the answer to the claim was lost.
        logger: for what concerns the worker.
        reporter: logs and counts what was settled.
        on_stopping: is called when no more jobs are to be taken.
        limited: applies the limits of this worker to a claimed job; None when it has none.
        timer: measures time, as the handoff's does; for tests.
        unknown_handlers: the handlers to pass over.
        own_process: the process, where it is the worker's own.
    """

    adapter: PumpRoles
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
    own_process: OwnProcess | None = None
    _resting: bool = False
    _prefetch: Prefetch = field(default_factory=Prefetch)
    _drains: Drains = field(default_factory=Drains)
    _locked: LockedOutcomes = field(default_factory=LockedOutcomes)
    _last: DoneTurn = NOTHING_TO_PASS_ON
    _hold: int = 0
    # Reentrant, since a signal handler may call `rest` on a thread that holds it.
    _lock: Any = field(default_factory=RLock)
    _heard: Wakeup | None = None
    _look_at: float = AT_ONCE
    _look_rarely_at: float = AT_ONCE
    _relied_until: float = AT_ONCE
    _slot_was_free_at: float = field(init=False)
    _gives_up: Event = field(default_factory=Event)
    _strays_released_at: float = field(init=False)
    _is_refused: bool = False

    def __post_init__(self) -> None:
        self._slot_was_free_at = self._strays_released_at = self.timer.now()

    def run(self) -> None:
        """Make turns until the handoff is closed. Then give back unstarted jobs, settle others.

        Raises:
            DatabaseError: one that waiting does not mend.
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
                self._end_if_broken(outcomes)
                self.reporter.report(outcomes, self._insist(outcomes, None))
            else:
                self.handoff.wait_until_performed()
        self._settle_locked_at_last()

    def give_up_waiting(self) -> None:
        """Wait no longer for a database that does not answer."""
        self._gives_up.set()

    def wake(self, wakeup: Wakeup = LOOK_ANYWHERE) -> None:
        """Claim now, or after the turn under way. May be called from any thread."""
        self._note_wakeup(wakeup)
        self.handoff.wake()

    def rely_on_wakeups(self, seconds: float) -> None:
        """Poll only rarely for so many seconds, since the supervisor wakes it. From any thread."""
        self._relied_until = self.timer.now() + seconds

    @property
    def is_resting(self) -> bool:
        """Whether the worker was told to claim nothing for now."""
        return self._resting

    def rest(self, resting: bool) -> None:
        """Claim nothing, and give back unstarted jobs, until told otherwise.

        May be called from a signal handler, and from any thread.
        """
        self._resting = resting
        self.wake()

    def _turn_once(self) -> None:
        self._return_what_has_to_go_back()
        self._release_strays_once_a_lease()
        self._settle_locked_if_time()
        self.handoff.wait_while_busy(self._hold // 2, GATHER_SECONDS)
        outcomes = self.handoff.take_outcomes()
        self._end_if_broken(outcomes)
        claim = self._next_claim() if outcomes or self._is_time_to_look() else None
        if not outcomes and claim is None:
            self._pass_on()
            self._wait_for_the_next_thing()
            return
        turn = self._insist(outcomes, claim)
        self._pass_on()
        self._last = DoneTurn(outcomes, turn, size_of(turn.claimed))
        self._prefetch.note_spent(self.handoff.take_spent())
        self._prefetch.note_claimed(len(turn.claimed), self._last.args_bytes)
        if not self._can_wait_for_the_next(self._last):
            self._pass_on()
        if self._has_performed_enough():
            self.handoff.close()
        elif outcomes or turn.claimed or turn.set_aside:
            self._look_at = self._look_rarely_at = AT_ONCE
        else:
            self._note_that_nothing_is_due(turn.look_again_in)

    def _has_performed_enough(self) -> bool:
        return self.max_jobs is not None and self.reporter.tally.performed >= self.max_jobs

    # --- waiting ---------------------------------------------------------------------------------

    def _wait_for_the_next_thing(self) -> None:
        """Wait until there is an outcome, the pump is woken, or something is due."""
        seconds = max(self._next_thing_due() - self.timer.now(), 0.0)
        self.handoff.wait_for_outcome(seconds)

    def _next_thing_due(self) -> float:
        """The time when the pump has to do something next without being woken.

        All else begins with an outcome: a free slot, also for a job with a single attempt; room for
        other jobs; the end of the jobs for which a job that is performed alone waits.
        """
        held = min(self._strays_due_at(), self._return_due_at(), self._locked.due_at)
        return min(self._look_due_at(), held)

    def _look_due_at(self) -> float:
        """The time to look for jobs, put off only while a listener would wake the pump."""
        return max(self._look_at, min(self._relied_until, self._look_rarely_at))

    def _is_time_to_look(self) -> bool:
        return self._heard is not None or self.timer.now() >= self._look_due_at()

    def _note_that_nothing_is_due(self, look_again_in: timedelta | None) -> None:
        is_empty = self.handoff.is_empty() and not self._locked
        if self.until_idle and is_empty and not self._something_is_due():
            self.handoff.close()
            return
        self._look_at = self._after(self.poll_interval, look_again_in)
        self._look_rarely_at = self._after(max(self.poll_interval, RARELY), look_again_in)

    def _after(self, interval: timedelta, look_again_in: timedelta | None) -> float:
        pause = interval * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load
        if look_again_in is not None:
            pause = min(pause, look_again_in)
        return self.timer.now() + pause.total_seconds()

    # --- passing on ------------------------------------------------------------------------------

    def _can_wait_for_the_next(self, last: DoneTurn) -> bool:
        """Whether the results of a turn may be passed on while the next turn is under way.

        The interpreter does one thing at a time. So a thousand jobs are handed over and reported
        while the database works, and it does not wait for that. Hooks and log handlers of the
        application are not called then, since they may wait for rows that the turn has locked.
        And the next claim has to see a job that has crashed before, to leave it alone.
        """
        claimed = last.turn.claimed
        if len(claimed) < MANY or self.max_jobs is not None:
            return False
        handlers = {job.handler for job in claimed} | {o.job.handler for o in last.outcomes}
        has_loner = any(job.crashes for job in claimed)
        return not has_loner and not self.reporter.calls_others(handlers)

    def _pass_on(self) -> None:
        """Report what the last turn settled, and hand over what it claimed, if not yet done."""
        last, self._last = self._last, NOTHING_TO_PASS_ON
        # Reported before the next job begins, which may kill the process.
        self.reporter.report(last.outcomes, last.turn)
        self.handoff.note_settled(len(last.outcomes))
        self.reporter.report_claimed(last.turn.claimed)
        claimed: Sequence[ClaimedJob] = last.turn.claimed
        if not self._drains.may_begin(self.timer.now()):
            claimed = self._without_loners(claimed)
        if claimed:
            jobs = [self.limited(job) for job in claimed] if self.limited else claimed
            self.handoff.put(jobs, last.args_bytes)

    def _without_loners(self, claimed: Sequence[ClaimedJob]) -> Sequence[ClaimedJob]:
        """Put off jobs that have to be performed alone, but those that nobody has to wait for."""
        at_once = [] if self.handoff.held else list(takewhile(_is_loner, claimed))
        others = claimed[len(at_once) :]
        for loner in filter(_is_loner, others):
            self._put_off(loner, self.timer.now())
        return [*at_once, *filterfalse(_is_loner, others)]

    # --- claiming --------------------------------------------------------------------------------

    def _next_claim(self) -> Claim | None:
        coming = len(self._last.turn.claimed)
        free_slots = max(0, self.handoff.free_slots - coming)
        room = self._room() - coming
        held_bytes = self.handoff.waiting_bytes + self._last.args_bytes
        most_bytes = self._prefetch.bytes_to_claim(held_bytes)
        if not most_bytes:
            room = min(room, free_slots)
        if room <= 0 or self._wants_a_free_slot(free_slots) or self.handoff.closed:
            # There is no room before the next outcome.
            self._look_at = NEVER
            return None
        return Claim(
            worker_id=self.worker_id,
            token=_new_token(),
            limit=room,
            free_slots=free_slots,
            queues=self.queues,
            heard=self._take_heard(),
            passing_over=self._passed_over(),
            most_bytes=most_bytes,
        )

    def _wants_a_free_slot(self, free_slots: int) -> bool:
        """Whether to claim nothing until held jobs have run out, since no slot was free for long.

        A job with a single attempt is claimed for a free slot only. Without this, a stream of other
        jobs, always waiting for the next slot, would keep it out for ever.
        """
        now = self.timer.now()
        if not free_slots:
            return now - self._slot_was_free_at > LONGEST_WITHOUT_FREE_SLOT_SECONDS
        if now - self._slot_was_free_at > LONGEST_WITHOUT_FREE_SLOT_SECONDS:
            self._note_wakeup(LOOK_ANYWHERE)
        self._slot_was_free_at = now
        return False

    def _note_wakeup(self, wakeup: Wakeup) -> None:
        with self._lock:
            self._heard = wakeup if self._heard is None else self._heard.merged(wakeup)

    def _take_heard(self) -> Wakeup | None:
        with self._lock:
            heard, self._heard = self._heard, None
            return heard

    def _room(self) -> int:
        """How many jobs to claim. None are prefetched for the slots of slow jobs."""
        if self._resting or self.handoff.has_loner:
            return 0
        slow = self.handoff.performing_longer_than(AHEAD_SECONDS)
        self._hold = self._prefetch.jobs_to_hold(self.handoff.slots - slow)
        return slow + self._hold - self.handoff.held

    def _something_is_due(self) -> bool:
        """Whether a claim found no job only since other claims had locked those that are due.

        If the database goes away meanwhile, the next turn waits for it.
        """
        try:
            due = JobFilter(states=(JobState.READY,), queues=self.queues, due=True)
            # Counted first: a job that is enqueued in between is looked for once more.
            left_alone = self._count_left_alone(due)
            return self.adapter.count_jobs(due) > left_alone
        except DatabaseUnavailable:
            return True

    def _count_left_alone(self, due: JobFilter) -> int:
        """How many of the jobs that are due this worker does not claim: it may claim all others."""
        paused = self.adapter.paused_queues()
        if self.queues is not None:
            paused = paused.intersection(self.queues)
        in_paused = replace(due, queues=tuple(paused))
        count = self.adapter.count_jobs(in_paused)
        passed_over = self._passed_over()
        if not passed_over:
            return count
        unknown = replace(due, handlers=passed_over)
        in_both = self.adapter.count_jobs(replace(in_paused, handlers=passed_over))
        return count + self.adapter.count_jobs(unknown) - in_both

    def _passed_over(self) -> tuple[str, ...]:
        return () if self.unknown_handlers is None else self.unknown_handlers.to_pass_over()

    # --- giving back -----------------------------------------------------------------------------

    def _return_what_has_to_go_back(self) -> None:
        """Give back jobs that have waited too long, so that other workers can claim them.

        A job to be performed alone waits longer, for the running jobs to end, while no other job
        starts. If they take too long, it is put off, so that the free slots are used meanwhile.
        """
        if self.timer.now() < self._return_due_at():
            return
        self._pass_on()
        if self._resting or self.handoff.kept_free_for is None:
            self._return_unstarted()
        elif self.handoff.waiting > 1:
            self._return_unstarted(but=1)
        else:
            self._end_drain()

    def _end_drain(self) -> None:
        begun = self.handoff.waiting_since
        if begun is not None:
            for loner in self.handoff.take_back():
                self._put_off(loner, begun)

    def _put_off(self, loner: ClaimedJob, drain_begun: float) -> None:
        self._drains.note_put_off(loner, drain_begun, self.timer.now())
        self.handoff.add_outcome(Released(loner, delay=delay_before_return(loner)))

    def _return_due_at(self) -> float:
        """When waiting jobs are to be given back, if nothing happens until then.

        They are when the jobs in all slots have turned out to be slow, and when they have waited as
        long for a row of jobs that are less slow, or more than was expected.
        """
        handoff = self.handoff
        since, stuck_since = handoff.waiting_since, handoff.stuck_since
        if since is None:
            return NEVER
        if self._resting:
            return AT_ONCE
        loner = handoff.kept_free_for
        if loner is not None and handoff.waiting == 1:
            patience_seconds = self._drains.patience_seconds(loner, since)
            return NEVER if stuck_since is None else stuck_since + patience_seconds
        return min(since, since if stuck_since is None else stuck_since) + SLOW_JOB_SECONDS

    def _return_unstarted(self, but: int = 0) -> None:
        for job in self.handoff.take_back(but):
            self.handoff.add_outcome(Released(job))

    def _strays_due_at(self) -> float:
        return self._strays_released_at + self.lease.total_seconds()

    def _release_strays_once_a_lease(self) -> None:
        """Release strays between turns: the jobs of a claim under way would look like strays."""
        if self.timer.now() < self._strays_due_at():
            return
        # When the database is away, the next turn logs it, and releases strays when it is back.
        self._pass_on()
        with suppress(DatabaseUnavailable, DatabaseRefused):
            self._release_strays()

    def _release_strays(self, but: Sequence[Outcome] = ()) -> None:
        self._strays_released_at = self.timer.now()
        held = self.handoff.held_claims() | self._locked.claims()
        held.update((outcome.job.id, outcome.job.token) for outcome in but)
        freed = self.adapter.release_strays(self.worker_id, held)
        if freed:
            number = len(freed.released) + len(freed.ended)
            log.strays_released(self.logger, self.worker_id, number)
            self.reporter.report_freed(freed)

    # --- when a job has broken the process -------------------------------------------------------

    def _end_if_broken(self, outcomes: Sequence[Outcome]) -> None:
        """End the process if it cannot go on. These outcomes, and later ones, stay unsettled."""
        if self.own_process is not None and self.own_process.is_broken:
            performing = self.handoff.performing()
            unsettled = [*outcomes, *self.handoff.take_outcomes()]
            self.own_process.end(suspects_among(unsettled, performing))

    # --- jobs that somebody has locked -----------------------------------------------------------

    def _settle_locked_if_time(self) -> None:
        """Try again to settle jobs whose rows somebody kept locked. No other job waits for that."""
        if self.timer.now() < self._locked.due_at:
            return
        self._pass_on()
        try:
            turn = self.adapter.settle_unlocked(self._locked.outcomes())
        except DatabaseUnavailable:
            # The next turn logs it.
            self._locked.note_unanswered(self.timer.now())
            return
        turn = self._without_settled_before(turn)
        done = self._locked.keep(turn.locked, self.timer.now())
        self.reporter.report(done, replace(turn, locked=()))
        if self._has_performed_enough():
            self.handoff.close()

    def _without_settled_before(self, turn: Turn) -> Turn:
        """A turn, without the rejected outcomes that an unanswered turn had settled."""
        unanswered = [o for o in turn.rejected if self._locked.is_unanswered(o)]
        answered = [o for o in turn.rejected if not self._locked.is_unanswered(o)]
        rejected, cancelled = without_settled_before(
            replace(turn, rejected=tuple(unanswered)), self.adapter
        )
        return replace(turn, rejected=(*answered, *rejected), cancelled=cancelled)

    def _settle_locked_at_last(self) -> None:
        """Wait a little more for locked rows. If one stays locked, its job is performed again."""
        give_up_at = self.timer.now() + LAST_SETTLE_SECONDS
        while self._locked and self.timer.now() < give_up_at:
            if self._gives_up.wait(max(self._locked.due_at - self.timer.now(), 0.0)):
                break
            self._settle_locked_if_time()
        self.reporter.report_lost(self._locked.outcomes())

    # --- when the database goes away -------------------------------------------------------------

    def _insist(self, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
        """Make one turn, and wait for the database as long as it takes."""
        last_error: DatabaseError
        try:
            turn = self._turn(outcomes, claim)
        except DatabaseUnavailable as error:
            self._pass_on()
            log.database_lost(self.logger, self.worker_id, error)
            lost_at, last_error = self.timer.now(), error
        except DatabaseRefused as error:
            return self._without_claim(outcomes, error)
        else:
            self._is_refused = self._is_refused and claim is None
            self._locked.add(turn.locked, self.timer.now())
            return turn
        for pause in reconnect_pauses():
            if self._gives_up.wait(pause) or self._has_to_end(lost_at):
                raise last_error
            self._end_if_broken(outcomes)
            try:
                turn = self._resume(outcomes, claim)
            except (DatabaseUnavailable, DatabaseRefused) as error:
                last_error = error
                continue
            log.database_back(self.logger, self.worker_id, self.timer.now() - lost_at)
            self._locked.add(turn.locked, self.timer.now(), are_unanswered=True)
            return turn
        raise AssertionError("the pauses never end")

    def _without_claim(self, outcomes: Sequence[Outcome], error: DatabaseRefused) -> Turn:
        """Settle all the same, since the database refuses to have any job claimed.

        That is logged once, and tried again. A worker that stops when idle ends instead.
        """
        if self.until_idle and not outcomes:
            raise error
        if not self._is_refused:
            self._is_refused = True
            log.claim_refused(self.logger, self.worker_id, error)
        if not outcomes:
            return Turn((), (), REFUSED_PAUSE)
        turn = self._turn(outcomes, None)
        self._locked.add(turn.locked, self.timer.now())
        return turn

    def _turn(self, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
        """Make one turn, without outcomes that jobs have committed in their own transactions."""
        unsettled = [outcome for outcome in outcomes if type(outcome) is not Committed]
        if not unsettled and claim is None:
            return Turn((), ())
        while True:
            meanwhile = None if self._last is NOTHING_TO_PASS_ON else self._pass_on
            try:
                return self.adapter.turn(unsettled, claim, meanwhile)
            except TransactionOpen:
                if self._gives_up.is_set():
                    raise

    def _has_to_end(self, lost_at: float) -> bool:
        return self.handoff.closed and self.timer.now() - lost_at > LAST_SETTLE_SECONDS

    def _resume(self, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
        """Make the turn again. The one whose answer was lost may have been committed."""
        settled = self._turn(outcomes, None)
        rejected, cancelled = without_settled_before(settled, self.adapter)
        self._release_strays(but=settled.locked)
        if claim is not None:
            # A token stands for one claim. Jobs of the lost claim may still have the first one.
            claim = replace(claim, token=_new_token())
        turn = self._turn((), claim)
        return replace(turn, rejected=rejected, cancelled=cancelled, locked=settled.locked)


def _is_loner(job: ClaimedJob) -> bool:
    return job.crashes > 0


def _new_token() -> int:
    return secrets.randbits(63)
